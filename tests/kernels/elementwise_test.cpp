// Rows that move or combine single elements, on windows whose rows are wider than they use.
#include <cstring>

#include "tests/kernels/array.h"

namespace nibble::testing {
namespace {

constexpr int64_t kRows = 7, kCols = 333, kPitch = 350;
using Doubles = std::vector<double>;

// f(row, column) for the (kRows, kCols) window of a (kRows, kPitch) matrix, `before` elsewhere.
template <class F>
Doubles window(const Array& before, const F& f) {
  Doubles out;
  for (int64_t i = 0; i < kRows * kPitch; ++i) {
    out.push_back(i % kPitch < kCols ? f(i / kPitch, i % kPitch) : before[i]);
  }
  return out;
}

TEST(Elementwise, CastRoundsOnceBetweenAllFloatTypes) {
  const Device device = Device::cpu(2, CpuTier::scalar);
  for (const DType from : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
    for (const DType to : {DType::f32, DType::f64, DType::bf16, DType::f16}) {
      const Array x = Array::random(from, kRows * kPitch, 1, 3);
      Array y = Array::zeros(to, kRows * kPitch);
      device.kernels().cast(device.stream(), kRows, kCols, from, x.raw(), kPitch, to, y.raw(),
                            kPitch);
      const Array zeros = Array::zeros(to, kRows * kPitch);
      const Array want(to, window(zeros, [&](int64_t r, int64_t c) { return x[r * kPitch + c]; }));
      EXPECT_EQ(y, want) << name_of(from) << " to " << name_of(to);
    }
  }
}

TEST(Elementwise, ZeroClearsExactlyTheBytesAsked) {
  const Device device = Device::cpu(3, CpuTier::scalar);
  std::vector<uint8_t> bytes(5 << 20, 7);
  device.kernels().zero(device.stream(), (5 << 20) - 1, bytes.data());
  EXPECT_EQ(std::count(bytes.begin(), bytes.end(), 0), (5 << 20) - 1);
  EXPECT_EQ(bytes.back(), 7);
}

TEST(Elementwise, AddIsTheSumRoundedOnce) {
  on_every_tier([](const Device& device, DType dtype) {
    const Array a = Array::random(dtype, kRows * kPitch, 2),
                b = Array::random(dtype, kRows * kPitch, 3);
    Array out = Array::zeros(dtype, kRows * kPitch);
    device.kernels().add(device.stream(), kRows, kCols, dtype, a.raw(), kPitch, b.raw(), kPitch,
                         out.raw(), kPitch);
    const Array zeros = Array::zeros(dtype, kRows * kPitch);
    const Array want(dtype, window(zeros, [&](int64_t r, int64_t c) {
                       return a[r * kPitch + c] + b[r * kPitch + c];
                     }));
    EXPECT_EQ(out, want);
  });
}

TEST(Elementwise, AccumulateAddsIntoTheSameTypeOrAWiderOne) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const DType to : {dtype, accumulator_of(dtype)}) {
      const Array x = Array::random(dtype, 1000, 4), before = Array::random(to, 1000, 5);
      Array y = before;
      device.kernels().accumulate(device.stream(), 1000, dtype, x.raw(), to, y.raw());
      Doubles want;
      for (int64_t i = 0; i < 1000; ++i) want.push_back(before[i] + x[i]);
      EXPECT_EQ(y, Array(to, want));
    }
  });
}

TEST(Elementwise, ScaleMultipliesByAFactorInDouble) {
  on_every_tier([](const Device& device, DType dtype) {
    const Array before = Array::random(dtype, 1000, 6);
    Array x = before;
    device.kernels().scale(device.stream(), 1000, dtype, 1.0 / 3, x.raw());
    Doubles want;
    for (int64_t i = 0; i < 1000; ++i) want.push_back(before[i] / 3);
    expect_near(x, want, 0);
  });
}

