// SpmNormalizer and SpmBpe compute what SentencePiece's Normalizer and bpe::Model compute: same
// order of merges (score, then left), same treatment of unused pieces and unknown characters.
#include "model/text/sentencepiece.h"

#include <algorithm>

#include "model/text/bpe.h"
#include "model/text/growth.h"
#include "model/text/utf8.h"

namespace nibble::text {

void PieceTrie::add(std::string_view piece) {
  int32_t node = 0;
  for (const char c : piece) {
    const auto byte = static_cast<uint8_t>(c);
    auto& children = nodes_[node].children;
    auto at = std::lower_bound(children.begin(), children.end(), std::make_pair(byte, int32_t{0}));
    if (at == children.end() || at->first != byte) {
      const auto made = static_cast<int32_t>(nodes_.size());
      children.insert(at, {byte, made});
      nodes_.emplace_back();
      node = made;
    } else {
      node = at->second;
    }
  }
  nodes_[node].end = true;
}

size_t PieceTrie::longest_at(std::string_view text, size_t at) const {
  size_t longest = 0;
  int32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const auto& children = nodes_[node].children;
    const auto child =
        std::lower_bound(children.begin(), children.end(), std::make_pair(byte, int32_t{0}));
    if (child == children.end() || child->first != byte) break;
    node = child->second;
    if (nodes_[node].end) longest = i + 1 - at;
  }
  return longest;
}

SpmNormalizer::SpmNormalizer(const SpmFile& file, std::string_view name)
    : map_(file.charsmap, name),
      add_dummy_prefix_(file.add_dummy_prefix),
      remove_extra_spaces_(file.remove_extra_spaces),
      escape_spaces_(file.escape_spaces),
      space_is_suffix_(file.space_is_suffix) {
  for (const SpmPiece& p : file.pieces) {
    if (p.type == PieceType::user_defined) user_defined_.add(p.text);
  }
}

std::pair<std::string_view, size_t> SpmNormalizer::prefix(std::string_view text, size_t at) const {
  if (!user_defined_.empty()) {
    const size_t n = user_defined_.longest_at(text, at);
    if (n > 0) return {text.substr(at, n), n};
  }
  if (const auto rule = map_.longest(text, at); rule.bytes > 0) return {rule.by, rule.bytes};
  const Character c = character_at(text, at);
  if (c.bytes == 0) return {"\xEF\xBF\xBD", 1};
  return {text.substr(at, c.bytes), static_cast<size_t>(c.bytes)};
}

std::string SpmNormalizer::run(std::string_view text, bool dummy_prefix) const {
  size_t at = 0;
  while (remove_extra_spaces_ && at < text.size()) {
    const auto [now, used] = prefix(text, at);
    if (now != " ") break;
    at += used;
  }
  if (at == text.size()) return "";
  std::string out;
  out.reserve(text.size() * 2);
  const std::string_view space = escape_spaces_ ? kSpaceMark : std::string_view(" ");
  if (!space_is_suffix_ && add_dummy_prefix_ && dummy_prefix) out += space;
  bool after_space = remove_extra_spaces_;
  while (at < text.size()) {
    auto [now, used] = prefix(text, at);
    while (after_space && !now.empty() && now.front() == ' ') now.remove_prefix(1);
    for (const char c : now) {
      if (c == ' ') {
        out += space;
      } else {
        out.push_back(c);
      }
    }
    if (!now.empty()) after_space = remove_extra_spaces_ && now.back() == ' ';
    at += used;
    check_growth(out.size(), text.size());
  }
  while (remove_extra_spaces_ && out.size() >= space.size() &&
         std::string_view(out).substr(out.size() - space.size()) == space) {
    out.resize(out.size() - space.size());
  }
  if (space_is_suffix_ && add_dummy_prefix_ && dummy_prefix) out += space;
  return out;
}

