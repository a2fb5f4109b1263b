// The sums that caps and trust ratios are made of, 4096 elements at a time. A step is computed as
// optimizer_step would, on copies, and thrown away.
#include <algorithm>
#include <cmath>

#include "base/errors.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/optimizer_factors.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/state_codec.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

#include "kernels/cpu/optimizer_rules_scalar.inc"

constexpr int64_t kChunk = 4096;
constexpr int kMaxStates = 3;

// Sixteen running sums, element i in sum i % 16, halves folded onto each other at the end: one
// order, which vectors of sixteen, eight or four can keep.
struct Squares {
  double lane[16] = {};
  void add(int64_t i, float x) { lane[i % 16] += static_cast<double>(x) * static_cast<double>(x); }
  double total() {
    for (int half = 8; half > 0; half /= 2) {
      for (int j = 0; j < half; ++j) lane[j] += lane[j + half];
    }
    return lane[0];
  }
};

template <class Rule, class T>
void norms_of_chunk(const StepFactors& f, int64_t begin, int64_t n, const T* p, const float* g,
                    const StateCodec* codecs, double* partials) {
  float held[kMaxStates][kChunk];
  for (int k = 0; k < Rule::kMeasured; ++k) {
    const int64_t block = codecs[k].coded() ? codecs[k].view().block : kChunk;
    for (int64_t i = 0; i < n; i += block) {
      codecs[k].decode(begin + i, std::min(block, n - i), held[k] + i);
    }
  }
  Squares of_p, of_update;
  for (int64_t i = 0; i < n; ++i) {
    float s[kMaxStates] = {};
    for (int k = 0; k < Rule::kMeasured; ++k) s[k] = held[k][i];
    const auto value = static_cast<float>(widen(p[begin + i]));
    of_p.add(i, value);
    of_update.add(i, Rule::template measured<float>(f, value, g[begin + i] * f.grad_scale, s));
  }
  partials[0] = of_p.total();
  partials[1] = of_update.total();
}

}  // namespace

void optimizer_norms(Stream& stream, int64_t n, const OptimizerStep& step, DType p_dtype,
                     const void* p, const float* g, const StateView* states, double* partials) {
  const StepFactors f = step_factors(step);
  const auto run = [&](auto rule) {
    using Rule = decltype(rule);
    const auto codec = [&](int k) {
      return StateCodec(k < Rule::kMeasured ? states[k] : StateView{}, 0, step.bnb_codec);
    };
    const StateCodec codecs[kMaxStates] = {codec(0), codec(1), codec(2)};
    with_float("optimizer_norms", p_dtype, [&](auto tag) {
      using T = decltype(tag);
      stream.pool().parallel_for((n + kChunk - 1) / kChunk, 2, [&](int64_t from, int64_t to) {
        for (int64_t c = from; c < to; ++c) {
          norms_of_chunk<Rule>(f, c * kChunk, std::min(kChunk, n - c * kChunk),
                               static_cast<const T*>(p), g, codecs, partials + 2 * c);
        }
      });
    });
  };
  const bool served =
      keeps_roots(f, states) ? with_measured_rule<true>(f, run) : with_measured_rule<false>(f, run);
  check(served, "optimizer_norms: a rule that measures nothing");
}

}  // namespace nibble::cpu::scalar
