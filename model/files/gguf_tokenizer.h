// The tokenizer of a GGUF file: its keys as plain values, and the files of a Hugging Face directory
// as such keys, so that ids are the same on both sides.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "model/files/gguf.h"
#include "model/text/gguf_vocabulary.h"

namespace nibble {

// Whether the file has a vocabulary at all ("none" says that it has not).
bool has_vocabulary(const Gguf& file);
text::GgufVocabulary gguf_vocabulary(const Gguf& file);

using GgufMetadata = std::vector<std::pair<std::string, GgufValue>>;

// What a file without a tokenizer says: that it has none, and config.json's ids all the same.
void add_no_tokenizer(const Json& config, GgufMetadata& metadata);

// The keys for the tokenizer of `directory`, for a model of `vocab` rows whose config.json is
// `config`. A tokenizer that GGUF readers could not run is refused by name. A directory
// without a tokenizer: as above.
void add_gguf_tokenizer(const std::string& directory, const Json& config, int64_t vocab,
                        GgufMetadata& metadata);

// Files (name, bytes) of a Hugging Face directory that tokenize as the GGUF file does.
std::vector<std::pair<std::string, std::string>> tokenizer_files(const Gguf& file);

}  // namespace nibble
