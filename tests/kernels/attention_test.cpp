// Attention on every tier of this CPU against fp64 formulas, and the promise that a token's output
// has the same bits packed, paged, in chunks and on any number of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/kernels/attention_cases.h"

namespace nibble::testing {
namespace {

std::vector<CpuTier> tiers() {
  std::vector<CpuTier> all{CpuTier::scalar};
  const CpuFeatures& f = cpu_features();
  if (f.avx2 && f.fma) all.push_back(CpuTier::avx2);
  if (f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq) all.push_back(CpuTier::avx512);
  return all;
}

struct AttentionOn : ::testing::TestWithParam<CpuTier> {
  Device device = Device::cpu(2, GetParam());
};

// Of one rounding to the type, and of sums in the accumulator.
double tolerance(DType t) {
  return t == DType::f64 ? 1e-12 : t == DType::f32 ? 2e-6 : t == DType::f16 ? 6e-4 : 5e-3;
}

// The vector tiers hand f64 to the scalar rows: one short case shows that they do.
bool worth_running(CpuTier tier, DType t, const AttentionCase& c) {
  return tier == CpuTier::scalar || t != DType::f64 || c.lengths.size() == 5;
}

TEST_P(AttentionOn, ComputesSoftmaxOverTheKeysARowSeesAndItsDerivative) {
  for (const AttentionCase& c : attention_cases()) {
    for (DType t : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
      if (!worth_running(GetParam(), t, c)) continue;
      Batch b(c, t, 1);
      b.forward(device);
      b.backward(device);
      const Reference want = b.reference();
      EXPECT_LT(distance(b.out, want.out), tolerance(t)) << c.name << " " << name_of(t);
      EXPECT_LT(distance(b.lse, want.lse), t == DType::f64 ? 1e-12 : 1e-6) << c.name;
      // In 16 bits delta comes from the rounded out.
      const double near = (size_of(t) == 2 ? 4 : 2) * tolerance(t);
      EXPECT_LT(distance(b.dq, want.dq), near) << c.name << " " << name_of(t);
      EXPECT_LT(distance(b.dk, want.dk), near) << c.name << " " << name_of(t);
      EXPECT_LT(distance(b.dv, want.dv), near) << c.name << " " << name_of(t);
    }
  }
}

// Every input moved along a random direction: the outputs move as the gradients say.
TEST_P(AttentionOn, GradientsAreTheFiniteDifferencesOfTheForward) {
  for (bool causal : {true, false}) {
    AttentionCase c{"slope", {70}, shape_of(2, 1, 8)};
    c.shape.softcap = 2, c.shape.window = 50, c.shape.causal = causal;
    Batch b(c, DType::f64, 101);
    b.forward(device);
    b.backward(device);
    const Batch way(c, DType::f64, 202);
    const auto loss_at = [&](double step) {
      Batch moved = b;
      double loss = 0;
      for (auto [x, dx] : {std::pair(&moved.q, &way.q), {&moved.k, &way.k}, {&moved.v, &way.v}}) {
        for (int64_t r = 0; r < x->rows; ++r) {
          for (int64_t i = 0; i < x->cols; ++i) x->set(r, i, x->at(r, i) + step * dx->at(r, i));
        }
      }
      moved.forward(device);
      const std::vector<double> y = moved.out.dense(), dy = moved.dout.dense();
      for (size_t i = 0; i < y.size(); ++i) loss += y[i] * dy[i];
      return loss;
    };
    double slope = 0;
    for (auto [g, dx] : {std::pair(&b.dq, &way.q), {&b.dk, &way.k}, {&b.dv, &way.v}}) {
      const std::vector<double> a = g->dense(), d = dx->dense();
      for (size_t i = 0; i < a.size(); ++i) slope += a[i] * d[i];
    }
    EXPECT_NEAR((loss_at(1e-6) - loss_at(-1e-6)) / 2e-6, slope, 1e-6 * std::abs(slope));
  }
}

TEST_P(AttentionOn, LargeScoresNeitherOverflowNorLoseTheLargest) {
  const AttentionCase c{"large", {130}, shape_of(2, 1, 64)};
  Batch b(c, DType::f32, 21, 12.0);
  b.forward(device);
  // A score of 700 has an ulp of 6e-5, and so have the weights of fp32 tiers.
  EXPECT_LT(distance(b.out, b.reference().out), 1e-4);
}

// A paged cache with the keys of every document of `b` in shuffled blocks, the rest NaN.
struct Cache {
  static constexpr int64_t kBlock = 16;
  std::vector<uint8_t> keys, values;
  std::vector<int32_t> table, sequences, positions;
  PagedKv kv;

