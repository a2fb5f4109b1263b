// The chains of a tokenizer.json: normalizers, pre-tokenizers, decoders. A component that nibble
// does not have is refused by its name.
#pragma once

#include "model/text/tokenizer_json_reader.h"
#include "model/text/tokenizer_parts.h"

namespace nibble::text {

void read_normalizer(const JsonReader& json, Normalizer& out);
void read_pre_tokenizer(const JsonReader& json, PreTokenizer& out);
void read_decoder(const JsonReader& json, DecodeChain& out);

bool one_character(std::string_view text);

// {"String": …} or {"Regex": …}; old files have the bare string.
Pattern read_pattern(const JsonReader& json, JsonReader::Element parent);

}  // namespace nibble::text