TEST(Elementwise, ClampKeepsWhatIsWithinTheLimitAndNaN) {
  on_every_tier([](const Device& device, DType dtype) {
    Array before = Array::random(dtype, 1000, 9);
    before.set(7, NAN), before.set(8, INFINITY), before.set(9, -INFINITY);
    Array x = before;
    device.kernels().clamp(device.stream(), 1000, dtype, 0.75, x.raw());
    int64_t clamped = 0;
    for (int64_t i = 0; i < 1000; ++i) {
      if (std::isnan(before[i])) {
        EXPECT_TRUE(std::isnan(x[i]));
        continue;
      }
      clamped += std::abs(before[i]) > 0.75;
      EXPECT_EQ(x[i], std::max(-0.75, std::min(0.75, before[i]))) << i;
    }
    EXPECT_GT(clamped, 100);
    EXPECT_LT(clamped, 900);
  });
}

TEST(Elementwise, GatherTakesRowsAndScatterAddsThemBack) {
  on_every_tier([](const Device& device, DType dtype) {
    const int32_t index[kRows] = {3, 0, 6, 5, 1, 2, 4};
    const Array x = Array::random(dtype, kRows * kPitch, 7),
                before = Array::random(dtype, kRows * kPitch, 8);
    Array gathered = before, scattered = before;
    device.kernels().gather_rows(device.stream(), kRows, kCols, dtype, x.raw(), kPitch, index,
                                 gathered.raw(), kPitch);
    device.kernels().scatter_rows(device.stream(), kRows, kCols, dtype, x.raw(), kPitch, index,
                                  scattered.raw(), kPitch);
    EXPECT_EQ(gathered, Array(dtype, window(before, [&](int64_t r, int64_t c) {
                                return x[index[r] * kPitch + c];
                              })));
    const int32_t from[kRows] = {1, 4, 5, 0, 6, 3, 2};  // the inverse of index
    EXPECT_EQ(scattered, Array(dtype, window(before, [&](int64_t r, int64_t c) {
                                 return before[r * kPitch + c] + x[from[r] * kPitch + c];
                               })));
  });
}

TEST(Bias, IsAddedToEveryRowAndItsGradientIsTheColumnSum) {
  on_every_tier([](const Device& device, DType dtype) {
    const DType acc = accumulator_of(dtype);
    const Array before = Array::random(dtype, kRows * kPitch, 9);
    for (const DType bias_dtype : {dtype, acc}) {
      const Array bias = Array::random(bias_dtype, kCols, 10);
      Array y = before;
      device.kernels().bias_add(device.stream(), kRows, kCols, dtype, bias_dtype, bias.raw(),
                                y.raw(), kPitch);
      EXPECT_EQ(y, Array(dtype, window(before, [&](int64_t r, int64_t c) {
                           return before[r * kPitch + c] + bias[c];
                         })));
    }
    const Array old = Array::random(acc, kCols, 11);
    Array dbias = old;
    device.kernels().bias_bwd(device.stream(), kRows, kCols, dtype, before.raw(), kPitch,
                              dbias.raw());
    Doubles want;
    for (int64_t c = 0; c < kCols; ++c) {
      want.push_back(old[c]);
      for (int64_t r = 0; r < kRows; ++r) want.back() += before[r * kPitch + c];
    }
    expect_near(dbias, want);
  });
}

TEST(Dropout, KeepsExactlyWhatItsKeyedNumbersSay) {
  on_every_tier([](const Device& device, DType dtype) {
    const Array x = Array::random(dtype, kRows * kPitch, 12);
    const RngKey key{42, rng_site("test"), 0, 3};
    const int64_t samples[kRows] = {5, 5, 5, 9, 9, 1, int64_t{1} << 40};
    const int32_t positions[kRows] = {0, 1, 2, 0, 1, 77, 5};
    Array y = Array::zeros(dtype, kRows * kPitch);
    device.kernels().dropout(device.stream(), kRows, kCols, dtype, x.raw(), kPitch, 0.3, key,
                             samples, positions, y.raw(), kPitch);
    const Array zeros = Array::zeros(dtype, kRows * kPitch);
    int64_t kept = 0;
    const Doubles want = window(zeros, [&](int64_t r, int64_t c) {
      const RngKey of_row{42, key.site, static_cast<uint64_t>(samples[r]), 3};
      const uint32_t number =
          random_u32(of_row, static_cast<uint64_t>(positions[r]), static_cast<uint64_t>(c));
      const bool keep = number >= 0.3 * 4294967296.0;
      kept += keep ? 1 : 0;
      return keep ? x[r * kPitch + c] / 0.7 : 0.0;
    });
    expect_near(y, want, 0);
    EXPECT_NEAR(static_cast<double>(kept) / (kRows * kCols), 0.7, 0.03);
  });
}

