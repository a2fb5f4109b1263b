// Vector-wise codes of a matrix by their definition, written out apart from the code under test.
#pragma once

#include "tests/kernels/weight_cases.h"

namespace nibble::testing {

struct Coded {
  std::vector<int8_t> codes;
  std::vector<float> absmax;
};

// absmax over what lies below the threshold; round-half-even of x × ((1 / absmax) × 127).
inline Coded defined(const Matrix& x, float threshold, const uint8_t* columns, int64_t margin = 0) {
  Coded c;
  for (int64_t r = 0; r < x.rows; ++r) {
    float absmax = 0;
    const auto out = [&](int64_t k) {
      return threshold > 0 && std::fabs(x.at(r, k)) >= static_cast<double>(threshold);
    };
    for (int64_t k = 0; k < x.cols; ++k) {
      if (!out(k)) absmax = std::max(absmax, static_cast<float>(std::fabs(x.at(r, k))));
    }
    c.absmax.push_back(absmax);
    const float reciprocal = absmax > 0 ? 1.0f / absmax : 0.0f;
    const float factor = reciprocal * 127.0f;
    for (int64_t k = 0; k < x.cols; ++k) {
      const float scaled = static_cast<float>(x.at(r, k)) * factor;
      const bool zero = out(k) || (columns != nullptr && columns[k] != 0);
      const double floor = std::floor(static_cast<double>(scaled)), part = scaled - floor;
      const bool up = part > 0.5 || (part == 0.5 && std::fmod(floor, 2) != 0);
      c.codes.push_back(static_cast<int8_t>(zero ? 0 : floor + (up ? 1 : 0)));
    }
    c.codes.insert(c.codes.end(), static_cast<size_t>(margin), 99);
  }
  return c;
}

}  // namespace nibble::testing
