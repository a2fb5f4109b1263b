// Any token that spans a cut would hold its two characters side by side; so where no token does,
// both sides merge as if the other were not there.
#include "model/text/safe_cuts.h"

#include "model/text/hash.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

constexpr uint32_t kSpaceMarkCode = 0x2581;
constexpr uint32_t kOther = 129;

uint64_t pair_of(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }
uint64_t place_of(uint64_t pair) { return fold(pair ^ kMixA, kMixB); }

}  // namespace

uint32_t SafeCuts::row(uint32_t code) {
  return code < 0x80 ? code : code == kSpaceMarkCode ? 0x80 : kOther;
}

void SafeCuts::add_character(uint32_t code) {
  if (code / 64 >= known_.size()) known_.resize(code / 64 + 1);
  known_[code / 64] |= uint64_t{1} << (code % 64);
}

void SafeCuts::add_token(std::string_view token) {
  uint32_t left = 0;
  for (size_t at = 0; at < token.size();) {
    const Character c = character_at(token, at);
    if (at > 0) seen_.push_back(pair_of(left, c.code));
    left = c.code;
    at += c.bytes > 0 ? c.bytes : 1;
  }
}

void SafeCuts::build(bool unknown_alone) {
  unknown_alone_ = unknown_alone;
  size_t words = 16;  // at least 16 bits for each pair of the hashed ones
  while (words * 4 < seen_.size()) words *= 2;
  pairs_.assign(words, 0);
  for (uint32_t left = 0; left < kTable; ++left) {
    for (uint32_t right = 0; right < kTable; ++right) {
      const auto code = [](uint32_t r) { return r < 0x80 ? r : kSpaceMarkCode; };
      joins_[left][right] = held_together(code(left), code(right));
    }
  }
  for (const uint64_t pair : seen_) {
    const uint32_t left = row(static_cast<uint32_t>(pair >> 32));
    const uint32_t right = row(static_cast<uint32_t>(pair));
    if (left != kOther && right != kOther) {
      joins_[left][right] = 1;
    } else {
      const uint64_t at = place_of(pair) & (words * 64 - 1);
      pairs_[at / 64] |= uint64_t{1} << (at % 64);
    }
  }
  seen_ = {};
}

bool SafeCuts::may_join(uint32_t left, uint32_t right) const {
  const uint32_t a = row(left), b = row(right);
  if (a != kOther && b != kOther) return joins_[a][b] != 0;
  if (held_together(left, right)) return true;
  const uint64_t at = place_of(pair_of(left, right)) & (pairs_.size() * 64 - 1);
  return (pairs_[at / 64] >> (at % 64) & 1) != 0;
}

size_t SafeCuts::next(std::string_view text, size_t at) const {
  uint32_t left = 0;
  const size_t begin = at;
  while (at < text.size()) {
    const auto byte = static_cast<uint8_t>(text[at]);
    Character c{byte, 1};
    if (byte >= 0x80) c = character_at(text, at);
    if (at > begin && !may_join(left, c.code)) return at;
    left = c.code;
    at += c.bytes > 0 ? c.bytes : 1;
  }
  return text.size();
}

}  // namespace nibble::text
