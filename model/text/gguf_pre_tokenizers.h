// How llama.cpp cuts text before merging, by the name that a GGUF file gives (tokenizer.ggml.pre).
#pragma once

#include <string_view>
#include <vector>

namespace nibble::text {

struct GgufPreTokenizer {
  std::vector<const char*> patterns;  // each cuts what the one before it left
  bool ignore_merges = false;
  bool add_bos = false;
};
// Null for a name that nibble does not know. "" is "default".
const GgufPreTokenizer* find_gguf_pre_tokenizer(std::string_view name);

}  // namespace nibble::text
