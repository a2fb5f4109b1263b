// What is done to text before it is cut: Unicode forms, lower case, replacements, a leading "▁".
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/pattern.h"

namespace nibble::text {

// `first` tells whether the text stands at the beginning of the whole input; a step that takes the
// beginning away clears it.
using NormalizeStep =
    std::function<std::string(std::string_view text, bool& first, MatchScratch& scratch)>;

struct AlignedText;
// The same for a text that knows where it came from.
using AlignStep = std::function<void(AlignedText& text, MatchScratch& scratch)>;

class Normalizer {
 public:
  void add(NormalizeStep step, AlignStep aligned = nullptr) {
    steps_.push_back(std::move(step));
    aligned_.push_back(std::move(aligned));
  }
  bool empty() const { return steps_.empty(); }
  std::string run(std::string_view text, bool& first, MatchScratch& scratch) const;
  void align(AlignedText& text, MatchScratch& scratch) const;  // every step must have been added so

 private:
  std::vector<NormalizeStep> steps_;
  std::vector<AlignStep> aligned_;  // one for each step
};

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };
std::string unicode_normalize(std::string_view text, UnicodeForm form);
bool changed_after_unicode_9(uint32_t code);   // has a combining class or mapping that came later
std::string lowercase(std::string_view text);  // character by character, without context
std::string strip_white_space(std::string_view text, bool left, bool right);
std::string replace_all(std::string_view text, const Pattern& pattern, std::string_view content,
                        MatchScratch& scratch);

}  // namespace nibble::text
