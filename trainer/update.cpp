// Order: finite? then by value, then by norm, then by percentile of the norms before clipping.
#include "trainer/update.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/errors.h"

namespace nibble {

Update::Update(const UpdateOptions& options, std::unique_ptr<Optimizer> optimizer,
               std::vector<Parameter*> parameters)
    : options_(options), optimizer_(std::move(optimizer)), parameters_(std::move(parameters)) {
  if (options.scales_loss) scale_.emplace();
  if (options.percentile < 100) percentile_.emplace(options.percentile);
}

Update::Result Update::apply(const Ctx& ctx, double loss, double rate, double mean) {
  Result result;
  double factor = mean / loss_scale();
  result.grad_norm = global_norm(ctx, parameters_, factor);
  if (!std::isfinite(loss) || !std::isfinite(result.grad_norm)) {
    ++skipped_;
    const bool overflow = scale_ && !scale_->at_least();
    result.outcome = overflow ? Outcome::overflow : Outcome::bad;
    if (!overflow) ++bad_in_a_row_;
    if (scale_) scale_->overflow();
    return result;
  }
  double norm = result.grad_norm;
  if (options_.max_grad_value > 0) {
    clip_values(ctx, parameters_, options_.max_grad_value / factor);
    norm = global_norm(ctx, parameters_, factor);
  }
  double clip = clip_factor(norm, options_.max_grad_norm);
  if (percentile_) clip = std::min(clip, percentile_->factor(norm));
  bad_in_a_row_ = 0;
  optimizer_->step(ctx, rate, ++updates_, clip * factor);
  if (scale_) scale_->good_step();
  return result;
}

Json Update::state() const {
  Json json = {{"updates", updates_}, {"skipped_steps", skipped_}, {"bad_in_a_row", bad_in_a_row_}};
  if (scale_)
    json["loss_scale"] = {{"scale", scale_->value()}, {"good_steps", scale_->state().good_steps}};
  if (percentile_)
    json["percentile_clipping"] = {{"squared_norms", percentile_->state().ring},
                                   {"steps", percentile_->state().steps}};
  return json;
}

void Update::load(const Json& state, const std::string& where) {
  try {
    updates_ = state.at("updates").get<int64_t>();
    skipped_ = state.at("skipped_steps").get<int64_t>();
    bad_in_a_row_ = state.at("bad_in_a_row").get<int64_t>();
    if (scale_) {
      const Json& saved = state.at("loss_scale");
      scale_.emplace(
          LossScale::State{saved.at("scale").get<double>(), saved.at("good_steps").get<int64_t>()});
    }
    if (percentile_) {
      const Json& saved = state.at("percentile_clipping");
      percentile_->set_state(
          {saved.at("squared_norms").get<std::vector<double>>(), saved.at("steps").get<int64_t>()});
    }
  } catch (const nlohmann::json::exception& e) {
    throw UserError(where, cat("does not hold the state of a step: ", e.what()),
                    "the checkpoint is of another recipe", Exit::bad_data);
  }
}

}  // namespace nibble
