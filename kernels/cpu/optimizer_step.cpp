// A step of any rule: a block's states are decoded, moved and coded again while they lie in the
// cache; fp32 states and values are moved where they are. Nothing else is ever stored.
#include <algorithm>
#include <array>
#include <cmath>

#include "base/errors.h"
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/optimizer_factors.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/state_codec.h"
#include "kernels/cpu/stochastic_round.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

#include "kernels/cpu/optimizer_rules_scalar.inc"

constexpr int64_t kPiece = 4096;  // of fp32 states; coded ones go by blocks, no longer than this
constexpr int kMaxStates = 3;

struct Exact {
  float operator()(float x) const { return x; }
};
template <class T>
struct ToType {
  float operator()(float x) const { return widen(narrow<T>(x)); }
};

// Where one piece is while it moves: in place, or in scratch.
struct Piece {
  int64_t n;
  const float* g;
  float* p;
  float* held[kMaxStates];
};

template <class Rule, class Round>
void move_piece(const StepFactors& factors, const Piece& piece, const Round& round) {
  const StepFactors f = factors;  // nothing written below can be one of its members
  for (int64_t i = 0; i < piece.n; ++i) {
    float s[kMaxStates] = {};
    for (int k = 0; k < Rule::kStates; ++k) s[k] = piece.held[k][i];
    piece.p[i] = Rule::template move<float>(f, piece.p[i], piece.g[i] * f.grad_scale, s, round);
    for (int k = 0; k < Rule::kStates; ++k) piece.held[k][i] = s[k];
  }
}

struct Scratch {
  float p[kPiece], held[kMaxStates][kPiece];
};

// Elements from `first` on, a multiple of 4: the words of one random block.
template <class T>
void narrow_all(const OptimizerStep& step, const RngStream& random, const float* from,
                int64_t first, int64_t n, T* to) {
  if (!step.stochastic) {
    for (int64_t i = 0; i < n; ++i) to[i] = narrow<T>(from[i]);
    return;
  }
  std::array<uint32_t, 4> words{};
  for (int64_t i = 0; i < n; ++i) {
    const auto element = static_cast<uint64_t>(first + i);
    if (i % 4 == 0) words = random_block(random, static_cast<uint64_t>(step.step), element / 4);
    to[i] = narrow_at_random<T>(from[i], words[element % 4]);
  }
}

template <class Rule, class T>
void step_all(Stream& stream, int64_t n, const OptimizerStep& step, const StepFactors& f, T* p,
              const float* g, const StateCodec* codecs, int64_t first) {
  const RngStream random = rng_stream(step.rounding);
  int64_t block = kPiece;
  for (int k = 0; k < Rule::kStates; ++k) {
    if (codecs[k].coded()) block = codecs[k].view().block;
  }
  const auto move = [&](Scratch& scratch, int64_t begin) {
    Piece piece{std::min(block, n - begin), g + begin, scratch.p, {}};
    for (int k = 0; k < Rule::kStates; ++k) {
      const bool coded = codecs[k].coded();
      piece.held[k] =
          coded ? scratch.held[k] : static_cast<float*>(codecs[k].view().values) + begin;
      if (coded) codecs[k].decode(begin, piece.n, piece.held[k]);
    }
    if constexpr (std::is_same_v<T, float>) {
      piece.p = p + begin;
      move_piece<Rule>(f, piece, Exact{});
    } else {
      for (int64_t i = 0; i < piece.n; ++i) piece.p[i] = widen(p[begin + i]);
      if (step.bnb_codec) {
        move_piece<Rule>(f, piece, ToType<T>{});
      } else {
        move_piece<Rule>(f, piece, Exact{});
      }
      narrow_all(step, random, piece.p, first + begin, piece.n, p + begin);
    }
    for (int k = 0; k < Rule::kStates; ++k) {
      if (codecs[k].coded()) codecs[k].encode(begin, piece.n, piece.held[k]);
    }
  };
  const int64_t grain = std::max<int64_t>(1, 8192 / block);
  stream.pool().parallel_for((n + block - 1) / block, grain, [&](int64_t from, int64_t to) {
    Scratch scratch;
    for (int64_t b = from; b < to; ++b) move(scratch, b * block);
  });
}

template <class Rule>
void step_rule(Stream& stream, int64_t n, const OptimizerStep& step, const StepFactors& f,
               DType p_dtype, void* p, const float* g, const StateView* states, int64_t first) {
  const auto codec = [&](int k) {
    return StateCodec(k < Rule::kStates ? states[k] : StateView{}, n, step.bnb_codec);
  };
  const StateCodec codecs[kMaxStates] = {codec(0), codec(1), codec(2)};
  switch (p_dtype) {
    case DType::f32:
      return step_all<Rule>(stream, n, step, f, static_cast<float*>(p), g, codecs, first);
    case DType::bf16:
      return step_all<Rule>(stream, n, step, f, static_cast<bf16*>(p), g, codecs, first);
    case DType::f16:
      return step_all<Rule>(stream, n, step, f, static_cast<f16*>(p), g, codecs, first);
    default:
      refuse_dtype("optimizer_step", p_dtype);
  }
}

}  // namespace

void optimizer_step(Stream& stream, int64_t n, const OptimizerStep& step, DType p_dtype, void* p,
                    const float* g, const StateView* states, int64_t first) {
  const StepFactors f = step_factors(step);
  const auto run = [&](auto rule) {
    step_rule<decltype(rule)>(stream, n, step, f, p_dtype, p, g, states, first);
  };
  keeps_roots(f, states) ? with_rule<true>(f, run) : with_rule<false>(f, run);
}

}  // namespace nibble::cpu::scalar
