// The unigram language model: of all ways to cut a piece of text into tokens, the one whose scores
// sum highest. Sums are doubles, as in both reference libraries (SentencePiece from 0.2.3 on).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/prefix_tree.h"
#include "model/text/subword.h"

namespace nibble::text {

struct UnigramPiece {
  std::string_view text;
  double score = 0;  // log probability
  int32_t id = 0;
  bool user_defined = false;  // always taken where it stands
};

struct UnigramOptions {
  int32_t unk = -1;      // -1: text outside the vocabulary is an error that names `file`
  double unk_score = 0;  // of one unknown character
  double top_score = 0;  // the best score: what a user-defined piece earns for each byte
  bool byte_fallback = false;
  int32_t byte_ids[256];  // with byte_fallback; -1 where missing
  // SentencePiece: each unknown character falls back to its own bytes. The Hugging Face library: a
  // run of unknown characters is one token.
  bool sentencepiece = false;
  std::string file;
};

class Unigram : public SubwordModel {
 public:
  // `vocabulary` must outlive the model.
  Unigram(const Vocabulary& vocabulary, const std::vector<UnigramPiece>& pieces,
          UnigramOptions options);

  void spans(std::string_view piece, std::vector<TokenSpan>& out,
             SubwordScratch& scratch) const override;

 protected:
  void encode_word(std::string_view word, std::vector<int32_t>& out,
                   SubwordScratch& scratch) const override;

 private:
  struct Cut {
    uint32_t begin, end;
    int32_t id;
  };
  std::vector<Cut> best_path(std::string_view word) const;
  void emit_run(std::string_view run, std::vector<int32_t>& out) const;
  bool emit_bytes(std::string_view run, std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary_;
  PrefixTree tree_;                   // value: index in pieces_
  std::vector<UnigramPiece> pieces_;  // without their texts, which the tree holds
  UnigramOptions options_;
};

}  // namespace nibble::text
