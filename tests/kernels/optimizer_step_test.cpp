// Optimizer steps of every tier: the scalar row's bits for every rule, format and type, and states
// that stay honest when they are small.
#include <algorithm>

#include "tests/kernels/array.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::testing {
namespace {

struct RuleCase {
  std::string name;
  OptimizerStep step;
  std::vector<bool> squares;  // of each state: whether it holds squares
};

OptimizerStep numbers(UpdateRule rule) {
  OptimizerStep s;
  s.rule = rule;
  s.lr = 1e-2, s.weight_decay = 0.1, s.eps = 1e-8;
  s.beta1 = 0.9, s.beta2 = 0.99, s.beta3 = 0.999, s.alpha = 0.97;
  s.grad_scale = 0.7, s.scale = 0.9;
  s.rounding = {3, 5, 0, 0};
  return s;
}

std::vector<RuleCase> rule_cases() {
  std::vector<RuleCase> all = {{"adam", numbers(UpdateRule::adam), {false, true}},
                               {"lion", numbers(UpdateRule::lion), {false}},
                               {"sgd", numbers(UpdateRule::sgd), {}},
                               {"rmsprop", numbers(UpdateRule::rmsprop), {true}},
                               {"adagrad", numbers(UpdateRule::adagrad), {true}},
                               {"ademamix", numbers(UpdateRule::ademamix), {false, false, true}},
                               {"lamb", numbers(UpdateRule::lamb), {false, true}},
                               {"lars", numbers(UpdateRule::lars), {}}};
  for (const UpdateRule rule : {UpdateRule::sgd, UpdateRule::lars}) {
    RuleCase c{"momentum", numbers(rule), {false}};
    c.step.momentum = 0.9, c.step.dampening = 0.1;
    all.push_back(c);
    c.name = "nesterov", c.step.dampening = 0, c.step.nesterov = true;
    all.push_back(c);
  }
  RuleCase c{"rmsprop with momentum", numbers(UpdateRule::rmsprop), {true, false}};
  c.step.momentum = 0.9;
  all.push_back(c);
  c.name = "centered rmsprop with momentum", c.step.centered = true,
  c.squares = {true, false, false};
  all.push_back(c);
  c.name = "centered rmsprop", c.step.momentum = 0, c.squares = {true, false};
  all.push_back(c);
  return all;
}

struct Maps {
  std::map<std::string, Tensor> all =
      read_safetensors(golden_path("quant/codebooks/maps.safetensors"));
  const float* of_means = all.at("dynamic_signed").data<float>();
  const float* of_squares = all.at("dynamic_unsigned").data<float>();
};

// A parameter's states and values, stepped on one device.
struct Stepped {
  int64_t n, block;
  Array p, g;
  std::vector<std::vector<float>> wide, absmax;
  std::vector<std::vector<uint8_t>> codes;
  std::vector<StateView> views;
  std::vector<double> sums;

