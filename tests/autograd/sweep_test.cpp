// Every row of autograd/ops.def on every one of its samples. An op is tried by being listed; no
// test knows its name.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "autograd/tape.h"
#include "tests/autograd/tensors.h"

namespace nibble {
namespace {

using testing::distance;
using testing::normals;
using testing::same_bytes;
using testing::values;

struct Row {
  const char* name;
  std::vector<Sample> (*samples)();
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }
const Row kRows[] = {
#define OP(name) {#name, ops::samples_##name},
#include "autograd/ops.def"
#undef OP
};

using Values = std::vector<std::vector<double>>;

Values draw(const Sample& sample) {
  Values all;
  for (size_t i = 0; i < sample.inputs.size(); ++i) {
    all.push_back(normals(cat(sample.what, i).c_str(), sample.inputs[i].numel()));
  }
  return all;
}

std::vector<bool> every(const Sample& sample) {
  return std::vector<bool>(sample.inputs.size(), true);
}

Tensor input_tensor(const Ctx& ctx, const Sample& s, const Values& v, size_t i) {
  return testing::tensor(ctx, s.inputs[i], v[i], s.parameter[i] ? ctx.acc() : ctx.compute);
}

// One forward and, when something is wanted, one backward from a fixed random seed.
struct Trial {
  Tensor y;
  std::vector<Tensor> d;
  int64_t saved = 0;
  bool inputs_kept = true;  // no input was written over
};

Trial try_op(const Device& device, DType compute, const Sample& s, const Values& v,
             const std::vector<bool>& want) {
  Tape tape;
  Ctx ctx(device, compute, &tape);
  std::vector<Parameter> parameters(s.inputs.size());
  std::vector<Var> inputs;
  std::vector<Tensor> before;
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    Tensor t = input_tensor(ctx, s, v, i);
    before.push_back(copy_as(ctx, t, t.dtype()));
    parameters[i].value = t;
    inputs.push_back(!want[i] ? Var(t) : s.parameter[i] ? Var::leaf(parameters[i]) : Var::input(t));
  }
  Trial result;
  Var y = apply(ctx, s.make(ctx), inputs);
  result.y = copy_as(ctx, y.value(), y.value().dtype());
  result.saved = tape.saved_bytes();
  result.d.resize(s.inputs.size());
  if (!y.wants_grad()) return result;
  const Tensor seed = testing::tensor(ctx, y.value().shape(), normals("seed", y.value().numel()),
                                      y.value().dtype());
  tape.backward(ctx, y, seed);
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    if (want[i]) result.d[i] = s.parameter[i] ? parameters[i].grad : inputs[i].node()->grad;
    result.inputs_kept = result.inputs_kept && same_bytes(before[i], inputs[i].value());
  }
  return result;
}

double weighted_sum(const Device& device, const Sample& s, const Values& v) {
  Ctx ctx(device, DType::f64);
  std::vector<Var> inputs;
  for (size_t i = 0; i < s.inputs.size(); ++i) inputs.emplace_back(input_tensor(ctx, s, v, i));
  const Tensor y = apply(ctx, s.make(ctx), inputs).value();
  const std::vector<double> seed = normals("seed", y.numel()), out = values(ctx, y);
  double sum = 0;
  for (size_t i = 0; i < out.size(); ++i) sum += seed[i] * out[i];
  return sum;
}

std::vector<CpuTier> tiers() {
  const CpuFeatures& f = cpu_features();
  std::vector<CpuTier> all = {CpuTier::scalar};
  if (f.avx2 && f.fma && f.f16c && f.bmi2) all.push_back(CpuTier::avx2);
  if (f.avx512f && f.avx512bw && f.avx512vl && f.avx512dq) all.push_back(CpuTier::avx512);
  return all;
}

class EveryOp : public ::testing::TestWithParam<Row> {
 protected:
  Device scalar_ = Device::cpu(1, CpuTier::scalar);
};

TEST_P(EveryOp, HasSamplesAndItsOwnName) {
  const std::vector<Sample> samples = GetParam().samples();
  EXPECT_FALSE(samples.empty());
  for (const Sample& s : samples) {
    EXPECT_EQ(s.inputs.size(), s.parameter.size()) << s.what;
    Ctx ctx(scalar_, DType::f32);
    EXPECT_STREQ(s.make(ctx)->name(), GetParam().name) << s.what;
  }
}

TEST_P(EveryOp, AgreesWithFiniteDifferencesInFp64) {
  for (const Sample& s : GetParam().samples()) {
    const Values v = draw(s);
    const Trial exact = try_op(scalar_, DType::f64, s, v, every(s));
    const Ctx ctx(scalar_, DType::f64);
    for (size_t i = 0; i < v.size(); ++i) {
      const std::vector<double> d = values(ctx, exact.d[i]);
      double scale = 1e-3;
      for (const double x : d) scale = std::max(scale, std::abs(x));
      const size_t stride = std::max<size_t>(1, v[i].size() / (v[i].size() > 400 ? 12 : 60));
      for (size_t e = 0; e < v[i].size(); e += stride) {
        constexpr double kStep = 1e-5;
        Values up = v, down = v;
        up[i][e] += kStep;
        down[i][e] -= kStep;
        const double slope =
            (weighted_sum(scalar_, s, up) - weighted_sum(scalar_, s, down)) / (2 * kStep);
        ASSERT_NEAR(d[e], slope, 1e-6 * scale) << s.what << ": input " << i << ", element " << e;
      }
    }
  }
}

