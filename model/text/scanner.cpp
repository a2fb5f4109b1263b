// The patterns are variations on one: a contraction, a word with what may stand before it, digits,
// other characters, white space. A Rules struct says which variation.
#include "model/text/scanner.h"

#include "model/text/character_class.h"
#include "model/text/pretokenize.h"

namespace nibble::text {

namespace {

constexpr char kGpt2[] =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char kLlama3[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen35[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|)"
                           R"( ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kO200k[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)"
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kTekken[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct Seen {
  uint8_t classes = 0;
  uint8_t bytes = 0;  // 0: the end of the text
};

// A place in the text and the class of the character there.
class Cursor {
 public:
  Cursor(const CharacterClasses& classes, std::string_view text) : classes_(classes), text_(text) {}

  uint8_t byte(size_t at) const {
    return at < text_.size() ? static_cast<uint8_t>(text_[at]) : uint8_t{0};
  }
  bool at_end(size_t at) const { return at >= text_.size(); }

  Seen see(size_t at) const {
    if (at >= text_.size()) return {};
    const auto b = static_cast<uint8_t>(text_[at]);
    if (b < 0x80) return {classes_.of_ascii(b), 1};
    return see_long(at, b);
  }
  // The end of the run of characters with one of `wanted` (or, if `other`, with none).
  template <bool other = false>
  size_t skip(size_t at, uint8_t wanted) const {
    while (true) {
      const Seen s = see(at);
      if (s.bytes == 0 || ((s.classes & wanted) != 0) == other) return at;
      at += s.bytes;
    }
  }

 private:
  Seen see_long(size_t at, uint8_t first) const {
    const uint8_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (at + bytes > text_.size()) return {0, 1};
    uint32_t code = first & (0x7Fu >> bytes);
    for (uint8_t i = 1; i < bytes; ++i) {
      code = code << 6 | (static_cast<uint8_t>(text_[at + i]) & 0x3F);
    }
    return {code < 0x110000 ? classes_.of(code) : uint8_t{0}, bytes};
  }

  const CharacterClasses& classes_;
  std::string_view text_;
};

enum class Contraction { first, after_word, none };

struct Gpt2 {};  // has a scanner of its own
struct Llama3 {
  static constexpr Contraction contraction = Contraction::first;
  static constexpr uint8_t letters = kLetter;
  static constexpr bool by_case = false;
  static constexpr int digits = 3;
  static constexpr bool slash_ends = false;  // [\r\n/]* behind other characters
};
struct Qwen2 : Llama3 {
  static constexpr int digits = 1;
};
struct Qwen35 : Qwen2 {
  static constexpr uint8_t letters = kLetter | kMark;
};
struct O200k : Llama3 {
  static constexpr Contraction contraction = Contraction::after_word;
  static constexpr bool by_case = true;
  static constexpr bool slash_ends = true;
};
struct Tekken : O200k {
  static constexpr Contraction contraction = Contraction::none;
  static constexpr int digits = 1;
};

// Where 's 't 're 've 'm 'll 'd ends, or `at` when there is none.
size_t skip_contraction(const Cursor& in, size_t at, bool any_case) {
  if (in.byte(at) != '\'') return at;
  const auto lower = [&](size_t place) -> uint8_t {
    const uint8_t b = in.byte(place);
    return any_case && b >= 'A' && b <= 'Z' ? b | 0x20 : b;
  };
  const uint8_t a = lower(at + 1);
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
  const uint8_t b = lower(at + 2);
  if (((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
  // U+017F, the long s, is another case of s.
  if (any_case && a == 0xC5 && in.byte(at + 2) == 0xBF) return at + 3;
  return at;
}

// \s+(?!\S)|\s+ : white space before a word leaves its last character to the word.
size_t end_of_spaces(const Cursor& in, size_t at, size_t first_bytes, bool newlines) {
  size_t end = at, last = at, line = 0;
  for (Seen s; ((s = in.see(end)).classes & kWhiteSpace) != 0;) {
    const uint8_t b = in.byte(end);
    last = end;
    end += s.bytes;
    if (b == '\n' || b == '\r') line = end;
  }
  if (newlines && line > 0) return line;  // \s*[\r\n]+
  if (in.at_end(end)) return end;
  return last > at ? last : at + first_bytes;
}

size_t end_of_piece(Gpt2, const Cursor& in, size_t at) {
  if (const size_t end = skip_contraction(in, at, false); end > at) return end;
  const Seen first = in.see(at);
  size_t begin = at;
  Seen s = first;
  if (in.byte(at) == ' ') s = in.see(++begin);
  constexpr uint8_t kAll = kLetter | kNumber | kWhiteSpace;
  if (s.bytes > 0) {
    if ((s.classes & kLetter) != 0) return in.skip(begin + s.bytes, kLetter);
    if ((s.classes & kNumber) != 0) return in.skip(begin + s.bytes, kNumber);
    if ((s.classes & kAll) == 0) return in.skip<true>(begin + s.bytes, kAll);
  }
  return end_of_spaces(in, at, first.bytes, false);
}

// U*W+ or else U+W* from `at`, U being upper case or without case, W lower case or without; `at`
// when neither matches. `first_form`: whether U*W+ did.
size_t end_of_cased(const Cursor& in, size_t at, bool& first_form) {
  size_t upper = at, both = 0;  // `both`: the end of the last character of the run that is in W too
  for (Seen s; ((s = in.see(upper)).classes & kUpperOrBoth) != 0;) {
    upper += s.bytes;
    if ((s.classes & kLowerOrBoth) != 0) both = upper;
  }
  const size_t end = in.skip(upper, kLowerOrBoth);
  first_form = end > upper || both > 0;
  if (end > upper) return end;
  return both > 0 ? both : upper;
}

// [^\r\n\p{L}\p{N}]? and a word; `at` when there is none.
template <class Rules>
size_t end_of_word(const Cursor& in, size_t at, const Seen& first) {
  const uint8_t b = in.byte(at);
  const bool before = (first.classes & (kLetter | kNumber)) == 0 && b != '\r' && b != '\n';
  size_t end = at;
  if constexpr (Rules::by_case) {
    bool first_form = false;
    if (before) {
      const size_t begin = at + first.bytes;
      const size_t word = end_of_cased(in, begin, first_form);
      if (word > begin) end = word;
    }
    // A mark may stand before the word or be its first character: U*W+ is tried both ways first.
    if (!first_form && (!before || (first.classes & kMark) != 0)) {
      bool own = false;
      const size_t word = end_of_cased(in, at, own);
      if (own || end == at) end = word;
    }
    if (end > at && Rules::contraction == Contraction::after_word) {
      end = skip_contraction(in, end, true);
    }
  } else {
    const size_t begin = before ? at + first.bytes : at;
    end = in.skip(begin, Rules::letters);
    if (before && end == begin) end = (first.classes & Rules::letters) != 0 ? begin : at;
  }
  return end;
}

template <class Rules>
size_t end_of_piece(Rules, const Cursor& in, size_t at) {
  if constexpr (Rules::contraction == Contraction::first) {
    if (const size_t end = skip_contraction(in, at, true); end > at) return end;
  }
  const Seen first = in.see(at);
  if (const size_t end = end_of_word<Rules>(in, at, first); end > at) return end;
  if ((first.classes & kNumber) != 0) {
    size_t end = at + first.bytes;
    for (int i = 1; i < Rules::digits; ++i) {
      const Seen s = in.see(end);
      if ((s.classes & kNumber) == 0) break;
      end += s.bytes;
    }
    return end;
  }
  constexpr uint8_t kAll = kLetter | kNumber | kWhiteSpace | Rules::letters;
  const size_t begin = at + (in.byte(at) == ' ' ? 1 : 0);
  size_t end = in.skip<true>(begin, kAll);
  if (end > begin) {
    for (uint8_t b; (b = in.byte(end)) == '\r' || b == '\n' || (Rules::slash_ends && b == '/');)
      ++end;
    return end;
  }
  return end_of_spaces(in, at, first.bytes, true);
}

template <class Rules>
size_t cut(std::string_view text, size_t at, size_t* ends, size_t most) {
  const Cursor in(CharacterClasses::get(), text);
  size_t n = 0;
  while (n < most && at < text.size()) {
    at = end_of_piece(Rules(), in, at);
    ends[n++] = at;
  }
  return n;
}

struct Known {
  std::string_view expression;
  Cut cut;
};

constexpr Known kKnown[] = {{kGpt2, cut<Gpt2>},     {kLlama3, cut<Llama3>}, {kQwen2, cut<Qwen2>},
                            {kQwen35, cut<Qwen35>}, {kO200k, cut<O200k>},   {kTekken, cut<Tekken>}};

}  // namespace

const char* const kGpt2Pattern = kGpt2;
const char* const kQwen2Pattern = kQwen2;

Cut cut_of(std::string_view expression) {
  for (const Known& known : kKnown) {
    if (known.expression == expression) return known.cut;
  }
  return nullptr;
}

}  // namespace nibble::text
