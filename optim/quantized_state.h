// How an optimizer keeps one state of one parameter: fp32 values, or 8-bit codes with one absmax a
// block. Small tensors stay fp32, where codes would save little and biases and norms would feel
// them.
#pragma once

#include <map>
#include <string>

#include "autograd/ctx.h"
#include "quant/named_tensors.h"

namespace nibble {

struct StateFormat {
  int bits = 32;                // 32: fp32 values; 8: codes
  int64_t block = 256;          // elements that share an absmax; 64 … 4096, a power of two
  int64_t min_elements = 4096;  // a smaller tensor keeps fp32
  // Codes as the GPU kernels of bitsandbytes keep them: of v itself, which may round to 0, instead
  // of sqrt(v), which never does.
  bool bnb_codec = false;

  bool codes(int64_t elements) const { return bits == 8 && elements >= min_elements; }
};

// One state of one parameter, before it is anywhere in memory.
struct StateLayout {
  std::string name;            // "<parameter>.exp_avg", "<parameter>.sqrt_exp_avg_sq"
  Shape shape;                 // of the parameter
  int64_t block = 256;         // coded
  const float* map = nullptr;  // of the codes; null: fp32 values
  bool root = false;           // codes of the square root
  float start = 0;             // every element before the first step, as it is held

  bool coded() const { return map != nullptr; }
  DType dtype() const { return coded() ? DType::u8 : DType::f32; }
  int64_t value_bytes() const { return coded() ? 1 : 4; }  // of an element
  int64_t blocks(int64_t elements) const { return (elements + block - 1) / block; }
  int64_t bytes(int64_t elements) const {
    return elements * value_bytes() + (coded() ? 4 * blocks(elements) : 0);
  }
  std::string absmax_name() const { return name + ".absmax"; }
  // Writes the start to `elements` values and the absmax of their blocks (null unless coded).
  void fill(void* values, float* absmax, int64_t elements) const;
  StateView view(void* values, float* absmax) const;
};

// Takes states out of saved tensors. Every mistake is a UserError with exit 65.
class StateReader {
 public:
  explicit StateReader(const NamedTensors& tensors);
  // The contiguous tensor of that name, shape and dtype.
  Tensor take(const std::string& name, const Shape& shape, DType dtype);
  void finish() const;  // nothing may be left over

 private:
  std::map<std::string, Tensor> left_;
};

}  // namespace nibble
