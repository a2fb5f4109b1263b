// What joins the HTTP layer to the engine: one base in memory, its adapters in slots, its tokenizer
// and template.
#pragma once

#include <memory>
#include <optional>

#include "cli/model_flags.h"
#include "model/text/tokenizer_chat.h"
#include "serving/engine.h"
#include "serving/http/backend.h"

namespace nibble {

class ServeBackend : public serving::http::Backend {
 public:
  // Loads the model and the adapters, given as NAME=DIR or DIR. `name`: of MODEL, "" for its own.
  // `chat_template` as user_template() takes it, "" for the model's own.
  ServeBackend(const Device& device, const ModelFlags& flags,
               const std::vector<std::string>& adapters, const std::string& name,
               const serving::EngineOptions& options, const std::string& chat_template = "");

  const std::vector<serving::http::ServedModel>& models() const override { return models_; }
  int64_t max_context() const override { return engine_->max_context(); }
  int64_t vocab() const override { return vocab_; }
  bool has_tokenizer() const override { return tokenizer_ != nullptr; }
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override;
  std::string decode(std::span<const int32_t> ids) const override;
  std::string token_bytes(int32_t id) const override;
  bool is_special(int32_t id) const override { return tokenizer_ && tokenizer_->is_special(id); }
  std::string render_chat(const Json& messages, bool add_generation_prompt,
                          const Json& variables) const override;
  void add_chat_stops(serving::SamplingParams& sampling) const override;
  serving::Admit submit(serving::Request request) override;
  void cancel(uint64_t request) override { engine_->cancel(request); }
  serving::EngineStats stats() const override { return engine_->stats(); }
  bool healthy() const override { return engine_->healthy(); }

  serving::Engine& engine() { return *engine_; }

 private:
  void add_adapter(const Device& device, const std::string& name, const std::string& folder);

  std::shared_ptr<Model> model_;
  std::shared_ptr<const Tokenizer> tokenizer_;  // null: ids only
  std::optional<ChatTemplate> template_;
  int64_t vocab_ = 0;
  std::vector<serving::http::ServedModel> models_;
  std::string base_;
  std::unique_ptr<serving::Engine> engine_;
};

}  // namespace nibble
