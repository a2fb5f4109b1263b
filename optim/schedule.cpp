// Three curves. Steps past the end give what the formulas give there.
#include "optim/schedule.h"

#include <algorithm>
#include <cmath>

#include "base/errors.h"

namespace nibble {
namespace {

constexpr double kPi = 3.14159265358979323846;

double constant(int64_t, int64_t, int64_t) { return 1; }

double linear(int64_t step, int64_t warmup, int64_t total) {
  return std::max(0.0, static_cast<double>(total - step) /
                           static_cast<double>(std::max<int64_t>(1, total - warmup)));
}

double cosine(int64_t step, int64_t warmup, int64_t total) {
  const double progress = static_cast<double>(step - warmup) /
                          static_cast<double>(std::max<int64_t>(1, total - warmup));
  return std::max(0.0, 0.5 * (1 + std::cos(kPi * progress)));
}

struct Row {
  const char* name;
  double (*curve)(int64_t, int64_t, int64_t);
};
const Row kRows[] = {{"constant", constant},
                     {"constant_with_warmup", constant},
                     {"linear", linear},
                     {"cosine", cosine}};

}  // namespace

std::vector<std::string> Schedule::names() {
  std::vector<std::string> all;
  for (const Row& row : kRows) all.emplace_back(row.name);
  return all;
}

Schedule::Schedule(std::string_view name, double peak, int64_t warmup_steps, int64_t total_steps)
    : curve_(nullptr), peak_(peak), warmup_(warmup_steps), total_(total_steps) {
  for (const Row& row : kRows) {
    if (name == row.name) curve_ = row.curve;
  }
  if (curve_ != nullptr) return;
  const std::string near = nearest(name, names());
  throw UserError(
      "lr_scheduler", cat("unknown schedule \"", name, "\""),
      near.empty() ? cat("use one of ", join(names(), ", ")) : cat("did you mean ", near, "?"));
}

double Schedule::rate(int64_t step) const {
  if (step < warmup_) {
    return peak_ * (static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, warmup_)));
  }
  return peak_ * curve_(step, warmup_, total_);
}

}  // namespace nibble
