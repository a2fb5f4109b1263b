// A file without "type" is from before it was written: what the model holds tells which it is.
#include "model/text/tokenizer_json_model.h"

#include <limits>

#include "model/text/unigram.h"
#include "model/text/word_models.h"

namespace nibble::text {

namespace {

using Element = JsonReader::Element;

std::string model_type(const JsonReader& json, Element model) {
  Element value;
  std::string type = json.text_at(model, "type");
  if (!type.empty()) return type;
  if (json.has(model, "merges", value)) return "BPE";
  if (json.has(model, "continuing_subword_prefix", value)) return "WordPiece";
  if (json.has(model, "vocab", value)) return value.is_array() ? "Unigram" : "WordLevel";
  return "of no name";
}

void read_vocabulary(const JsonReader& json, Element model, Vocabulary& vocabulary) {
  const auto entries = json.object(json.need(model, "vocab"), "vocab");
  const int64_t most = most_ids(entries.size());
  for (const auto& [token, id] : entries) {
    vocabulary.set(read_json_id(json, id, token, most), std::string(token));
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

void read_bpe(const JsonReader& json, Element model, bool raw_bytes, TokenizerParts& parts) {
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

// [["token", score], …]; the id is the place in the list.
void read_unigram(const JsonReader& json, Element model, TokenizerParts& parts) {
  std::vector<double> scores;
  double lowest = std::numeric_limits<double>::infinity();
  for (const Element entry : json.list(json.need(model, "vocab"), "vocab")) {
    const auto pair = json.list(entry, "an entry of vocab");
    double score = 0;
    if (pair.size() != 2 || pair.at(1).get(score) != simdjson::SUCCESS) {
      json.bad(cat("entry ", scores.size(), " of vocab is not a token and a score"));
    }
    parts.vocabulary.set(static_cast<int32_t>(scores.size()), json.text(pair.at(0), "a token"));
    scores.push_back(score);
    lowest = std::min(lowest, score);
  }
  parts.vocabulary.index();
  UnigramOptions options;
  options.file = json.path();
  Element unk;
  if (json.has(model, "unk_id", unk)) {
    options.unk = read_json_id(json, unk, "unk_id", static_cast<int64_t>(scores.size()));
    parts.unk = options.unk;
  }
  options.unk_score = lowest - 10;
  options.byte_fallback = json.flag(model, "byte_fallback", false);
  for (int b = 0; b < 256; ++b) {
    options.byte_ids[b] =
        parts.vocabulary.find(piece_of_byte(static_cast<uint8_t>(b))).value_or(-1);
  }
  std::vector<UnigramPiece> pieces;
  for (size_t i = 0; i < scores.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    pieces.push_back({*parts.vocabulary.text(id), scores[i], id});
  }
  parts.model = std::make_unique<Unigram>(parts.vocabulary, pieces, std::move(options));
}

void read_words(const JsonReader& json, Element model, bool pieces, TokenizerParts& parts) {
  read_vocabulary(json, model, parts.vocabulary);
  const std::string unk = json.text_at(model, "unk_token", pieces ? "[UNK]" : "<unk>");
  parts.unk = parts.vocabulary.find(unk);
  if (!pieces) {
    parts.model = std::make_unique<WordLevel>(parts.vocabulary, unk, json.path());
    return;
  }
  WordPieceOptions options;
  options.unk = unk;
  options.prefix = json.text_at(model, "continuing_subword_prefix", "##");
  Element longest;
  if (json.has(model, "max_input_chars_per_word", longest)) {
    options.longest = json.number(longest, "max_input_chars_per_word");
  }
  parts.model = std::make_unique<WordPiece>(parts.vocabulary, std::move(options), json.path());
}

}  // namespace

int32_t read_json_id(const JsonReader& json, Element value, std::string_view token, int64_t most) {
  const int64_t id = json.number(value, token);
  if (id < 0 || id >= most) {
    json.bad(cat("token \"", token, "\" has id ", id, ", not between 0 and ", most));
  }
  return static_cast<int32_t>(id);
}

bool takes_raw_bytes(const JsonReader& json) {
  Element model;
  return json.has(json.root(), "model", model) && model_type(json, model) == "BPE" &&
         !json.flag(model, "byte_fallback", false);
}

void read_json_model(const JsonReader& json, bool raw_bytes, TokenizerParts& parts) {
  const Element model = json.need(json.root(), "model");
  const std::string type = model_type(json, model);
  if (type == "BPE") {
    read_bpe(json, model, raw_bytes, parts);
  } else if (type == "Unigram") {
    read_unigram(json, model, parts);
  } else if (type == "WordPiece" || type == "WordLevel") {
    read_words(json, model, type == "WordPiece", parts);
  } else {
    json.not_yet(cat("the tokenizer model ", type));
  }
}

}  // namespace nibble::text
