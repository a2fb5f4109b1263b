// The reverse walk. A tape lives for one micro-batch; nodes are in the order of their making.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "autograd/op.h"

namespace nibble {

struct Node {
  std::shared_ptr<const Op> op;  // null for leaves, inputs and segments
  Saved saved;
  std::vector<std::shared_ptr<Node>> inputs;  // null where no gradient is wanted
  Parameter* parameter = nullptr;             // leaves
  Tensor grad;                                // of the output, summed over its uses
  // Segments: given dy, adds to the parameters inside and returns the input's gradient (undefined
  // when it wants none).
  std::function<Tensor(Ctx&, const Tensor& dy)> segment;
};

class Tape {
 public:
  Tape() = default;
  ~Tape() { clear(); }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  void record(std::shared_ptr<Node> node) { nodes_.push_back(std::move(node)); }
  // Adds d(sum of output × seed) to every parameter's grad and empties the tape. `ctx` runs the
  // kernels; its tape is ignored. Saved tensors are freed as they are used. A value used several
  // times sums its gradients in the reverse order of those uses.
  void backward(const Ctx& ctx, const Var& output, const Tensor& seed);
  void clear();
  size_t size() const { return nodes_.size(); }
  int64_t saved_bytes() const;

 private:
  std::vector<std::shared_ptr<Node>> nodes_;
};

// Adds `g` to the gradient held in `sum`; the first one is taken as it is. `sum` gets `dtype`.
void add_gradient(const Ctx& ctx, Tensor& sum, Tensor g, Purpose purpose, DType dtype);

}  // namespace nibble
