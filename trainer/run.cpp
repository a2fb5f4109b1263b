#include "trainer/run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "kernels/machine_memory.h"
#include "trainer/checkpoints.h"
#include "trainer/metrics.h"
#include "trainer/session.h"
#include "trainer/stop_signal.h"

namespace nibble {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

DType full_dtype(const Recipe& recipe) {
  if (recipe.save_dtype == "bf16") return DType::bf16;
  return recipe.save_dtype == "f16" ? DType::f16 : DType::f32;
}

// The settings that decide numbers: a checkpoint made under others is refused.
std::string numbers_of(const std::string& resolved) {
  static const char* const kFree[] = {"output_dir:",
                                      "resume_from_checkpoint:",
                                      "save_steps:",
                                      "save_total_limit:",
                                      "eval_steps:",
                                      "logging_steps:",
                                      "threads:",
                                      "max_bad_steps:",
                                      "optimizer_state_budget:",
                                      "save_dtype:",
                                      "#"};
  std::string out;
  for (const std::string& line : split(resolved, '\n')) {
    bool keep = !trim(line).empty();
    for (const char* name : kFree) keep = keep && !starts_with(trim(line), name);
    if (keep) out += line + "\n";
  }
  return out;
}

void check_same_numbers(const std::string& now, const TrainerState& state,
                        const std::string& where) {
  if (now == state.numbers) return;
  const auto a = split(state.numbers, '\n'), b = split(now, '\n');
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    const std::string before = i < a.size() ? a[i] : "", after = i < b.size() ? b[i] : "";
    if (before != after)
      throw UserError(
          where, cat("was made with '", trim(before), "', the recipe now says '", trim(after), "'"),
          "resume with the same recipe, or choose another output_dir");
  }
}

class Run {
 public:
  Run(const Recipe& recipe, std::string resolved)
      : recipe_(recipe), resolved_(std::move(resolved)), numbers_(numbers_of(resolved_)) {}

  RunReport go() {
    report_.output_dir = recipe_.output_dir;
    report_.full = recipe_.full();
    if (!choose_start()) return report_;
    make_directories(recipe_.output_dir);
    remove_leftovers(recipe_.output_dir);
    session_ = std::make_unique<Session>(recipe_);
    state_.tier = name_of(session_->device().tier());
    state_.max_steps = session_->total_steps();
    state_.numbers = numbers_;
    introduce();
    if (resume_from_) resume();
    write_file(join_path(recipe_.output_dir, "recipe.yaml"), resolved_);
    metrics_ =
        std::make_unique<Metrics>(join_path(recipe_.output_dir, "metrics.jsonl"), state_.step);
    loop();
    if (!report_.stopped) finish();
    report_.peak_bytes = process_peak_bytes();
    return report_;
  }

 private:
  // False when there is nothing to do.
  bool choose_start() {
    const RunState there = run_state(recipe_.output_dir);
    const std::string& from = recipe_.resume_from_checkpoint;
    if (from.empty() || from == "false") {
      if (there != RunState::none)
        throw UserError(recipe_.output_dir, "holds a run already",
                        "set resume_from_checkpoint: auto to go on with it, or choose another "
                        "output_dir",
                        Exit::cannot_create);
      return true;
    }
    if (there == RunState::finished) {
      report_.already_done = true;
      return false;
    }
    if (from == "auto" || from == "true") {
      resume_from_ = newest_checkpoint(recipe_.output_dir);
      return true;
    }
    if (!is_directory(from))
      throw UserError(from, "no such checkpoint folder",
                      "resume_from_checkpoint: auto, or a folder", Exit::missing_input);
    verify_directory(from);
    resume_from_ = from;
    return true;
  }

  void resume() {
    TrainerState saved = TrainerState::read(*resume_from_);
    check_same_numbers(numbers_, saved, *resume_from_);
    if (saved.max_steps != state_.max_steps)
      throw UserError(
          *resume_from_,
          cat("belongs to a run of ", saved.max_steps, " steps, this one has ", state_.max_steps),
          "the data changed: use the same files, or another output_dir");
    if (saved.tier != state_.tier)
      log::warning(cat("the checkpoint was made on tier ", saved.tier, ", this is ", state_.tier,
                       ": sums differ in their last bits"));
    session_->load_checkpoint(*resume_from_, *saved.update);
    state_ = std::move(saved);
    last_good_ = *resume_from_;
    log::row("resumed", cat(*resume_from_, " at step ", state_.step, " of ", state_.max_steps));
  }

