// RMSNorm and layer normalisation, of whole rows and of groups: forward against the formula in
// double, backward against central differences of that formula.
#include <cmath>

#include "tests/kernels/differences.h"

namespace nibble::testing {
namespace {

// What is normalised, and by which weights.
struct Case {
  int64_t rows, groups, width;
  bool own = false;  // every group has its own weights
  double offset = 0;
  int64_t gap = 0;  // columns that belong to somebody else, behind each row

  int64_t cols() const { return groups * width; }
  int64_t pitch() const { return cols() + gap; }
  int64_t ldw() const { return own ? width : 0; }
  int64_t weights() const { return own ? cols() : width; }
  size_t weight(int64_t c) const { return static_cast<size_t>(own ? c : c % width); }
};
const Case kCases[] = {{5, 1, 1},
                       {5, 1, 63},
                       {5, 1, 1024},
                       {5, 1, 200, false, 1},
                       {4, 3, 20},
                       {4, 3, 20, true},
                       {3, 5, 33, false, 1, 7},
                       {3, 2, 130, true, 0.5, 3},
                       {2, 40, 1, true}};

constexpr double kEps = 1e-5;

// What is not gap, as doubles.
Doubles window(const Array& a, const Case& k) {
  Doubles out;
  for (int64_t r = 0; r < k.rows; ++r) {
    for (int64_t c = 0; c < k.cols(); ++c) out.push_back(a[r * k.pitch() + c]);
  }
  return out;
}

Doubles rmsnorm(const Case& k, const Doubles& x, const Doubles& w) {
  Doubles y(x.size());
  for (size_t g = 0; g < x.size(); g += static_cast<size_t>(k.width)) {
    double sum = 0;
    for (int64_t c = 0; c < k.width; ++c) sum += x[g + c] * x[g + c];
    const double rms = std::sqrt(sum / static_cast<double>(k.width) + kEps);
    for (int64_t c = 0; c < k.width; ++c) {
      const int64_t column = static_cast<int64_t>(g) % k.cols() + c;
      y[g + c] = x[g + c] / rms * (w[k.weight(column)] + k.offset);
    }
  }
  return y;
}

Doubles layernorm(const Case& k, const Doubles& x, const Doubles& w, const Doubles& b) {
  Doubles y(x.size());
  for (size_t g = 0; g < x.size(); g += static_cast<size_t>(k.width)) {
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < k.width; ++c) mean += x[g + c] / static_cast<double>(k.width);
    for (int64_t c = 0; c < k.width; ++c) {
      variance += std::pow(x[g + c] - mean, 2) / static_cast<double>(k.width);
    }
    for (int64_t c = 0; c < k.width; ++c) {
      const size_t i = k.weight(static_cast<int64_t>(g) % k.cols() + c);
      y[g + c] = (x[g + c] - mean) / std::sqrt(variance + kEps) * w[i] + (b.empty() ? 0 : b[i]);
    }
  }
  return y;
}

// A case with its inputs, and with outputs that hold something before.
struct Inputs {
  Case k;
  DType acc;
  Array x, dy, w, b, y, dx, dw, db, mean, rstd;

  Inputs(const Case& c, DType t)
      : k(c),
        acc(accumulator_of(t)),
        x(Array::random(t, k.rows * k.pitch(), 1, 2)),
        dy(Array::random(t, k.rows * k.pitch(), 2)),
        w(Array::random(acc, k.weights(), 3)),
        b(Array::random(acc, k.weights(), 4)),
        y(Array::random(t, k.rows * k.pitch(), 5)),
        dx(Array::random(t, k.rows * k.pitch(), 6)),
        dw(Array::random(acc, k.weights(), 7)),
        db(Array::random(acc, k.weights(), 8)),
        mean(Array::zeros(acc, k.rows * k.groups)),
        rstd(mean) {}

