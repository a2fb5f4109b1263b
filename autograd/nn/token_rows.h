// Rows of a table of tokens (the embedding, the head) that an adapter has for itself: those of
// added tokens, or all of them (PEFT's trainable_token_indices and modules_to_save).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "autograd/var.h"

namespace nibble {

struct TokenRows {
  Parameter rows;            // (n, width), acc dtype
  std::vector<int32_t> ids;  // the table's rows in whose place they stand, strictly ascending
  int64_t of = 0;            // rows of the table
  bool trains = false;
  bool whole() const { return static_cast<int64_t>(ids.size()) == of; }
};

struct AdapterTokens {
  std::shared_ptr<TokenRows> embedding, head;  // null: the base's; one object where both are tied
  int64_t vocab = 0;                           // ids that the adapter knows; 0: those of the base
};

}  // namespace nibble
