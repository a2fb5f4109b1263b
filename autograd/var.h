// A Var is a value and, when something before it trains, the node that knows how it was made.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace nibble {

// A trained tensor: its master and the gradient that backward adds to.
struct Parameter {
  std::string name;  // as in the file it is saved to, without the container's prefix
  Tensor value;      // acc dtype, or bf16 that is updated with stochastic rounding
  Tensor grad;       // same shape, acc dtype; undefined until the first gradient
  bool decays = true;
};

struct Node;

class Var {
 public:
  Var() = default;
  explicit Var(Tensor constant) : value_(std::move(constant)) {}
  Var(Tensor value, std::shared_ptr<Node> node)
      : value_(std::move(value)), node_(std::move(node)) {}
  // A leaf: gradients of what is computed from it arrive in parameter.grad. The parameter outlives
  // the tape.
  static Var leaf(Parameter& parameter);
  // A value whose gradient stays in node()->grad.
  static Var input(Tensor value);

  const Tensor& value() const { return value_; }
  bool wants_grad() const { return node_ != nullptr; }
  const std::shared_ptr<Node>& node() const { return node_; }
  bool defined() const { return value_.defined(); }

 private:
  Tensor value_;
  std::shared_ptr<Node> node_;
};

}  // namespace nibble