  void rms(const Device& d, bool saves = true) {
    d.kernels().rmsnorm_fwd(d.stream(), k.rows, k.groups, k.width, x.dtype(), x.raw(), k.pitch(),
                            w.raw(), k.ldw(), k.offset, kEps, y.raw(), k.pitch(),
                            saves ? rstd.raw() : nullptr);
  }
  void rms_back(const Device& d, bool to_x = true, bool to_w = true) {
    d.kernels().rmsnorm_bwd(d.stream(), k.rows, k.groups, k.width, x.dtype(), x.raw(), k.pitch(),
                            w.raw(), k.ldw(), k.offset, rstd.raw(), dy.raw(), k.pitch(),
                            to_x ? dx.raw() : nullptr, k.pitch(), to_w ? dw.raw() : nullptr);
  }
  void layer(const Device& d, bool biased = true, bool saves = true) {
    d.kernels().layernorm_fwd(d.stream(), k.rows, k.groups, k.width, x.dtype(), x.raw(), k.pitch(),
                              w.raw(), biased ? b.raw() : nullptr, k.ldw(), kEps, y.raw(),
                              k.pitch(), saves ? mean.raw() : nullptr,
                              saves ? rstd.raw() : nullptr);
  }
  void layer_back(const Device& d, bool to_x = true, bool to_w = true, bool to_b = true) {
    d.kernels().layernorm_bwd(d.stream(), k.rows, k.groups, k.width, x.dtype(), x.raw(), k.pitch(),
                              w.raw(), k.ldw(), mean.raw(), rstd.raw(), dy.raw(), k.pitch(),
                              to_x ? dx.raw() : nullptr, k.pitch(), to_w ? dw.raw() : nullptr,
                              to_b ? db.raw() : nullptr);
  }
};

// A dense array of the window, to compare; what lies in the gaps must be as before.
Array taken(const Array& all, const Array& before, const Case& k) {
  for (int64_t r = 0; r < k.rows; ++r) {
    for (int64_t c = k.cols(); c < k.pitch(); ++c) {
      EXPECT_EQ(all[r * k.pitch() + c], before[r * k.pitch() + c]) << "between rows";
    }
  }
  return Array(all.dtype(), window(all, k));
}

void expect_sum(const Array& got, const Array& before, Doubles want, double size) {
  for (size_t i = 0; i < want.size(); ++i) want[i] += before[static_cast<int64_t>(i)];
  expect_gradient(got, want, size);
}

TEST(RmsNorm, ForwardEqualsItsFormulaForEveryGroup) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const Case& k : kCases) {
      Inputs in(k, dtype);
      const Array before = in.y;
      in.rms(device);
      expect_near(taken(in.y, before, k), rmsnorm(k, window(in.x, k), doubles(in.w)), 0.1, 1.5);
      Inputs again(k, dtype);
      again.rms(device, false);
      EXPECT_EQ(again.y, in.y);
    }
  });
}

TEST(RmsNorm, BackwardEqualsFiniteDifferences) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const Case& k : kCases) {
      // Long rows take long; x / |x| of one number is flat but for a step that differences miss.
      if (k.width > 200 || k.width == 1) continue;
      Inputs in(k, dtype);
      const Inputs before = in;
      in.rms(device);
      in.rms_back(device);
      const Doubles x = window(in.x, k), up = window(in.dy, k), w = doubles(in.w);
      expect_gradient(taken(in.dx, before.dx, k),
                      gradient(x, up, [&](const Doubles& v) { return rmsnorm(k, v, w); }), 10);
      expect_sum(in.dw, before.dw,
                 gradient(w, up, [&](const Doubles& v) { return rmsnorm(k, x, v); }), 10);
      Inputs some = in;
      some.dx = before.dx, some.dw = before.dw;
      some.rms_back(device, true, false);
      EXPECT_EQ(some.dx, in.dx);
      EXPECT_EQ(some.dw, before.dw);
      some.rms_back(device, false, true);
      EXPECT_EQ(some.dw, in.dw);
    }
  });
}

TEST(LayerNorm, ForwardEqualsItsFormulaForEveryGroup) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const Case& k : kCases) {
      for (const bool biased : {true, false}) {
        Inputs in(k, dtype);
        const Array before = in.y;
        in.layer(device, biased);
        const Doubles b = biased ? doubles(in.b) : Doubles();
        expect_near(taken(in.y, before, k), layernorm(k, window(in.x, k), doubles(in.w), b), 20,
                    1.5);
        Inputs again(k, dtype);
        again.layer(device, biased, false);
        EXPECT_EQ(again.y, in.y);
      }
    }
  });
}

TEST(LayerNorm, BackwardEqualsFiniteDifferences) {
  on_every_tier([](const Device& device, DType dtype) {
    for (const Case& k : kCases) {
      if (k.width > 200 || k.width == 1) continue;  // one number less its mean has no slope
      Inputs in(k, dtype);
      const Inputs before = in;
      in.layer(device);
      in.layer_back(device);
      const Doubles x = window(in.x, k), up = window(in.dy, k), w = doubles(in.w),
                    b = doubles(in.b);
      expect_gradient(taken(in.dx, before.dx, k),
                      gradient(x, up, [&](const Doubles& v) { return layernorm(k, v, w, b); }), 3);
      expect_sum(in.dw, before.dw,
                 gradient(w, up, [&](const Doubles& v) { return layernorm(k, x, v, b); }), 3);
      expect_sum(in.db, before.db,
                 gradient(b, up, [&](const Doubles& v) { return layernorm(k, x, w, v); }), 3);
      for (int only = 0; only < 3; ++only) {
        Inputs some = in;
        some.dx = before.dx, some.dw = before.dw, some.db = before.db;
        some.layer_back(device, only == 0, only == 1, only == 2);
        EXPECT_EQ(some.dx, only == 0 ? in.dx : before.dx);
        EXPECT_EQ(some.dw, only == 1 ? in.dw : before.dw);
        EXPECT_EQ(some.db, only == 2 ? in.db : before.db);
      }
    }
  });
}

