// How far a coded weight is from the values it was made of, and what it costs.
#pragma once

#include "quant/weight.h"

namespace nibble {

struct WeightReport {
  double bits = 0;                        // a weight, scales counted
  float absmax_low = 0, absmax_high = 0;  // of the blocks' scales
  bool measured = false;                  // against values; else the rest says nothing
  double relative_error = 0;              // ‖q − w‖ / ‖w‖
  double snr_db = 0;                      // 20 log10(‖w‖ / ‖q − w‖)
  int64_t worst_block = -1;               // with the largest relative error of its own
  double worst_error = 0;
};

// `w` flat, any coded format. `original` (out, in) of any float dtype, undefined: not measured.
// Memory: two pieces of a megabyte, not two matrices. Sums in fp64, blocks in order.
WeightReport measure(const Backend& on, const Weight& w, const Tensor& original);

}  // namespace nibble
