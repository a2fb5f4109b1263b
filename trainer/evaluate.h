// Scoring text: the mean negative log-likelihood per predicted token. Documents are packed side by
// side; logits live in chunks only.
#pragma once

#include <string>
#include <vector>

#include "model/model.h"
#include "model/text/tokenizer.h"

namespace nibble {

struct Score {
  double nll = 0;      // sum over predicted tokens
  int64_t tokens = 0;  // predicted tokens
  double mean() const { return tokens > 0 ? nll / static_cast<double>(tokens) : 0; }
};

// Adapter slot 0 is used where a linear has one. batch_tokens bounds the activations of a pass.
Score score(const Device& device, const Model& model, const std::vector<Document>& documents,
            int64_t batch_tokens = 2048,
            const std::function<void(int64_t done, int64_t all)>& progress = nullptr);

// Every token after the first is predicted.
Document predict_all(std::vector<int32_t> ids, int64_t sample);

// A file to score. .jsonl: each row's `text` (BOS as the tokenizer's config says) or `input_ids` is
// one document, cut to `context`; anything else is one text in windows of `context` tokens.
// Mistakes name file:line. The tokenizer may be null when no text is met.
std::vector<Document> read_scored_file(const std::string& path, const Tokenizer* tokenizer,
                                       int64_t context, int64_t vocab);

}  // namespace nibble
