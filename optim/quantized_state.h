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

struct StateTensor {
  Tensor values;  // shape of the parameter
  Tensor absmax;  // f32 (blocks); undefined for f32 values

  bool coded() const { return absmax.defined(); }
  int64_t bytes() const { return values.bytes() + (coded() ? absmax.bytes() : 0); }
  // "<name>" and, coded, "<name>.absmax".
  void append_to(NamedTensors& out, const std::string& name) const;
};

// Zeros. `map` is the 256-entry table that the codes point into.
StateTensor zero_state(const Ctx& ctx, const Shape& shape, const StateFormat& format,
                       const float* map);

// Takes states out of saved tensors. Every mistake is a UserError with exit 65.
class StateReader {
 public:
  explicit StateReader(const NamedTensors& tensors);
  void read(const std::string& name, StateTensor& into);
  void finish() const;  // nothing may be left over

 private:
  void copy(const std::string& name, Tensor& into);
  std::map<std::string, Tensor> left_;
};

}  // namespace nibble
