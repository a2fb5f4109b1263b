// A text whose bytes know where in the original they came from, through every normalizer. The rules
// are those of the Hugging Face library: a character that is replaced keeps its place, an inserted
// one has the place of the character before it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/text/character_map.h"
#include "model/text/normalize.h"

namespace nibble::text {

struct Origin {
  size_t begin = 0, end = 0;  // bytes of the original
};

struct AlignedText {
  std::string text;
  std::vector<Origin> from;  // one for each byte of `text`

  AlignedText() = default;
  AlignedText(std::string_view original, size_t offset);  // `offset`: where the original begins
  AlignedText part(size_t begin, size_t end) const;
  Origin origin(size_t begin, size_t end) const;  // of a range of bytes
};

// One character of the new text. change 1: inserted; 0: in place of the next old character; -n: so,
// and n old characters after that one are gone.
struct Edit {
  uint32_t code = 0;
  int change = 0;
};
void apply_edits(AlignedText& text, const std::vector<Edit>& edits);

void align_unicode(AlignedText& text, UnicodeForm form);
// `change` looks at each character alone; what it makes of one has that one's place.
void align_each(AlignedText& text, std::string (*change)(std::string_view));
void align_prepend(AlignedText& text, std::string_view content);
void align_strip(AlignedText& text, bool left, bool right);
void align_replace(AlignedText& text, const Pattern& pattern, std::string_view content,
                   MatchScratch& scratch);
void align_clusters(AlignedText& text, const CharacterMap& map);

}  // namespace nibble::text
