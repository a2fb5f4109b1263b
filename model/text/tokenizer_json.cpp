// tokenizer.json of the Hugging Face library: added tokens, the BPE model, the template of special
// tokens. What runs before and after the model is read in tokenizer_json_steps.cpp.
#include <algorithm>

#include "base/files.h"
#include "model/text/tokenizer_json_steps.h"

namespace nibble::text {

namespace {

using Element = JsonReader::Element;

int32_t read_id(const JsonReader& json, Element value, std::string_view token) {
  const int64_t id = json.number(value, token);
  if (id < 0 || id >= kMostIds) {
    json.bad(cat("token \"", token, "\" has id ", id, ", not between 0 and ", kMostIds));
  }
  return static_cast<int32_t>(id);
}

void read_vocabulary(const JsonReader& json, Element model, Vocabulary& vocabulary) {
  for (const auto& [token, id] : json.object(json.need(model, "vocab"), "vocab")) {
    vocabulary.set(read_id(json, id, token), std::string(token));
  }
  vocabulary.index();
}

std::vector<Merge> read_merges(const JsonReader& json, Element model) {
  std::vector<Merge> merges;
  for (const Element merge : json.list(json.need(model, "merges"), "merges")) {
    std::string_view line;
    if (merge.get(line) == simdjson::SUCCESS) {
      const size_t space = line.find(' ');
      if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
        json.bad(cat("merge ", merges.size(), " \"", line, "\" is not two tokens"));
      }
      merges.emplace_back(line.substr(0, space), line.substr(space + 1));
      continue;
    }
    const auto pair = json.list(merge, "merge");
    if (pair.size() != 2) json.bad(cat("merge ", merges.size(), " is not two tokens"));
    merges.emplace_back(json.text(pair.at(0), "merge"), json.text(pair.at(1), "merge"));
  }
  return merges;
}

void read_model(const JsonReader& json, bool raw_bytes, TokenizerParts& parts) {
  const Element model = json.need(json.root(), "model");
  Element merges;
  const std::string type =
      json.text_at(model, "type", json.has(model, "merges", merges) ? "BPE" : "of no name");
  if (type != "BPE") json.not_yet(cat("the tokenizer model ", type));
  Element dropout;
  if (json.has(model, "dropout", dropout)) {
    double value = 0;
    if (dropout.get(value) != simdjson::SUCCESS || value != 0) json.not_yet("BPE dropout");
  }
  read_vocabulary(json, model, parts.vocabulary);
  BpeOptions options;
  options.raw_bytes = raw_bytes;
  options.unk = json.text_at(model, "unk_token");
  options.fuse_unk = json.flag(model, "fuse_unk", false);
  options.byte_fallback = json.flag(model, "byte_fallback", false);
  options.ignore_merges = json.flag(model, "ignore_merges", false);
  options.prefix = json.text_at(model, "continuing_subword_prefix");
  options.suffix = json.text_at(model, "end_of_word_suffix");
  const std::string unk = options.unk;
  parts.model = std::make_unique<Bpe>(parts.vocabulary, read_merges(json, model),
                                      std::move(options), json.path());
  if (!unk.empty()) parts.unk = parts.vocabulary.find(unk);
}

void read_added(const JsonReader& json, TokenizerParts& parts) {
  Element list;
  if (!json.has(json.root(), "added_tokens", list)) return;
  for (const Element entry : json.list(list, "added_tokens")) {
    AddedToken token;
    token.content = json.text(json.need(entry, "content"), "content");
    token.id = read_id(json, json.need(entry, "id"), token.content);
    token.special = json.flag(entry, "special", false);
    token.lstrip = json.flag(entry, "lstrip", false);
    token.rstrip = json.flag(entry, "rstrip", false);
    token.single_word = json.flag(entry, "single_word", false);
    token.normalized = json.flag(entry, "normalized", !token.special);
    parts.added.set(std::move(token));
  }
}

std::vector<int32_t> template_ids(const JsonReader& json, Element special,
                                  const std::string& name) {
  std::vector<int32_t> ids;
  Element entry;
  if (!json.has(special, name, entry)) {
    json.bad(cat("the template's special token \"", name, "\" is not declared"));
  }
  for (const Element id : json.list(json.need(entry, "ids"), "ids")) {
    ids.push_back(read_id(json, id, name));
  }
  return ids;
}

void read_template(const JsonReader& json, Element processor, TokenizerParts& parts) {
  Element special;
  json.has(processor, "special_tokens", special);
  bool seen = false;
  for (const Element item : json.list(json.need(processor, "single"), "single")) {
    Element part;
    if (json.has(item, "Sequence", part)) {
      if (seen || json.text_at(part, "id", "A") != "A") json.not_yet("a template of two sequences");
      seen = true;
    } else {
      const std::string name = json.text_at(json.need(item, "SpecialToken"), "id");
      for (const int32_t id : template_ids(json, special, name)) {
        (seen ? parts.suffix : parts.prefix).push_back(id);
      }
    }
  }
  if (!seen) json.bad("the template of special tokens has no place for the text");
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
      return read_id(json, pair.at(1), key);
    };
    parts.prefix.push_back(id_of("cls"));
    parts.suffix.push_back(id_of("sep"));
  } else if (type != "ByteLevel") {  // ByteLevel here only trims offsets
    json.not_yet(cat("the post-processor ", type));
  }
}

}  // namespace

void load_tokenizer_json(const std::string& path, TokenizerParts& parts) {
  const JsonReader json(path, read_file(path));
  read_normalizer(json, parts.normalizer);
  const bool raw_bytes = read_pre_tokenizer(json, parts.pre_tokenizer);
  read_model(json, raw_bytes, parts);
  read_added(json, parts);
  Element processor;
  if (json.has(json.root(), "post_processor", processor)) {
    read_post_processor(json, processor, parts);
  }
  read_decoder(json, parts.decoder);
}

}  // namespace nibble::text
