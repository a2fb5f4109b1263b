// Leaves: where gradients end.
#include "autograd/var.h"

#include "autograd/tape.h"

namespace nibble {

Var Var::leaf(Parameter& parameter) {
  auto node = std::make_shared<Node>();
  node->parameter = &parameter;
  return Var(parameter.value, std::move(node));
}

Var Var::input(Tensor value) { return Var(std::move(value), std::make_shared<Node>()); }

}  // namespace nibble
