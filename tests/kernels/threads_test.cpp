// The number of threads changes no bit of any row here (products and attention test their own).
#include <functional>

#include "tests/kernels/array.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::testing {
namespace {

// Large enough that every row is split at least three ways.
constexpr int64_t kRows = 331, kCols = 777, kN = kRows * kCols;

using Bytes = std::vector<uint8_t>;

Bytes joined(const std::vector<const Array*>& arrays) {
  Bytes out;
  for (const Array* a : arrays) out.insert(out.end(), a->bytes().begin(), a->bytes().end());
  return out;
}
template <class T>
void append_bytes(Bytes& out, const std::vector<T>& values) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  out.insert(out.end(), bytes, bytes + values.size() * sizeof(T));
}

// Runs `row` with 1, 2 and 3 threads on every tier; its result must not change.
void expect_same_bits(const std::function<Bytes(const Device&, DType)>& row) {
  on_every_tier([&](const Device& some, DType dtype) {
    const Bytes one = row(Device::cpu(1, some.tier()), dtype);
    for (const int threads : {2, 3}) {
      EXPECT_TRUE(row(Device::cpu(threads, some.tier()), dtype) == one) << threads << " threads";
    }
  });
}

std::vector<int32_t> token_ids() {
  std::vector<int32_t> ids(kRows);
  for (int64_t i = 0; i < kRows; ++i)
    ids[static_cast<size_t>(i)] = static_cast<int32_t>(i * 7 % 23);
  return ids;
}

TEST(Threads, ChangeNoBitOfElementwiseRows) {
  expect_same_bits([](const Device& d, DType t) {
    const KernelTable& k = d.kernels();
    Array x = Array::random(t, kN, 1), y = Array::random(t, kN, 2), z = Array::zeros(t, kN);
    Array half = Array::zeros(DType::f16, kN), sum = Array::zeros(accumulator_of(t), kN);
    k.add(d.stream(), kRows, kCols, t, x.raw(), kCols, y.raw(), kCols, z.raw(), kCols);
    k.cast(d.stream(), kRows, kCols, t, z.raw(), kCols, DType::f16, half.raw(), kCols);
    k.accumulate(d.stream(), kN, t, x.raw(), sum.dtype(), sum.raw());
    k.scale(d.stream(), kN, t, 0.3, x.raw());
    std::vector<int32_t> index(kRows);
    for (int64_t i = 0; i < kRows; ++i)
      index[static_cast<size_t>(i)] = static_cast<int32_t>(i * 5 % kRows);
    k.scatter_rows(d.stream(), kRows, kCols, t, x.raw(), kCols, index.data(), y.raw(), kCols);
    k.gather_rows(d.stream(), kRows, kCols, t, y.raw(), kCols, index.data(), z.raw(), kCols);
    const std::vector<int64_t> samples(kRows, 3);
    k.dropout(d.stream(), kRows, kCols, t, x.raw(), kCols, 0.2, {1, 2, 3, 4}, samples.data(),
              index.data(), x.raw(), kCols);
    double squares = 0;
    int64_t bad = 0;
    k.sum_squares(d.stream(), kN, t, y.raw(), &squares);
    k.find_nonfinite(d.stream(), kN, t, y.raw(), &bad);
    const Array total(DType::f64, {squares, static_cast<double>(bad)});
    return joined({&x, &y, &z, &half, &sum, &total});
  });
}

