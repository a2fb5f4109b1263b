#include "model/text/tokenizer_chat.h"

#include <nlohmann/json.hpp>

namespace nibble {

ChatTemplate chat_template_of(const Tokenizer& tokenizer) {
  auto spelling = [&](std::optional<int32_t> id) {
    return id ? tokenizer.token_text(*id) : std::string();
  };
  Json special = Json::object();
  if (tokenizer.pad()) special["pad_token"] = spelling(tokenizer.pad());
  if (tokenizer.unk()) special["unk_token"] = spelling(tokenizer.unk());
  std::string source = tokenizer.chat_template();
  if (source.empty()) source = default_chat_template();
  return {std::move(source), spelling(tokenizer.bos()), spelling(tokenizer.eos()), special};
}

}  // namespace nibble
