// What an op is given besides its inputs: the kernel table, a stream, memory, and the tape, null
// when nothing trains.
#pragma once

#include "kernels/device.h"

namespace nibble {

class Tape;

struct Ctx {
  const KernelTable& k;
  Stream& stream;
  Memory& memory;
  Tape* tape = nullptr;
  DType compute = DType::f32;  // of activations and their gradients
  // What lm_head_loss multiplies every gradient by before it is rounded for the first time (the
  // loss itself stays as it is), so that gradients too small for f16 survive the way down. Who sets
  // it divides the gradients of the parameters by it.
  double loss_scale = 1;

  Ctx(const Device& device, DType compute_type, Tape* recording = nullptr)
      : k(device.kernels()),
        stream(device.stream()),
        memory(device.memory()),
        tape(recording),
        compute(compute_type) {}
  Ctx(const Ctx& other, Tape* recording)
      : k(other.k),
        stream(other.stream),
        memory(other.memory),
        tape(recording),
        compute(other.compute),
        loss_scale(other.loss_scale) {}

  DType acc() const { return accumulator_of(compute); }
  Tensor empty(Shape shape, Purpose purpose = Purpose::activation) const {
    return Tensor::empty(memory, shape, compute, purpose);
  }
  Tensor empty(Shape shape, DType dtype, Purpose purpose = Purpose::activation) const {
    return Tensor::empty(memory, shape, dtype, purpose);
  }
};

}  // namespace nibble
