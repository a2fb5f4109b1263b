// tokenizer.json and tokenizer_config.json made of a GGUF file's keys, for the libraries that read
// Hugging Face directories.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/json.h"
#include "model/files/gguf_tokenizer.h"
#include "model/text/gguf_pre_tokenizers.h"

namespace nibble {
namespace {

using text::GgufTokenType;
using text::GgufVocabulary;

constexpr const char* kMark = "\xE2\x96\x81";  // ▁

GgufTokenType type_of(const GgufVocabulary& v, size_t id) {
  return v.token_types.empty() ? GgufTokenType::normal
                               : static_cast<GgufTokenType>(v.token_types[id]);
}

bool is_added(GgufTokenType type) {
  return type == GgufTokenType::control || type == GgufTokenType::unknown ||
         type == GgufTokenType::user_defined;
}

Json added_tokens(const GgufVocabulary& v) {
  Json all = Json::array();
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const GgufTokenType type = type_of(v, i);
    if (!is_added(type)) continue;
    all.push_back({{"id", i},
                   {"content", v.tokens[i]},
                   {"single_word", false},
                   {"lstrip", false},
                   {"rstrip", false},
                   {"normalized", false},
                   {"special", type != GgufTokenType::user_defined}});
  }
  return all;
}

// Added tokens stand in it too: the reference library gives those that do not the next free id,
// which is another one where rows without a token are in between.
Json vocabulary(const GgufVocabulary& v) {
  Json vocab = Json::object();
  // Json keeps order and looks up in linear time: built through pairs.
  auto& object = vocab.get_ref<Json::object_t&>();
  for (size_t i = 0; i < v.tokens.size(); ++i) object.emplace_back(v.tokens[i], i);
  return vocab;
}

Json byte_level_steps(const GgufVocabulary& v) {
  const text::GgufPreTokenizer* pre = text::find_gguf_pre_tokenizer(v.pre);
  if (pre == nullptr)
    throw UserError(v.file, cat("the pre-tokenizer '", v.pre, "' is not supported"),
                    "use the Hugging Face files of this model", Exit::bad_data);
  Json steps = Json::array();
  for (const char* pattern : pre->patterns)
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

// Every way to make a piece of two others, best-scored piece first: what SentencePiece would merge.
Json merges_of_scores(const GgufVocabulary& v) {
  std::map<std::string_view, size_t> ids;
  for (size_t i = 0; i < v.tokens.size(); ++i)
    if (type_of(v, i) == GgufTokenType::normal) ids.emplace(v.tokens[i], i);
  struct Merge {
    float score;
    size_t left, right;
  };
  std::vector<Merge> all;
  for (const auto& [piece, id] : ids) {
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if ((static_cast<unsigned char>(piece[cut]) & 0xC0) == 0x80) continue;
      const auto l = ids.find(piece.substr(0, cut)), r = ids.find(piece.substr(cut));
      if (l == ids.end() || r == ids.end()) continue;
      all.push_back({v.scores.empty() ? 0 : v.scores[id], l->second, r->second});
    }
  }
  std::stable_sort(all.begin(), all.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    return std::pair(a.left, a.right) < std::pair(b.left, b.right);
  });
  Json merges = Json::array();
  for (const Merge& m : all) merges.push_back({v.tokens[m.left], v.tokens[m.right]});
  return merges;
}

Json post_processor(const GgufVocabulary& v, bool add_bos, bool add_eos) {
  Json single = Json::array(), pair = Json::array(), special = Json::object();
  const auto token = [&](const std::optional<int64_t>& id, int type) {
    if (!id || *id < 0 || *id >= static_cast<int64_t>(v.tokens.size())) return;
    const std::string& name = v.tokens[static_cast<size_t>(*id)];
    const Json step = {{"SpecialToken", {{"id", name}, {"type_id", type}}}};
    if (type == 0) single.push_back(step);
    pair.push_back(step);
    special[name] = {{"id", name}, {"ids", {*id}}, {"tokens", {name}}};
  };
  for (const int type : {0, 1}) {
    const Json text = {{"Sequence", {{"id", type == 0 ? "A" : "B"}, {"type_id", type}}}};
    if (add_bos) token(v.bos, type);
    if (type == 0) single.push_back(text);
    pair.push_back(text);
    if (add_eos) token(v.eos, type);
  }
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", special}};
}

