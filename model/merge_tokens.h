// What an adapter does to the base's tables of tokens when it is merged: more rows, other rows, and
// where it tears a tied head from its embedding, a head of its own.
#pragma once

#include <string>

#include "model/files/peft_tokens.h"

namespace nibble {

class MergedTables {
 public:
  // `base`: of the files, before any growth. Both must outlive this.
  MergedTables(const Device& device, const Blueprint& base, const AdapterConfig& config,
               const TensorFiles& adapter);

  const std::set<std::string>& names() const { return stored_.names; }  // of the adapter's tensors
  int64_t vocab() const { return vocab_; }
  // Tied in the base, but no longer the same.
  bool unties() const;
  // Whether the base's tensor of this name (embedding's or head's weight, head's bias) changes.
  bool changes(const std::string& name) const;
  // Its value as merged, in the dtype of `x` or wider.
  Tensor merged(const std::string& name, const Tensor& x) const;
  std::string head() const { return base_.names.head + ".weight"; }
  std::string embedding() const { return base_.names.embedding + ".weight"; }

 private:
  const StoredTable* table(const std::string& name) const;

  const Device& device_;
  const Blueprint& base_;
  const TensorFiles& files_;
  StoredTokens stored_;
  int64_t vocab_ = 0;
};

}  // namespace nibble
