// A way to code a matrix, seen from outside: values in, named parts out, values back; and how long
// each takes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "quant/named_tensors.h"

namespace nibble {

class Codec {
 public:
  virtual ~Codec() = default;
  virtual void encode(const Tensor& w) = 0;          // (rows, cols) f32, bf16 or f16
  virtual void decode(const Tensor& out) const = 0;  // what was encoded last, in out's dtype
  virtual int64_t bytes() const = 0;                 // of what was encoded last
  virtual NamedTensors parts() const = 0;            // "codes", "absmax", …
};

struct CodecSpec {
  std::string type;   // one of codec_types()
  int64_t block = 0;  // 0: the usual one
  bool double_quant = false;
};

std::vector<std::string> codec_types();
int64_t usual_block(const std::string& type);
std::unique_ptr<Codec> make_codec(const Device& device, const CodecSpec& spec);

// Seconds of one encoding, one decoding and one copy of as many bytes as are decoded. They take
// turns in each round, so that a slow moment of the machine meets all three.
struct CodecSpeed {
  struct Seconds {
    double best = 0, median = 0;
  };
  Seconds encode, decode, copy;
};
// `out` has the shape and dtype of `w`.
CodecSpeed measure_codec(const Device& device, Codec& codec, const Tensor& w, const Tensor& out,
                         int64_t rounds);

}  // namespace nibble
