// What merging models share: the vocabulary, the cache of words, and the cuts that make long
// unsplit text a sequence of words.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/merge_table.h"
#include "model/text/safe_cuts.h"
#include "model/text/scanner.h"
#include "model/text/word_cache.h"

namespace nibble::text {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // "▁", SentencePiece's space

// Spelling of every id. Ids may have gaps, whose spelling is "".
class Vocabulary {
 public:
  // Later entries of the same spelling win, as in a JSON map.
  void set(int32_t id, std::string text);
  std::optional<int32_t> find(std::string_view text) const;
  void prefetch(std::string_view text) const;  // find() of it will come soon
  const std::string* text(int32_t id) const {
    return id >= 0 && id < size() && used_[id] ? &texts_[id] : nullptr;
  }
  int32_t size() const { return static_cast<int32_t>(texts_.size()); }  // largest id + 1
  void index();  // call once after the last set()

 private:
  struct Slot {
    uint32_t tag = 0;  // upper half of the hash
    int32_t id = -1;   // -1: free
  };
  size_t slot_of(std::string_view text) const;  // of this text, or the free one it would take

  std::vector<std::string> texts_;
  std::vector<bool> used_;
  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
};

// A symbol while merging: a range of the word, linked to its neighbours. `id` -1: no piece.
struct Symbol {
  int32_t id;
  int32_t previous, next;
  uint32_t begin, bytes;  // bytes 0: merged away
};

struct Candidate {
  uint32_t rank;
  int32_t left;    // index of the left symbol
  int32_t id;      // what the pair becomes
  uint32_t bytes;  // length of the pair when it was seen
};

// What one encoding thread needs besides the model.
struct SubwordScratch {
  WordCache cache;
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  uint64_t work = 0;  // pairs looked at, for tests of how work grows with the text
};

// A token and the bytes of its piece that it covers.
struct TokenSpan {
  int32_t id;
  size_t begin, end;
};

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;
  // Appends the ids of one piece of text.
  void encode(std::string_view piece, std::vector<int32_t>& out, SubwordScratch& scratch) const;
  // Appends the ids of the pieces of `text` that follow each other from `begin` on.
  void encode_pieces(std::string_view text, size_t begin, std::span<const size_t> ends,
                     std::vector<int32_t>& out, SubwordScratch& scratch) const;
  // Appends the ids of the pieces that `cut` makes of `text`, without a list of them in between.
  void encode_cut(std::string_view text, Cut cut, std::vector<int32_t>& out,
                  SubwordScratch& scratch) const;
  // The ids of one piece with what they cover; slower. Models of tokenizer.json know it.
  virtual void spans(std::string_view piece, std::vector<TokenSpan>& out,
                     SubwordScratch& scratch) const;

 protected:
  SafeCuts cuts_;  // empty: a piece is one word
  virtual void encode_word(std::string_view word, std::vector<int32_t>& out,
                           SubwordScratch& scratch) const = 0;
};

// Merges neighbours among scratch.symbols, lowest rank first, leftmost among equals, until none is
// left. find(left, right): the MergeTable::Merge of two symbols.
template <class Find>
void merge_symbols(SubwordScratch& scratch, const Find& find);

inline constexpr uint32_t kFewIds = 64;
template <class First>
size_t merge_ids(const MergeTable& table, int32_t* ids, size_t n, uint64_t& work,
                 const First& first);

}  // namespace nibble::text

#include "model/text/merge.inl"
