// The end of a step: from the gradients' sums to changed weights, or, where a gradient or the loss
// is not finite, to a step that leaves every byte as it was.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/json.h"
#include "optim/clip.h"
#include "optim/loss_scale.h"
#include "optim/optimizer.h"

namespace nibble {

struct UpdateOptions {
  double max_grad_norm = 1;   // 0: no clipping
  double max_grad_value = 0;  // the same
  int64_t percentile = 100;   // 100: the same
  bool scales_loss = false;   // f16
};

enum class Outcome : uint8_t {
  updated,
  bad,       // not finite: skipped and counted
  overflow,  // not finite under a loss scale above its least: skipped, the scale is halved
};

class Update {
 public:
  Update(const UpdateOptions& options, std::unique_ptr<Optimizer> optimizer,
         std::vector<Parameter*> parameters);

  // What the loss is multiplied by before backward; 1 without loss scaling.
  double loss_scale() const { return scale_ ? scale_->value() : 1; }

  struct Result {
    Outcome outcome = Outcome::updated;
    double grad_norm = 0;  // before clipping
  };
  // `loss` is the step's, unscaled. Gradients are sums under loss_scale(); × mean they are the
  // step's gradient. They may be changed (clipping by value) and are left in place.
  Result apply(const Ctx& ctx, double loss, double rate, double mean);

  // Steps whose weights changed: what bias correction counts.
  int64_t updates() const { return updates_; }
  int64_t skipped() const { return skipped_; }  // bad and overflown
  int64_t bad_in_a_row() const { return bad_in_a_row_; }

  const Optimizer& optimizer() const { return *optimizer_; }
  Optimizer& optimizer() { return *optimizer_; }
  // Everything but the optimizer's tensors. A state of other options is a UserError, exit 65.
  Json state() const;
  void load(const Json& state, const std::string& where);

 private:
  UpdateOptions options_;
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<Parameter*> parameters_;
  std::optional<LossScale> scale_;
  std::optional<PercentileClip> percentile_;
  int64_t updates_ = 0, skipped_ = 0, bad_in_a_row_ = 0;
};

}  // namespace nibble