  void introduce() {
    const Model& m = session_->model();
    const Blueprint& b = m.decoder->blueprint();
    std::string format = name_of(b.file_dtype);
    if (!m.formats.empty() && !recipe_.full())
      format += cat(m.prequantized ? " · " : " on file → ", m.formats);
    log::row("base", recipe_.base_model);
    log::row("", cat(b.layers, " layers, ", human_count(b.parameters()), " weights"));
    log::row("", cat(format, ", ", human_bytes(m.weight_bytes)));
    if (recipe_.full()) {
      log::row("adapter",
               cat("none: all ", human_count(session_->trained_count()), " weights train"));
    } else {
      int64_t linears = 0;
      for (const Linear* l : m.decoder->linears()) linears += l->adapter(0) != nullptr;
      log::row("adapter", cat("LoRA r ", session_->adapter().r, " on ", linears, " linears, ",
                              human_count(session_->trained_count()), " parameters (",
                              fixed(100.0 * static_cast<double>(session_->trained_count()) /
                                        static_cast<double>(b.parameters()),
                                    1),
                              " %)"));
    }
    const AddedTokens& added = session_->added();
    if (!added.ids.empty())
      log::row("tokens", cat(added.ids.size(), " added, ids ", added.ids.front(), " to ",
                             added.ids.back(), "; the model has ", human_count(b.vocab)));
    const Dataset& data = session_->dataset();
    std::string text = cat(human_count(static_cast<int64_t>(data.rows.size())), " rows");
    if (recipe_.sample_packing)
      text += cat(" → ", human_count(session_->rows()), " packed sequences of ",
                  human_count(recipe_.sequence_len), " (", fixed(100 * session_->packed_share(), 1),
                  " % full)");
    if (data.cut > 0) text += cat(", ", human_count(data.cut), " rows cut");
    log::row("data", text);
    log::row("machine", cat(session_->device().threads(), " threads, tier ", state_.tier));
  }

  void loop() {
    StopSignal signals;
    const Clock::time_point start = Clock::now();
    const int64_t first = state_.step;
    int64_t window_tokens = 0;
    log::Progress progress;
    while (state_.step < state_.max_steps) {
      const Clock::time_point begin = Clock::now();
      const StepResult r = session_->step(state_.step);
      if (session_->update().bad_in_a_row() > recipe_.max_bad_steps) diverged(r);
      const double took = seconds_since(begin);
      ++state_.step;
      state_.epoch =
          static_cast<double>(state_.step) / static_cast<double>(session_->steps_per_epoch());
      state_.tokens_seen += r.tokens;
      window_tokens += r.tokens;
      ++report_.steps;
      report_.tokens += r.tokens;
      if (r.outcome == Outcome::updated) {
        if (std::isnan(report_.first_loss)) report_.first_loss = r.loss;
        report_.last_loss = r.loss;
        if (state_.step % recipe_.logging_steps == 0 || state_.step == state_.max_steps)
          log_step(r, took);
      } else {
        log_skipped(r);
      }
      const double elapsed = seconds_since(start);
      const double rate = static_cast<double>(window_tokens) / elapsed;
      const double left = elapsed / static_cast<double>(state_.step - first) *
                          static_cast<double>(state_.max_steps - state_.step);
      progress.update(cat(
          "step  ", human_count(state_.step), "/", human_count(state_.max_steps), "  ",
          fixed(100.0 * static_cast<double>(state_.step) / static_cast<double>(state_.max_steps),
                1),
          " %  loss ", fixed(r.loss, 3), "  |g| ", fixed(r.grad_norm, 2), "   ",
          human_count(static_cast<int64_t>(rate)), " tok/s   ", human_bytes(process_peak_bytes()),
          "   ", human_duration(left), " left"));
      const bool last = state_.step == state_.max_steps;
      if (!last && recipe_.eval_steps > 0 && state_.step % recipe_.eval_steps == 0) evaluate();
      const bool stop = !last && StopSignal::asked();
      if (stop || (recipe_.save_steps > 0 && state_.step % recipe_.save_steps == 0)) save();
      if (stop) {
        report_.stopped = true;
        break;
      }
    }
    progress.finish();
    report_.seconds = seconds_since(start);
  }

