// Blockwise 8-bit states: the reference traces, and what the codec costs in quality.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "optim/optimizer.h"
#include "tests/optim/traces.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

const Tensor& named(const NamedTensors& all, const std::string& name) {
  for (const auto& [key, tensor] : all) {
    if (key == name) return tensor;
  }
  throw Bug("no state " + name);
}

// AdamW's betas and decay, with 8-bit states or 32-bit ones.
std::unique_ptr<Optimizer> make(const Ctx& ctx, Parameter* p, int bits, bool bnb_codec = false,
                                const testing::TraceCase& c = {0, 0.9, 0.999, 1e-8, 0, 1}) {
  OptimizerOptions options;
  options.numbers.beta1 = c.beta1, options.numbers.beta2 = c.beta2, options.numbers.eps = c.eps;
  ParameterSettings settings;
  settings.state.bits = bits, settings.state.bnb_codec = bnb_codec;
  settings.weight_decay = c.weight_decay;
  return Optimizer::make(ctx, options, {{p, settings}});
}

TEST(AdamW8Bit, MatchesTheReferenceTracesWithTheCodecOfBitsandbytes) {
  NIBBLE_REQUIRE_DATA(directory, "golden/quantization/optim");
  const testing::Traces traces = testing::read_traces(directory);
  const int64_t n = traces.sizes[0];
  for (const char* name : {"own_adamw8", "own_adam8_nowd_gscale"}) {
    const testing::TraceCase& c = traces.cases.at(name);
    testing::Trace golden = testing::read_trace(cat(directory, "/", name, ".safetensors"));
    const Device device = Device::cpu(1);
    const Ctx ctx(device, DType::f32);
    Parameter p{"p", ctx.empty({n}, DType::f32), ctx.empty({n}, DType::f32), true};
    const auto at = [](int64_t i) { return static_cast<uint64_t>(i); };
    for (int64_t i = 0; i < n; ++i) {
      p.value.data<float>()[i] = testing::trace_start(traces.seed, 0, at(i));
    }
    const auto optimizer = make(ctx, &p, 8, true, c);
    for (int t = 1; t <= 30; ++t) {
      for (int64_t i = 0; i < n; ++i) {
        p.grad.data<float>()[i] = testing::trace_gradient(traces.seed, at(t), 0, at(i));
      }
      optimizer->step(ctx, c.lr, t, c.gradient_scale);
      const std::string key = cat("big.s", t, ".");
      if (golden.count(key + "p") == 0) continue;
      const NamedTensors state = optimizer->state();
      for (const auto& [ours, theirs] :
           {std::pair("p.exp_avg", "state1"), std::pair("p.exp_avg_sq", "state2")}) {
        const uint8_t* got = named(state, ours).data<uint8_t>();
        const uint8_t* want = golden.at(key + theirs).data<uint8_t>();
        int64_t equal = 0;
        for (int64_t i = 0; i < n; ++i) {
          equal += got[i] == want[i];
          if (t <= 5) {
            EXPECT_LE(std::abs(got[i] - want[i]), 1) << ours << " step " << t;
          }
        }
        EXPECT_GE(static_cast<double>(equal), (t <= 5 ? 0.995 : 0.98) * static_cast<double>(n))
            << name << " " << ours << " step " << t;
      }
      int64_t near = 0;
      for (int64_t i = 0; i < n; ++i) {
        const float want = golden.at(key + "p").data<float>()[i];
        near += std::abs(p.value.data<float>()[i] - want) <= 1e-5 + 1e-3 * c.lr * t;
      }
      EXPECT_GE(static_cast<double>(near), 0.99 * static_cast<double>(n)) << name << " step " << t;
    }
  }
}

// The toy quadratic: p starts at 0, the optimum is a random target, gradients are noisy and their
// scales spread over e^(sigma N(0,1)). Adam is blind to scale, so every sigma should end alike.
double quadratic_error(int bits, bool bnb_codec, double sigma) {
  constexpr int64_t kElements = 8192;
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  Parameter p{"p", Tensor::zeros(device.memory(), {kElements}, DType::f32, Purpose::adapter),
              ctx.empty({kElements}, DType::f32), false};
  const auto optimizer = make(ctx, &p, bits, bnb_codec);
  std::vector<double> target(kElements), scale(kElements);
  const auto site = [](int which) { return RngKey{17, static_cast<uint64_t>(which)}; };
  for (size_t i = 0; i < kElements; ++i) {
    target[i] = random_normal(site(1), i);
    scale[i] = std::exp(sigma * random_normal(site(2), i));
  }
  for (int t = 1; t <= 400; ++t) {
    for (size_t i = 0; i < kElements; ++i) {
      const double noise = 0.1 * testing::bell(static_cast<uint64_t>(t), i);
      p.grad.data<float>()[i] =
          static_cast<float>(1e-3 * scale[i] * (p.value.data<float>()[i] - target[i] + noise));
    }
    optimizer->step(ctx, 3e-2, t, 1);
  }
  double sum = 0;
  for (size_t i = 0; i < kElements; ++i) sum += std::abs(p.value.data<float>()[i] - target[i]);
  return sum / kElements;
}

TEST(AdamW8Bit, CodesOfTheRootOfVTrainAsWellAsFp32) {
  for (const double sigma : {1.5, 2.0, 2.5}) {
    const double fp32 = quadratic_error(32, false, sigma);
    const double root = quadratic_error(8, false, sigma);
    EXPECT_LE(root, 1.1 * fp32) << "sigma " << sigma;
  }
}

TEST(AdamW8Bit, CodesOfVItselfDoNot) {
  EXPECT_GE(quadratic_error(8, true, 2.5), 2 * quadratic_error(32, false, 2.5));
}

TEST(AdamW8Bit, KeepsTwoBytesAParameterAndSmallTensorsInFp32) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  Parameter big{"big", ctx.empty({64, 64}, DType::f32), {}, true};
  Parameter small{"small", ctx.empty({4095}, DType::f32), {}, true};
  EXPECT_EQ(make(ctx, &big, 8)->bytes(), 2 * (4096 + 16 * 4));
  EXPECT_EQ(make(ctx, &small, 8)->bytes(), 2 * 4095 * 4);
  EXPECT_EQ(make(ctx, &big, 32)->bytes(), 2 * 4096 * 4);
}

TEST(AdamW8Bit, DoesNotReadCodesOfVAsCodesOfItsRoot) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  Parameter p{"p", ctx.empty({5000}, DType::f32), {}, true};
  EXPECT_THROW(make(ctx, &p, 8)->load(make(ctx, &p, 8, true)->state()), UserError);
}

}  // namespace
}  // namespace nibble
