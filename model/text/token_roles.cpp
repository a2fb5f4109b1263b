#include "model/text/token_roles.h"

#include <nlohmann/json.hpp>

namespace nibble {

void follow_roles(const Tokenizer& before, const Tokenizer& after, bool add, Json& config) {
  const auto follow = [&](const char* key, std::optional<int32_t> was, std::optional<int32_t> is) {
    if (is && is != was && (add || config.contains(key))) config[key] = *is;
  };
  follow("bos_token_id", before.bos(), after.bos());
  follow("eos_token_id", before.eos(), after.eos());
  follow("pad_token_id", before.pad(), after.pad());
}

}  // namespace nibble
