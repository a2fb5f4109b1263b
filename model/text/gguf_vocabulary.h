// What a GGUF file says of its tokenizer, as plain values: the reader of the file fills it, the
// tokenizer is made of it, and neither knows the other. Field names follow the keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nibble::text {

// tokenizer.ggml.token_type; other values count as normal.
enum class GgufTokenType : int32_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

struct GgufVocabulary {
  std::string file;                  // named in messages
  std::string model;                 // tokenizer.ggml.model: "llama", "gpt2", "bert", "t5"
  std::string pre;                   // tokenizer.ggml.pre; "" when the key is absent
  std::vector<std::string> tokens;   // tokenizer.ggml.tokens, by id
  std::vector<float> scores;         // tokenizer.ggml.scores; empty, or one a token
  std::vector<int32_t> token_types;  // tokenizer.ggml.token_type; empty, or one a token
  std::vector<std::string> merges;   // tokenizer.ggml.merges: "left right"
  // tokenizer.ggml.{bos,eos,unknown,seperator,padding,cls,mask,eot}_token_id
  std::optional<int64_t> bos, eos, unk, sep, pad, cls, mask, eot;
  std::optional<bool> add_bos, add_eos, add_sep;  // tokenizer.ggml.add_{bos,eos,sep}_token
  std::optional<bool> add_space_prefix;           // tokenizer.ggml.add_space_prefix
  std::optional<bool> remove_extra_whitespaces;   // tokenizer.ggml.remove_extra_whitespaces
  std::string precompiled_charsmap;               // tokenizer.ggml.precompiled_charsmap, raw bytes
  std::string chat_template;                      // tokenizer.chat_template
};

struct TokenizerParts;
// Throws UserError (exit 65, naming `file`): an unknown model or pre-tokenizer by its name, lists
// of different lengths, ids outside the vocabulary, merges that do not compose.
void load_gguf_vocabulary(const GgufVocabulary& vocabulary, TokenizerParts& parts);

}  // namespace nibble::text
