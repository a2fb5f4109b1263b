// One request while the engine works on it: what is known, how much of it is computed, the blocks
// that hold it, and the text on its way out. Whoever drops a Sequence has freed everything.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/text/tokenizer.h"
#include "serving/kv/block_pool.h"
#include "serving/request.h"
#include "serving/stop.h"

namespace nibble::serving {

class Sequence {
 public:
  Sequence(Request request, uint64_t seed, const Tokenizer* tokenizer);

  const Request request;
  const uint64_t seed;          // of its random numbers
  std::vector<int32_t> tokens;  // prompt, then output
  int64_t computed = 0;         // leading tokens whose keys and values are in the blocks
  int64_t computed_as = 0;      // known() when the last of them were computed
  std::vector<Block> blocks;
  bool cancelled = false;                     // freed at the next commit
  std::vector<TokenLogprob> prompt_logprobs;  // gathered until the first event takes them
  int64_t scored = 1;  // leading prompt tokens with a logprob; the first has none to wait for

  State state() const { return state_; }
  void move(State to);  // along an edge of the table
  int64_t known() const { return static_cast<int64_t>(tokens.size()); }
  int64_t prompt() const { return static_cast<int64_t>(request.prompt.size()); }
  int64_t output() const { return known() - prompt(); }
  // The position whose logits prompt scoring needs next; prompt() - 1 when it needs none.
  int64_t first_unscored() const {
    return request.sampling.prompt_logprobs ? scored - 1 : prompt() - 1;
  }
  void preempt();  // gives up blocks and what they hold, keeps the tokens
  void free_blocks();

  // Adds a token and its text to `event`; a stop string that appears is noted in the event.
  void append(int32_t token, bool shows, Event& event);
  // Text still held back goes out with the last event.
  void flush(Event& event);

 private:
  void release(const std::string& text, Event& event);

  State state_ = State::queued;
  StopMatcher stop_;
  std::optional<StreamDecoder> decoder_;
};

}  // namespace nibble::serving