TEST_P(EveryOp, IsTheSameOnEveryTierUpToRounding) {
  for (const CpuTier tier : tiers()) {
    const Device device = Device::cpu(2, tier);
    for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
      const double tolerance = compute == DType::f32 ? 2e-5 : compute == DType::f16 ? 4e-3 : 2e-2;
      for (const Sample& s : GetParam().samples()) {
        const Values v = draw(s);
        const Trial reference = try_op(scalar_, compute, s, v, every(s));
        const Trial got = try_op(device, compute, s, v, every(s));
        const Ctx ctx(scalar_, compute);
        const std::string what = cat(name_of(tier), " ", name_of(compute), " ", s.what);
        ASSERT_EQ(got.y.shape(), reference.y.shape()) << what;
        EXPECT_LE(distance(values(ctx, got.y), values(ctx, reference.y)), tolerance) << what;
        for (size_t i = 0; i < v.size(); ++i) {
          EXPECT_LE(distance(values(ctx, got.d[i]), values(ctx, reference.d[i])), tolerance)
              << what << ": gradient of input " << i;
        }
      }
    }
  }
}

TEST_P(EveryOp, IsNearItsFp64SelfIn16Bits) {
  for (const auto& [narrow, near] : {std::pair(DType::bf16, 2e-2), std::pair(DType::f16, 3e-3)}) {
    for (const Sample& s : GetParam().samples()) {
      const Ctx ctx(scalar_, DType::f64);
      // What both start from: values that the narrow type holds exactly.
      Values v = draw(s);
      for (auto& one : v) {
        const Tensor rounded =
            testing::tensor(ctx, {static_cast<int64_t>(one.size())}, one, narrow);
        one = values(ctx, rounded);
      }
      const Trial exact = try_op(scalar_, DType::f64, s, v, every(s));
      const Trial got = try_op(scalar_, narrow, s, v, every(s));
      EXPECT_LE(distance(values(ctx, got.y), values(ctx, exact.y)), near + s.rounds) << s.what;
      for (size_t i = 0; i < v.size(); ++i) {
        EXPECT_LE(distance(values(ctx, got.d[i]), values(ctx, exact.d[i])), 2 * near)
            << name_of(narrow) << " " << s.what << ": gradient of input " << i;
      }
    }
  }
}

TEST_P(EveryOp, GivesTheSameBitsAgainAndOnAnyNumberOfThreads) {
  for (const CpuTier tier : tiers()) {
    const Device one = Device::cpu(1, tier), four = Device::cpu(4, tier);
    for (const DType compute : {DType::f32, DType::bf16, DType::f16}) {
      for (const Sample& s : GetParam().samples()) {
        const Values v = draw(s);
        const Trial first = try_op(one, compute, s, v, every(s));
        for (const Device* device : {&one, &four}) {
          const Trial again = try_op(*device, compute, s, v, every(s));
          EXPECT_TRUE(same_bytes(first.y, again.y)) << name_of(tier) << " " << s.what;
          for (size_t i = 0; i < v.size(); ++i) {
            EXPECT_TRUE(same_bytes(first.d[i], again.d[i]))
                << name_of(tier) << " " << s.what << ": gradient of input " << i;
          }
        }
      }
    }
  }
}

TEST_P(EveryOp, KeepsItsGradientsWhenOtherInputsAreFrozen) {
  for (const Sample& s : GetParam().samples()) {
    const Values v = draw(s);
    const Trial all = try_op(scalar_, DType::f32, s, v, every(s));
    for (size_t frozen = 0; frozen < v.size() && v.size() > 1; ++frozen) {
      std::vector<bool> want = every(s);
      want[frozen] = false;
      const Trial some = try_op(scalar_, DType::f32, s, v, want);
      EXPECT_TRUE(same_bytes(all.y, some.y)) << s.what;
      EXPECT_LE(some.saved, all.saved) << s.what;
      for (size_t i = 0; i < v.size(); ++i) {
        if (i == frozen) {
          EXPECT_FALSE(some.d[i].defined());
        } else {
          EXPECT_TRUE(same_bytes(all.d[i], some.d[i]))
              << s.what << ": gradient of input " << i << " with " << frozen << " frozen";
        }
      }
    }
  }
}

TEST_P(EveryOp, SavesWhatItDeclaresAndNothingWithoutATape) {
  for (const Sample& s : GetParam().samples()) {
    const Values v = draw(s);
    const Trial all = try_op(scalar_, DType::f32, s, v, every(s));
    EXPECT_GE(s.saved_bytes_f32, 0) << s.what << ": declare the bytes";
    EXPECT_EQ(all.saved, s.saved_bytes_f32) << s.what;
    EXPECT_TRUE(all.inputs_kept) << s.what;
    const Trial none = try_op(scalar_, DType::f32, s, v, std::vector<bool>(v.size(), false));
    EXPECT_EQ(none.saved, 0) << s.what;
    EXPECT_TRUE(same_bytes(all.y, none.y)) << s.what;
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, EveryOp, ::testing::ValuesIn(kRows),
                         [](const ::testing::TestParamInfo<Row>& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace nibble
