// The models of a SentencePiece file besides BPE, and the choice among the four.
#include <cfloat>

#include "model/text/bpe.h"
#include "model/text/sentencepiece.h"
#include "model/text/unigram.h"
#include "model/text/utf8.h"

namespace nibble::text {

namespace {

// Ids of the byte pieces; `missing` where there is none.
void read_byte_ids(const SpmFile& file, int32_t missing, int32_t (&ids)[256]) {
  std::fill(std::begin(ids), std::end(ids), missing);
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    const SpmPiece& p = file.pieces[i];
    if (p.type != PieceType::byte) continue;
    if (const auto byte = byte_of_piece(p.text)) ids[*byte] = static_cast<int32_t>(i);
  }
}

std::unique_ptr<SubwordModel> make_unigram(const SpmFile& file, const Vocabulary& vocabulary,
                                           const std::string& name) {
  UnigramOptions options;
  options.sentencepiece = true;
  options.file = name;
  options.unk = file.unk_id;
  options.byte_fallback = file.byte_fallback;
  read_byte_ids(file, -1, options.byte_ids);
  float lowest = FLT_MAX, highest = FLT_MIN;
  std::vector<UnigramPiece> pieces;
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    const SpmPiece& p = file.pieces[i];
    const bool defined = p.type == PieceType::user_defined;
    if (p.type == PieceType::normal) {
      lowest = std::min(lowest, p.score);
      highest = std::max(highest, p.score);
    }
    if (p.type != PieceType::normal && !defined) continue;
    pieces.push_back({p.text, p.score, static_cast<int32_t>(i), defined});
  }
  options.unk_score = lowest - 10.0f;
  options.top_score = highest;
  return std::make_unique<Unigram>(vocabulary, pieces, std::move(options));
}

}  // namespace

SpmLookup::SpmLookup(const SpmFile& file, bool words)
    : words_(words),
      suffix_(file.space_is_suffix),
      byte_fallback_(file.byte_fallback),
      unk_id_(file.unk_id) {
  for (size_t i = 0; i < file.pieces.size(); ++i) {
    ids_.emplace(file.pieces[i].text, static_cast<int32_t>(i));
    if (file.pieces[i].type == PieceType::user_defined) user_defined_.add(file.pieces[i].text);
  }
  read_byte_ids(file, file.unk_id, byte_ids_);
}

size_t SpmLookup::part_at(std::string_view word, size_t at) const {
  if (!words_) {
    const size_t defined = user_defined_.empty() ? 0 : user_defined_.longest_at(word, at);
    return defined > 0 ? defined : static_cast<size_t>(std::max(character_at(word, at).bytes, 1));
  }
  // A word: a mark and what follows up to the next mark, or what precedes with the mark behind.
  const size_t from = suffix_ ? at : at + 1;
  const size_t mark = word.find(kSpaceMark, from);
  if (mark == std::string_view::npos) return word.size() - at;
  return mark - at + (suffix_ ? kSpaceMark.size() : 0);
}

void SpmLookup::encode_word(std::string_view word, std::vector<int32_t>& out,
                            SubwordScratch&) const {
  const size_t start = out.size();
  for (size_t at = 0; at < word.size();) {
    const std::string part(word.substr(at, part_at(word, at)));
    at += part.size();
    const auto known = ids_.find(part);
    if (known != ids_.end() && known->second != unk_id_) {
      out.push_back(known->second);
    } else if (byte_fallback_) {
      for (const char b : part) out.push_back(byte_ids_[static_cast<uint8_t>(b)]);
    } else if (out.size() == start || out.back() != unk_id_) {
      out.push_back(unk_id_);  // neighbouring unknown parts are one
    }
  }
}

std::unique_ptr<SubwordModel> make_spm_model(const SpmFile& file, const Vocabulary& vocabulary,
                                             const std::string& name) {
  switch (file.model_type) {
    case 1:
      return make_unigram(file, vocabulary, name);
    case 2:
      return std::make_unique<SpmBpe>(file);
    default:
      return std::make_unique<SpmLookup>(file, file.model_type == 3);
  }
}

}  // namespace nibble::text
