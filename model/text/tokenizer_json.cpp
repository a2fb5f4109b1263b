// tokenizer.json of the Hugging Face library: added tokens and the template of special tokens. The
// model and what runs before and after it are read in tokenizer_json_model.cpp and _steps.cpp.
#include <algorithm>

#include "model/text/tokenizer_json_model.h"
#include "model/text/tokenizer_json_steps.h"

namespace nibble::text {

namespace {

using Element = JsonReader::Element;

// The library gives a token that its model lacks the next free id, whatever id the file says: that
// is the id models were trained with.
void read_added(const JsonReader& json, TokenizerParts& parts) {
  Element list;
  if (!json.has(json.root(), "added_tokens", list)) return;
  int32_t next = 0;
  for (int32_t id = 0; id < parts.vocabulary.size(); ++id) {
    next += parts.vocabulary.text(id) != nullptr;
  }
  for (const Element entry : json.list(list, "added_tokens")) {
    AddedToken token;
    token.content = json.text(json.need(entry, "content"), "content");
    read_json_id(json, json.need(entry, "id"), token.content);
    if (token.content.empty()) continue;
    const auto known = parts.id_of(token.content);
    token.id = known ? *known : next++;
    token.special = json.flag(entry, "special", false);
    token.lstrip = json.flag(entry, "lstrip", false);
    token.rstrip = json.flag(entry, "rstrip", false);
    token.single_word = json.flag(entry, "single_word", false);
    token.normalized = json.flag(entry, "normalized", !token.special);
    parts.added.set(std::move(token));
  }
}

std::vector<int32_t> template_ids(const JsonReader& json, Element processor,
                                  const std::string& name) {
  std::vector<int32_t> ids;
  Element special, entry;
  if (!json.has(processor, "special_tokens", special) || !json.has(special, name, entry)) {
    json.bad(cat("the template's special token \"", name, "\" is not declared"));
  }
  for (const Element id : json.list(json.need(entry, "ids"), "ids")) {
    ids.push_back(read_json_id(json, id, name));
  }
  return ids;
}

// Calls part(id) for each piece of a template: an id, -1 for the first text, -2 for the second.
template <class Part>
void each_part(const JsonReader& json, Element processor, const char* key, const Part& part) {
  for (const Element item : json.list(json.need(processor, key), key)) {
    Element place;
    if (json.has(item, "Sequence", place)) {
      part(json.text_at(place, "id", "A") == "A" ? -1 : -2);
      continue;
    }
    const std::string name = json.text_at(json.need(item, "SpecialToken"), "id");
    for (const int32_t id : template_ids(json, processor, name)) part(id);
  }
}

void read_template(const JsonReader& json, Element processor, TokenizerParts& parts) {
  bool seen = false;
  each_part(json, processor, "single", [&](int32_t id) {
    if (id >= 0) return (seen ? parts.suffix : parts.prefix).push_back(id);
    if (seen || id != -1) json.not_yet("a template of one text that names it twice");
    seen = true;
  });
  if (!seen) json.bad("the template of special tokens has no place for the text");
  Element pair;
  if (!json.has(processor, "pair", pair)) return;
  each_part(json, processor, "pair", [&](int32_t id) { parts.pair.push_back(id); });
}

void read_trim(const JsonReader& json, Element processor, TokenizerParts& parts) {
  if (!json.flag(processor, "trim_offsets", true)) return;
  parts.trims.push_back({json.flag(processor, "add_prefix_space", true),
                         !parts.prefix.empty() || !parts.suffix.empty()});
}

void read_post_processor(const JsonReader& json, Element processor, TokenizerParts& parts) {
  const std::string type = json.text_at(processor, "type");
  if (type == "TemplateProcessing") {
    read_template(json, processor, parts);
  } else if (type == "Sequence") {
    for (const Element p : json.list(json.need(processor, "processors"), "processors")) {
      read_post_processor(json, p, parts);
    }
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    const auto id_of = [&](const char* key) {
      const auto pair = json.list(json.need(processor, key), key);
      if (pair.size() != 2) json.bad(cat(key, " of ", type, " is not a name and an id"));
      return read_json_id(json, pair.at(1), key);
    };
    if (type == "RobertaProcessing") read_trim(json, processor, parts);
    const int32_t cls = id_of("cls"), sep = id_of("sep");
    parts.prefix.push_back(cls);
    parts.suffix.push_back(sep);
    parts.pair = {cls, -1, sep, -2, sep};
    if (type == "RobertaProcessing") parts.pair = {cls, -1, sep, sep, -2, sep};
  } else if (type == "ByteLevel") {
    read_trim(json, processor, parts);
  } else {
    json.not_yet(cat("the post-processor ", type));
  }
}

}  // namespace

void load_tokenizer_json(std::string_view bytes, const std::string& path, TokenizerParts& parts) {
  const JsonReader json(path, std::string(bytes));
  read_normalizer(json, parts.normalizer);
  read_pre_tokenizer(json, parts.pre_tokenizer);
  // A last step that maps bytes to the byte alphabet is left to a BPE model, which takes raw bytes.
  const bool raw_bytes = takes_raw_bytes(json) && parts.pre_tokenizer.take_byte_map();
  read_json_model(json, raw_bytes, parts);
  read_added(json, parts);
  Element processor;
  if (json.has(json.root(), "post_processor", processor)) {
    read_post_processor(json, processor, parts);
  }
  read_decoder(json, parts.decoder);
  parts.aligns = true;
}

}  // namespace nibble::text
