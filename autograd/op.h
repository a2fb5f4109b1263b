// The contract of an op: one file says its shape, its forward, its backward, what is saved, whether
// recomputing it is cheap, and the samples on which the sweep tries it (autograd/ops.def lists the
// ops; tests/autograd/sweep_test.cpp checks every row).
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "autograd/ctx.h"
#include "autograd/var.h"

namespace nibble {

using Tensors = std::span<const Tensor>;

// Exactly what backward reads. Backward sees nothing else, so a forgotten save fails at once.
// An undefined tensor keeps the place of one that no wanted gradient reads.
class Saved {
 public:
  void keep(Tensor t);   // lives only for backward: its bytes count
  void refer(Tensor t);  // a handle to a parameter or a constant of the batch: costs nothing
  void skip() { tensors_.emplace_back(); }
  const Tensor& operator[](size_t i) const { return tensors_[i]; }
  int64_t bytes() const { return bytes_; }  // of what is kept

 private:
  std::vector<Tensor> tensors_;
  int64_t bytes_ = 0;
};

// d[i] is filled if and only if want[i]: a frozen input costs nothing. Gradients of masters are of
// the accumulator's dtype, those of activations of the compute type.
struct Grads {
  std::vector<bool> want;
  std::vector<Tensor> d;
  // Lent by the tape: the gradient that a parameter has so far.
  std::vector<Tensor> sums;

  explicit Grads(std::vector<bool> wanted)
      : want(std::move(wanted)), d(want.size()), sums(want.size()) {}
  // Fills d[i] for a row that adds (dw += …): with the parameter's gradient so far when there is
  // one, else with zeros of `shape` in the accumulator's dtype.
  Tensor& into(const Ctx& ctx, size_t i, const Shape& shape);
};

enum class Recompute : uint8_t { never, cheap, costly };

class Op {
 public:
  virtual ~Op() = default;
  virtual const char* name() const = 0;
  // Also checks the inputs' shapes against each other.
  virtual Shape infer(std::span<const Shape> inputs) const = 0;
  // `saved` is null when nothing will run backward. want[i] tells which inputs want gradients, so
  // that nothing is saved for a frozen one.
  virtual Tensor forward(Ctx& ctx, Tensors inputs, const std::vector<bool>& want,
                         Saved* saved) const = 0;
  virtual void backward(Ctx& ctx, const Saved& saved, const Tensor& dy, Grads& grads) const = 0;
  virtual Recompute recompute() const { return Recompute::cheap; }
};

// One way to try an op: inputs are drawn by the sweep in fp64 for finite differences and in each
// compute type against the scalar backend.
struct Sample {
  std::string what;
  std::function<std::shared_ptr<Op>(Ctx&)> make;
  std::vector<Shape> inputs;
  std::vector<bool> parameter;   // inputs that are masters: acc dtype, not the compute type
  int64_t saved_bytes_f32 = -1;  // what forward may keep in f32 with every input wanted; -1: unsaid
  double rounds = 0;  // relative error that the op's own rounding of inputs adds in 16 bits (int8)
};

// Runs an op and, when ctx.tape records and an input wants a gradient, puts it on the tape. Inputs
// that the caller moves in may give their buffer to the output (see output_over).
Var apply(Ctx& ctx, std::shared_ptr<const Op> op, std::vector<Var> inputs);

// A tensor with x's values that an op may write over: x's own buffer when nobody else holds it,
// otherwise a copy.
Tensor output_over(const Ctx& ctx, const Tensor& x);
// True when this handle is the only one on its buffer.
inline bool exclusive(const Tensor& t) { return t.keep().use_count() == 1; }
// A contiguous copy in `dtype`.
Tensor copy_as(const Ctx& ctx, const Tensor& x, DType dtype, Purpose purpose = Purpose::activation);

}  // namespace nibble
