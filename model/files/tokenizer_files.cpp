#include "model/files/tokenizer_files.h"

#include <algorithm>

#include "base/files.h"

namespace nibble {

std::vector<std::string> tokenizer_files(const std::string& directory) {
  static const char* const kNames[] = {"tokenizer.json",
                                       "tokenizer_config.json",
                                       "special_tokens_map.json",
                                       "added_tokens.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "vocab.txt",
                                       "tokenizer.model",
                                       "spiece.model",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "tekken.json"};
  std::vector<std::string> found;
  for (const char* name : kNames)
    if (exists(join_path(directory, name))) found.emplace_back(name);
  return found;
}

}  // namespace nibble
