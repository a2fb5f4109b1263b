// Words are looked up before they are merged: ordinary text repeats itself.
#include "model/text/subword.h"

#include <cstring>

namespace nibble::text {

void Vocabulary::set(int32_t id, std::string text) {
  if (id >= size()) {
    texts_.resize(static_cast<size_t>(id) + 1);
    used_.resize(static_cast<size_t>(id) + 1);
  }
  texts_[id] = std::move(text);
  used_[id] = true;
}

void Vocabulary::index() {
  size_t slots = 16;
  while (slots < texts_.size() * 2) slots *= 2;
  slots_.assign(slots, {});
  for (int32_t id = 0; id < size(); ++id) {
    if (!used_[id]) continue;
    slots_[slot_of(texts_[id])] = {static_cast<uint32_t>(hash_text(texts_[id]) >> 32), id};
  }
}

size_t Vocabulary::slot_of(std::string_view text) const {
  const uint64_t hash = hash_text(text);
  const auto tag = static_cast<uint32_t>(hash >> 32);
  size_t at = hash & (slots_.size() - 1);
  while (slots_[at].id >= 0 && (slots_[at].tag != tag || texts_[slots_[at].id] != text)) {
    at = (at + 1) & (slots_.size() - 1);
  }
  return at;
}

std::optional<int32_t> Vocabulary::find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const int32_t id = slots_[slot_of(text)].id;
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

uint64_t hash_text(std::string_view text) {
  uint64_t hash = text.size();
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t part;
    std::memcpy(&part, text.data() + at, 8);
    hash = mix_bits(hash ^ part) * 0x9E3779B97F4A7C15ull;
  }
  uint64_t rest = 0;
  if (at < text.size()) std::memcpy(&rest, text.data() + at, text.size() - at);
  hash = (hash ^ rest) * 0x9E3779B97F4A7C15ull;
  return mix_bits(hash) * 0x9E3779B97F4A7C15ull ^ hash >> 29;
}

WordCache::Entry& WordCache::slot(std::string_view word) {
  if (entries_.empty()) entries_.resize(size_t{1} << kBits);
  return entries_[hash_text(word) >> (64 - kBits)];
}

bool WordCache::holds(const Entry& e, std::string_view word) {
  return e.length == word.size() && e.length != 0 &&
         std::memcmp(e.key, word.data(), word.size()) == 0;
}

void SubwordModel::encode_cached(std::string_view word, std::vector<int32_t>& out,
                                 SubwordScratch& scratch) const {
  if (word.empty()) return;
  if (word.size() > WordCache::kKeyBytes) return encode_word(word, out, scratch);
  WordCache::Entry& entry = scratch.cache.slot(word);
  if (WordCache::holds(entry, word)) {
    out.insert(out.end(), entry.ids, entry.ids + entry.count);
    return;
  }
  const size_t before = out.size();
  encode_word(word, out, scratch);
  const size_t count = out.size() - before;
  if (count > WordCache::kIds) return;
  entry.length = static_cast<uint8_t>(word.size());
  entry.count = static_cast<uint8_t>(count);
  std::memcpy(entry.key, word.data(), word.size());
  std::copy(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(), entry.ids);
}

void SubwordModel::encode(std::string_view piece, std::vector<int32_t>& out,
                          SubwordScratch& scratch) const {
  if (!words_begin_with_mark_) return encode_cached(piece, out, scratch);
  // A word: marks, then everything up to the next mark.
  size_t begin = 0;
  while (begin < piece.size()) {
    size_t at = begin;
    while (piece.substr(at, kSpaceMark.size()) == kSpaceMark) at += kSpaceMark.size();
    const size_t next = piece.find(kSpaceMark, at);
    const size_t end = next == std::string_view::npos ? piece.size() : next;
    encode_cached(piece.substr(begin, end - begin), out, scratch);
    begin = end;
  }
}

bool has_inner_mark(std::string_view piece) {
  size_t at = 0;
  while (piece.substr(at, kSpaceMark.size()) == kSpaceMark) at += kSpaceMark.size();
  return piece.find(kSpaceMark, at) != std::string_view::npos;
}

}  // namespace nibble::text
