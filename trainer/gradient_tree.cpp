#include "trainer/gradient_tree.h"

namespace nibble {

void GradientTree::add_leaf(const std::vector<Parameter*>& parameters) {
  Entry leaf{0, {}};
  for (Parameter* p : parameters) {
    leaf.gradients.push_back(p->grad);
    p->grad = Tensor();
  }
  stack_.push_back(std::move(leaf));
  while (stack_.size() > 1 && stack_[stack_.size() - 2].level == stack_.back().level) join_top();
}

void GradientTree::join_top() {
  Entry right = std::move(stack_.back());
  stack_.pop_back();
  Entry& left = stack_.back();
  ++left.level;
  for (size_t i = 0; i < left.gradients.size(); ++i) {
    Tensor& into = left.gradients[i];
    const Tensor& from = right.gradients[i];
    if (!from.defined()) continue;
    if (!into.defined()) {
      into = from;
      continue;
    }
    ctx_.k.accumulate(ctx_.stream, into.numel(), from.dtype(), from.raw(), into.dtype(),
                      into.raw());
  }
}

void GradientTree::finish(const std::vector<Parameter*>& parameters) {
  while (stack_.size() > 1) join_top();
  if (stack_.empty()) return;
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i]->grad = stack_[0].gradients[i];
  stack_.clear();
}

}  // namespace nibble
