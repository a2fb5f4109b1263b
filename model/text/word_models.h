// Two models that look words up: WordLevel knows a word or not, WordPiece cuts it greedily into the
// longest known parts.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/subword.h"

namespace nibble::text {

class WordLevel : public SubwordModel {
 public:
  // Without an unknown token in the vocabulary, encoding an unknown word is an error that names
  // `file`.
  WordLevel(const Vocabulary& vocabulary, std::string_view unk, std::string file);

  void spans(std::string_view piece, std::vector<TokenSpan>& out,
             SubwordScratch& scratch) const override;

 protected:
  void encode_word(std::string_view word, std::vector<int32_t>& out,
                   SubwordScratch& scratch) const override;

 private:
  const Vocabulary& vocabulary_;
  std::optional<int32_t> unk_;
  std::string file_;
};

struct WordPieceOptions {
  std::string unk = "[UNK]";
  std::string prefix = "##";  // of every part but the first
  int64_t longest = 100;      // characters; a longer word is unknown
};

class WordPiece : public SubwordModel {
 public:
  WordPiece(const Vocabulary& vocabulary, WordPieceOptions options, std::string file);

  void spans(std::string_view piece, std::vector<TokenSpan>& out,
             SubwordScratch& scratch) const override;

 protected:
  void encode_word(std::string_view word, std::vector<int32_t>& out,
                   SubwordScratch& scratch) const override;

 private:
  bool cut(std::string_view word, std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary_;
  WordPieceOptions options_;
  std::optional<int32_t> unk_;
  std::string file_;
  size_t longest_token_ = 0;  // bytes, without the prefix
};

}  // namespace nibble::text
