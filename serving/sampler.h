// From a row of logits to a token. Pure functions of the row, the request's settings and a counter:
// the company of other rows, chunks and preemptions cannot change a choice. Arithmetic in fp64, the
// vocabulary walked from the first entry to the last.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "serving/request.h"

namespace nibble::serving {

// Whether a row can be sampled and scored: no NaN, no +inf, something above -inf.
bool usable(std::span<const float> logits);

// What cross_entropy_fwd says of a row: -log p of one token, and the log-sum-exp of all. One kernel
// serves loss and sampler, so a served logprob is a trained one bit for bit.
struct RowScore {
  float nll = 0, lse = 0;
};

// Log-softmax of the raw logits (before temperature, as vLLM's default) for the token that `score`
// is of, and for the `top` likeliest, best first, ties to the lowest id.
TokenLogprob logprob_of(std::span<const float> logits, int32_t token, RowScore score, int top);

// Temperature, then top_k (ties with the k-th stay), then top_p (the smallest set that reaches p);
// what falls out becomes -inf. Order and meaning as in transformers' generate(). Below a
// temperature of 1e-5 only `banned` is applied.
std::vector<double> process_logits(std::span<const float> logits, const SamplingParams& params,
                                   std::span<const int32_t> banned = {});

// Names the random number of one draw. position: of the token to be drawn, in its sequence.
struct Draw {
  uint64_t seed = 0;
  int choice = 0;
  int64_t position = 0;
};

// The next token, or -1 when the row is not usable or all that is left is banned.
int32_t sample(std::span<const float> logits, const SamplingParams& params, const Draw& draw,
               std::span<const int32_t> banned = {});

}  // namespace nibble::serving