  Stepped(const RuleCase& c, const Maps& maps, int64_t elements, DType dtype, int64_t of_block,
          bool bnb)
      : n(elements),
        block(of_block),
        p(Array::random(dtype, n, 2)),
        g(Array::random(DType::f32, n, 3)),
        sums(static_cast<size_t>(2 * ((n + 4095) / 4096))) {
    const auto size = static_cast<size_t>(n);
    for (size_t k = 0; k < c.squares.size(); ++k) {
      wide.emplace_back(block == 0 ? size : 0);
      codes.emplace_back(block == 0 ? 0 : size);
      absmax.emplace_back(block == 0 ? 0 : size / static_cast<size_t>(block) + 1);
    }
    for (size_t k = 0; k < c.squares.size(); ++k) {
      if (block == 0) {
        views.push_back({wide[k].data()});
      } else {
        const bool root = c.squares[k] && !bnb;
        const float* map = c.squares[k] ? maps.of_squares : maps.of_means;
        views.push_back({codes[k].data(), absmax[k].data(), block, map, root});
      }
    }
  }
  void step(const Device& d, const OptimizerStep& s, bool measured) {
    // Gradients over many scales, a block of zeros, zeros of both signs between others.
    Array now = g;
    for (int64_t i = 0; i < n; ++i) {
      const int shift = static_cast<int>((i * 7 + s.step) % 40);
      now.set(i, i < 300 || i % 11 == 0 ? (i % 2 == 0 ? 0.0 : -0.0)
                                        : std::ldexp(g[i], -shift) * (i % 3 == 0 ? -1 : 1));
    }
    const auto* gradients = static_cast<const float*>(now.raw());
    if (measured) {
      d.kernels().optimizer_norms(d.stream(), n, s, p.dtype(), p.raw(), gradients, views.data(),
                                  sums.data());
    }
    d.kernels().optimizer_step(d.stream(), n, s, p.dtype(), p.raw(), gradients, views.data(), 8192);
  }
  bool operator==(const Stepped& o) const {
    return p == o.p && wide == o.wide && absmax == o.absmax && codes == o.codes && sums == o.sums;
  }
};

void expect_bits_of_scalar(const RuleCase& c, DType dtype, int64_t block, bool bnb,
                           bool stochastic) {
  const Maps maps;
  const Device plain = Device::cpu(1, CpuTier::scalar);
  const bool measured = c.step.rule == UpdateRule::adam || c.step.rule == UpdateRule::sgd ||
                        c.step.rule == UpdateRule::lamb || c.step.rule == UpdateRule::lars;
  on_every_tier([&](const Device& device, DType t) {
    if (t != DType::f32 || device.tier() == CpuTier::scalar) return;
    for (const int64_t n : {int64_t{1}, int64_t{999}, int64_t{9001}}) {
      Stepped want(c, maps, n, dtype, block, bnb), got = Stepped(c, maps, n, dtype, block, bnb);
      for (OptimizerStep s = c.step; s.step <= 3; ++s.step) {
        s.bnb_codec = bnb, s.stochastic = stochastic;
        want.step(plain, s, measured);
        got.step(device, s, measured);
        ASSERT_TRUE(got == want) << c.name << " " << name_of(dtype) << " block " << block << " n "
                                 << n << " step " << s.step << " bnb " << bnb;
      }
    }
  });
}

TEST(OptimizerStep, HasTheBitsOfTheScalarRowOnEveryTier) {
  for (const RuleCase& c : rule_cases()) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      expect_bits_of_scalar(c, dtype, 0, false, false);
      expect_bits_of_scalar(c, dtype, 256, false, false);
      expect_bits_of_scalar(c, dtype, 64, true, false);
    }
    expect_bits_of_scalar(c, DType::bf16, 4096, false, true);
  }
}

// A slice that begins at a multiple of 4096 has the sums of its place, so pages change no norm.
TEST(OptimizerNorms, AreSumsOfSquaresByPiecesOf4096) {
  const Device device = Device::cpu(2);
  const Maps maps;
  const int64_t n = 10000;
  const RuleCase c{"lars", numbers(UpdateRule::lars), {}};
  Stepped all(c, maps, n, DType::f32, 0, false);
  OptimizerStep s = c.step;
  s.lr = 0;
  all.step(device, s, true);
  for (size_t chunk = 0; chunk < 3; ++chunk) {
    double squares = 0;
    for (int64_t i = static_cast<int64_t>(chunk) * 4096;
         i < std::min<int64_t>(n, static_cast<int64_t>(chunk + 1) * 4096); ++i) {
      squares += all.p[i] * all.p[i];
    }
    EXPECT_NEAR(all.sums[2 * chunk], squares, 1e-12 * squares);
  }
  std::vector<double> slice(2);
  device.kernels().optimizer_norms(device.stream(), 4096, s, DType::f32, all.p.at(4096),
                                   static_cast<const float*>(all.g.at(4096)), nullptr,
                                   slice.data());
  EXPECT_EQ(slice[0], all.sums[2]);
}

