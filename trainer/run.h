// A training run: recipe → model and data → steps → checkpoints → the result.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"

namespace nibble {

struct RunReport {
  bool stopped = false;       // by a signal; a checkpoint was saved
  bool already_done = false;  // resume found a finished run
  bool full = false;          // every weight was trained: there is nothing to merge
  int64_t steps = 0, tokens = 0;
  double seconds = 0;
  double first_loss = NAN, last_loss = NAN;  // of steps that changed the weights
  double held_out_loss = -1;                 // negative: nothing held out
  int64_t peak_bytes = 0;                    // of the process
  std::string output_dir;
};

// Throws UserError for everything the user can mend (exit 2, 65, 66, 73, 74), exit 3 when the loss
// is not finite. Returns stopped = true after SIGTERM, SIGINT, SIGUSR1 or SIGUSR2.
RunReport train(const std::string& recipe_path,
                const std::vector<std::pair<std::string, std::string>>& overrides);

}  // namespace nibble
