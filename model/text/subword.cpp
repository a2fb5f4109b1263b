// Words are looked up before they are merged.
#include "model/text/subword.h"

#include "base/errors.h"
#include "model/text/hash.h"

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
  constexpr int32_t kAhead = 8;
  for (int32_t id = 0; id < size(); ++id) {
    if (id + kAhead < size()) prefetch(texts_[id + kAhead]);
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

void Vocabulary::prefetch(std::string_view text) const {
  if (!slots_.empty()) __builtin_prefetch(&slots_[hash_text(text) & (slots_.size() - 1)]);
}

std::optional<int32_t> Vocabulary::find(std::string_view text) const {
  if (slots_.empty()) return std::nullopt;
  const int32_t id = slots_[slot_of(text)].id;
  return id < 0 ? std::nullopt : std::optional<int32_t>(id);
}

void SubwordModel::spans(std::string_view, std::vector<TokenSpan>&, SubwordScratch&) const {
  check(false, "subword model: offsets are asked of models that know them");
}

void SubwordModel::encode_pieces(std::string_view text, size_t begin, std::span<const size_t> ends,
                                 std::vector<int32_t>& out, SubwordScratch& scratch) const {
  for (const size_t end : ends) {
    const std::span<const int32_t> known = scratch.cache.find(text, begin, end);
    if (!known.empty()) {
      out.insert(out.end(), known.begin(), known.end());
    } else if (end > begin) {
      const std::string_view word = text.substr(begin, end - begin);
      const size_t before = out.size();
      encode_word(word, out, scratch);
      scratch.cache.put(word, std::span<const int32_t>(out).subspan(before));
    }
    begin = end;
  }
}

void SubwordModel::encode_cut(std::string_view text, Cut cut, std::vector<int32_t>& out,
                              SubwordScratch& scratch) const {
  constexpr size_t kPieces = 128;
  size_t ends[kPieces];
  for (size_t at = 0, n; (n = cut(text, at, ends, kPieces)) > 0; at = ends[n - 1]) {
    encode_pieces(text, at, {ends, n}, out, scratch);
  }
}

void SubwordModel::encode(std::string_view piece, std::vector<int32_t>& out,
                          SubwordScratch& scratch) const {
  if (cuts_.empty()) {
    const size_t end = piece.size();
    return encode_pieces(piece, 0, {&end, 1}, out, scratch);
  }
  constexpr size_t kWords = 64;
  size_t ends[kWords];
  for (size_t begin = 0; begin < piece.size(); begin = ends[0]) {
    size_t n = 0;
    for (size_t at = begin; n < kWords && at < piece.size();)
      ends[n++] = at = cuts_.next(piece, at);
    encode_pieces(piece, begin, {ends, n}, out, scratch);
    ends[0] = ends[n - 1];
  }
}

}  // namespace nibble::text
