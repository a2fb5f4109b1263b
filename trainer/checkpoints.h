// Checkpoints: checkpoint-<step>/ folders that are whole or absent, verified before they are
// trusted.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "optim/optimizer.h"
#include "trainer/recipe.h"

namespace nibble {

struct TrainerState {
  int64_t step = 0;  // steps done
  int64_t max_steps = 0;
  double epoch = 0;
  int64_t tokens_seen = 0;
  std::string tier;              // sums are equal within one
  std::string numbers;           // the settings that decide the run's numbers, as YAML
  std::shared_ptr<Json> update;  // Update::state() of the session
  std::shared_ptr<Json> log_history;
  TrainerState();
  Json to_json(const Recipe& recipe) const;
  static TrainerState read(const std::string& directory);
};

std::string checkpoint_name(int64_t step);
// Folders named checkpoint-<step> in `output_dir`, oldest first.
std::vector<std::pair<int64_t, std::string>> list_checkpoints(const std::string& output_dir);
// The newest one that passes its manifest; damaged ones are named in a warning and passed over.
std::optional<std::string> newest_checkpoint(const std::string& output_dir);
// Removes the oldest beyond `limit` (0: none); never the only verified one.
void rotate_checkpoints(const std::string& output_dir, int64_t limit);
// Whether `output_dir` holds a run, and whether it is finished.
enum class RunState : uint8_t { none, unfinished, finished };
RunState run_state(const std::string& output_dir);

}  // namespace nibble
