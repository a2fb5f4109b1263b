// The four kinds of vocabulary a GGUF file can hold, each run as llama.cpp runs it: special tokens
// are cut out first, user-defined ones always, and each model has its own idea of a word.
#include "model/text/gguf_vocabulary.h"

#include <cfloat>
#include <unordered_set>

#include "base/errors.h"
#include "model/text/gguf_pre_tokenizers.h"
#include "model/text/normalize_classes.h"
#include "model/text/sentencepiece.h"
#include "model/text/tokenizer_parts.h"
#include "model/text/unigram.h"
#include "model/text/word_models.h"

namespace nibble::text {

namespace {

[[noreturn]] void bad(const GgufVocabulary& v, std::string what) {
  throw UserError(v.file, std::move(what), "convert the model to GGUF again", Exit::bad_data);
}

GgufTokenType type_of(const GgufVocabulary& v, size_t id) {
  return v.token_types.empty() ? GgufTokenType::normal
                               : static_cast<GgufTokenType>(v.token_types[id]);
}

float score_of(const GgufVocabulary& v, size_t id) { return v.scores.empty() ? 0 : v.scores[id]; }

// Tokens that end a turn or frame a file are special whatever type the file gives them.
bool acts_special(std::string_view token) {
  static const std::unordered_set<std::string_view> names = {"<|eot_id|>",
                                                             "<|im_end|>",
                                                             "<|end|>",
                                                             "<|return|>",
                                                             "<|call|>",
                                                             "<|flush|>",
                                                             "<|calls|>",
                                                             "<end_of_turn>",
                                                             "<|endoftext|>",
                                                             "</s>",
                                                             "<|eom_id|>",
                                                             "<EOT>",
                                                             "_<EOT>",
                                                             "[EOT]",
                                                             "[EOS]",
                                                             "<|end_of_text|>",
                                                             "<end_of_utterance>",
                                                             "<eos>",
                                                             "<|fim_prefix|>",
                                                             "<fim-prefix>",
                                                             "<fim_prefix>",
                                                             "<PRE>",
                                                             "<|fim_suffix|>",
                                                             "<fim-suffix>",
                                                             "<fim_suffix>",
                                                             "<SUF>",
                                                             "<|fim_middle|>",
                                                             "<fim-middle>",
                                                             "<fim_middle>",
                                                             "<MID>",
                                                             "<|fim_pad|>",
                                                             "<fim-pad>",
                                                             "<fim_pad>",
                                                             "<PAD>",
                                                             "[PAD]",
                                                             "<|fim_repo|>",
                                                             "<|repo_name|>",
                                                             "<fim-repo>",
                                                             "<REPO>",
                                                             "<reponame>",
                                                             "<|file_sep|>"};
  return names.count(token) != 0;
}

void read_tokens(const GgufVocabulary& v, TokenizerParts& parts) {
  if (v.tokens.empty()) bad(v, "tokenizer.ggml.tokens is empty");
  if (!v.scores.empty() && v.scores.size() < v.tokens.size())
    bad(v, cat(v.scores.size(), " scores for ", v.tokens.size(), " tokens"));
  if (!v.token_types.empty() && v.token_types.size() < v.tokens.size())
    bad(v, cat(v.token_types.size(), " token types for ", v.tokens.size(), " tokens"));
  if (static_cast<int64_t>(v.tokens.size()) > kMostIds)
    bad(v, cat(v.tokens.size(), " tokens, more than ", kMostIds));
  std::unordered_set<std::string_view> seen;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const std::string& text = v.tokens[i];
    if (!text.empty() && !seen.insert(text).second)
      bad(v, cat("token \"", text, "\" stands twice, the second time with id ", i));
    parts.vocabulary.set(id, text.empty() ? cat("[EMPTY_", i, "]") : text);
    const GgufTokenType type = type_of(v, i);
    const bool special = type == GgufTokenType::control || type == GgufTokenType::unknown ||
                         (type != GgufTokenType::byte && acts_special(text));
    if (!special && type != GgufTokenType::user_defined) continue;
    AddedToken token;
    token.id = id;
    token.content = text;
    token.special = special;
    if (!text.empty()) parts.added.set(std::move(token));
  }
  parts.vocabulary.index();
}

// The id a key gives; the default of the kind where the file is silent and has that many tokens.
std::optional<int32_t> role(const GgufVocabulary& v, const std::optional<int64_t>& given,
                            int64_t otherwise) {
  const auto count = static_cast<int64_t>(v.tokens.size());
  if (given && *given >= 0 && *given < count) return static_cast<int32_t>(*given);
  if (otherwise >= 0 && otherwise < count) return static_cast<int32_t>(otherwise);
  return std::nullopt;
}

int32_t need(const GgufVocabulary& v, const std::optional<int32_t>& id, const char* key) {
  if (!id) bad(v, cat("the tokenizer adds a token that no ", key, " gives"));
  return *id;
}

void add_split(const GgufVocabulary& v, const char* pattern, TokenizerParts& parts) {
  PreStep step;
  step.pattern = Pattern::regex(pattern, v.file);
  parts.pre_tokenizer.add(std::move(step));
}

std::vector<Merge> read_merges(const GgufVocabulary& v) {
  std::vector<Merge> merges;
  for (const std::string& line : v.merges) {
    const size_t space = line.find(' ', 1);
    if (space == std::string::npos)
      bad(v, cat("merge ", merges.size(), " \"", line, "\" is not two tokens"));
    merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return merges;
}

void load_bpe(const GgufVocabulary& v, TokenizerParts& parts) {
  const GgufPreTokenizer* pre = find_gguf_pre_tokenizer(v.pre);
  if (pre == nullptr) {
    throw UserError(v.file, cat("the pre-tokenizer \"", v.pre, "\" is not supported yet"),
                    "use the Hugging Face files of this model", Exit::bad_data);
  }
  for (const char* pattern : pre->patterns) add_split(v, pattern, parts);
  BpeOptions options;
  options.raw_bytes = true;
  options.ignore_merges = pre->ignore_merges;
  parts.model = std::make_unique<Bpe>(parts.vocabulary, read_merges(v), std::move(options), v.file);
  constexpr int64_t kUsual = 11;
  parts.bos = role(v, v.bos, v.pre == "glm4" || v.pre == "chatglm-bpe" ? -1 : kUsual);
  parts.eos = role(v, v.eos, kUsual);
  if (v.add_bos.value_or(pre->add_bos)) parts.prefix = {need(v, parts.bos, "bos_token_id")};
  if (v.add_eos.value_or(false)) parts.suffix = {need(v, parts.eos, "eos_token_id")};
  DecodeStep bytes;
  bytes.kind = DecodeStep::Kind::byte_level;
  parts.decoder.push_back(bytes);
}

SpmFile spm_of(const GgufVocabulary& v) {
  SpmFile file;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.tokens[i].size() > kLongestPiece)
      bad(v, cat("token ", i, " has ", v.tokens[i].size(), " bytes"));
    SpmPiece piece{v.tokens[i], score_of(v, i), PieceType::normal};
    if (type_of(v, i) == GgufTokenType::byte) piece.type = PieceType::byte;
    file.pieces.push_back(std::move(piece));
  }
  return file;
}

