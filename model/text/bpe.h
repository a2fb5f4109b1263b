// Byte-pair encoding with a ranked list of merges, as tokenizer.json and merges.txt give it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/text/subword.h"

namespace nibble::text {

struct BpeOptions {
  bool raw_bytes = false;  // pieces are bytes, the vocabulary is spelt in the byte alphabet
  std::string unk;         // "" for none: characters outside the vocabulary are dropped
  bool fuse_unk = false;
  bool byte_fallback = false;  // characters outside become <0xNN> pieces where those exist
  bool ignore_merges = false;  // a piece that is a token is that token
  bool rank_by_token = false;  // merges go by the id of what they make, not by their place
  std::string prefix;          // continuing_subword_prefix
  std::string suffix;          // end_of_word_suffix
};

using Merge = std::pair<std::string, std::string>;

class Bpe : public SubwordModel {
 public:
  // Throws UserError (exit 65, naming `file`) when a merge speaks of tokens that do not exist.
  Bpe(const Vocabulary& vocabulary, const std::vector<Merge>& merges, BpeOptions options,
      std::string_view file);

  void spans(std::string_view piece, std::vector<TokenSpan>& out,
             SubwordScratch& scratch) const override;

 protected:
  void encode_word(std::string_view word, std::vector<int32_t>& out,
                   SubwordScratch& scratch) const override;

 private:
  void read_merges(const std::vector<Merge>& merges, std::string_view file);
  bool all_bytes() const;
  void find_byte_pairs();
  void encode_few_bytes(std::string_view word, std::vector<int32_t>& out, uint64_t& work) const;
  void start_bytes(std::string_view word, std::vector<Symbol>& symbols) const;
  void start_characters(std::string_view word, std::vector<Symbol>& symbols) const;
  void start_symbols(std::string_view word, std::vector<Symbol>& symbols) const;  // and link them
  // The id of one character that may be the first or last of its word; -1 for none.
  int32_t character_id(std::string_view character, uint32_t code, bool first, bool last) const;

  const Vocabulary& vocabulary_;
  BpeOptions options_;
  bool cuts_wanted_ = false;
  bool unknown_alone_ = true;  // no merge takes what stands in for characters without a token
  int32_t unk_ = -1;
  int32_t byte_ids_[256];            // raw bytes: by the alphabet; else <0xNN>; -1 where missing
  std::vector<int32_t> characters_;  // ids of one-character tokens by code point
  MergeTable table_;
  std::vector<MergeTable::Merge>
      byte_pairs_;  // of two raw bytes; empty unless every byte has an id
  Vocabulary raw_;  // ignore_merges over raw bytes: the tokens as bytes
};

// "<0x0A>" → 10; nothing for other spellings.
std::optional<uint8_t> byte_of_piece(std::string_view piece);
std::string piece_of_byte(uint8_t byte);

}  // namespace nibble::text
