// An 8-bit weight as bitsandbytes' Linear8bitLt and transformers store it. The scales stand beside
// the weight, not below it.
//
//   weight         i8 (out, in)
//   SCB            f32 (out), the largest magnitude of a row: the value of code 127
//   weight_format  u8 scalar, 0 for rows; absent in old files
#pragma once

#include "quant/quant_state.h"

namespace nibble {

// As read_quant_state. `threshold` becomes the weight's outlier threshold. Codes in an order other
// than rows (weight_format 1 to 3, of old GPU kernels) are refused by name.
Weight read_int8_state(const Backend& on, std::string_view prefix, const TensorSource& source,
                       int64_t out, int64_t in, std::optional<double> threshold,
                       Purpose purpose = Purpose::weights);

// In the order bitsandbytes writes.
NamedTensors write_int8_state(const Backend& on, std::string_view prefix, const Weight& w);

}  // namespace nibble
