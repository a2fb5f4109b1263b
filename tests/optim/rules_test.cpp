// Every rule against its published formula in fp64, with the options that the stored traces do not
// reach.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/optim/subject.h"

namespace nibble::testing {
namespace {

using Doubles = std::vector<double>;

// A tensor in fp64 and its states, all from zero.
struct Reference {
  Doubles p, a, b, c;
  double lr = 0, decay = 0, t = 0;
  explicit Reference(const Subject& s) : p(static_cast<size_t>(s.size())), a(p), b(p), c(p) {
    for (size_t i = 0; i < p.size(); ++i) p[i] = s.value(static_cast<int64_t>(i));
  }
};
using Formula = void (*)(Reference&, const Doubles& g);

double norm(const Doubles& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

void sgd_nesterov(Reference& r, const Doubles& gradient) {
  for (size_t i = 0; i < r.p.size(); ++i) {
    const double g = gradient[i] + r.decay * r.p[i];
    r.a[i] = r.t == 1 ? g : 0.8 * r.a[i] + g;
    r.p[i] -= r.lr * (g + 0.8 * r.a[i]);
  }
}
void sgd_damped(Reference& r, const Doubles& gradient) {
  for (size_t i = 0; i < r.p.size(); ++i) {
    const double g = gradient[i] + r.decay * r.p[i];
    r.a[i] = r.t == 1 ? g : 0.8 * r.a[i] + 0.7 * g;
    r.p[i] -= r.lr * r.a[i];
  }
}
void sgd_plain(Reference& r, const Doubles& g) {
  for (size_t i = 0; i < r.p.size(); ++i) r.p[i] -= r.lr * (g[i] + r.decay * r.p[i]);
}
// PyTorch's form: the second moment less the square of the mean.
void rmsprop_centered(Reference& r, const Doubles& gradient) {
  for (size_t i = 0; i < r.p.size(); ++i) {
    const double g = gradient[i] + r.decay * r.p[i];
    r.a[i] = 0.95 * r.a[i] + 0.05 * g * g;
    r.b[i] = 0.95 * r.b[i] + 0.05 * g;
    r.c[i] = 0.5 * r.c[i] + g / (std::sqrt(r.a[i] - r.b[i] * r.b[i]) + 1e-3);
    r.p[i] -= r.lr * r.c[i];
  }
}
void rmsprop_momentum(Reference& r, const Doubles& gradient) {
  for (size_t i = 0; i < r.p.size(); ++i) {
    const double g = gradient[i] + r.decay * r.p[i];
    r.a[i] = 0.95 * r.a[i] + 0.05 * g * g;
    r.c[i] = 0.5 * r.c[i] + g / (std::sqrt(r.a[i]) + 1e-3);
    r.p[i] -= r.lr * r.c[i];
  }
}
void adagrad_decayed(Reference& r, const Doubles& gradient) {
  for (size_t i = 0; i < r.p.size(); ++i) {
    const double g = gradient[i] + r.decay * r.p[i];
    if (r.t == 1) r.a[i] = 0.01;
    r.a[i] += g * g;
    r.p[i] -= r.lr / (1 + (r.t - 1) * 0.1) * g / (std::sqrt(r.a[i]) + 1e-10);
  }
}
void adam(Reference& r, const Doubles& g) {
  for (size_t i = 0; i < r.p.size(); ++i) {
    r.p[i] -= r.lr * r.decay * r.p[i];
    r.a[i] = 0.9 * r.a[i] + 0.1 * g[i];
    r.b[i] = 0.999 * r.b[i] + 0.001 * g[i] * g[i];
    r.p[i] -= r.lr / (1 - std::pow(0.9, r.t)) * r.a[i] /
              (std::sqrt(r.b[i] / (1 - std::pow(0.999, r.t))) + 1e-8);
  }
}
void lion(Reference& r, const Doubles& g) {
  for (size_t i = 0; i < r.p.size(); ++i) {
    const double c = 0.9 * r.a[i] + 0.1 * g[i];
    r.p[i] -= r.lr * ((c > 0) - (c < 0)) + r.lr * r.decay * r.p[i];
    r.a[i] = 0.99 * r.a[i] + 0.01 * g[i];
  }
}
void lamb(Reference& r, const Doubles& g) {
  Doubles u(r.p.size());
  for (size_t i = 0; i < r.p.size(); ++i) {
    r.a[i] = 0.9 * r.a[i] + 0.1 * g[i];
    r.b[i] = 0.999 * r.b[i] + 0.001 * g[i] * g[i];
    u[i] = r.a[i] / (1 - std::pow(0.9, r.t)) /
               (std::sqrt(r.b[i] / (1 - std::pow(0.999, r.t))) + 1e-6) +
           r.decay * r.p[i];
  }
  const double trust = norm(r.p) / norm(u);
  for (size_t i = 0; i < r.p.size(); ++i) r.p[i] -= r.lr * trust * u[i];
}
void lars(Reference& r, const Doubles& g) {
  const double local = 0.01 * norm(r.p) / (norm(g) + r.decay * norm(r.p));
  for (size_t i = 0; i < r.p.size(); ++i) {
    const double step = r.lr * local * (g[i] + r.decay * r.p[i]);
    r.a[i] = r.t == 1 ? step : 0.9 * r.a[i] + step;
    r.p[i] -= r.a[i];
  }
}

struct Case {
  const char* name;
  const char* rule;
  RuleOptions numbers;
  Formula formula;
};

std::vector<Case> cases() {
  return {
      {"sgd_nesterov", "sgd", {.momentum = 0.8, .nesterov = true}, sgd_nesterov},
      {"sgd_damped", "sgd", {.momentum = 0.8, .dampening = 0.3}, sgd_damped},
      {"sgd_plain", "sgd", {.momentum = 0}, sgd_plain},
      {"rmsprop_centered",
       "rmsprop",
       {.eps = 1e-3, .momentum = 0.5, .centered = true, .alpha = 0.95},
       rmsprop_centered},
      {"rmsprop_momentum",
       "rmsprop",
       {.eps = 1e-3, .momentum = 0.5, .alpha = 0.95},
       rmsprop_momentum},
      {"adagrad_decayed",
       "adagrad",
       {.lr_decay = 0.1, .initial_accumulator_value = 0.01},
       adagrad_decayed},
      {"adamw", "adamw", {}, adam},
      {"adam", "adam", {}, adam},
      {"lion", "lion", {}, lion},
      {"lamb", "lamb", {}, lamb},
      {"lars", "lars", {.trust_coefficient = 0.01}, lars},
  };
}

class Rules : public ::testing::TestWithParam<Case> {};

TEST_P(Rules, FollowTheirFormulaForThirtySteps) {
  const Case& c = GetParam();
  for (const int bits : {32, 8}) {
    const Device device = Device::cpu(1);
    const Ctx ctx(device, DType::f32);
    Subject s(ctx, 9001, 0);
    OptimizerOptions options;
    options.rule = c.rule, options.numbers = c.numbers;
    ParameterSettings settings;
    settings.state.bits = bits, settings.weight_decay = 0.05;
    const auto optimizer = make_optimizer(ctx, options, settings, {&s});
    Reference r(s);
    const Doubles start = r.p;
    r.lr = 2e-3, r.decay = 0.05;
    for (r.t = 1; r.t <= 30; ++r.t) {
      s.set_gradient(static_cast<int64_t>(r.t));
      optimizer->step(ctx, r.lr, static_cast<int64_t>(r.t), 0.5);
      Doubles g(r.p.size());
      for (size_t i = 0; i < g.size(); ++i) g[i] = 0.5 * s.p.grad.data<float>()[i];
      c.formula(r, g);
    }
    double apart = 0, moved = 0, far = 0;
    for (size_t i = 0; i < r.p.size(); ++i) {
      const double error = std::abs(s.value(static_cast<int64_t>(i)) - r.p[i]);
      apart += error, moved += std::abs(r.p[i] - start[i]);
      far += error > 2e-6 + 1e-5 * std::abs(r.p[i]) ? 1 : 0;
    }
    // Lion's sign turns on the last bit of a sum near 0.
    const bool signs = std::string(c.rule) == "lion";
    if (bits == 32) {
      EXPECT_LE(far, signs ? 3 : 0) << c.name;
    }
    // A code of a mean may be some percent off.
    const double share = bits == 32 ? 1e-4 : signs ? 0.06 : 0.04;
    EXPECT_LE(apart, share * moved) << c.name << " " << bits << " bits";
  }
}

INSTANTIATE_TEST_SUITE_P(Every, Rules, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return std::string(info.param.name); });

// You et al. scale by norms; of a tensor of zeros there is none, and it must move all the same.
TEST(Rules, WithTrustRatiosMoveATensorThatStartsAtZero) {
  const Device device = Device::cpu(1);
  const Ctx ctx(device, DType::f32);
  for (const char* rule : {"lamb", "lars"}) {
    Subject s(ctx, 300, 0);
    std::fill_n(s.p.value.data<float>(), 300, 0.0F);
    OptimizerOptions options;
    options.rule = rule;
    const auto optimizer = make_optimizer(ctx, options, {}, {&s});
    s.set_gradient(1);
    optimizer->step(ctx, 1e-3, 1, 1);
    EXPECT_NE(s.value(0), 0) << rule;
  }
}

}  // namespace
}  // namespace nibble::testing
