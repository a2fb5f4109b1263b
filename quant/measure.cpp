#include "quant/measure.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace nibble {
namespace {

struct Sums {
  double error = 0, value = 0;  // of squares
};

void scale_range(const Backend& on, const Weight& w, WeightReport& report) {
  const Tensor scales = w.nested ? unnest_scales(on, *w.nested, Purpose::scratch) : w.scales;
  if (!scales.defined() || scales.numel() == 0) return;
  const float* s = scales.data<float>();
  const auto [low, high] = std::minmax_element(s, s + scales.numel());
  report.absmax_low = *low;
  report.absmax_high = *high;
}

// Walks the matrix in pieces of whole rows; a block may end in the next piece.
class Walk {
 public:
  Walk(const Backend& on, const Weight& w, const Tensor& original, WeightReport& report)
      : on_(on), w_(w), original_(original), report_(report), block_(w.block) {
    rows_ = std::clamp<int64_t>((int64_t{1} << 18) / std::max<int64_t>(1, w.in), 1, w.out);
    decoded_ = Tensor::empty(on.memory, {rows_, w.in}, DType::f32, Purpose::scratch);
    values_ = Tensor::empty(on.memory, {rows_, w.in}, DType::f32, Purpose::scratch);
  }

  void run() {
    for (int64_t row = 0; row < w_.out; row += rows_) piece(row, std::min(w_.out, row + rows_));
    close();
    report_.measured = true;
    report_.relative_error = all_.value > 0 ? std::sqrt(all_.error / all_.value) : 0;
    report_.snr_db = all_.error > 0 ? 10 * std::log10(all_.value / all_.error) : INFINITY;
  }

 private:
  void piece(int64_t begin, int64_t end) {
    const int64_t n = end - begin, first = begin * w_.in, last = end * w_.in;
    const Tensor from = original_.row_range(begin, end);
    on_.k.cast(on_.stream, n, w_.in, from.dtype(), from.raw(), from.pitch(), DType::f32,
               values_.raw(), w_.in);
    on_.stream.wait();
    const WeightView view = w_.view();
    on_.stream.pool().parallel_for(n, 4, [&](int64_t a, int64_t b) {
      on_.k.decode_tile(view, begin + a, begin + b, 0, w_.in, DType::f32,
                        decoded_.data<float>() + a * w_.in, w_.in);
    });
    const int64_t b0 = first / block_, b1 = (last + block_ - 1) / block_;
    sums_.assign(static_cast<size_t>(b1 - b0), {});
    on_.stream.pool().parallel_for(b1 - b0, 256, [&](int64_t from_block, int64_t to_block) {
      for (int64_t b = from_block; b < to_block; ++b)
        sums_[static_cast<size_t>(b)] = of_range(std::max(first, (b0 + b) * block_) - first,
                                                 std::min(last, (b0 + b + 1) * block_) - first);
    });
    for (int64_t b = b0; b < b1; ++b) {
      if (b != open_) close();
      open_ = b;
      sum_.error += sums_[static_cast<size_t>(b - b0)].error;
      sum_.value += sums_[static_cast<size_t>(b - b0)].value;
    }
  }

  Sums of_range(int64_t begin, int64_t end) const {
    Sums sums;
    for (int64_t i = begin; i < end; ++i) {
      const double value = values_.data<float>()[i], error = decoded_.data<float>()[i] - value;
      sums.error += error * error;
      sums.value += value * value;
    }
    return sums;
  }

  void close() {
    if (open_ < 0) return;
    all_.error += sum_.error;
    all_.value += sum_.value;
    const double error = sum_.value > 0 ? std::sqrt(sum_.error / sum_.value) : 0;
    if (report_.worst_block < 0 || error > report_.worst_error) {
      report_.worst_block = open_;
      report_.worst_error = error;
    }
    sum_ = {};
  }

  const Backend& on_;
  const Weight& w_;
  const Tensor& original_;
  WeightReport& report_;
  int64_t block_, rows_ = 1, open_ = -1;
  Tensor decoded_, values_;
  std::vector<Sums> sums_;
  Sums sum_, all_;
};

}  // namespace

WeightReport measure(const Backend& on, const Weight& w, const Tensor& original) {
  check(w.layout == Layout::flat, "measure: a flat weight");
  WeightReport report;
  const auto n = static_cast<double>(w.out * w.in);
  report.bits = n > 0 ? 8 * static_cast<double>(w.bytes()) / n : 0;
  scale_range(on, w, report);
  if (original.defined() && w.out * w.in > 0) {
    check_eq(original.rows(), w.out, "measure: rows");
    check_eq(original.cols(), w.in, "measure: columns");
    Walk(on, w, original, report).run();
  }
  return report;
}

}  // namespace nibble
