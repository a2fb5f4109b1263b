// The chains of a tokenizer.json: normalizers, pre-tokenizers, decoders. A component that nibble
// does not have is refused by its name.
#pragma once

#include "model/text/tokenizer_json_reader.h"
#include "model/text/tokenizer_parts.h"

namespace nibble::text {

void read_normalizer(const JsonReader& json, Normalizer& out);
// Returns whether the last step maps bytes to the byte alphabet; that step is then left to the
// model, which takes raw bytes.
bool read_pre_tokenizer(const JsonReader& json, PreTokenizer& out);
void read_decoder(const JsonReader& json, DecodeChain& out);

}  // namespace nibble::text