TEST(Threads, ChangeNoBitOfLayers) {
  expect_same_bits([](const Device& d, DType t) {
    const KernelTable& k = d.kernels();
    const DType acc = accumulator_of(t);
    const std::vector<int32_t> ids = token_ids();
    Array x = Array::random(t, kN, 1), dy = Array::random(t, kN, 2), y = Array::zeros(t, kN),
          dx = y;
    Array w = Array::random(acc, kCols, 3), dw = Array::zeros(acc, kCols), db = dw;
    Array rstd = Array::zeros(acc, kRows), table = Array::random(t, 23 * kCols, 4);
    Array dtable = Array::zeros(acc, 23 * kCols), up = Array::zeros(t, kN), gate = up, turned = up;
    k.embedding_fwd(d.stream(), kRows, kCols, t, table.raw(), ids.data(), t, up.raw(), kCols);
    k.embedding_bwd(d.stream(), kRows, kCols, ids.data(), t, dy.raw(), kCols, dtable.raw());
    k.rmsnorm_fwd(d.stream(), kRows, 1, kCols, t, x.raw(), kCols, w.raw(), 0, 0, 1e-5, y.raw(),
                  kCols, rstd.raw());
    k.rmsnorm_bwd(d.stream(), kRows, 1, kCols, t, x.raw(), kCols, w.raw(), 0, 0, rstd.raw(),
                  dy.raw(), kCols, dx.raw(), kCols, dw.raw());
    k.bias_add(d.stream(), kRows, kCols, t, acc, w.raw(), y.raw(), kCols);
    k.bias_bwd(d.stream(), kRows, kCols, t, y.raw(), kCols, db.raw());
    k.gated_fwd(d.stream(), Activation::silu, kRows, kCols, t, x.raw(), kCols, y.raw(), kCols,
                gate.raw(), kCols);
    k.gated_bwd(d.stream(), Activation::silu, kRows, kCols, t, x.raw(), kCols, y.raw(), kCols,
                dy.raw(), kCols, x.raw(), kCols, y.raw(), kCols);
    const Array angles = Array::random(acc, kRows * 128, 5);
    k.rope(d.stream(), kRows, 3, 259, 256, false, t, dy.raw(), kCols, angles.raw(), angles.raw(),
           false, turned.raw(), kCols);
    return joined({&x, &y, &dx, &dw, &db, &rstd, &dtable, &up, &gate, &turned});
  });
}

TEST(Threads, ChangeNoBitOfGroupedNormsAndActivations) {
  expect_same_bits([](const Device& d, DType t) {
    const KernelTable& k = d.kernels();
    const DType acc = accumulator_of(t);
    const int64_t groups = 7, width = kCols / groups, stats = kRows * groups;
    Array x = Array::random(t, kN, 1), dy = Array::random(t, kN, 2), y = Array::zeros(t, kN);
    Array dx = y, z = y, dz = y, gate = y, dgate = y, dup = y, act = y, dact = y, turned = y;
    Array w = Array::random(acc, kCols, 3), dw = Array::zeros(acc, width), dv = w, db = w;
    Array rstd = Array::zeros(acc, stats), mean = rstd, scale = rstd;
    k.rmsnorm_fwd(d.stream(), kRows, groups, width, t, x.raw(), kCols, w.raw(), 0, 1, 1e-5, y.raw(),
                  kCols, rstd.raw());
    k.rmsnorm_bwd(d.stream(), kRows, groups, width, t, x.raw(), kCols, w.raw(), 0, 1, rstd.raw(),
                  dy.raw(), kCols, dx.raw(), kCols, dw.raw());
    k.layernorm_fwd(d.stream(), kRows, groups, width, t, x.raw(), kCols, w.raw(), w.raw(), width,
                    1e-5, z.raw(), kCols, mean.raw(), scale.raw());
    k.layernorm_bwd(d.stream(), kRows, groups, width, t, x.raw(), kCols, w.raw(), width, mean.raw(),
                    scale.raw(), dy.raw(), kCols, dz.raw(), kCols, dv.raw(), db.raw());
    k.gated_fwd(d.stream(), Activation::gelu, kRows, kCols, t, x.raw(), kCols, y.raw(), kCols,
                gate.raw(), kCols);
    k.gated_bwd(d.stream(), Activation::gelu_tanh, kRows, kCols, t, x.raw(), kCols, y.raw(), kCols,
                dy.raw(), kCols, dgate.raw(), kCols, dup.raw(), kCols);
    k.activation_fwd(d.stream(), Activation::relu2, kRows, kCols, t, x.raw(), kCols, act.raw(),
                     kCols);
    k.activation_bwd(d.stream(), Activation::gelu, kRows, kCols, t, x.raw(), kCols, dy.raw(), kCols,
                     dact.raw(), kCols);
    const Array angles = Array::random(acc, kRows * 128, 5);
    k.rope(d.stream(), kRows, 3, 259, 256, true, t, dy.raw(), kCols, angles.raw(), angles.raw(),
           true, turned.raw(), kCols);
    return joined({&y, &dx, &dw, &rstd, &z, &dz, &dv, &db, &mean, &scale, &gate, &dgate, &dup, &act,
                   &dact, &turned});
  });
}