SpmBpe::SpmBpe(const SpmFile& file) : unk_id_(file.unk_id), byte_fallback_(file.byte_fallback) {
  const size_t n = file.pieces.size();
  std::fill(std::begin(byte_ids_), std::end(byte_ids_), file.unk_id);
  texts_.reserve(n);  // the maps below point into it
  std::vector<float> scores;
  for (size_t i = 0; i < n; ++i) {
    const SpmPiece& p = file.pieces[i];
    const auto id = static_cast<int32_t>(i);
    texts_.push_back(p.text);
    types_.push_back(p.type);
    scores.push_back(p.score);
    const bool merges = p.type == PieceType::normal || p.type == PieceType::user_defined ||
                        p.type == PieceType::unused;
    (merges ? mergeable_ : reserved_).emplace(texts_.back(), id);
    if (p.type == PieceType::user_defined) user_defined_.add(p.text);
    if (p.type == PieceType::byte) {
      if (const auto byte = byte_of_piece(p.text)) byte_ids_[*byte] = id;
    }
  }
  std::vector<float> order = scores;
  std::sort(order.begin(), order.end(), std::greater<>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  for (const float score : scores) {
    const auto at = std::lower_bound(order.begin(), order.end(), score, std::greater<>());
    ranks_.push_back(static_cast<uint32_t>(at - order.begin()));
  }
  find_merges();
}

// Every way to cut a piece in two symbols is a merge. A character without a piece of its own is a
// symbol too; it gets an id behind the last piece.
void SpmBpe::find_merges() {
  const auto pieces = static_cast<int32_t>(texts_.size());
  int32_t next = pieces;
  size_t splits = 0;
  for (const auto& [text, id] : mergeable_) {
    for (size_t at = 0; at < text.size(); ++splits) {
      const Character c = character_at(text, at);
      at += std::max(c.bytes, 1);
      if (c.bytes == 0) continue;
      if (c.code >= characters_.size()) characters_.resize(c.code + 1, -1);
      const bool alone = c.bytes == static_cast<int>(text.size());
      int32_t& known = characters_[c.code];
      if (alone) cuts_.add_character(c.code);
      if (alone || known < 0) known = alone ? id : next++;
    }
    cuts_.add_token(text);
  }
  cuts_.build(true);
  merges_.reserve(splits);
  const auto symbol = [&](std::string_view part) {
    const Character c = character_at(part, 0);
    if (c.bytes == static_cast<int>(part.size())) return characters_[c.code];
    const auto found = mergeable_.find(part);
    return found == mergeable_.end() ? -1 : found->second;
  };
  for (const auto& [text, id] : mergeable_) {
    for (size_t at = std::max(character_at(text, 0).bytes, 1); at < text.size();
         at += std::max(character_at(text, at).bytes, 1)) {
      const int32_t left = symbol(text.substr(0, at)), right = symbol(text.substr(at));
      if (left >= 0 && right >= 0) merges_.put(left, right, {ranks_[id], id});
    }
  }
}

int32_t SpmBpe::id_of(std::string_view piece) const {
  if (const auto r = reserved_.find(piece); r != reserved_.end()) return r->second;
  const auto m = mergeable_.find(piece);
  return m == mergeable_.end() ? unk_id_ : m->second;
}

void SpmBpe::emit_one(std::string_view symbol, int32_t id, size_t start,
                      std::vector<int32_t>& out) const {
  if (id != unk_id_) return out.push_back(id);
  if (byte_fallback_) {
    for (const char b : symbol) out.push_back(byte_ids_[static_cast<uint8_t>(b)]);
    return;
  }
  // Neighbouring unknown characters are one unknown piece.
  if (out.size() == start || out.back() != unk_id_) out.push_back(id);
}

// A piece marked unused is taken apart again, along the merge that made it.
void SpmBpe::emit(std::string_view symbol, const Split& splits, size_t start,
                  std::vector<int32_t>& out) const {
  const int32_t id = id_of(symbol);
  if (types_[id] == PieceType::unused) {
    if (const auto at = splits.find(symbol); at != splits.end()) {
      emit(at->second.first, splits, start, out);
      emit(at->second.second, splits, start, out);
      return;
    }
  }
  emit_one(symbol, id, start, out);
}

// The usual case: a short word of characters that are pieces. False when there is more to it.
bool SpmBpe::encode_plain(std::string_view word, std::vector<int32_t>& out,
                          SubwordScratch& scratch) const {
  int32_t ids[kFewIds];
  size_t n = 0;
  for (size_t at = 0; at < word.size(); ++n) {
    const Character c = character_at(word, at);
    if (n == kFewIds || c.bytes == 0 || c.code >= characters_.size()) return false;
    const int32_t id = characters_[c.code];
    if (id < 0 || id >= static_cast<int32_t>(texts_.size())) return false;
    if (!user_defined_.empty() && user_defined_.longest_at(word, at) > 0) return false;
    ids[n] = id;
    at += static_cast<size_t>(c.bytes);
  }
  n = merge_ids(merges_, ids, n, scratch.work,
                [&](size_t i) { return merges_.find(ids[i], ids[i + 1]); });
  for (size_t i = 0; i < n; ++i) {
    if (types_[ids[i]] == PieceType::unused) return false;
  }
  out.insert(out.end(), ids, ids + n);
  return true;
}

void SpmBpe::encode_word(std::string_view word, std::vector<int32_t>& out,
                         SubwordScratch& scratch) const {
  if (encode_plain(word, out, scratch)) return;
  std::vector<Symbol>& symbols = scratch.symbols;
  symbols.clear();
  constexpr int32_t kFrozen = -2;  // a user-defined piece merges with nothing
  for (size_t at = 0; at < word.size();) {
    size_t n = user_defined_.empty() ? 0 : user_defined_.longest_at(word, at);
    int32_t id = kFrozen;
    if (n == 0) {
      const Character c = character_at(word, at);
      n = std::max(c.bytes, 1);
      id = c.bytes > 0 && c.code < characters_.size() ? characters_[c.code] : -1;
    }
    const auto i = static_cast<int32_t>(symbols.size());
    symbols.push_back({id, i - 1, i + 1, static_cast<uint32_t>(at), static_cast<uint32_t>(n)});
    at += n;
  }
  if (symbols.empty()) return;
  symbols.back().next = -1;
  Split splits;
  merge_symbols(scratch, [&](const Symbol& a, const Symbol& b) {
    const MergeTable::Merge m = merges_.find(a.id, b.id);
    if (m.id >= 0 && types_[m.id] == PieceType::unused) {
      splits[texts_[m.id]] = {word.substr(a.begin, a.bytes), word.substr(b.begin, b.bytes)};
    }
    return m;
  });
  const size_t start = out.size();
  for (int32_t i = 0; i >= 0; i = symbols[i].next) {
    emit(word.substr(symbols[i].begin, symbols[i].bytes), splits, start, out);
  }
}

}  // namespace nibble::text
