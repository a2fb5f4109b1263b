// What an engine counts. accepted = finished_stop + finished_length + cancelled + failed once all
// work is done.
#pragma once

#include <cstdint>

namespace nibble::serving {

struct EngineStats {
  int64_t running = 0, waiting = 0, blocks_total = 0, blocks_used = 0;
  int64_t accepted = 0, rejected = 0, finished_stop = 0, finished_length = 0, cancelled = 0,
          failed = 0, preemptions = 0;
  int64_t prompt_tokens = 0, generation_tokens = 0, steps = 0;
};

}  // namespace nibble::serving
