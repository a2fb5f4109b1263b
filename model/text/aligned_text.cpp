// Normalizers a second time, slower than normalize.cpp: what they make is the same text, but every
// byte of it brings its origin along.
#include "model/text/aligned_text.h"

#include <algorithm>

#include "base/errors.h"
#include "model/text/growth.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

size_t bytes_at(std::string_view text, size_t at) {
  return static_cast<size_t>(std::max(character_at(text, at).bytes, 1));
}

// The library's own arithmetic, its oddities included: a deletion before any character is forgotten
// and one after an insertion takes the insertion's place.
void replace_part(std::string_view old, std::string_view now, std::vector<Edit>& edits) {
  const size_t before = edits.size();
  int gone = 0;
  for (size_t at = 0; at < old.size(); at += bytes_at(old, at)) ++gone;
  for (size_t at = 0; at < now.size(); at += bytes_at(now, at)) {
    edits.push_back({character_at(now, at).code, 0});
  }
  const int made = static_cast<int>(edits.size() - before);
  for (int i = 0; i < made - gone; ++i) edits[edits.size() - 1 - static_cast<size_t>(i)].change = 1;
  if (made < gone && !edits.empty()) edits.back().change -= gone - made;
}

}  // namespace

AlignedText::AlignedText(std::string_view original, size_t offset) : text(original) {
  from.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t n = bytes_at(text, at);
    from.insert(from.end(), n, {offset + at, offset + at + n});
    at += n;
  }
}

AlignedText AlignedText::part(size_t begin, size_t end) const {
  AlignedText out;
  out.text = text.substr(begin, end - begin);
  out.from.assign(from.begin() + static_cast<std::ptrdiff_t>(begin),
                  from.begin() + static_cast<std::ptrdiff_t>(end));
  return out;
}

Origin AlignedText::origin(size_t begin, size_t end) const {
  check(begin < end && end <= from.size(), "aligned text: a token covers text");
  return {from[begin].begin, from[end - 1].end};
}

void apply_edits(AlignedText& text, const std::vector<Edit>& edits) {
  AlignedText out;
  size_t at = 0;  // in the old text
  for (const Edit& edit : edits) {
    Origin origin;
    if (edit.change > 0) {
      if (at > 0) origin = text.from[at - 1];
    } else {
      if (at < text.from.size()) origin = text.from[at];
      for (int i = 0; i <= -edit.change && at < text.text.size(); ++i) {
        at += bytes_at(text.text, at);
      }
    }
    append_character(out.text, edit.code);
    out.from.resize(out.text.size(), origin);
  }
  text = std::move(out);
}

void align_each(AlignedText& text, std::string (*change)(std::string_view)) {
  AlignedText out;
  for (size_t at = 0; at < text.text.size();) {
    const size_t n = bytes_at(text.text, at);
    out.text += change(std::string_view(text.text).substr(at, n));
    out.from.resize(out.text.size(), text.from[at]);
    at += n;
  }
  text = std::move(out);
}

void align_prepend(AlignedText& text, std::string_view content) {
  if (text.text.empty()) return;
  const Origin first = text.from[0];
  text.from.insert(text.from.begin(), content.size(), first);
  text.text.insert(0, content);
}

void align_strip(AlignedText& text, bool left, bool right) {
  const size_t size = text.text.size();
  const size_t begin = left ? size - strip_white_space(text.text, true, false).size() : 0;
  const size_t end = right ? strip_white_space(text.text, false, true).size() : size;
  text = text.part(begin, std::max(begin, end));
}

void align_replace(AlignedText& text, const Pattern& pattern, std::string_view content,
                   MatchScratch& scratch) {
  AlignedText out;
  size_t copied = 0;
  const auto copy = [&](size_t end) {
    out.text.append(text.text, copied, end - copied);
    out.from.insert(out.from.end(), text.from.begin() + static_cast<std::ptrdiff_t>(copied),
                    text.from.begin() + static_cast<std::ptrdiff_t>(end));
  };
  for (size_t at = 0; at <= text.text.size();) {
    const Pattern::Match m = pattern.find(text.text, at, scratch);
    if (!m.found) break;
    copy(m.begin);
    out.text += content;
    check_growth(out.text.size(), text.text.size());
    out.from.resize(out.text.size(), m.end > 0 ? text.from[m.end - 1] : Origin{});
    copied = at = m.end;
    if (m.end == m.begin) at += m.end < text.text.size() ? bytes_at(text.text, m.end) : 1;
  }
  copy(text.text.size());
  text = std::move(out);
}

void align_clusters(AlignedText& text, const CharacterMap& map) {
  std::vector<Edit> edits;
  bool modified = false;
  for (const MappedPart& part : mapped_parts(text.text, map)) {
    modified = modified || part.rule;
    replace_part(part.old, part.now, edits);
  }
  if (modified) apply_edits(text, edits);
}

void Normalizer::align(AlignedText& text, MatchScratch& scratch) const {
  for (const AlignStep& step : aligned_) {
    check(step != nullptr, "normalizer: every step can align");
    const size_t before = text.text.size();
    step(text, scratch);
    check_growth(text.text.size(), before);
  }
}

}  // namespace nibble::text
