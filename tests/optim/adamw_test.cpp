// Thirty steps of AdamW against fp64 and against bitsandbytes' traces; states that come back.
#include "optim/optimizer.h"

#include <gtest/gtest.h>

#include <cstring>

#include "tests/optim/traces.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

using testing::trace_gradient;
using testing::trace_start;

constexpr uint64_t kSeed = 1001;

// A parameter of the traces and its gradients.
struct Subject {
  Parameter p;
  uint64_t part;

  Subject(const Ctx& ctx, int64_t n, uint64_t which, uint64_t seed = kSeed) : part(which) {
    p.name = cat("layer", which, ".weight");
    p.value = ctx.empty({n}, DType::f32, Purpose::adapter);
    p.grad = ctx.empty({n}, DType::f32, Purpose::gradient);
    for (int64_t i = 0; i < n; ++i) p.value.data<float>()[i] = trace_start(seed, part, index(i));
  }
  static uint64_t index(int64_t i) { return static_cast<uint64_t>(i); }
  void set_gradient(uint64_t step, uint64_t seed = kSeed) {
    for (int64_t i = 0; i < p.grad.numel(); ++i) {
      p.grad.data<float>()[i] = trace_gradient(seed, step, part, index(i));
    }
  }
};

// A rule and the width of its states.
struct Kind {
  std::string rule;
  int bits = 32;
};

std::unique_ptr<Optimizer> make(const Ctx& ctx, const Kind& kind,
                                const std::vector<Parameter*>& parameters,
                                const testing::TraceCase& c = {0, 0.914, 0.9923, 1e-8, 0.1133, 1}) {
  OptimizerOptions options;
  options.rule = kind.rule;
  options.numbers.beta1 = c.beta1, options.numbers.beta2 = c.beta2, options.numbers.eps = c.eps;
  std::vector<TrainedParameter> trained;
  for (Parameter* p : parameters) {
    ParameterSettings settings;
    settings.state.bits = kind.bits;
    settings.weight_decay = p->decays ? c.weight_decay : 0;
    trained.push_back({p, settings});
  }
  return Optimizer::make(ctx, options, trained);
}

std::string bytes(const Tensor& t) {
  return {static_cast<const char*>(t.raw()), static_cast<size_t>(t.bytes())};
}

TEST(AdamW, FollowsItsFormulaInFp64ForThirtySteps) {
  for (const bool decays : {true, false}) {
    const Device device = Device::cpu(2);
    const Ctx ctx(device, DType::f32);
    Subject s(ctx, 500, 1);
    s.p.decays = decays;
    const auto optimizer = make(ctx, {"adamw"}, {&s.p});
    std::vector<double> p(500), m(500), v(500);
    for (size_t i = 0; i < 500; ++i) p[i] = s.p.value.data<float>()[i];
    const double lr = 8e-4, scale = 0.5511;
    for (int t = 1; t <= 30; ++t) {
      s.set_gradient(static_cast<uint64_t>(t));
      optimizer->step(ctx, lr, t, scale);
      for (size_t i = 0; i < 500; ++i) {
        const double g = scale * s.p.grad.data<float>()[i];
        if (decays) p[i] -= lr * 0.1133 * p[i];
        m[i] = 0.914 * m[i] + (1 - 0.914) * g;
        v[i] = 0.9923 * v[i] + (1 - 0.9923) * g * g;
        p[i] -= lr / (1 - std::pow(0.914, t)) * m[i] /
                (std::sqrt(v[i]) / std::sqrt(1 - std::pow(0.9923, t)) + 1e-8);
      }
    }
    for (size_t i = 0; i < 500; ++i) {
      ASSERT_NEAR(s.p.value.data<float>()[i], p[i], 1e-6 + 4e-6 * std::abs(p[i])) << i;
    }
  }
}

TEST(AdamW, MatchesThe32BitTracesOfBitsandbytes) {
  NIBBLE_REQUIRE_DATA(directory, "golden/quantization/optim");
  const testing::Traces traces = testing::read_traces(directory);
  for (const char* name : {"adamw32", "adamw32_gscale"}) {
    const testing::TraceCase& c = traces.cases.at(name);
    testing::Trace golden = testing::read_trace(cat(directory, "/", name, ".safetensors"));
    for (uint64_t part = 0; part < 2; ++part) {
      const std::string key = part == 0 ? "big" : "small";
      if (golden.count(key + ".s1.p") == 0) continue;
      const Device device = Device::cpu(1);
      const Ctx ctx(device, DType::f32);
      Subject s(ctx, traces.sizes[part], part, traces.seed);
      const auto optimizer = make(ctx, {"adamw"}, {&s.p}, c);
      for (int t = 1; t <= 30; ++t) {
        s.set_gradient(static_cast<uint64_t>(t), traces.seed);
        optimizer->step(ctx, c.lr, t, c.gradient_scale);
        const auto found = golden.find(cat(key, ".s", t, ".p"));
        if (found == golden.end()) continue;
        for (int64_t i = 0; i < traces.sizes[part]; ++i) {
          const float want = found->second.data<float>()[i];
          ASSERT_NEAR(s.p.value.data<float>()[i], want, t * (1e-6 + 2e-6 * std::abs(want)))
              << name << " " << key << " step " << t << " element " << i;
        }
      }
    }
  }
}

class EveryOptimizer : public ::testing::TestWithParam<Kind> {
 protected:
  Device device_ = Device::cpu(2);
  Ctx ctx_{device_, DType::f32};
};

