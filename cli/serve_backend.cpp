#include "cli/serve_backend.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "model/files/peft_tokens.h"
#include "model/files/tokenizer_files.h"
#include "model/text/tokenizer_fit.h"

namespace nibble {
namespace {

using serving::http::ServedModel;

// A folder by its own name, a hub id as it was typed.
std::string name_of(const std::string& model) {
  return is_directory(model) ? base_name(absolute_path(model)) : model;
}

struct GivenAdapter {
  std::string name, folder;
};

std::vector<GivenAdapter> read_adapters(const std::vector<std::string>& adapters) {
  std::vector<GivenAdapter> all;
  for (const std::string& given : adapters) {
    const size_t equals = is_directory(given) ? std::string::npos : given.find('=');
    const bool named = equals != std::string::npos;
    const std::string folder = named ? given.substr(equals + 1) : given;
    const std::string label = named ? given.substr(0, equals) : base_name(absolute_path(given));
    if (label.empty() || folder.empty())
      throw UserError("--adapter", cat("'", given, "' is not NAME=DIR"),
                      "for example --adapter poet=out/run1");
    all.push_back({label, folder});
  }
  return all;
}

// Where the tokenizer lies: with an adapter that was trained on tokens of its own, else with the
// base. One tokenizer serves all, so adapters must agree on it.
std::string tokenizer_directory(const std::string& base,
                                const std::vector<GivenAdapter>& adapters) {
  std::string chosen = base;
  for (const GivenAdapter& adapter : adapters) {
    if (!Tokenizer::present(adapter.folder)) continue;
    if (chosen == base) chosen = adapter.folder;
    const auto names = tokenizer_files(adapter.folder);
    bool same = names == tokenizer_files(chosen);
    for (const std::string& name : names)
      same =
          same && read_file(join_path(adapter.folder, name)) == read_file(join_path(chosen, name));
    if (!same)
      throw UserError("--adapter",
                      cat(adapter.folder, " has another tokenizer than ", chosen,
                          ": one server speaks with one"),
                      "serve them apart, or merge them");
  }
  return chosen;
}

}  // namespace

ServeBackend::ServeBackend(const Device& device, const ModelFlags& flags,
                           const std::vector<std::string>& adapters, const std::string& name,
                           const serving::EngineOptions& options,
                           const std::string& chat_template) {
  const ModelFlags::Resolved resolved = flags.resolve();
  LoadOptions load = resolved.options;
  const std::vector<GivenAdapter> given = read_adapters(adapters);
  std::vector<GivenAdapter> all = given;
  if (!resolved.adapter.empty()) all.push_back({"", resolved.adapter});
  for (const GivenAdapter& adapter : all)
    load.vocab = std::max(load.vocab, adapter_vocab(adapter.folder));
  log::Progress progress;
  load.progress = [&](int64_t done, int64_t all) {
    progress.update(cat("load      ", human_bytes(done), " of ", human_bytes(all)));
  };
  model_ = std::make_shared<Model>(load_model(device, resolved.directory, load));
  progress.finish();
  vocab_ = model_->decoder->blueprint().vocab;
  const std::string own = name.empty() ? name_of(flags.model) : name;
  if (resolved.adapter.empty()) {
    base_ = own;
    models_.push_back({base_, -1, ""});
  } else {  // the adapter's folder was named: it is the model, its base can be had too
    base_ = base_name(resolved.directory);
    if (base_ == own) base_ += "-base";
    add_adapter(device, own, resolved.adapter);
    models_.push_back({base_, -1, ""});
  }
  for (const GivenAdapter& adapter : given) add_adapter(device, adapter.name, adapter.folder);
  model_->tokenizer_directory = tokenizer_directory(model_->directory, all);
  if (Tokenizer::present(model_->tokenizer_directory)) {
    tokenizer_ = load_fitting_tokenizer(model_->tokenizer_directory, vocab_);
    template_.emplace(chat_template_of(*tokenizer_, resolved.template_folder(), chat_template,
                                       "--chat-template"));
  }
  engine_ = std::make_unique<serving::Engine>(device, model_, tokenizer_, options);
}

void ServeBackend::add_adapter(const Device& device, const std::string& name,
                               const std::string& folder) {
  int slot = 0;
  for (const ServedModel& model : models_) {
    if (model.id == name)
      throw UserError("--adapter", cat("two models would be called '", name, "'"),
                      "give the adapter a name of its own: --adapter NAME=DIR");
    slot += model.adapter >= 0;
  }
  load_adapter(folder, *model_->decoder, slot, false, device);
  models_.push_back({name, slot, base_});
}

std::vector<int32_t> ServeBackend::encode(std::string_view text, bool add_special_tokens) const {
  std::vector<int32_t> ids =
      tokenizer_->encode(text, {.add_special_tokens = add_special_tokens, .parse_special = true});
  // A tokenizer that closes texts would have the model continue after the end.
  if (add_special_tokens && tokenizer_->adds_eos() && !ids.empty() &&
      ids.back() == tokenizer_->eos())
    ids.pop_back();
  return ids;
}

std::string ServeBackend::decode(std::span<const int32_t> ids) const {
  return tokenizer_->decode(ids, false);
}

std::string ServeBackend::token_bytes(int32_t id) const {
  return tokenizer_ ? tokenizer_->token_bytes(id) : "";
}

std::string ServeBackend::render_chat(const Json& messages, bool add_generation_prompt,
                                      const Json& variables) const {
  return template_->render(messages, add_generation_prompt, Json(), variables);
}

// A model without a template of its own is asked in ChatML, whose end of turn may be plain text.
void ServeBackend::add_chat_stops(serving::SamplingParams& sampling) const {
  if (!tokenizer_ || template_->name() != "chatml") return;
  const auto end = tokenizer_->id_of("<|im_end|>");
  end ? sampling.stop_token_ids.push_back(*end) : sampling.stop.push_back("<|im_end|>");
}

serving::Admit ServeBackend::submit(serving::Request request) {
  return engine_->submit(std::move(request));
}

}  // namespace nibble
