#include "trainer/checkpoints.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace nibble {

TrainerState::TrainerState()
    : update(std::make_shared<Json>(Json::object())),
      log_history(std::make_shared<Json>(Json::array())) {}

Json TrainerState::to_json(const Recipe& recipe) const {
  return {{"best_global_step", nullptr},
          {"best_metric", nullptr},
          {"best_model_checkpoint", nullptr},
          {"epoch", epoch},
          {"eval_steps", recipe.eval_steps},
          {"global_step", step},
          {"is_hyper_param_search", false},
          {"is_local_process_zero", true},
          {"is_world_process_zero", true},
          {"log_history", *log_history},
          {"logging_steps", recipe.logging_steps},
          {"max_steps", max_steps},
          {"num_input_tokens_seen", tokens_seen},
          {"num_train_epochs", recipe.num_epochs},
          {"save_steps", recipe.save_steps},
          {"stateful_callbacks", Json::object()},
          {"total_flos", 0},
          {"train_batch_size", recipe.micro_batch_size},
          {"trial_name", nullptr},
          {"trial_params", nullptr},
          {"nibble", {{"tier", tier}, {"numbers", numbers}, {"update", *update}}}};
}

TrainerState TrainerState::read(const std::string& directory) {
  const std::string path = join_path(directory, "trainer_state.json");
  const Json json = read_json(path);
  TrainerState state;
  try {
    state.step = json.at("global_step").get<int64_t>();
    state.max_steps = json.at("max_steps").get<int64_t>();
    state.epoch = json.at("epoch").get<double>();
    state.tokens_seen = json.at("num_input_tokens_seen").get<int64_t>();
    *state.log_history = json.at("log_history");
    state.tier = json.at("nibble").at("tier").get<std::string>();
    state.numbers = json.at("nibble").at("numbers").get<std::string>();
    *state.update = json.at("nibble").at("update");
  } catch (const nlohmann::json::exception& e) {
    throw UserError(path, cat("is not a checkpoint of nibble: ", e.what()), "", Exit::bad_data);
  }
  return state;
}

std::string checkpoint_name(int64_t step) { return cat("checkpoint-", step); }

std::vector<std::pair<int64_t, std::string>> list_checkpoints(const std::string& output_dir) {
  std::vector<std::pair<int64_t, std::string>> found;
  if (!is_directory(output_dir)) return found;
  for (const std::string& name : list_directory(output_dir)) {
    if (!starts_with(name, "checkpoint-")) continue;
    const std::string number = name.substr(11);
    if (number.empty() || number.size() > 15 ||
        number.find_first_not_of("0123456789") != std::string::npos)
      continue;
    found.emplace_back(std::stoll(number), join_path(output_dir, name));
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::optional<std::string> newest_checkpoint(const std::string& output_dir) {
  auto all = list_checkpoints(output_dir);
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    try {
      verify_directory(it->second);
      return it->second;
    } catch (const UserError& e) {
      log::warning(cat("passed over a damaged checkpoint: ", e.what()));
    }
  }
  return std::nullopt;
}

void rotate_checkpoints(const std::string& output_dir, int64_t limit) {
  if (limit <= 0) return;
  auto all = list_checkpoints(output_dir);
  if (static_cast<int64_t>(all.size()) <= limit) return;
  verify_directory(all.back().second);  // what stays must be good before anything goes
  for (size_t i = 0; i + static_cast<size_t>(limit) < all.size(); ++i) remove_tree(all[i].second);
}

RunState run_state(const std::string& output_dir) {
  if (!is_directory(output_dir)) return RunState::none;
  if (exists(join_path(output_dir, "trainer_state.json"))) return RunState::finished;
  if (!list_checkpoints(output_dir).empty()) return RunState::unfinished;
  for (const char* name : {"metrics.jsonl", "adapter_model.safetensors", "model.safetensors"})
    if (exists(join_path(output_dir, name))) return RunState::unfinished;
  return RunState::none;
}

}  // namespace nibble
