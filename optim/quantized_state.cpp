// Making, naming and reading back states.
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

void StateTensor::append_to(NamedTensors& out, const std::string& name) const {
  out.emplace_back(name, values);
  if (coded()) out.emplace_back(name + ".absmax", absmax);
}

StateTensor zero_state(const Ctx& ctx, const Shape& shape, const StateFormat& format,
                       const float* map) {
  StateTensor state;
  const int64_t n = shape.numel();
  if (!format.codes(n)) {
    state.values = Tensor::zeros(ctx.memory, shape, DType::f32, Purpose::optimizer);
    return state;
  }
  const auto zero = static_cast<uint8_t>(std::lower_bound(map, map + 256, 0.0F) - map);
  state.values = ctx.empty(shape, DType::u8, Purpose::optimizer);
  std::memset(state.values.raw(), zero, static_cast<size_t>(n));
  state.absmax = Tensor::zeros(ctx.memory, {(n + format.block - 1) / format.block}, DType::f32,
                               Purpose::optimizer);
  return state;
}

StateReader::StateReader(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (!left_.emplace(name, tensor).second) refuse(cat("\"", name, "\" is there twice"));
  }
}

void StateReader::copy(const std::string& name, Tensor& into) {
  const auto found = left_.find(name);
  if (found == left_.end()) refuse(cat("\"", name, "\" is missing"));
  const Tensor& t = found->second;
  if (!(t.shape() == into.shape()) || t.dtype() != into.dtype()) {
    refuse(cat("\"", name, "\" is ", name_of(t.dtype()), " ", t.shape(), ", expected ",
               name_of(into.dtype()), " ", into.shape()));
  }
  check(t.contiguous(), "a saved state is contiguous");
  if (t.bytes() > 0) std::memcpy(into.raw(), t.raw(), static_cast<size_t>(t.bytes()));
  left_.erase(found);
}

void StateReader::read(const std::string& name, StateTensor& into) {
  copy(name, into.values);
  if (into.coded()) copy(name + ".absmax", into.absmax);
}

void StateReader::finish() const {
  if (left_.empty()) return;
  refuse(cat("\"", left_.begin()->first, "\" belongs to no parameter that trains",
             left_.size() > 1 ? cat(" (nor do ", left_.size() - 1, " more)") : ""));
}

}  // namespace nibble
