// Unicode forms once more, character by character: normalize.cpp keeps no trace of which characters
// made a composed one.
#include <utf8proc.h>

#include <algorithm>

#include "base/errors.h"
#include "model/text/aligned_text.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

struct Mark {
  Edit edit;
  int combining = 0;
};

void order(std::vector<Mark>& marks, size_t from) {
  std::stable_sort(marks.begin() + static_cast<std::ptrdiff_t>(from), marks.end(),
                   [](const Mark& a, const Mark& b) { return a.combining < b.combining; });
}

std::vector<uint32_t> parts_of(uint32_t code, bool compatibility) {
  if (changed_after_unicode_9(code)) return {code};
  constexpr int kLongest = 32;  // U+FDFA, the longest compatibility mapping, has 18 characters
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0));
  utf8proc_int32_t buffer[kLongest];
  int boundary = 0;
  const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(code), buffer, kLongest,
                                         options, &boundary);
  check(n >= 0 && n <= kLongest, "aligned text: decomposition");
  return {buffer, buffer + n};
}

int combining_class(uint32_t code) {
  if (changed_after_unicode_9(code)) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class;
}

std::vector<Mark> decomposed(std::string_view text, bool compatibility) {
  std::vector<Mark> marks;
  size_t pending = 0;  // from here on the marks are not in order yet
  for (size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    check(c.bytes > 0, "aligned text: text is valid UTF-8");
    at += static_cast<size_t>(c.bytes);
    int change = 0;
    for (const uint32_t part : parts_of(c.code, compatibility)) {
      const int combining = combining_class(part);
      if (combining == 0) {
        order(marks, pending);
        pending = marks.size();
      }
      marks.push_back({{part, change}, combining});
      change = 1;
    }
  }
  order(marks, pending);
  return marks;
}

// The one character that two compose to; 0 for none.
uint32_t composed(uint32_t a, uint32_t b) {
  if (changed_after_unicode_9(a) || changed_after_unicode_9(b)) return 0;
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(a), static_cast<utf8proc_int32_t>(b)};
  const auto n = utf8proc_normalize_utf32(
      pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  return n == 1 ? static_cast<uint32_t>(pair[0]) : 0;
}

std::vector<Edit> recomposed(const std::vector<Mark>& marks) {
  std::vector<Edit> out, waiting;
  Edit base;
  bool has_base = false;
  int last = -1;  // class of the last mark that waits; -1: none does
  const auto flush = [&] {
    if (has_base) out.push_back(base);
    out.insert(out.end(), waiting.begin(), waiting.end());
    waiting.clear();
    last = -1;
  };
  for (const Mark& mark : marks) {
    if (!has_base) {
      if (mark.combining != 0) {
        out.push_back(mark.edit);
      } else {
        base = mark.edit;
        has_base = true;
      }
      continue;
    }
    const bool blocked = last >= mark.combining;
    if (const uint32_t one = blocked ? 0 : composed(base.code, mark.edit.code); one != 0) {
      base = {one, base.change + mark.edit.change - 1};
    } else if (mark.combining == 0) {
      flush();
      base = mark.edit;
    } else {
      waiting.push_back(mark.edit);
      last = mark.combining;
    }
  }
  flush();
  return out;
}

}  // namespace

void align_unicode(AlignedText& text, UnicodeForm form) {
  const bool compatibility = form == UnicodeForm::nfkc || form == UnicodeForm::nfkd;
  const std::vector<Mark> marks = decomposed(text.text, compatibility);
  if (form == UnicodeForm::nfc || form == UnicodeForm::nfkc) {
    return apply_edits(text, recomposed(marks));
  }
  std::vector<Edit> edits;
  edits.reserve(marks.size());
  for (const Mark& mark : marks) edits.push_back(mark.edit);
  apply_edits(text, edits);
}

}  // namespace nibble::text