TEST(Dropout, OfOneDropsAllAndOfZeroNothing) {
  const Device device = Device::cpu(1, CpuTier::scalar);
  const Array x = Array::random(DType::f32, 100, 13);
  const int64_t sample = 0;
  const int32_t position = 0;
  Array y = x;
  device.kernels().dropout(device.stream(), 1, 100, DType::f32, x.raw(), 100, 0, {}, &sample,
                           &position, y.raw(), 100);
  EXPECT_EQ(y, x);
  device.kernels().dropout(device.stream(), 1, 100, DType::f32, x.raw(), 100, 1, {}, &sample,
                           &position, y.raw(), 100);
  EXPECT_EQ(y, Array::zeros(DType::f32, 100));
}

TEST(SumSquares, EqualsALongSumAndDoesNotSplitByThreads) {
  for (const int64_t n : {0, 1, 7, 4096, 4097, 300000, 1000003}) {
    const Array x = Array::random(DType::f32, n, 14);
    long double want = 0;
    for (int64_t i = 0; i < n; ++i) want += static_cast<long double>(x[i]) * x[i];
    double first = 0;
    for (const int threads : {1, 2, 3}) {
      const Device device = Device::cpu(threads, CpuTier::scalar);
      double sum = -1;
      device.kernels().sum_squares(device.stream(), n, DType::f32, x.raw(), &sum);
      EXPECT_NEAR(sum, static_cast<double>(want), 1e-13 * static_cast<double>(want)) << n;
      if (threads == 1) first = sum;
      EXPECT_EQ(sum, first);
    }
  }
}

TEST(FindNonfinite, NamesTheFirstOfThem) {
  const Device device = Device::cpu(2, CpuTier::scalar);
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::f64}) {
    Array x = Array::random(dtype, 50000, 15);
    int64_t index = 5;
    const auto find = [&] {
      device.kernels().find_nonfinite(device.stream(), x.size(), dtype, x.raw(), &index);
      return index;
    };
    EXPECT_EQ(find(), -1);
    x.set(49999, NAN);
    EXPECT_EQ(find(), 49999);
    x.set(30001, -INFINITY);
    x.set(30002, NAN);
    EXPECT_EQ(find(), 30001);
    x.set(0, INFINITY);
    EXPECT_EQ(find(), 0);
  }
}

TEST(Embedding, TakesRowsOfAnyFloatTable) {
  on_every_tier([](const Device& device, DType dtype) {
    const int32_t ids[kRows] = {4, 0, 4, 2, 9, 1, 4};
    for (const DType table_dtype : {DType::f32, DType::bf16, DType::f16}) {
      const Array table = Array::random(table_dtype, 10 * kCols, 16);
      Array out = Array::zeros(dtype, kRows * kPitch);
      device.kernels().embedding_fwd(device.stream(), kRows, kCols, table_dtype, table.raw(), ids,
                                     dtype, out.raw(), kPitch);
      const Array zeros = Array::zeros(dtype, kRows * kPitch);
      EXPECT_EQ(out, Array(dtype, window(zeros, [&](int64_t r, int64_t c) {
                             return table[ids[r] * kCols + c];
                           })));
    }
  });
}

TEST(Embedding, GradientOfARepeatedIdIsTheSumOfItsTokens) {
  on_every_tier([](const Device& device, DType dtype) {
    const int32_t ids[kRows] = {4, 0, 4, 2, 9, 1, 4};
    const Array dy = Array::random(dtype, kRows * kPitch, 17);
    Array table = Array::random(accumulator_of(dtype), 10 * kCols, 18);
    Doubles want;
    for (int64_t i = 0; i < table.size(); ++i) {
      want.push_back(table[i]);
      for (int64_t r = 0; r < kRows; ++r) {
        if (ids[r] == i / kCols) want.back() += dy[r * kPitch + i % kCols];
      }
    }
    device.kernels().embedding_bwd(device.stream(), kRows, kCols, ids, dtype, dy.raw(), kPitch,
                                   table.raw());
    expect_near(table, want, 100);
  });
}

}  // namespace
}  // namespace nibble::testing
