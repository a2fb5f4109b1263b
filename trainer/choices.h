// Multiple choice: which of several continuations a model finds likeliest, by the rules of
// EleutherAI's lm-evaluation-harness. Context and continuation are encoded together; the
// continuation is what follows the context's own tokens (blanks at the context's end go with it).
#pragma once

#include <string>
#include <vector>

#include "model/model.h"
#include "model/text/tokenizer.h"

namespace nibble {

struct ChoiceItem {
  std::string context;
  std::vector<std::string> choices;  // at least two
  size_t gold = 0;                   // the right one
  std::string where;                 // file:line
};

struct ChoiceScore {
  std::vector<double> loglikelihood;  // of each choice: the sum over its tokens
  // The likeliest as it is, per character and per byte of the choice (ties: the first).
  size_t predicted = 0, predicted_norm = 0, predicted_bytes = 0;
};

struct ChoiceReport {
  std::vector<ChoiceScore> items;
  int64_t right = 0, right_norm = 0, right_bytes = 0;
  double share(int64_t count) const;
  double standard_error(int64_t count) const;  // sqrt(p (1 - p) / (n - 1))
};

// Rows {"context": …, "choices": […], "gold": i}. Mistakes name file:line.
std::vector<ChoiceItem> read_choices(const std::string& path);

// Documents longer than the model's positions lose tokens of the context's beginning.
ChoiceReport score_choices(
    const Device& device, const Model& model, const Tokenizer& tokenizer,
    const std::vector<ChoiceItem>& items,
    const std::function<void(int64_t done, int64_t all)>& progress = nullptr);

}  // namespace nibble
