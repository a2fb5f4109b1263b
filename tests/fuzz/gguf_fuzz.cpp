// Any bytes as a GGUF file: its header, the config.json and the tokenizer it stands for are read,
// or a UserError says what is wrong with it. No read goes beyond the bytes.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "model/files/gguf_architecture.h"
#include "model/files/gguf_tokenizer.h"
#include "model/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nibble;
  const auto read = [&](int64_t at, void* out, int64_t bytes) {
    check(at >= 0 && bytes >= 0 && at + bytes <= static_cast<int64_t>(size), "read in range");
    std::memcpy(out, data + at, static_cast<size_t>(bytes));
  };
  try {
    const Gguf file = parse_gguf("x.gguf", static_cast<int64_t>(size), read);
    if (has_vocabulary(file)) {
      try {
        Tokenizer::from_gguf(gguf_vocabulary(file))->encode("The quick \xF0\x9F\x98\x80 fox\n 12");
        tokenizer_files(file);
      } catch (const UserError&) {
      }
    }
    const GgufArchitecture& architecture = architecture_of(file);
    const Json config = config_of(file, architecture, [&](const GgufTensor& t) {
      std::vector<float> values(static_cast<size_t>(t.bytes / 4));
      read(t.begin, values.data(), static_cast<int64_t>(values.size() * 4));
      return values;
    });
    const HeadSizes sizes = head_sizes(config);
    for (const GgufTensor& t : file.tensors) hf_name(architecture, t.name);
    check(sizes.heads > 0, "sizes were checked");
  } catch (const UserError&) {
  }
  return 0;
}
