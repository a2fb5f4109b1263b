// What merging models share: the vocabulary, the bounded cache of short words, and the cut before
// "▁" that makes long unsplit text a sequence of words.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nibble::text {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // "▁", SentencePiece's space

// Spelling of every id. Ids may have gaps, whose spelling is "".
class Vocabulary {
 public:
  // Later entries of the same spelling win, as in a JSON map.
  void set(int32_t id, std::string text);
  std::optional<int32_t> find(std::string_view text) const;
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

inline uint64_t mix_bits(uint64_t x) {
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93ull;
  return x ^ x >> 32;
}
uint64_t hash_text(std::string_view text);

// Ids of words met before. Fixed size, a later word takes the place of an earlier one.
class WordCache {
 public:
  static constexpr size_t kKeyBytes = 30;
  static constexpr size_t kIds = 8;

  struct Entry {
    uint8_t length = 0, count = 0;
    char key[kKeyBytes];
    int32_t ids[kIds];
  };
  // The slot of a word of at most kKeyBytes; it may hold another word.
  Entry& slot(std::string_view word);
  static bool holds(const Entry& e, std::string_view word);

 private:
  static constexpr int kBits = 15;
  std::vector<Entry> entries_;
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
};

class SubwordModel {
 public:
  virtual ~SubwordModel() = default;
  // Appends the ids of one piece of text.
  void encode(std::string_view piece, std::vector<int32_t>& out, SubwordScratch& scratch) const;

 protected:
  // A merge can never cross from another character to "▁": set when the vocabulary shows it.
  bool words_begin_with_mark_ = false;
  virtual void encode_word(std::string_view word, std::vector<int32_t>& out,
                           SubwordScratch& scratch) const = 0;

 private:
  void encode_cached(std::string_view word, std::vector<int32_t>& out,
                     SubwordScratch& scratch) const;
};

// Whether "▁" follows another character somewhere in `piece`.
bool has_inner_mark(std::string_view piece);

// Merges neighbours, lowest rank first, leftmost among equals, until none is left.
// rank(left, right, candidate) fills rank and id, or returns false when the pair does not merge.
template <class Rank>
void merge_symbols(std::vector<Symbol>& symbols, std::vector<Candidate>& heap, const Rank& rank);

}  // namespace nibble::text

#include "model/text/merge.inl"
