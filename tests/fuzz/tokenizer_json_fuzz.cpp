// Any bytes as a tokenizer.json: it loads and encodes, or a UserError says what is wrong with it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/errors.h"
#include "model/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using nibble::Tokenizer;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer =
        Tokenizer::from_bytes(Tokenizer::FileKind::tokenizer_json, bytes, "tokenizer.json");
    const auto ids = tokenizer->encode("the Fox \xF0\x9F\x98\x80 e\xCC\x81\xFF 12\n\t x<s>");
    tokenizer->decode(ids);
    tokenizer->encode_pair("a b", "c", {});
    for (const int32_t id : ids) tokenizer->token_bytes(id);
  } catch (const nibble::UserError&) {
  }
  return 0;
}