// One pass over squares would find a variance of nothing, or below.
TEST(LayerNorm, AMeanFarFromZeroCostsTheVarianceNoDigits) {
  on_every_tier([](const Device& device, DType dtype) {
    if (size_of(dtype) == 2) return;  // which has no digits to lose
    Inputs in({3, 1, 96}, dtype);
    for (int64_t i = 0; i < in.x.size(); ++i) in.x.set(i, 4096 + in.x[i] / 2);
    in.layer(device);
    const Doubles want = layernorm(in.k, doubles(in.x), doubles(in.w), doubles(in.b));
    // The mean is as coarse as x: half of 2^-11 over a deviation of 1 in f32.
    const double bound = dtype == DType::f64 ? 1e-11 : 5e-4;
    for (int64_t i = 0; i < in.y.size(); ++i) {
      EXPECT_NEAR(in.y[i], want[static_cast<size_t>(i)], bound * 2) << i;
    }
    for (int64_t r = 0; r < 3; ++r) {
      double mean = 0, variance = 0;
      for (int64_t c = 0; c < 96; ++c) mean += in.x[r * 96 + c] / 96;
      for (int64_t c = 0; c < 96; ++c) variance += std::pow(in.x[r * 96 + c] - mean, 2) / 96;
      EXPECT_NEAR(in.rstd[r] * std::sqrt(variance + kEps), 1, 1e-6);
    }
  });
}

TEST(Norms, AGroupHasTheBitsThatItWouldHaveAlone) {
  on_every_tier([](const Device& device, DType dtype) {
    const Case k{3, 4, 77, true, 1}, alone{1, 1, 77, true, 1};
    Inputs in(k, dtype);
    in.rms(device);
    Array rms = in.y;
    in.layer(device);
    for (int64_t r = 0; r < k.rows; ++r) {
      for (int64_t g = 0; g < k.groups; ++g) {
        Inputs one(alone, dtype);
        for (int64_t c = 0; c < 77; ++c) {
          one.x.set(c, in.x[r * k.pitch() + g * 77 + c]);
          one.w.set(c, in.w[g * 77 + c]), one.b.set(c, in.b[g * 77 + c]);
        }
        one.rms(device);
        for (int64_t c = 0; c < 77; ++c) ASSERT_EQ(one.y[c], rms[r * k.pitch() + g * 77 + c]);
        one.layer(device);
        for (int64_t c = 0; c < 77; ++c) ASSERT_EQ(one.y[c], in.y[r * k.pitch() + g * 77 + c]);
        EXPECT_EQ(one.rstd[0], in.rstd[r * k.groups + g]);
      }
    }
  });
}

TEST(Norms, MayWriteOverTheirInputs) {
  on_every_tier([](const Device& device, DType dtype) {
    const Case k{6, 2, 45, false, 0, 4};
    Inputs in(k, dtype), rms(k, dtype), layer(k, dtype);
    const KernelTable& t = device.kernels();
    rms.rms(device), rms.rms_back(device);
    const Array rms_dx = rms.dx, rms_dw = rms.dw;
    rms.dw = in.dw, rms.dx = rms.dy;
    t.rmsnorm_bwd(device.stream(), k.rows, k.groups, k.width, dtype, rms.x.raw(), k.pitch(),
                  rms.w.raw(), 0, 0, rms.rstd.raw(), rms.dx.raw(), k.pitch(), rms.dx.raw(),
                  k.pitch(), rms.dw.raw());
    EXPECT_EQ(window(rms.dx, k), window(rms_dx, k));
    EXPECT_EQ(rms.dw, rms_dw);
    layer.layer(device), layer.layer_back(device);
    const Array layer_y = layer.y, layer_dx = layer.dx;
    layer.dx = layer.dy;
    t.layernorm_bwd(device.stream(), k.rows, k.groups, k.width, dtype, layer.x.raw(), k.pitch(),
                    layer.w.raw(), 0, layer.mean.raw(), layer.rstd.raw(), layer.dx.raw(), k.pitch(),
                    layer.dx.raw(), k.pitch(), nullptr, nullptr);
    EXPECT_EQ(window(layer.dx, k), window(layer_dx, k));
    layer.y = layer.x;
    t.layernorm_fwd(device.stream(), k.rows, k.groups, k.width, dtype, layer.y.raw(), k.pitch(),
                    layer.w.raw(), layer.b.raw(), 0, kEps, layer.y.raw(), k.pitch(), nullptr,
                    nullptr);
    EXPECT_EQ(window(layer.y, k), window(layer_y, k));
  });
}

}  // namespace
}  // namespace nibble::testing
