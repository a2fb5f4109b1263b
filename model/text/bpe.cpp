// Merges are looked up by a pair of ids in one flat table; the walk over a word is the one of
// merge.inl.
#include "model/text/bpe.h"

#include <algorithm>

#include "base/errors.h"
#include "model/text/byte_level.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Symbols know their neighbours by position.
void link(std::vector<Symbol>& symbols) {
  const auto n = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < n; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < n ? i + 1 : -1;
  }
}

}  // namespace

std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return std::nullopt;
  const int high = hex_digit(piece[3]), low = hex_digit(piece[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<uint8_t>(high << 4 | low);
}

std::string piece_of_byte(uint8_t byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

Bpe::Bpe(const Vocabulary& vocabulary, const std::vector<Merge>& merges, BpeOptions options,
         std::string_view file)
    : vocabulary_(vocabulary), options_(std::move(options)) {
  if (!options_.unk.empty()) {
    const auto id = vocabulary_.find(options_.unk);
    if (!id) {
      throw UserError(file,
                      cat("the unknown token \"", options_.unk, "\" is not in the vocabulary"),
                      "the file is damaged: fetch it again", Exit::bad_data);
    }
    unk_ = *id;
  }
  for (int b = 0; b < 256; ++b) {
    const auto byte = static_cast<uint8_t>(b);
    std::string spelling;
    if (options_.raw_bytes) {
      append_character(spelling, character_of_byte(byte));
    } else {
      spelling = piece_of_byte(byte);
    }
    byte_ids_[b] = vocabulary_.find(spelling).value_or(-1);
  }
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string* text = vocabulary_.text(id);
    if (text == nullptr || text->empty()) continue;
    const Character c = character_at(*text, 0);
    if (c.bytes == static_cast<int>(text->size())) {
      if (c.code >= characters_.size()) characters_.resize(c.code + 1, -1);
      characters_[c.code] = id;
    }
    if (options_.ignore_merges && options_.raw_bytes) {
      if (auto raw = from_byte_characters(*text)) raw_.set(id, std::move(*raw));
    }
  }
  raw_.index();
  cuts_wanted_ = !options_.raw_bytes && options_.prefix.empty() && options_.suffix.empty() &&
                 !options_.ignore_merges;
  read_merges(merges, file);
  if (options_.raw_bytes) find_byte_pairs();
  if (!cuts_wanted_) return;
  for (uint32_t code = 0; code < characters_.size(); ++code) {
    if (characters_[code] >= 0) cuts_.add_character(code);
  }
  cuts_.build(unknown_alone_ && (unk_ >= 0 || (options_.byte_fallback && all_bytes())));
}

void Bpe::read_merges(const std::vector<Merge>& merges, std::string_view file) {
  // Every look-up of a large vocabulary misses the processor's caches, so places are asked for some
  // merges ahead.
  constexpr size_t kAhead = 8;
  struct Ids {
    int32_t left, right, joined;
  };
  std::vector<Ids> found;
  found.reserve(merges.size());
  std::string joined;
  for (const auto& [left, right] : merges) {
    const size_t rank = found.size();
    if (rank + kAhead < merges.size()) {
      vocabulary_.prefetch(merges[rank + kAhead].first);
      vocabulary_.prefetch(merges[rank + kAhead].second);
    }
    joined = left;
    const bool cut = right.size() >= options_.prefix.size() &&
                     std::string_view(right).substr(0, options_.prefix.size()) == options_.prefix;
    joined += cut ? right.substr(options_.prefix.size()) : right;
    const auto a = vocabulary_.find(left), b = vocabulary_.find(right),
               c = vocabulary_.find(joined);
    if (!a || !b || !c) {
      throw UserError(file,
                      cat("merge ", rank, " (\"", left, "\" \"", right, "\") needs the token \"",
                          !a   ? left
                          : !b ? right
                               : joined,
                          "\", which the vocabulary lacks"),
                      "the vocabulary and the merges do not belong together: fetch both again",
                      Exit::bad_data);
    }
    found.push_back({*a, *b, *c});
    if (!cuts_wanted_) continue;
    cuts_.add_token(joined);
    for (const int32_t id : {*a, *b}) {
      const bool stands_in = id == unk_ || byte_of_piece(*vocabulary_.text(id)).has_value();
      unknown_alone_ = unknown_alone_ && !stands_in;
    }
  }
  table_.reserve(found.size());
  for (size_t i = 0; i < found.size(); ++i) {
    if (i + kAhead < found.size()) table_.prefetch(found[i + kAhead].left, found[i + kAhead].right);
    const auto rank = static_cast<uint32_t>(options_.rank_by_token ? found[i].joined : i);
    table_.put(found[i].left, found[i].right, {rank, found[i].joined});
  }
}

bool Bpe::all_bytes() const {
  return std::all_of(std::begin(byte_ids_), std::end(byte_ids_),
                     [](int32_t id) { return id >= 0; });
}

// Most merges are looked up between bytes: those have a table without hashing.
void Bpe::find_byte_pairs() {
  if (!all_bytes() || !options_.prefix.empty() || !options_.suffix.empty()) return;
  byte_pairs_.resize(256 * 256);
  for (size_t i = 0; i < byte_pairs_.size(); ++i) {
    byte_pairs_[i] = table_.find(byte_ids_[i >> 8], byte_ids_[i & 255]);
  }
}

void Bpe::encode_few_bytes(std::string_view word, std::vector<int32_t>& out, uint64_t& work) const {
  int32_t ids[kFewIds];
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(word[i]); };
  for (size_t i = 0; i < word.size(); ++i) ids[i] = byte_ids_[byte(i)];
  const size_t n = merge_ids(table_, ids, word.size(), work, [&](size_t i) {
    return byte_pairs_[static_cast<size_t>(byte(i)) << 8 | byte(i + 1)];
  });
  out.insert(out.end(), ids, ids + n);
}