void add_mark_decoder(bool strip, TokenizerParts& parts) {
  DecodeStep step;
  step.kind = DecodeStep::Kind::piece_spaces;
  step.pattern = std::string(kSpaceMark);
  step.drop_first = strip;
  parts.decoder.push_back(step);
  step.kind = DecodeStep::Kind::byte_runs;
  parts.decoder.push_back(step);
}

// Every token can be the outcome of a merge, of whatever type; what is no token becomes its bytes.
void load_spm(const GgufVocabulary& v, TokenizerParts& parts) {
  SpmFile file = spm_of(v);
  parts.bos = role(v, v.bos, 1);
  parts.eos = role(v, v.eos, 2);
  parts.unk = role(v, v.unk, 0);
  file.byte_fallback = true;
  file.unk_id = parts.unk.value_or(0);
  const bool space = v.add_space_prefix.value_or(true);
  parts.mends_utf8 = true;
  parts.normalizer.add([space](std::string_view text, bool&, MatchScratch&) {
    std::string out(space && !text.empty() ? kSpaceMark : "");
    for (const char c : text) {
      if (c == ' ') {
        out += kSpaceMark;
      } else {
        out.push_back(c);
      }
    }
    return out;
  });
  parts.model = std::make_unique<SpmBpe>(file);
  if (v.add_bos.value_or(true)) parts.prefix = {need(v, parts.bos, "bos_token_id")};
  if (v.add_eos.value_or(false)) parts.suffix = {need(v, parts.eos, "eos_token_id")};
  add_mark_decoder(space, parts);
}

