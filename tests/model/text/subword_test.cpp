// Merging against the definition: of all pairs the lowest rank, the leftmost of equals, once at a
// time. And how the work grows.
#include "model/text/subword.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "model/text/bpe.h"
#include "model/text/byte_level.h"
#include "model/text/utf8.h"

namespace nibble::text {
namespace {

using Ids = std::vector<int32_t>;

struct Model {
  Vocabulary vocabulary;
  std::vector<Merge> merges;
  std::unique_ptr<Bpe> bpe;

  void add(const std::string& text) {
    if (!vocabulary_has.count(text)) {
      const auto id = static_cast<int32_t>(vocabulary_has.size());
      vocabulary_has[text] = id;
      vocabulary.set(id, text);
    }
  }
  void merge(const std::string& left, const std::string& right) {
    add(left + right);
    merges.emplace_back(left, right);
  }
  void build(BpeOptions options) {
    vocabulary.index();
    bpe = std::make_unique<Bpe>(vocabulary, merges, std::move(options), "test");
  }
  // Quadratic and plain.
  Ids defined(std::vector<std::string> symbols) const {
    while (true) {
      size_t best = merges.size(), place = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        for (size_t rank = 0; rank < best; ++rank) {
          if (merges[rank].first == symbols[i] && merges[rank].second == symbols[i + 1]) {
            best = rank;
            place = i;
          }
        }
      }
      if (best == merges.size()) break;
      symbols[place] += symbols[place + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
    }
    Ids ids;
    for (const std::string& s : symbols) ids.push_back(vocabulary_has.at(s));
    return ids;
  }
  std::map<std::string, int32_t> vocabulary_has;
};

// Random merges of what there is already, each pair once.
void grow(Model& m, std::mt19937& random, int merges) {
  std::vector<std::string> tokens;
  for (const auto& [text, id] : m.vocabulary_has) tokens.push_back(text);
  std::map<std::pair<std::string, std::string>, bool> seen;
  for (int i = 0; i < merges; ++i) {
    const std::string left = tokens[random() % tokens.size()],
                      right = tokens[random() % tokens.size()];
    if (left.size() + right.size() > 24 || seen[{left, right}]) continue;
    seen[{left, right}] = true;
    m.merge(left, right);
    tokens.push_back(left + right);
  }
}

TEST(Bpe, MergesCharactersAsDefinedWhateverIsCutAndCached) {
  std::mt19937 random(3);
  const std::vector<std::string> alphabet = {"a",       "b", "\xE2\x96\x81", "\n", "\xE4\xB8\xAD",
                                             "\xC3\xA9"};
  for (int round = 0; round < 40; ++round) {
    Model m;
    for (const std::string& c : alphabet) m.add(c);
    grow(m, random, 4 + static_cast<int>(random() % 30));
    m.add("<unk>");
    m.build({.unk = "<unk>"});
    SubwordScratch scratch;
    for (int i = 0; i < 60; ++i) {
      std::vector<std::string> symbols(random() % (i % 10 == 0 ? 300 : 40));
      std::string text;
      for (std::string& s : symbols) {
        const bool unknown = random() % 8 == 0;
        const std::string character = unknown ? "?" : alphabet[random() % alphabet.size()];
        text += character;
        s = unknown ? "<unk>" : character;
      }
      Ids ids;
      m.bpe->encode(text, ids, scratch);
      ASSERT_EQ(ids, m.defined(symbols)) << round << " " << text;
    }
  }
}

// Dropped without an unknown token, or merged as bytes: then what stands on both sides can meet.
TEST(Bpe, CutsLeaveWhatMayMeetAcrossAnUnknownCharacter) {
  for (const bool bytes : {false, true}) {
    Model m;
    for (const char* c : {"a", "b", "c"}) m.add(c);
    for (int b = 0; b < 256; ++b) m.add(piece_of_byte(static_cast<uint8_t>(b)));
    bytes ? m.merge("a", "<0x7A>") : m.merge("a", "b");
    m.build({.byte_fallback = bytes});
    SubwordScratch scratch;
    Ids ids;
    m.bpe->encode("azbac", ids, scratch);
    const auto defined =
        bytes ? m.defined({"a", "<0x7A>", "b", "a", "c"}) : m.defined({"a", "b", "a", "c"});
    EXPECT_EQ(ids, defined) << bytes;
  }
}

TEST(Bpe, MergesBytesAsDefined) {
  std::mt19937 random(4);
  for (int round = 0; round < 20; ++round) {
    Model m;
    for (int b = 0; b < 256; ++b) {
      std::string c;
      append_character(c, character_of_byte(static_cast<uint8_t>(b)));
      m.add(c);
    }
    for (const char left : {'a', 'b', '\x80', ' '}) {
      for (const char right : {' ', 'a', '\x80', 'b'}) {
        if (random() % 2 == 0) continue;
        m.merge(to_byte_characters({&left, 1}), to_byte_characters({&right, 1}));
      }
    }
    std::shuffle(m.merges.begin(), m.merges.end(), random);
    for (size_t i = 0, n = m.merges.size(); i + 1 < n; i += 2) {
      m.merge(m.merges[i].first + m.merges[i].second, m.merges[i + 1].first);
    }
    m.build({.raw_bytes = true});
    SubwordScratch scratch;
    for (int i = 0; i < 60; ++i) {
      std::string text;
      std::vector<std::string> symbols(1 + random() % (i % 10 == 0 ? 200 : 70));
      for (std::string& s : symbols) {
        text.push_back("abc\x80 "[random() % 5]);
        s = to_byte_characters(text.substr(text.size() - 1));
      }
      Ids ids;
      m.bpe->encode(text, ids, scratch);
      ASSERT_EQ(ids, m.defined(symbols)) << round;
    }
  }
}

// Characters without a token, as bytes, as one unknown token each or for a run: no cut beside them
// may change what they become.
TEST(Bpe, CutsKeepUnknownCharactersTogether) {
  for (const bool fuse : {false, true}) {
    for (const bool bytes : {false, true}) {
      Model m;
      for (const char* c : {"<unk>", "a", "b", "<0x7A>", "<0x79>"}) m.add(c);
      m.merge("a", "a");
      if (bytes) m.merge("<0x7A>", "<0x79>");
      m.build({.unk = "<unk>", .fuse_unk = fuse, .byte_fallback = bytes});
      SubwordScratch scratch;
      Ids ids;
      m.bpe->encode("abzyxxaab", ids, scratch);
      const auto id = [&](const char* t) { return m.vocabulary_has.at(t); };
      Ids expected = {id("a"), id("b")};
      if (bytes) expected.push_back(id("<0x7A><0x79>"));
      const int unknown = (bytes ? 2 : 4);
      for (int i = 0; i < (fuse ? 1 : unknown); ++i) expected.push_back(id("<unk>"));
      expected.insert(expected.end(), {id("aa"), id("b")});
      EXPECT_EQ(ids, expected) << fuse << bytes;
    }
  }
}

// n log n at most: twice the text is little more than twice the work.
TEST(Bpe, WorkGrowsWithTheTextAndNotWithItsSquare) {
  Model m;
  for (const char* c : {"a", "b", "c"}) m.add(c);
  std::string run = "a";
  for (int i = 0; i < 6; ++i, run += run) m.merge(run, run);
  m.merge("a", "b");
  m.merge("ab", "ab");
  m.merge("b", "c");
  m.build({});
  std::mt19937 random(5);
  std::string mixed;
  for (int i = 0; i < 40'000; ++i) mixed.push_back("abc"[random() % 3]);
  for (const std::string& unit : {std::string("a"), std::string("ab"), std::string("aab"), mixed}) {
    const auto work = [&](size_t bytes) {
      std::string text;
      while (text.size() < bytes) text += unit;
      SubwordScratch scratch;
      Ids ids;
      m.bpe->encode(text, ids, scratch);
      return scratch.work;
    };
    const uint64_t once = work(40'000), twice = work(80'000);
    EXPECT_LE(once, 4 * 40'000u) << unit.substr(0, 8);
    EXPECT_LE(twice, once * 2 + once / 4) << unit.substr(0, 8);
  }
}

TEST(WordCache, GivesBackWhatWasPutOrNothing) {
  std::mt19937 random(6);
  WordCache cache;
  std::map<std::string, Ids> put;
  size_t found = 0, asked = 0;
  for (int i = 0; i < 60'000; ++i) {
    std::string word(1 + random() % (i % 4 == 0 ? 70 : 12), 'a');
    for (char& c : word) c = "ab\0c"[random() % 4];
    // The word stands in a text, now at its end and now before other words.
    const std::string text = "xy" + word + (i % 2 == 0 ? "" : "abcabcabcabcabcabc");
    const auto ids = cache.find(text, 2, 2 + word.size());
    const auto known = put.find(word);
    asked += known != put.end();
    if (!ids.empty()) {
      ASSERT_NE(known, put.end()) << word;
      EXPECT_EQ(Ids(ids.begin(), ids.end()), known->second);
      ++found;
      continue;
    }
    Ids made(1 + random() % 18);
    for (int32_t& id : made) id = static_cast<int32_t>(random() % 1000);
    if (known != put.end()) made = known->second;
    cache.put(word, made);
    put[word] = made;
  }
  EXPECT_GT(found, asked / 4) << "a cache that finds nothing passes the rest";
}

}  // namespace
}  // namespace nibble::text
