// Gradients of micro-batches are leaves of one binary tree: their sum has one order whatever the
// accumulation, and needs log2(M) + 1 buffers.
#pragma once

#include <vector>

#include "autograd/ctx.h"
#include "autograd/var.h"

namespace nibble {

class GradientTree {
 public:
  explicit GradientTree(const Ctx& ctx) : ctx_(ctx) {}
  // Takes the gradients out of the parameters: the next micro-batch starts from none. A parameter
  // without a gradient is left undefined.
  void add_leaf(const std::vector<Parameter*>& parameters);
  // Joins what is left and puts the sums back into parameter->grad.
  void finish(const std::vector<Parameter*>& parameters);

 private:
  struct Entry {
    int level;
    std::vector<Tensor> gradients;
  };
  void join_top();  // the last two entries become one
  Ctx ctx_;
  std::vector<Entry> stack_;
};

}  // namespace nibble
