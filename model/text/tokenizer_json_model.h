// The "model" of a tokenizer.json: BPE, Unigram, WordPiece or WordLevel.
#pragma once

#include "model/text/tokenizer_json_reader.h"
#include "model/text/tokenizer_parts.h"

namespace nibble::text {

// An id below `most`; `token` is named when it is none.
int32_t read_json_id(const JsonReader& json, JsonReader::Element value, std::string_view token,
                     int64_t most = kMostIds);

// `raw_bytes`: a BPE model gets bytes and maps them to the byte alphabet itself.
void read_json_model(const JsonReader& json, bool raw_bytes, TokenizerParts& parts);
bool takes_raw_bytes(const JsonReader& json);  // a BPE model whose unknown characters are not bytes

}  // namespace nibble::text
