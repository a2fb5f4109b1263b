// tokenizer.ggml.* → plain values; what the tokenizer makes of them is its own business.
#include "base/errors.h"
#include "model/files/gguf_tokenizer.h"

namespace nibble {

bool has_vocabulary(const Gguf& file) {
  const auto model = file.text("tokenizer.ggml.model");
  return model && *model != "none" && *model != "no_vocab";
}

text::GgufVocabulary gguf_vocabulary(const Gguf& file) {
  text::GgufVocabulary v;
  const auto key = [](const char* name) { return cat("tokenizer.ggml.", name); };
  v.file = file.path;
  v.model = file.text(key("model")).value_or("");
  v.pre = file.text(key("pre")).value_or("");
  if (const GgufValue* a = file.array(key("tokens"), GgufType::string)) v.tokens = a->strings;
  if (const GgufValue* a = file.array(key("merges"), GgufType::string)) v.merges = a->strings;
  if (const GgufValue* a = file.array(key("scores"), GgufType::f32))
    v.scores.assign(a->reals.begin(), a->reals.end());
  if (const GgufValue* a = file.array(key("token_type"), GgufType::i32))
    v.token_types.assign(a->integers.begin(), a->integers.end());
  const std::pair<const char*, std::optional<int64_t>*> ids[] = {
      {"bos", &v.bos},     {"eos", &v.eos}, {"unknown", &v.unk}, {"seperator", &v.sep},
      {"padding", &v.pad}, {"cls", &v.cls}, {"mask", &v.mask},   {"eot", &v.eot}};
  for (const auto& [name, id] : ids) *id = file.integer(key(name) + "_token_id");
  v.add_bos = file.boolean(key("add_bos_token"));
  v.add_eos = file.boolean(key("add_eos_token"));
  v.add_sep = file.boolean(key("add_sep_token"));
  v.add_space_prefix = file.boolean(key("add_space_prefix"));
  v.remove_extra_whitespaces = file.boolean(key("remove_extra_whitespaces"));
  if (const GgufValue* a = file.find(key("precompiled_charsmap"))) {
    if (!a->is_array || (a->type != GgufType::u8 && a->type != GgufType::i8))
      file.refuse(key("precompiled_charsmap"), "is no array of bytes");
    for (const int64_t byte : a->integers)
      v.precompiled_charsmap.push_back(static_cast<char>(byte));
  }
  v.chat_template = file.text("tokenizer.chat_template").value_or("");
  return v;
}

}  // namespace nibble
