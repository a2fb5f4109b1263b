// What the loaders fill and Tokenizer runs: the stations of text on its way to ids and back.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/added_tokens.h"
#include "model/text/bpe.h"
#include "model/text/detokenize.h"
#include "model/text/normalize.h"
#include "model/text/pretokenize.h"
#include "model/text/utf8.h"

namespace nibble::text {

// What one encode() call needs for itself.
struct EncodeScratch {
  MatchScratch match;
  SubwordScratch subword;
  Pieces pieces;
};

// Scratches wait here between calls, so that caches stay warm and threads never share one.
class ScratchPool {
 public:
  std::unique_ptr<EncodeScratch> take();
  void give(std::unique_ptr<EncodeScratch> scratch);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<EncodeScratch>> free_;
};

// BERT's own normalizer, the same whichever file asks for it.
struct BertNormalizer {
  bool clean = true, chinese = true, accents = true, lower = true;
};
void add_bert_normalizer(const BertNormalizer& bert, Normalizer& out);

// Tokens' offsets leave out white space at their ends, as ByteLevel and Roberta post-processors do.
struct OffsetTrim {
  bool prefix_space = true;     // a space before the text was added: it stays
  bool around_special = false;  // special tokens stand around the text by then
};

struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokens added;
  bool mends_utf8 = false;  // the normalizer takes any bytes; else they are mended before it
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::unique_ptr<SubwordModel> model;
  std::vector<int32_t> prefix, suffix;  // around the text when special tokens are added
  // Two texts: a special token's id, or -1 for the first text and -2 for the second. Empty: the
  // second follows the first, with prefix and suffix around both.
  std::vector<int32_t> pair;
  std::vector<OffsetTrim> trims;
  bool aligns = false;  // every station can say where its text came from
  DecodeChain decoder;
  std::optional<int32_t> bos, eos, pad, unk;
  std::string chat_template;
  mutable ScratchPool scratches;

  std::optional<int32_t> id_of(std::string_view token) const;
  const std::string* spelling(int32_t id) const;  // null for an id that does not exist
  int32_t size() const;                           // largest id + 1
  void find_added();                              // call after the last change of `added`
};

// What tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja
// say besides the tokenizer itself.
struct TokenizerConfig {
  std::string tokenizer_class;
  std::optional<std::string> bos, eos, pad, unk, cls, sep, mask;
  std::vector<std::string> additional_special;
  std::optional<bool> add_bos, add_eos, legacy, add_prefix_space;
  std::optional<bool> do_lower_case, strip_accents, tokenize_chinese_chars;  // BERT's
  std::string split_pattern;      // "pat_str": the regular expression of a tiktoken file
  std::vector<AddedToken> added;  // added_tokens_decoder and added_tokens.json
  std::string chat_template;
};
TokenizerConfig read_tokenizer_config(const std::string& directory);

// The loaders: each takes a file's bytes; `path` is what messages name.
void load_tokenizer_json(std::string_view bytes, const std::string& path, TokenizerParts& parts);
// `plain`: as SentencePiece itself, which never takes a text for a control piece.
void load_tokenizer_model(std::string_view bytes, const std::string& path,
                          const TokenizerConfig& config, bool plain, TokenizerParts& parts);
void load_vocab_merges(const std::string& vocab_path, const std::string& merges_path,
                       const TokenizerConfig& config, TokenizerParts& parts);
// vocab.txt of BERT: one token a line.
void load_vocab_txt(std::string_view bytes, const std::string& path, const TokenizerConfig& config,
                    TokenizerParts& parts);
// Lines of base64 and a rank. The file's name or the tokenizer class says whose it is.
bool looks_like_tiktoken(std::string_view bytes);
void load_tiktoken(std::string_view bytes, const std::string& path, const TokenizerConfig& config,
                   TokenizerParts& parts);

// Ids beyond this are no vocabulary but damage: a list of every id is kept, so the limit grows
// with what the file holds.
inline constexpr int64_t kMostIds = 1 << 24;
inline int64_t most_ids(size_t entries) {
  return std::min<int64_t>(kMostIds, (1 << 16) + 16 * static_cast<int64_t>(entries));
}

}  // namespace nibble::text