  // A skipped step keeps its place in the schedule and in the data.
  void log_skipped(const StepResult& r) {
    const int64_t all = session_->update().skipped();
    const bool overflow = r.outcome == Outcome::overflow;
    log::warning(cat("step ", state_.step, " was skipped: ",
                     overflow
                         ? cat("gradients overflow f16 under a loss scale of ", r.loss_scale,
                               ", it is ", session_->update().loss_scale(), " now")
                         : cat("loss ", r.loss, ", gradient norm ", r.grad_norm, " is not finite"),
                     " (", all, all == 1 ? " step" : " steps", " so far)"));
    Json row = {{"step", state_.step},
                {"epoch", state_.epoch},
                {"skipped", overflow ? "overflow" : "not finite"},
                {"skipped_steps", all},
                {"loss", r.loss},
                {"grad_norm", r.grad_norm},
                {"learning_rate", r.rate},
                {"tokens", r.targets}};
    if (recipe_.compute() == DType::f16) row["loss_scale"] = r.loss_scale;
    metrics_->write(row);
    state_.log_history->push_back(std::move(row));
  }

  [[noreturn]] void diverged(const StepResult& r) {
    const int64_t bad = session_->update().bad_in_a_row();
    throw UserError(recipe_.file,
                    cat("step ", state_.step + 1, ": loss ", r.loss, ", gradient norm ",
                        r.grad_norm, " is not finite; nothing was updated",
                        bad > 1 ? cat(", nor in the ", bad - 1, " before it") : std::string()),
                    cat(last_good_.empty() ? std::string("no checkpoint was saved before it")
                                           : cat("last good checkpoint: ", last_good_),
                        "; lower learning_rate, or clip with max_grad_norm"),
                    Exit::diverged);
  }

  void log_step(const StepResult& r, double took) {
    Json row = {{"step", state_.step},
                {"epoch", state_.epoch},
                {"loss", r.loss},
                {"grad_norm", r.grad_norm},
                {"learning_rate", r.rate},
                {"tokens", r.targets},
                {"tokens_per_second", static_cast<double>(r.tokens) / std::max(took, 1e-9)},
                {"peak_bytes", process_peak_bytes()}};
    if (recipe_.compute() == DType::f16) row["loss_scale"] = r.loss_scale;
    metrics_->write(row);
    state_.log_history->push_back({{"loss", r.loss},
                                   {"grad_norm", r.grad_norm},
                                   {"learning_rate", r.rate},
                                   {"epoch", state_.epoch},
                                   {"step", state_.step}});
  }

  void evaluate() {
    const Clock::time_point begin = Clock::now();
    const Score s = session_->evaluate();
    report_.held_out_loss = s.mean();
    Json row = {{"step", state_.step},
                {"epoch", state_.epoch},
                {"eval_loss", s.mean()},
                {"eval_tokens", s.tokens},
                {"eval_runtime", seconds_since(begin)}};
    metrics_->write(row);
    state_.log_history->push_back(
        {{"eval_loss", s.mean()}, {"epoch", state_.epoch}, {"step", state_.step}});
  }

  void save() {
    const Clock::time_point begin = Clock::now();
    const std::string path = join_path(recipe_.output_dir, checkpoint_name(state_.step));
    OutputDirectory out(path, true);
    session_->save_weights(out.folder(), DType::f32);  // masters: a resumed run has the same bits
    session_->save_optimizer(out.folder());
    write_file(out.file("recipe.yaml"), resolved_);
    *state_.update = session_->update().state();
    write_file(out.file("trainer_state.json"), dump_json(state_.to_json(recipe_), 2) + "\n");
    out.commit();
    last_good_ = path;
    rotate_checkpoints(recipe_.output_dir, recipe_.save_total_limit);
    log::row("saved", cat(path, "  (", human_duration(seconds_since(begin)), ")"));
  }

  // The result, then the mark that the run is finished.
  void finish() {
    if (session_->has_held_out()) evaluate();
    session_->save_weights(recipe_.output_dir, full_dtype(recipe_));
    *state_.update = session_->update().state();
    write_file(join_path(recipe_.output_dir, "trainer_state.json"),
               dump_json(state_.to_json(recipe_), 2) + "\n");
  }

  const Recipe& recipe_;
  std::string resolved_, numbers_, last_good_;
  std::optional<std::string> resume_from_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<Metrics> metrics_;
  TrainerState state_;
  RunReport report_;
};

}  // namespace

RunReport train(const std::string& recipe_path,
                const std::vector<std::pair<std::string, std::string>>& overrides) {
  Recipe recipe;
  Settings settings;
  recipe.read(recipe_path, overrides, settings);
  return Run(recipe, recipe.resolved(settings)).go();
}

}  // namespace nibble
