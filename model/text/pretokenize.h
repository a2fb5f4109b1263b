// Cutting text into the pieces that merges never cross.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/cut_text.h"
#include "model/text/pattern.h"

namespace nibble::text {

struct Piece {
  std::string_view text;
  bool first = false;  // begins where the whole input begins
};

// Pieces point into the input or into `owned`, where a step had to write new text.
struct Pieces {
  std::vector<Piece> items;
  std::vector<Piece> next;  // kept to reuse its memory
  std::deque<std::string> owned;
};

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct PreStep {
  enum class Kind { split, byte_level, metaspace, digits, punctuation, white_space, cut };
  Kind kind = Kind::split;
  Pattern pattern;                         // split
  Behavior behavior = Behavior::isolated;  // split, punctuation
  bool invert = false;                     // split
  bool add_prefix_space = false;           // byte_level
  bool map_bytes = false;                  // byte_level: write the byte alphabet's characters
  bool individual = false;                 // digits
  std::string replacement;                 // metaspace
  enum class Prepend { always, first, never } prepend = Prepend::always;
  bool split = true;                                            // metaspace
  std::function<void(std::string_view text, Cuts& parts)> cut;  // cut: what is in no part goes
};

class PreTokenizer {
 public:
  void add(PreStep step) { steps_.push_back(std::move(step)); }
  // ByteLevel: a leading space, GPT-2's pattern, then the byte alphabet.
  void add_byte_level(bool add_prefix_space, bool use_regex);
  // Takes off a last step that maps bytes to the byte alphabet; whether there was one.
  bool take_byte_map();
  // The scanner that does all this pre-tokenizer does; null when there is more to do.
  Cut only_cut() const;
  const std::vector<PreStep>& steps() const { return steps_; }
  // Replaces pieces.items by the pieces of `text`.
  void run(std::string_view text, bool first, Pieces& pieces, MatchScratch& scratch) const;

 private:
  std::vector<PreStep> steps_;
};

// Appends to pieces.next what one step makes of a piece.
void cut_piece(const PreStep& step, const Piece& piece, Pieces& pieces, MatchScratch& scratch);

// The patterns that model families split by (each library's published source).
extern const char* const kGpt2Pattern;
extern const char* const kQwen2Pattern;

}  // namespace nibble::text