void load_unigram(const GgufVocabulary& v, TokenizerParts& parts) {
  parts.bos = role(v, v.bos, -1);
  parts.eos = role(v, v.eos, 1);
  parts.unk = role(v, v.unk, 2);
  SpmFile file = spm_of(v);
  file.charsmap = v.precompiled_charsmap;
  file.add_dummy_prefix = v.add_space_prefix.value_or(false);
  file.remove_extra_spaces = v.remove_extra_whitespaces.value_or(false);
  UnigramOptions options;
  options.file = v.file;
  options.unk = need(v, parts.unk, "unknown_token_id");
  float lowest = FLT_MAX;
  std::vector<UnigramPiece> pieces;
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    const GgufTokenType type = type_of(v, i);
    if (type == GgufTokenType::normal) lowest = std::min(lowest, score_of(v, i));
    if (type == GgufTokenType::user_defined) file.pieces[i].type = PieceType::user_defined;
    const bool defined = type == GgufTokenType::user_defined;
    if (type != GgufTokenType::normal && !defined && type != GgufTokenType::unused) continue;
    pieces.push_back({v.tokens[i], defined ? 0 : score_of(v, i), static_cast<int32_t>(i)});
  }
  options.unk_score = lowest - 10.0f;
  parts.mends_utf8 = true;
  parts.normalizer.add(
      [normalizer = SpmNormalizer(file, v.file)](std::string_view text, bool&, MatchScratch&) {
        return normalizer.run(text, true);
      });
  parts.model = std::make_unique<Unigram>(parts.vocabulary, pieces, std::move(options));
  if (v.add_bos.value_or(false)) parts.prefix = {need(v, parts.bos, "bos_token_id")};
  if (v.add_eos.value_or(true)) parts.suffix = {need(v, parts.eos, "eos_token_id")};
  add_mark_decoder(true, parts);
}

// Words are spelt with a mark in front, parts that continue one without.
void load_bert(const GgufVocabulary& v, TokenizerParts& parts) {
  parts.bos = role(v, v.cls ? v.cls : v.bos, 101);
  const auto sep = role(v, v.sep, 102);
  parts.eos = sep;
  parts.unk = role(v, v.unk, 100);
  parts.prefix = {need(v, parts.bos, "bos_token_id")};
  parts.suffix = {need(v, sep, "seperator_token_id")};
  const auto add = [&](std::string (*change)(std::string_view)) {
    parts.normalizer.add([change](std::string_view t, bool&, MatchScratch&) { return change(t); });
  };
  add([](std::string_view t) { return unicode_normalize(t, UnicodeForm::nfd); });
  add(clean_controls);
  add(strip_accents);
  add(lowercase);
  add(space_chinese);
  PreStep step;
  step.kind = PreStep::Kind::white_space;
  parts.pre_tokenizer.add(step);
  step.kind = PreStep::Kind::punctuation;
  parts.pre_tokenizer.add(step);
  step.kind = PreStep::Kind::metaspace;
  step.replacement = std::string(kSpaceMark);
  step.split = false;
  parts.pre_tokenizer.add(step);
  WordPieceOptions options;
  options.unk = parts.unk ? v.tokens[*parts.unk] : "";
  options.prefix = "";
  options.longest = INT64_MAX;
  parts.model = std::make_unique<WordPiece>(parts.vocabulary, std::move(options), v.file);
  add_mark_decoder(true, parts);
}

}  // namespace

void load_gguf_vocabulary(const GgufVocabulary& v, TokenizerParts& parts) {
  read_tokens(v, parts);
  if (v.model == "gpt2") {
    load_bpe(v, parts);
  } else if (v.model == "llama") {
    load_spm(v, parts);
  } else if (v.model == "t5") {
    load_unigram(v, parts);
  } else if (v.model == "bert") {
    load_bert(v, parts);
  } else {
    throw UserError(v.file, cat("the tokenizer model \"", v.model, "\" is not supported yet"),
                    "nibble reads llama, gpt2, t5 and bert vocabularies", Exit::bad_data);
  }
  parts.pad = role(v, v.pad, -1);
  if (!parts.unk) parts.unk = role(v, v.unk, -1);
  parts.chat_template = v.chat_template;
}

}  // namespace nibble::text