TEST(Threads, ChangeNoBitOfTheLoss) {
  expect_same_bits([](const Device& d, DType t) {
    const DType acc = accumulator_of(t);
    const std::vector<int32_t> labels = token_ids();
    Array logits = Array::random(acc, kN, 1, 4), nll = Array::zeros(acc, kRows), lse = nll;
    const Array up = Array::random(acc, kRows, 2);
    d.kernels().shape_logits(d.stream(), {0.5, 6}, kRows, kCols, acc, logits.raw(), kCols);
    const Array shaped = logits;
    d.kernels().cross_entropy_fwd(d.stream(), kRows, kCols, acc, logits.raw(), kCols, labels.data(),
                                  nll.raw(), lse.raw());
    d.kernels().cross_entropy_bwd(d.stream(), kRows, kCols, acc, logits.raw(), kCols, labels.data(),
                                  lse.raw(), up.raw());
    d.kernels().shape_logits_bwd(d.stream(), {0.5, 6}, kRows, kCols, acc, shaped.raw(), kCols,
                                 logits.raw(), kCols);
    return joined({&logits, &nll, &lse});
  });
}

TEST(Threads, ChangeNoBitOfCodesAndOptimizers) {
  const auto tables = read_safetensors(golden_path("quant/codebooks/maps.safetensors"));
  const float* signed_map = tables.at("dynamic_signed").data<float>();
  const float* unsigned_map = tables.at("dynamic_unsigned").data<float>();
  const float* thresholds = tables.at("nf4_gpu_thresholds").data<float>();
  expect_same_bits([&](const Device& d, DType t) {
    const KernelTable& k = d.kernels();
    Array x = Array::random(t, kN, 1), back = Array::zeros(t, kN);
    uint8_t order[16];
    for (int i = 0; i < 16; ++i) order[i] = static_cast<uint8_t>(i);
    std::vector<uint8_t> packed(kN / 2 + 1), odd(kN / 2 + 1), codes(kN), m(kN), v(kN);
    std::vector<float> scales(kN / 7 + 1), scales8(kN / 256 + 1), m_scale(scales8),
        v_scale(scales8);
    k.quantize_4bit(d.stream(), kN, t, x.raw(), 64, thresholds, order, 7, packed.data(),
                    scales.data());
    k.quantize_4bit(d.stream(), kN, t, x.raw(), 7, thresholds, order, 7, odd.data(), scales.data());
    k.quantize_8bit(d.stream(), kN, t, x.raw(), 256, signed_map, codes.data(), scales8.data());
    k.dequantize_8bit(d.stream(), kN, codes.data(), 256, signed_map, scales8.data(), t, back.raw());
    Array p = Array::random(DType::f32, kN, 2), p8 = p, g = Array::random(DType::f32, kN, 3);
    Array m32 = Array::zeros(DType::f32, kN), v32 = m32;
    std::vector<double> sums(2 * (kN / 4096 + 1)), sums8(sums);
    const auto f = [](Array& a) { return static_cast<float*>(a.raw()); };
    for (int64_t step = 1; step <= 2; ++step) {
      OptimizerStep s;
      s.lr = 1e-2, s.beta1 = 0.9, s.beta2 = 0.99, s.eps = 1e-8, s.weight_decay = 0.1;
      s.step = step, s.grad_scale = 0.7;
      const StateView wide[] = {{m32.raw()}, {v32.raw()}};
      const StateView coded[] = {{m.data(), m_scale.data(), 256, signed_map, false},
                                 {v.data(), v_scale.data(), 256, unsigned_map, true}};
      k.optimizer_norms(d.stream(), kN, s, DType::f32, p.raw(), f(g), wide, sums.data());
      k.optimizer_norms(d.stream(), kN, s, DType::f32, p8.raw(), f(g), coded, sums8.data());
      k.optimizer_step(d.stream(), kN, s, DType::f32, p.raw(), f(g), wide, 0);
      k.optimizer_step(d.stream(), kN, s, DType::f32, p8.raw(), f(g), coded, 0);
    }
    Bytes out = joined({&back, &p, &p8, &m32, &v32});
    for (const auto* bytes : {&packed, &odd, &codes, &m, &v}) append_bytes(out, *bytes);
    for (const auto* floats : {&scales, &scales8, &m_scale, &v_scale}) append_bytes(out, *floats);
    append_bytes(out, sums), append_bytes(out, sums8);
    return out;
  });
}

}  // namespace
}  // namespace nibble::testing