TEST_P(EveryOptimizer, ResumesToTheSameBits) {
  Subject a(ctx_, 5000, 0), b(ctx_, 300, 1), resumed_a(ctx_, 5000, 0), resumed_b(ctx_, 300, 1);
  const auto whole = make(ctx_, GetParam(), {&a.p, &b.p});
  std::unique_ptr<Optimizer> resumed;
  for (int t = 1; t <= 12; ++t) {
    for (Subject* s : {&a, &b}) s->set_gradient(static_cast<uint64_t>(t));
    whole->step(ctx_, 1e-3, t, 1);
    if (t == 5) {
      resumed = make(ctx_, GetParam(), {&resumed_a.p, &resumed_b.p});
      resumed->load(whole->state());
      for (const auto& [from, to] : {std::pair(&a, &resumed_a), std::pair(&b, &resumed_b)}) {
        std::memcpy(to->p.value.raw(), from->p.value.raw(),
                    static_cast<size_t>(from->p.value.bytes()));
      }
    } else if (resumed) {
      for (Subject* s : {&resumed_a, &resumed_b}) s->set_gradient(static_cast<uint64_t>(t));
      resumed->step(ctx_, 1e-3, t, 1);
    }
  }
  EXPECT_EQ(bytes(a.p.value), bytes(resumed_a.p.value));
  EXPECT_EQ(bytes(b.p.value), bytes(resumed_b.p.value));
  const NamedTensors x = whole->state(), y = resumed->state();
  ASSERT_EQ(x.size(), y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(x[i].first, y[i].first);
    EXPECT_EQ(bytes(x[i].second), bytes(y[i].second)) << x[i].first;
  }
}

TEST_P(EveryOptimizer, RefusesAStateThatIsNotItsOwn) {
  Subject s(ctx_, 5000, 0);
  const auto optimizer = make(ctx_, GetParam(), {&s.p});
  const NamedTensors good = optimizer->state();
  NamedTensors missing(good.begin() + 1, good.end()), extra = good, shape = good, twice = good;
  extra.emplace_back("stranger.exp_avg", good[0].second);
  shape[0].second = ctx_.empty({4999}, good[0].second.dtype());
  twice.push_back(good[0]);
  for (const auto& [bad, says] :
       {std::pair(missing, "missing"), std::pair(extra, "stranger.exp_avg"),
        std::pair(shape, "(4999)"), std::pair(twice, "twice")}) {
    try {
      optimizer->load(bad);
      FAIL() << says;
    } catch (const UserError& e) {
      EXPECT_EQ(e.code(), Exit::bad_data);
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
    }
  }
  optimizer->load(good);
}

TEST_P(EveryOptimizer, LeavesAParameterWithoutAGradientAsItIs) {
  Subject s(ctx_, 5000, 0);
  const std::string before = bytes(s.p.value);
  const auto optimizer = make(ctx_, GetParam(), {&s.p});
  s.p.grad = Tensor();
  optimizer->step(ctx_, 1e-3, 1, 1);
  EXPECT_EQ(bytes(s.p.value), before);
}

TEST_P(EveryOptimizer, NeverMovesAnElementWhoseGradientIsZeroButForDecay) {
  Subject s(ctx_, 5000, 0);
  s.p.decays = false;
  const std::vector<float> before(s.p.value.data<float>(), s.p.value.data<float>() + 5000);
  const auto optimizer = make(ctx_, GetParam(), {&s.p});
  for (int t = 1; t <= 50; ++t) {
    s.set_gradient(static_cast<uint64_t>(t));
    optimizer->step(ctx_, 1e-2, t, 1);
  }
  for (size_t i = 3; i < 5000; i += 29) EXPECT_EQ(s.p.value.data<float>()[i], before[i]);
  EXPECT_NE(s.p.value.data<float>()[4], before[4]);
}

TEST_P(EveryOptimizer, GivesTheSameBitsOnAnyNumberOfThreads) {
  const Device one = Device::cpu(1), four = Device::cpu(4);
  std::string results[2];
  for (const auto& [device, result] :
       {std::pair(&one, &results[0]), std::pair(&four, &results[1])}) {
    const Ctx ctx(*device, DType::f32);
    Subject s(ctx, 20000, 0);
    const auto optimizer = make(ctx, GetParam(), {&s.p});
    for (int t = 1; t <= 3; ++t) {
      s.set_gradient(static_cast<uint64_t>(t));
      optimizer->step(ctx, 1e-3, t, 1);
    }
    *result = bytes(s.p.value);
  }
  EXPECT_EQ(results[0], results[1]);
}

std::vector<Kind> kinds() {
  std::vector<Kind> all;
  for (const std::string& rule : Optimizer::names()) {
    for (const int bits : {32, 8}) all.push_back({rule, bits});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Optimizers, EveryOptimizer, ::testing::ValuesIn(kinds()),
                         [](const ::testing::TestParamInfo<Kind>& info) {
                           return cat(info.param.rule, "_", info.param.bits);
                         });

TEST(Optimizer, NamesTheNearestWhenItDoesNotKnowOne) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  try {
    make(ctx, {"adamv"}, {});
    FAIL();
  } catch (const UserError& e) {
    EXPECT_NE(e.hint().find("adamw"), std::string::npos);
  }
}

TEST(Optimizer, RefusesANumberThatItsRuleDoesNotUse) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  OptimizerOptions options;
  options.numbers.momentum = 0.9;
  try {
    Optimizer::make(ctx, options, {});
    FAIL();
  } catch (const UserError& e) {
    EXPECT_EQ(e.where().str(), "optim_args.momentum");
    EXPECT_NE(e.hint().find("beta1"), std::string::npos) << e.hint();
  }
}

}  // namespace
}  // namespace nibble