Json model_of(const GgufVocabulary& v, bool bytes) {
  Json model = {{"type", "BPE"},
                {"dropout", nullptr},
                {"unk_token", nullptr},
                {"continuing_subword_prefix", nullptr},
                {"end_of_word_suffix", nullptr},
                {"fuse_unk", false},
                {"byte_fallback", !bytes},
                {"ignore_merges", bytes && text::find_gguf_pre_tokenizer(v.pre)->ignore_merges}};
  if (!bytes && v.unk && *v.unk >= 0 && *v.unk < static_cast<int64_t>(v.tokens.size()))
    model["unk_token"] = v.tokens[static_cast<size_t>(*v.unk)];
  model["vocab"] = vocabulary(v);
  if (!bytes) {
    model["merges"] = merges_of_scores(v);
    return model;
  }
  Json merges = Json::array();
  for (const std::string& line : v.merges) {
    const size_t space = line.find(' ', 1);
    if (space == std::string::npos)
      throw UserError(v.file, cat("merge '", line, "' is not two tokens"), "the file is damaged",
                      Exit::bad_data);
    merges.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  model["merges"] = std::move(merges);
  return model;
}

Json tokenizer_json(const GgufVocabulary& v) {
  const bool bytes = v.model == "gpt2";
  Json json = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  json["added_tokens"] = added_tokens(v);
  const Json to_mark = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMark}};
  const Json from_mark = {{"type", "Replace"}, {"pattern", {{"String", kMark}}}, {"content", " "}};
  const bool prefix = v.add_space_prefix.value_or(true);
  bool add_bos = v.add_bos.value_or(!bytes);
  if (bytes) {
    json["normalizer"] = nullptr;
    json["pre_tokenizer"] = byte_level_steps(v);
    add_bos = v.add_bos.value_or(text::find_gguf_pre_tokenizer(v.pre)->add_bos);
    json["decoder"] = {{"type", "ByteLevel"},
                       {"add_prefix_space", true},
                       {"trim_offsets", true},
                       {"use_regex", true}};
  } else {
    Json steps = Json::array();
    if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", kMark}});
    steps.push_back(to_mark);
    json["normalizer"] = {{"type", "Sequence"}, {"normalizers", steps}};
    json["pre_tokenizer"] = nullptr;
    Json decoders = {from_mark, {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
    if (prefix)
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    json["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
  }
  json["post_processor"] = post_processor(v, add_bos, v.add_eos.value_or(false));
  json["model"] = model_of(v, bytes);
  return json;
}

Json tokenizer_config(const GgufVocabulary& v) {
  Json json = {{"tokenizer_class", "PreTrainedTokenizerFast"},
               {"clean_up_tokenization_spaces", false}};
  const std::pair<const char*, std::optional<int64_t>> roles[] = {
      {"bos_token", v.bos}, {"eos_token", v.eos}, {"unk_token", v.unk}, {"pad_token", v.pad}};
  for (const auto& [name, id] : roles)
    if (id && *id >= 0 && *id < static_cast<int64_t>(v.tokens.size()))
      json[name] = v.tokens[static_cast<size_t>(*id)];
  if (!v.chat_template.empty()) json["chat_template"] = v.chat_template;
  return json;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> tokenizer_files(const Gguf& file) {
  if (!has_vocabulary(file)) return {};
  GgufVocabulary v = gguf_vocabulary(file);
  if (v.model == "llama") {  // what readers of GGUF take where the file is silent
    if (!v.bos) v.bos = 1;
    if (!v.eos) v.eos = 2;
    if (!v.unk) v.unk = 0;
  }
  std::vector<std::pair<std::string, std::string>> files;
  if (const auto own = file.text("tokenizer.huggingface.json")) {
    parse_json(*own, cat(file.path, ": key 'tokenizer.huggingface.json'"));
    files.emplace_back("tokenizer.json", *own);
  } else {
    if (v.model != "gpt2" && v.model != "llama")
      throw UserError(file.path, cat("its tokenizer is of the kind '", v.model, "'"),
                      "vocabularies of llama and gpt2 can become tokenizer.json", Exit::bad_data);
    files.emplace_back("tokenizer.json", dump_json(tokenizer_json(v), 2) + "\n");
  }
  files.emplace_back("tokenizer_config.json", dump_json(tokenizer_config(v), 2) + "\n");
  return files;
}

}  // namespace nibble