TEST(OptimizerStep, KeepsTheSignOfSmallMeansAndSmallRootsAboveZero) {
  const Device device = Device::cpu(1);
  const Maps maps;
  std::vector<float> p(256, 1), g(256), m_scale(1), v_scale(1);
  std::vector<uint8_t> m(256), v(256);
  const StateView views[] = {{m.data(), m_scale.data(), 256, maps.of_means, false},
                             {v.data(), v_scale.data(), 256, maps.of_squares, true}};
  for (size_t i = 0; i < 256; ++i)
    g[i] = std::ldexp(i % 2 == 0 ? 1.0f : -1.0f, -static_cast<int>(i) / 4);
  OptimizerStep s;
  s.lr = 1e-3, s.beta1 = 0.9, s.beta2 = 0.999, s.eps = 1e-8;
  for (; s.step < 40; ++s.step) {  // a v that was small never lets m / eps leap
    device.kernels().optimizer_step(device.stream(), 256, s, DType::f32, p.data(), g.data(), views,
                                    0);
    for (size_t i = 0; i < 256; ++i) {
      const float mean = maps.of_means[m[i]];
      ASSERT_TRUE(g[i] < 0 ? mean < 0 : mean >= 0) << i << " " << mean;
      ASSERT_GE(v[i], 1) << i;
      ASSERT_LT(std::abs(p[i] - 1), 2e-3 * static_cast<double>(s.step)) << i;
    }
  }
}

// bf16 has steps of 2^-8 at 1: a decay of 1e-5 a step is far below half of one.
TEST(OptimizerStep, LetsDecayThatRoundsAwayActOnAverage) {
  const Device device = Device::cpu(2);
  const size_t n = 20000;
  for (const DType dtype : {DType::bf16, DType::f16}) {
    Array p(dtype, std::vector<double>(n, 1.0)), nearest = p;
    const std::vector<float> g(n);
    OptimizerStep s;
    s.rule = UpdateRule::sgd;
    s.lr = 1e-3, s.weight_decay = 1e-2, s.rounding = {1, 2, 0, 0};
    for (; s.step <= 100; ++s.step) {
      s.stochastic = true;
      device.kernels().optimizer_step(device.stream(), n, s, dtype, p.raw(), g.data(), nullptr, 0);
      s.stochastic = false;
      device.kernels().optimizer_step(device.stream(), n, s, dtype, nearest.raw(), g.data(),
                                      nullptr, 0);
    }
    double mean = 0;
    for (size_t i = 0; i < n; ++i) mean += p[static_cast<int64_t>(i)] / static_cast<double>(n);
    EXPECT_EQ(nearest[0], 1) << name_of(dtype);
    // 1 - (1 - 1e-5)^100 = 1e-3; a mean of 20000 such sums deviates by some 1e-5
    EXPECT_NEAR(1 - mean, 1e-3, 8e-5) << name_of(dtype);
  }
}

TEST(OptimizerStep, RoundsStochasticallyToNeighboursOnly) {
  const Device device = Device::cpu(1);
  for (const DType dtype : {DType::bf16, DType::f16}) {
    for (const double value : {0.7, -3.1, 1e-6, -2e-7, 65000.0}) {
      const size_t n = 4000;
      Array p = Array::zeros(dtype, static_cast<int64_t>(n));
      // From 0 by a step of -lr g = value, which lies between two numbers of the type.
      const std::vector<float> g(n, static_cast<float>(-value));
      OptimizerStep s;
      s.rule = UpdateRule::sgd, s.lr = 1, s.stochastic = true, s.rounding = {9, 9, 0, 0};
      device.kernels().optimizer_step(device.stream(), static_cast<int64_t>(n), s, dtype, p.raw(),
                                      g.data(), nullptr, 0);
      const auto exact = static_cast<double>(static_cast<float>(value));
      double low = p[0], high = p[0], mean = 0;
      for (size_t i = 0; i < n; ++i) {
        const double x = p[static_cast<int64_t>(i)];
        low = std::min(low, x), high = std::max(high, x), mean += x / static_cast<double>(n);
      }
      ASSERT_LT(low, exact) << value << name_of(dtype);
      ASSERT_GT(high, exact) << value << name_of(dtype);
      EXPECT_NEAR(mean, exact, (high - low) * 0.04) << value;
      Array near(dtype, {exact});
      EXPECT_TRUE(near[0] == low || near[0] == high) << value;
    }
  }
}

}  // namespace
}  // namespace nibble::testing
