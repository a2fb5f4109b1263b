// Words are drawn so that few are frequent and most are rare (Zipf), because caches of words live
// from that; rare words are made of syllables, so that no list of them is needed.
#include "cli/bench_text.h"

#include <cmath>
#include <string_view>

namespace nibble {
namespace {

constexpr std::string_view kFrequent[] = {
    "the",   "of",    "and",  "to",    "a",      "in",    "is",    "that",  "it",     "was",
    "for",   "on",    "are",  "as",    "with",   "his",   "they",  "at",    "be",     "this",
    "from",  "have",  "or",   "by",    "one",    "had",   "not",   "but",   "what",   "all",
    "were",  "when",  "we",   "there", "can",    "an",    "your",  "which", "their",  "said",
    "if",    "do",    "will", "each",  "about",  "how",   "up",    "out",   "them",   "then",
    "she",   "many",  "some", "so",    "these",  "would", "other", "into",  "has",    "more",
    "don't", "it's",  "time", "could", "people", "than",  "first", "water", "been",   "called",
    "who",   "its",   "now",  "find",  "long",   "down",  "day",   "did",   "get",    "come",
    "made",  "may",   "part", "over",  "new",    "sound", "take",  "only",  "little", "work",
    "know",  "place", "year", "live",  "back",   "give",  "most",  "very",  "after",  "thing"};
constexpr std::string_view kOnsets[] = {"b", "c", "d",  "f",  "g",  "l",  "m",  "n", "p",
                                        "r", "s", "st", "tr", "pl", "ch", "sh", "v", ""};
constexpr std::string_view kRimes[] = {"a",  "e",  "i",  "o",  "er", "an",  "in",  "on",
                                       "al", "ar", "en", "or", "is", "ent", "ion", "ate"};
constexpr std::string_view kCode[] = {"for (int i = 0; i < $; ++i) {\n",
                                      "    return self.$\n",
                                      "  const auto $ = $($);\n",
                                      "def $($, $):\n",
                                      "\t\tif err != nil {\n",
                                      "#include <$/$.h>\n",
                                      "    $ += $[i] * 0x3F;  // $ of $\n",
                                      "}\n\n",
                                      "  \"$\": {\"$\": [1, 2.5e-3]},\n",
                                      "        self.assertEqual($, 42)\n"};

struct Script {
  uint32_t first, count;
  bool spaced;
};
constexpr Script kScripts[] = {{0x410, 64, true},    {0x3B1, 25, true},     {0x627, 36, true},
                               {0x905, 50, true},    {0x4E00, 3000, false}, {0x3042, 82, false},
                               {0xAC00, 2350, true}, {0x1F600, 64, false},  {0xE0, 31, true}};

class Writer {
 public:
  explicit Writer(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ull + 1) {}

  std::string document() {
    std::string out;
    const size_t length = 1000 + below(7000);
    const uint32_t kind = below(10);
    while (out.size() < length) {
      if (kind < 6) {
        sentence(out);
      } else if (kind < 8) {
        code(out);
      } else {
        foreign(out, kScripts[below(std::size(kScripts))]);
      }
      if (below(6) == 0) out += "\n\n";
    }
    return out;
  }

 private:
  uint32_t below(size_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<uint32_t>((state_ >> 33) % n);
  }
  void word(std::string& out) {
    // Rank r with a chance that falls as 1 / r.
    const auto rank = static_cast<size_t>(std::exp(below(1000) * std::log(20000.0) / 1000));
    if (rank <= std::size(kFrequent)) {
      out += kFrequent[rank - 1];
      return;
    }
    size_t rest = rank * 2654435761u >> 3;  // the same rank is always the same word
    for (size_t i = 0; i < 2 + rank % 3; ++i) {
      out += kOnsets[rest % std::size(kOnsets)];
      out += kRimes[rest / 32 % std::size(kRimes)];
      rest /= 512;
    }
  }
  void sentence(std::string& out) {
    const size_t begin = out.size();
    const uint32_t words = 4 + below(20);
    for (uint32_t i = 0; i < words; ++i) {
      if (below(40) == 0) {
        out += std::to_string(below(100000));
      } else {
        word(out);
      }
      if (i + 1 < words) out += below(12) == 0 ? ", " : " ";
    }
    if (out[begin] >= 'a' && out[begin] <= 'z') out[begin] = static_cast<char>(out[begin] - 32);
    out += below(8) == 0 ? "? " : ". ";
  }
  void code(std::string& out) {
    for (const char c : kCode[below(std::size(kCode))]) {
      if (c == '$') {
        word(out);
        if (below(3) == 0) {
          out.push_back('_');
          word(out);
        }
      } else {
        out.push_back(c);
      }
    }
  }
  void foreign(std::string& out, const Script& script) {
    for (uint32_t words = 3 + below(30); words > 0; --words) {
      for (uint32_t n = 1 + below(8); n > 0; --n) {
        // The smaller of two draws: some characters are frequent.
        const uint32_t a = below(script.count), b = below(script.count);
        character(out, script.first + (a < b ? a : b));
      }
      if (script.spaced) out.push_back(' ');
    }
    out += script.spaced ? ". " : "\xE3\x80\x82";
  }
  static void character(std::string& out, uint32_t code) {
    const auto tail = [&](int shift) {
      out.push_back(static_cast<char>(0x80 | (code >> shift & 0x3F)));
    };
    if (code < 0x800) {
      out.push_back(static_cast<char>(0xC0 | code >> 6));
    } else if (code < 0x10000) {
      out.push_back(static_cast<char>(0xE0 | code >> 12));
      tail(6);
    } else {
      out.push_back(static_cast<char>(0xF0 | code >> 18));
      tail(12);
      tail(6);
    }
    tail(0);
  }

  uint64_t state_;
};

}  // namespace

std::vector<std::string> make_text_mix(int64_t bytes, uint64_t seed) {
  Writer writer(seed);
  std::vector<std::string> documents;
  for (int64_t made = 0; made < bytes; made += static_cast<int64_t>(documents.back().size())) {
    documents.push_back(writer.document());
  }
  return documents;
}

}  // namespace nibble
