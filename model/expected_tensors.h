// The tensors that a blueprint asks of its files, by name and shape, and whether the files have
// them: every disagreement is found before a weight is read, and all are told at once.
#pragma once

#include <string>
#include <vector>

#include "model/blueprint.h"
#include "model/files/safetensors.h"

namespace nibble {

struct ExpectedTensor {
  enum class Kind : uint8_t { table, matrix, norm, bias };
  std::string name;
  std::vector<int64_t> shape;  // as on file: (in, out) where the family's weights are transposed
  Kind kind = Kind::matrix;
  bool optional = false;  // a checkpoint may leave it out
};
std::vector<ExpectedTensor> expected_tensors(const Blueprint& b);  // in file order

// The name under which the files hold `name`: themselves, without or with the family's prefix, or
// LayerNorm's gamma and beta of old. `name` itself where they hold none of these.
std::string name_on_file(const TensorFiles& files, const Blueprint& b, const std::string& name);

// Throws UserError or UserErrors (exit 65) for every tensor that is missing, superfluous, of
// another shape or of a dtype that holds no weights. Quantized weights are left to their reader.
void check_tensors(const TensorFiles& files, const Blueprint& b, bool prequantized);

}  // namespace nibble
