// AdamW against the update rule written in double, and against stored traces of other programs.
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/kernels/array.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::testing {
namespace {

using Floats = std::vector<float>;
using Tensors = std::map<std::string, Tensor>;

// The generator of the stored traces (golden/quantization/optim/README.md).
uint64_t mixed(uint64_t seed, uint64_t i) {
  uint64_t z = i * 0x9E3779B97F4A7C15u + seed * 0xD1B54A32D192ED03u;
  z ^= z >> 30;
  z *= 0xBF58476D1CE4E5B9u;
  z ^= z >> 27;
  z *= 0x94D049BB133111EBu;
  return z ^ z >> 31;
}
float bell(uint64_t seed, uint64_t i) {
  const uint64_t z = mixed(seed, i);
  int64_t sum = -131070;
  for (int k = 0; k < 64; k += 16) sum += static_cast<int64_t>(z >> k & 0xffff);
  return static_cast<float>(static_cast<double>(sum) / 65536);
}
float start(uint64_t seed, uint64_t par, uint64_t i) { return bell(seed * 7 + par, i); }
float gradient(uint64_t seed, uint64_t step, uint64_t par, uint64_t i) {
  if (i % 29 == 3) return 0;
  const uint64_t g = seed * 10000 + step * 10 + par * 2;
  return std::ldexp(bell(g, i), -6 - static_cast<int>(mixed(g + 1, i) % 6));
}
Floats gradients(uint64_t seed, uint64_t step, uint64_t par, size_t n) {
  Floats out(n);
  for (size_t i = 0; i < n; ++i) out[i] = gradient(seed, step, par, i);
  return out;
}

struct States8 {
  Floats p;
  std::vector<uint8_t> m_codes, v_codes;
  Floats m_absmax, v_absmax;

  explicit States8(Floats start)
      : p(std::move(start)),
        m_codes(p.size()),
        v_codes(p.size()),
        m_absmax((p.size() + 255) / 256),
        v_absmax(m_absmax) {}
};

struct Maps {
  Tensors all = read_safetensors(golden_path("quant/codebooks/maps.safetensors"));
  const float* of_m = all.at("dynamic_signed").data<float>();
  const float* of_v = all.at("dynamic_unsigned").data<float>();
};

void step8(const Device& device, const AdamWStep& step, const Maps& maps, const Floats& g,
           bool sqrt_v, States8& s) {
  device.kernels().adamw_8bit(device.stream(), static_cast<int64_t>(s.p.size()), step, 256,
                              s.p.data(), g.data(), s.m_codes.data(), s.m_absmax.data(),
                              s.v_codes.data(), s.v_absmax.data(), maps.of_m, maps.of_v, sqrt_v);
}

TEST(AdamW, ThirtyStepsFollowTheRuleInDouble) {
  on_every_tier([](const Device& device, DType dtype) {
    if (dtype != DType::f32) return;
    const size_t n = 1003;
    Floats p(n), m(n), v(n);
    std::vector<double> want(n), wm(n), wv(n);
    for (size_t i = 0; i < n; ++i) want[i] = p[i] = start(3, 0, i);
    AdamWStep s{2e-3, 0.9, 0.98, 1e-7, 0.05, 1, 0.5};
    for (; s.step <= 30; ++s.step) {
      const Floats g = gradients(3, static_cast<uint64_t>(s.step), 0, n);
      device.kernels().adamw(device.stream(), static_cast<int64_t>(n), s, p.data(), g.data(),
                             m.data(), v.data());
      const auto t = static_cast<double>(s.step);
      for (size_t i = 0; i < n; ++i) {
        const double grad = static_cast<double>(g[i]) * s.grad_scale;
        want[i] *= 1 - s.lr * s.weight_decay;
        wm[i] = s.beta1 * wm[i] + (1 - s.beta1) * grad;
        wv[i] = s.beta2 * wv[i] + (1 - s.beta2) * grad * grad;
        const double root = std::sqrt(wv[i]) / std::sqrt(1 - std::pow(s.beta2, t));
        want[i] -= s.lr / (1 - std::pow(s.beta1, t)) * wm[i] / (root + s.eps);
        ASSERT_NEAR(p[i], want[i], 2e-6 + 2e-6 * std::abs(want[i])) << i << " step " << s.step;
      }
    }
  });
}

TEST(AdamW, ZeroGradientsMoveNothingNotEvenWithoutEps) {
  const Device device = Device::cpu(2);
  const Maps maps;
  Floats start_values(1000);
  for (size_t i = 0; i < 1000; ++i) start_values[i] = i % 7 == 0 ? -0.0f : start(5, 0, i);
  for (const double eps : {1e-8, 0.0}) {
    for (const bool sqrt_v : {false, true}) {
      Floats p = start_values, m(1000), v(1000);
      States8 s(start_values);
      for (int64_t t = 1; t <= 50; ++t) {
        Floats g = gradients(5, static_cast<uint64_t>(t), 0, 1000);
        for (size_t i = 0; i < 1000; i += 3) g[i] = i % 2 == 0 ? 0.0f : -0.0f;
        const AdamWStep step{1e-2, 0.9, 0.99, eps, 0, t, 1};
        device.kernels().adamw(device.stream(), 1000, step, p.data(), g.data(), m.data(), v.data());
        step8(device, step, maps, g, sqrt_v, s);
      }
      for (size_t i = 0; i < 1000; i += 3) {
        ASSERT_EQ(bits_of(p[i]), bits_of(start_values[i])) << i;
        ASSERT_EQ(bits_of(s.p[i]), bits_of(start_values[i])) << i;
      }
      EXPECT_NE(s.p[1], start_values[1]);
    }
  }
}

TEST(AdamW, SmallStatesKeepTheirSignAndStayAboveZero) {
  const Device device = Device::cpu(1);
  const Maps maps;
  States8 s(Floats(256, 1.0f));
  Floats g(256);
  for (size_t i = 0; i < 256; ++i)
    g[i] = std::ldexp(i % 2 == 0 ? 1.0f : -1.0f, -static_cast<int>(i) / 4);
  step8(device, {1e-3, 0.9, 0.999, 1e-8, 0, 1, 1}, maps, g, true, s);
  for (size_t i = 0; i < 256; ++i) {
    const float m = maps.of_m[s.m_codes[i]];
    EXPECT_TRUE(g[i] < 0 ? m < 0 : m >= 0) << i << " " << m;
    EXPECT_GE(s.v_codes[i], 1) << i;
    EXPECT_LT(std::abs(s.p[i] - 1), 1.1e-3) << i;
  }
  for (int64_t t = 2; t < 40; ++t) {  // a v that was small never lets m / eps leap
    step8(device, {1e-3, 0.9, 0.999, 1e-8, 0, t, 1}, maps, g, true, s);
    for (size_t i = 0; i < 256; ++i)
      ASSERT_LT(std::abs(s.p[i] - 1), 2e-3 * static_cast<double>(t)) << i;
  }
}

// How far 8-bit states end from fp32 ones, relative to the way that was moved, when the gradients
// of a block lie up to four decades apart.
double drift(bool sqrt_v) {
  const Device device = Device::cpu(2);
  const Maps maps;
  const size_t n = 4096;
  Floats p(n), m(n), v(n);
  States8 s(p);
  for (int64_t t = 1; t <= 100; ++t) {
    Floats g = gradients(8, static_cast<uint64_t>(t), 0, n);
    for (size_t i = 0; i < n; ++i) {
      g[i] = (g[i] + 0.01f) * std::ldexp(1.0f, -static_cast<int>(mixed(1, i) % 14));
    }
    const AdamWStep step{1e-3, 0.9, 0.99, 1e-8, 0, t, 1};
    device.kernels().adamw(device.stream(), static_cast<int64_t>(n), step, p.data(), g.data(),
                           m.data(), v.data());
    step8(device, step, maps, g, sqrt_v, s);
  }
  double error = 0, moved = 0;
  for (size_t i = 0; i < n; ++i) {
    error += std::abs(static_cast<double>(s.p[i]) - static_cast<double>(p[i]));
    moved += std::abs(static_cast<double>(p[i]));
  }
  return error / moved;
}

TEST(AdamW, RootedCodesTrackTheFp32StatesOverManyScales) {
  EXPECT_LT(drift(true), 0.08);
  EXPECT_GT(drift(false), 2 * drift(true));
}

nlohmann::json case_named(const nlohmann::json& all, const std::string& name) {
  for (const auto& c : all.at("cases")) {
    if (c.at("file") == name) return c;
  }
  throw std::runtime_error("no case " + name);
}

AdamWStep settings(const nlohmann::json& c) {
  const nlohmann::json& h = c.contains("hyper") ? c.at("hyper") : c;
  AdamWStep s;
  s.lr = h.at("lr");
  s.beta1 = h.at("betas").at(0);
  s.beta2 = h.at("betas").at(1);
  s.eps = h.at("eps");
  s.weight_decay = h.at("weight_decay");
  s.grad_scale = c.value("gnorm_scale", 1.0);
  return s;
}

TEST(AdamW, Fp32StatesFollowTheStoredTraces) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  const nlohmann::json all = nlohmann::json::parse(std::ifstream(folder + "/cases.json"));
  const uint64_t seed = all.at("seed");
  const size_t n = all.at("n_small");
  const Device device = Device::cpu(1);
  for (const std::string name : {"adamw32", "adamw32_gscale"}) {
    const Tensors t = read_safetensors(folder + "/" + name + ".safetensors");
    AdamWStep s = settings(case_named(all, name));
    Floats p(n), m(n), v(n);
    for (size_t i = 0; i < n; ++i) p[i] = start(seed, 1, i);
    for (s.step = 1; s.step <= 30; ++s.step) {
      const Floats g = gradients(seed, static_cast<uint64_t>(s.step), 1, n);
      device.kernels().adamw(device.stream(), static_cast<int64_t>(n), s, p.data(), g.data(),
                             m.data(), v.data());
      const std::string prefix = cat("small.s", s.step, ".");
      if (t.count(prefix + "p") == 0) continue;
      for (size_t i = 0; i < n; ++i) {
        const auto near = [&](float got, const char* what) {
          const float want = t.at(prefix + what).data<float>()[i];
          ASSERT_NEAR(got, want, (1e-6 + 2e-6 * std::abs(want)) * static_cast<double>(s.step))
              << name << " " << prefix << what << " " << i;
        };
        near(p[i], "p");
        near(m[i], "state1");
        near(v[i], "state2");
      }
    }
  }
}

TEST(AdamW, EightBitCodesFollowTheStoredTraces) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/optim");
  const nlohmann::json all = nlohmann::json::parse(std::ifstream(folder + "/cases.json"));
  const uint64_t seed = all.at("seed");
  const size_t n = all.at("n_big");
  const Device device = Device::cpu(2);
  const Maps maps;
  for (const std::string name : {"own_adamw8", "own_adam8_nowd_gscale"}) {
    const Tensors t = read_safetensors(folder + "/" + name + ".safetensors");
    AdamWStep step = settings(case_named(all, name));
    Floats p(n);
    for (size_t i = 0; i < n; ++i) p[i] = start(seed, 0, i);
    States8 s(p);
    for (step.step = 1; step.step <= 30; ++step.step) {
      step8(device, step, maps, gradients(seed, static_cast<uint64_t>(step.step), 0, n), false, s);
      const std::string prefix = cat("big.s", step.step, ".");
      if (t.count(prefix + "p") == 0) continue;
      const double allowed = step.step == 1 ? 0.001 : step.step <= 5 ? 0.005 : 0.02;
      const auto different = [&](const std::vector<uint8_t>& mine, const char* what) {
        double count = 0;
        for (size_t i = 0; i < n; ++i) {
          const int gap = std::abs(mine[i] - t.at(prefix + what).data<uint8_t>()[i]);
          count += gap != 0 ? 1 : 0;
          EXPECT_LE(gap, step.step <= 5 ? 1 : 255) << prefix << what << " " << i;
        }
        return count / static_cast<double>(n);
      };
      EXPECT_LE(different(s.m_codes, "state1"), allowed) << name << prefix;
      EXPECT_LE(different(s.v_codes, "state2"), allowed) << name << prefix;
      double outside = 0;
      for (size_t i = 0; i < n; ++i) {
        const double want = static_cast<double>(t.at(prefix + "p").data<float>()[i]);
        const double bound = 1e-5 + 1e-3 * step.lr * static_cast<double>(step.step);
        outside += std::abs(s.p[i] - want) > bound ? 1 : 0;
      }
      EXPECT_LE(outside / static_cast<double>(n), 0.01) << name << prefix;
    }
  }
}

}  // namespace
}  // namespace nibble::testing
