// Starting, naming and reading back states.
#include "optim/quantized_state.h"

#include <algorithm>
#include <cstring>

namespace nibble {
namespace {

constexpr const char* kWhere = "optimizer state";

[[noreturn]] void refuse(const std::string& what) {
  throw UserError(kWhere, what, "resume with the recipe that wrote the checkpoint", Exit::bad_data);
}

}  // namespace

// All elements are alike: the largest of each block is one of them, its code that of 1.
void StateLayout::fill(void* values, float* absmax, int64_t elements) const {
  if (!coded()) {
    std::fill_n(static_cast<float*>(values), elements, start);
    return;
  }
  const float* code = std::lower_bound(map, map + 256, start == 0 ? 0.0F : 1.0F);
  std::memset(values, static_cast<int>(code - map), static_cast<size_t>(elements));
  std::fill_n(absmax, blocks(elements), start);
}

StateView StateLayout::view(void* values, float* absmax) const {
  StateView v;
  v.values = values;
  v.absmax = absmax;
  v.block = block;
  v.map = map;
  v.root = root;
  return v;
}

StateReader::StateReader(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (!left_.emplace(name, tensor).second) refuse(cat("\"", name, "\" is there twice"));
  }
}

Tensor StateReader::take(const std::string& name, const Shape& shape, DType dtype) {
  const auto found = left_.find(name);
  if (found == left_.end()) refuse(cat("\"", name, "\" is missing"));
  Tensor t = found->second;
  if (!(t.shape() == shape) || t.dtype() != dtype) {
    refuse(cat("\"", name, "\" is ", name_of(t.dtype()), " ", t.shape(), ", expected ",
               name_of(dtype), " ", shape));
  }
  check(t.contiguous(), "a saved state is contiguous");
  left_.erase(found);
  return t;
}

void StateReader::finish() const {
  if (left_.empty()) return;
  refuse(cat("\"", left_.begin()->first, "\" belongs to no parameter that trains",
             left_.size() > 1 ? cat(" (nor do ", left_.size() - 1, " more)") : ""));
}

}  // namespace nibble
