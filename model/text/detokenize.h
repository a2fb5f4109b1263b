// Ids back to text, a token at a time. The chain of decoders is run as a stream, so that what a
// server sends piece by piece and what decode() returns are the same computation.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/pattern.h"

namespace nibble::text {

struct DecodeStep {
  enum class Kind {
    replace,        // `pattern` becomes `content` inside each token
    byte_fallback,  // runs of <0xNN> become characters; a run that is no UTF-8: one U+FFFD a byte
    byte_runs,      // the same, but each whole character of the run is kept (SentencePiece)
    byte_level,     // the byte alphabet back to bytes, joined
    piece_spaces,   // the same as SentencePiece: dropped before the first character of the text
    metaspace,      // `pattern` becomes a space; dropped in the first token when `drop_first`
    fuse,           // joins the tokens
    strip,          // takes up to `start` / `stop` times `pattern` off the ends
    spaced,         // no decoder: tokens with a space between them
    word_piece,     // a space before each token but the first; `pattern` before it joins instead
    word_end,       // `pattern` ends a word: a space, nothing in the last token
    ctc,            // repeated tokens once, `pattern` (padding) gone, `content` becomes a space
  };
  Kind kind = Kind::fuse;
  std::string pattern, content;
  std::shared_ptr<const Pattern> regex;  // replace: in place of `pattern`
  bool cleanup = false;  // word_piece, ctc: no space before punctuation and English endings
  bool whole = false;    // sees one token, all that comes joined, at the end
  int start = 0, stop = 0;
  bool drop_first = true;
  bool drop_more = false;  // piece_spaces: also in later tokens while there is no text yet
};

using DecodeChain = std::vector<DecodeStep>;

// The bytes one token gives in the middle of a text.
std::string bytes_of_token(const DecodeChain& chain, std::string_view token);

class DecodeState {
 public:
  explicit DecodeState(const DecodeChain& chain);
  void push(std::string_view token, std::string& out);
  void finish(std::string& out);  // what was held back; starts anew

 private:
  struct Stage {
    bool fused = false;    // what arrives are parts of one token
    bool started = false;  // a token has arrived, or the leading strip is over
    int stripped = 0;
    std::string held;
  };
  std::string changed(const DecodeStep& step, std::string_view token);
  void feed(size_t stage, std::string_view token, std::string& out);
  void feed_spaces(size_t stage, std::string_view token, std::string& out);
  void feed_strip(size_t stage, std::string_view token, std::string& out);
  void feed_words(size_t stage, std::string_view token, std::string& out);
  void feed_bytes(size_t stage, std::string_view token, std::string& out);
  void flush(size_t stage, std::string& out);
  void reset();

  const DecodeChain* chain_;
  std::vector<Stage> stages_;
  std::unique_ptr<MatchScratch> match_;  // made when a step has a regular expression
};

}  // namespace nibble::text
