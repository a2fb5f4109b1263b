// SHA-256 of a tensor's bytes, as the lists of large vectors write it.
#pragma once

#include <string>

#include "kernels/tensor.h"
#include "serving/http/sha256.h"

namespace nibble::testing {

inline std::string hash_of(const Tensor& t) {
  std::string hex;
  for (const uint8_t byte :
       serving::http::sha256({t.data<char>(), static_cast<size_t>(t.bytes())})) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

}  // namespace nibble::testing
