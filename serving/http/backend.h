// What the HTTP layer needs of a model: names, text ↔ ids, a queue that takes requests. The engine
// stands behind it in the program, a script in the tests; no tensor passes here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "serving/request.h"
#include "serving/stats.h"

namespace nibble::serving::http {

struct ServedModel {
  std::string id;      // what clients put into "model"
  int adapter = -1;    // slot; -1: the base
  std::string parent;  // id of the base an adapter stands on; empty for the base
};

// Every member may be called from any thread.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual const std::vector<ServedModel>& models() const = 0;  // never empty
  virtual int64_t max_context() const = 0;
  virtual int64_t vocab() const = 0;

  virtual bool has_tokenizer() const = 0;  // false: requests and answers are ids
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const = 0;
  virtual std::string decode(std::span<const int32_t> ids) const = 0;
  virtual std::string token_bytes(int32_t id) const = 0;
  virtual bool is_special(int32_t id) const = 0;  // its bytes are no part of a text
  // `variables`: an object of further names for the template (enable_thinking, …). Throws
  // UserError: the template's own refusal, or that there is none.
  virtual std::string render_chat(const Json& messages, bool add_generation_prompt,
                                  const Json& variables) const = 0;

  // Ends of a turn that the engine does not know by itself (the default template's).
  virtual void add_chat_stops(SamplingParams& sampling) const {}

  virtual Admit submit(Request request) = 0;  // on anything but accepted nothing happens later
  virtual void cancel(uint64_t request) = 0;
  virtual EngineStats stats() const = 0;
  virtual bool healthy() const = 0;
};

}  // namespace nibble::serving::http