  Cache(Device& d, const Batch& b) {
    const int64_t width = b.k.cols;
    for (int64_t s = 0; s < b.segments(); ++s) {
      kv.max_blocks = std::max<int64_t>(kv.max_blocks, (b.cu[s + 1] - b.cu[s]) / kBlock + 1);
    }
    const int64_t blocks = kv.max_blocks * b.segments();
    table.resize(blocks);
    std::iota(table.begin(), table.end(), 0);
    for (int64_t i = blocks - 1; i > 0; --i) {
      std::swap(table[i], table[random_u32(RngKey{5}, i) % (i + 1)]);
    }
    keys.assign(blocks * kBlock * width * size_of(b.dtype), 0xff), values = keys;
    kv.keys = keys.data(), kv.values = values.data();
    kv.dtype = b.dtype, kv.block_tokens = kBlock, kv.block_table = table.data();
    std::vector<int64_t> slots;
    for (int64_t s = 0; s < b.segments(); ++s) {
      for (int32_t p = 0; p < b.cu[s + 1] - b.cu[s]; ++p) {
        sequences.push_back(static_cast<int32_t>(s)), positions.push_back(p);
        slots.push_back(table[s * kv.max_blocks + p / kBlock] * kBlock + p % kBlock);
      }
    }
    d.kernels().kv_write(d.stream(), b.tokens, width, b.dtype, b.k.data(), b.k.pitch, b.v.data(),
                         b.v.pitch, slots.data(), kv);
  }
  // Rows [begin, end) of the batch.
  void attend(Device& d, const Batch& b, int64_t begin, int64_t end, HeadMatrix& out) const {
    const int64_t size = size_of(b.dtype);
    d.kernels().attention_paged(d.stream(), b.shape, end - begin, b.dtype,
                                b.q.bytes.data() + begin * b.q.pitch * size, b.q.pitch, kv,
                                sequences.data() + begin, positions.data() + begin,
                                out.bytes.data() + begin * out.pitch * size, out.pitch);
  }
};

TEST_P(AttentionOn, PagedRowsHaveTheBitsOfPackedOnesInChunksOfAnySize) {
  for (const AttentionCase& c : attention_cases()) {
    if (!c.shape.causal) continue;
    for (DType t : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
      if (!worth_running(GetParam(), t, c)) continue;
      Batch b(c, t, 31);
      b.forward(device);
      const Cache cache(device, b);
      for (int64_t chunk : {int64_t{1}, int64_t{7}, int64_t{100}, b.tokens}) {
        HeadMatrix out(b.tokens, b.out.cols, t);
        for (int64_t r = 0; r < b.tokens; r += chunk) {
          cache.attend(device, b, r, std::min(r + chunk, b.tokens), out);
        }
        EXPECT_EQ(out.bytes, b.out.bytes) << c.name << " " << name_of(t) << " chunk " << chunk;
      }
    }
  }
}

// A cache holds no key behind a row's own: "both directions" means nothing to it.
TEST_P(AttentionOn, PagedRowsSeeNoKeyBehindTheirOwnWhateverTheShapeSays) {
  for (const int64_t window : {0, 21}) {
    AttentionCase c{"causal", {90, 5}, shape_of(4, 2, 24)};
    c.shape.window = window;
    Batch b(c, DType::f32, 35);
    b.forward(device);
    const Cache cache(device, b);
    b.shape.causal = false;
    for (int64_t chunk : {int64_t{1}, int64_t{50}, b.tokens}) {
      HeadMatrix out(b.tokens, b.out.cols, DType::f32);
      for (int64_t r = 0; r < b.tokens; r += chunk) {
        cache.attend(device, b, r, std::min(r + chunk, b.tokens), out);
      }
      EXPECT_EQ(out.bytes, b.out.bytes) << "chunk " << chunk << " window " << window;
    }
  }
}

TEST_P(AttentionOn, PagedRowsMayComeInAnyOrder) {
  const AttentionCase c{"mixed", {40, 70, 1}, shape_of(4, 2, 32)};
  Batch b(c, DType::f32, 41);
  b.forward(device);
  Cache cache(device, b);
  std::vector<int64_t> order(b.tokens);
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = b.tokens - 1; i > 0; --i) {
    std::swap(order[i], order[random_u32(RngKey{6}, i) % (i + 1)]);
  }
  HeadMatrix q(b.tokens, b.q.cols, DType::f32), out(b.tokens, b.q.cols, DType::f32);
  std::vector<int32_t> sequences, positions;
  for (int64_t r = 0; r < b.tokens; ++r) {
    for (int64_t col = 0; col < q.cols; ++col) q.set(r, col, b.q.at(order[r], col));
    sequences.push_back(cache.sequences[order[r]]), positions.push_back(cache.positions[order[r]]);
  }
  device.kernels().attention_paged(device.stream(), b.shape, b.tokens, DType::f32, q.data(),
                                   q.pitch, cache.kv, sequences.data(), positions.data(),
                                   out.data(), out.pitch);
  for (int64_t r = 0; r < b.tokens; ++r) {
    for (int64_t col = 0; col < q.cols; ++col) {
      ASSERT_EQ(out.at(r, col), b.out.at(order[r], col)) << r << " " << col;
    }
  }
}

TEST_P(AttentionOn, ACacheOf16BitsServesF32Rows) {
  const AttentionCase c{"mixed types", {70}, shape_of(2, 1, 32)};
  for (const DType narrow : {DType::bf16, DType::f16}) {
    Batch b(c, DType::f32, 51), rounded(c, narrow, 51);
    const Cache cache(device, rounded);
    HeadMatrix out(b.tokens, b.out.cols, DType::f32);
    cache.attend(device, b, 0, b.tokens, out);
    for (int64_t r = 0; r < b.tokens; ++r) {
      for (int64_t col = 0; col < b.k.cols; ++col) {
        b.k.set(r, col, rounded.k.at(r, col)), b.v.set(r, col, rounded.v.at(r, col));
      }
    }
    EXPECT_LT(distance(out, b.reference().out), 2e-6) << name_of(narrow);
  }
}

TEST_P(AttentionOn, ADocumentHasTheSameBitsInAnyCompany) {
  const AttentionCase both{"both", {77, 300}, shape_of(4, 2, 64)}, one{"one", {300}, both.shape};
  Batch b(both, DType::f32, 61), alone(one, DType::f32, 61);
  const auto take = [](const HeadMatrix& from, int64_t row, HeadMatrix& to) {
    std::copy(from.bytes.begin() + row * from.pitch * 4, from.bytes.end(), to.bytes.begin());
  };
  take(b.q, 77, alone.q), take(b.k, 77, alone.k), take(b.v, 77, alone.v);
  take(b.dout, 77, alone.dout);
  b.forward(device), b.backward(device), alone.forward(device), alone.backward(device);
  const auto tail = [](const HeadMatrix& m, int64_t row) {
    return std::vector<uint8_t>(m.bytes.begin() + row * m.pitch * 4, m.bytes.end());
  };
  EXPECT_EQ(tail(b.out, 77), alone.out.bytes);
  EXPECT_EQ(tail(b.dq, 77), tail(alone.dq, 0));
  EXPECT_EQ(tail(b.dk, 77), tail(alone.dk, 0));
  EXPECT_EQ(tail(b.dv, 77), tail(alone.dv, 0));
}

TEST_P(AttentionOn, ThreadsChangeNoBit) {
  for (DType t : {DType::f32, DType::bf16, DType::f16}) {
    const AttentionCase c{"threads", {200, 3, 150}, shape_of(4, 2, 32)};
    Batch one(c, t, 71);
    Device single = Device::cpu(1, GetParam());
    one.forward(single), one.backward(single);
    for (int threads : {2, 3}) {
      Batch many(c, t, 71);
      Device d = Device::cpu(threads, GetParam());
      many.forward(d), many.backward(d);
      EXPECT_EQ(many.out.bytes, one.out.bytes);
      EXPECT_EQ(many.lse.bytes, one.lse.bytes);
      EXPECT_EQ(many.dq.bytes, one.dq.bytes);
      EXPECT_EQ(many.dk.bytes, one.dk.bytes);
      EXPECT_EQ(many.dv.bytes, one.dv.bytes);
    }
  }
}

TEST_P(AttentionOn, AKeyARowDoesNotSeeMayBeNan) {
  AttentionCase c{"nan", {100}, shape_of(2, 1, 16)};
  c.shape.window = 20;
  Batch clean(c, DType::f32, 81), b(c, DType::f32, 81);
  clean.forward(device);
  for (int64_t col = 0; col < b.k.cols; ++col) b.k.set(50, col, NAN), b.v.set(50, col, NAN);
  b.forward(device);
  for (int64_t r = 0; r < b.tokens; ++r) {
    for (int64_t col = 0; col < b.out.cols; ++col) {
      const bool sees_it = r >= 50 && r < 70;
      ASSERT_EQ(std::isnan(b.out.at(r, col)), sees_it) << r;
      if (!sees_it) {
        ASSERT_EQ(b.out.at(r, col), clean.out.at(r, col)) << r;
      }
    }
  }
}

TEST_P(AttentionOn, LseMayBeNullAndNoRowsAreNoWork) {
  Batch b({"", {3}, shape_of(1, 1, 16)}, DType::f32, 91), with = b;
  with.forward(device);
  device.kernels().attention_fwd(device.stream(), b.shape, 1, b.cu.data(), DType::f32, b.q.data(),
                                 b.q.pitch, b.k.data(), b.k.pitch, b.v.data(), b.v.pitch,
                                 b.out.data(), b.out.pitch, nullptr);
  EXPECT_EQ(b.out.bytes, with.out.bytes);
  device.kernels().attention_fwd(device.stream(), b.shape, 0, b.cu.data(), DType::f32, nullptr, 0,
                                 nullptr, 0, nullptr, 0, nullptr, 0, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Tiers, AttentionOn, ::testing::ValuesIn(tiers()),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace nibble::testing