int32_t Bpe::character_id(std::string_view character, uint32_t code, bool first, bool last) const {
  const bool prefix = !options_.prefix.empty() && !first;
  const bool suffix = !options_.suffix.empty() && last;
  if (!prefix && !suffix) return code < characters_.size() ? characters_[code] : -1;
  std::string spelling = prefix ? options_.prefix : "";
  spelling += character;
  if (suffix) spelling += options_.suffix;
  return vocabulary_.find(spelling).value_or(-1);
}

// An unknown symbol waits for the next known one: neighbours of it may fuse.
struct Unknown {
  uint32_t begin = 0, bytes = 0;
};

void Bpe::start_bytes(std::string_view word, std::vector<Symbol>& symbols) const {
  Unknown waiting;
  const auto flush = [&] {
    if (waiting.bytes > 0) symbols.push_back({unk_, 0, 0, waiting.begin, waiting.bytes});
    waiting.bytes = 0;
  };
  const bool affixes = !options_.prefix.empty() || !options_.suffix.empty();
  for (uint32_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    int32_t id = byte_ids_[byte];
    if (affixes) {
      std::string character;
      append_character(character, character_of_byte(byte));
      id = character_id(character, character_of_byte(byte), i == 0, i + 1 == word.size());
    }
    if (id >= 0) {
      flush();
      symbols.push_back({id, 0, 0, i, 1});
    } else if (unk_ >= 0) {
      if (!options_.fuse_unk) flush();
      if (waiting.bytes == 0) waiting.begin = i;
      ++waiting.bytes;
    }
  }
  flush();
}

void Bpe::start_characters(std::string_view word, std::vector<Symbol>& symbols) const {
  Unknown waiting;
  const auto flush = [&] {
    if (waiting.bytes > 0) symbols.push_back({unk_, 0, 0, waiting.begin, waiting.bytes});
    waiting.bytes = 0;
  };
  for (size_t at = 0; at < word.size();) {
    const Character c = character_at(word, at);
    check(c.bytes > 0, "bpe: text is valid UTF-8");
    const auto begin = static_cast<uint32_t>(at);
    const auto bytes = static_cast<uint32_t>(c.bytes);
    const std::string_view character = word.substr(at, bytes);
    at += bytes;
    const int32_t id = character_id(character, c.code, begin == 0, at == word.size());
    if (id >= 0) {
      flush();
      symbols.push_back({id, 0, 0, begin, bytes});
      continue;
    }
    bool all_bytes = options_.byte_fallback;
    for (const char b : character) all_bytes &= byte_ids_[static_cast<uint8_t>(b)] >= 0;
    if (all_bytes) {
      for (uint32_t i = 0; i < bytes; ++i) {
        const auto byte = static_cast<uint8_t>(character[i]);
        symbols.push_back({byte_ids_[byte], 0, 0, begin + i, 1});
      }
    } else if (unk_ >= 0) {
      if (!options_.fuse_unk) flush();
      if (waiting.bytes == 0) waiting.begin = begin;
      waiting.bytes += bytes;
    }
  }
  flush();
}

void Bpe::start_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.clear();
  if (options_.raw_bytes) {
    start_bytes(word, symbols);
  } else {
    start_characters(word, symbols);
  }
  link(symbols);
}

void Bpe::encode_word(std::string_view word, std::vector<int32_t>& out,
                      SubwordScratch& scratch) const {
  if (options_.ignore_merges) {
    if (options_.raw_bytes) {
      if (const auto id = raw_.find(word)) return out.push_back(*id);
    } else if (const auto id = vocabulary_.find(word)) {
      return out.push_back(*id);
    }
  }
  if (!byte_pairs_.empty() && word.size() <= kFewIds) {
    return encode_few_bytes(word, out, scratch.work);
  }
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  if (options_.raw_bytes) {
    start_bytes(word, symbols);
  } else {
    start_characters(word, symbols);
  }
  if (symbols.size() <= kFewIds) {
    int32_t ids[kFewIds];
    for (size_t i = 0; i < symbols.size(); ++i) ids[i] = symbols[i].id;
    const size_t n = merge_ids(table_, ids, symbols.size(), scratch.work,
                               [&](size_t i) { return table_.find(ids[i], ids[i + 1]); });
    out.insert(out.end(), ids, ids + n);
    return;
  }
  link(symbols);
  merge_symbols(scratch, [&](const Symbol& a, const Symbol& b) { return table_.find(a.id, b.id); });
  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next)
    out.push_back(symbols[i].id);
}

}  // namespace nibble::text
