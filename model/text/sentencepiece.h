// SentencePiece's tokenizer.model: a protocol buffer of scored pieces, a normalizer, and a model:
// BPE that merges the neighbours whose joined spelling is the best-scored piece, unigram
// (unigram.h), whole words or single characters.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/text/character_map.h"
#include "model/text/subword.h"

namespace nibble::text {

enum class PieceType {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

inline constexpr size_t kLongestPiece = 2048;  // bytes; no published piece comes near

struct SpmPiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

struct SpmFile {
  std::vector<SpmPiece> pieces;
  int model_type = 1;  // 1 unigram, 2 bpe, 3 word, 4 char
  bool byte_fallback = false;
  bool space_is_suffix = false;  // treat_whitespace_as_suffix
  int32_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;
  std::string unk_surface = " \xE2\x81\x87 ";  // what an unknown id is decoded to
  std::string charsmap;                        // precompiled_charsmap
  bool add_dummy_prefix = true;
  bool remove_extra_spaces = true;
  bool escape_spaces = true;
};
// Throws UserError (exit 65) for a damaged file.
SpmFile parse_spm(std::string_view bytes, std::string_view file);

// The longest user-defined piece at a place: those are never cut or changed.
class PieceTrie {
 public:
  void add(std::string_view piece);
  size_t longest_at(std::string_view text, size_t at) const;  // bytes, 0 for none
  bool empty() const { return nodes_.size() == 1; }

 private:
  struct Node {
    std::vector<std::pair<uint8_t, int32_t>> children;  // sorted by byte
    bool end = false;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

// The normalizer: the precompiled map of character sequences, then spaces. Takes any bytes; each
// byte that is no UTF-8 becomes U+FFFD.
class SpmNormalizer {
 public:
  SpmNormalizer(const SpmFile& file, std::string_view name);
  std::string run(std::string_view text, bool dummy_prefix) const;

 private:
  std::pair<std::string_view, size_t> prefix(std::string_view text, size_t at) const;

  PieceTrie user_defined_;
  CharacterMap map_;
  bool add_dummy_prefix_, remove_extra_spaces_, escape_spaces_, space_is_suffix_;
};

class SpmBpe : public SubwordModel {
 public:
  explicit SpmBpe(const SpmFile& file);

 protected:
  void encode_word(std::string_view word, std::vector<int32_t>& out,
                   SubwordScratch& scratch) const override;

 private:
  using Split = std::unordered_map<std::string_view, std::pair<std::string_view, std::string_view>>;
  void find_merges();
  bool encode_plain(std::string_view word, std::vector<int32_t>& out,
                    SubwordScratch& scratch) const;
  int32_t id_of(std::string_view piece) const;  // the unknown id for other text
  // `start`: where this word's ids begin in `out`.
  void emit(std::string_view symbol, const Split& splits, size_t start,
            std::vector<int32_t>& out) const;
  void emit_one(std::string_view symbol, int32_t id, size_t start, std::vector<int32_t>& out) const;

  std::vector<std::string> texts_;
  std::vector<uint32_t> ranks_;  // by falling score; equal scores share a rank
  std::vector<PieceType> types_;
  std::unordered_map<std::string_view, int32_t> mergeable_, reserved_;
  PieceTrie user_defined_;
  MergeTable merges_;
  std::vector<int32_t> characters_;  // symbols of one character, by code point; -1 for none
  int32_t unk_id_ = 0;
  bool byte_fallback_ = false;
  int32_t byte_ids_[256];
};

// Model types 3 and 4: every word, or every character, is a piece or unknown.
class SpmLookup : public SubwordModel {
 public:
  SpmLookup(const SpmFile& file, bool words);

 protected:
  void encode_word(std::string_view word, std::vector<int32_t>& out,
                   SubwordScratch& scratch) const override;

 private:
  size_t part_at(std::string_view word, size_t at) const;  // bytes

  std::unordered_map<std::string, int32_t> ids_;
  PieceTrie user_defined_;
  bool words_, suffix_, byte_fallback_;
  int32_t unk_id_;
  int32_t byte_ids_[256];
};

// The model that the file asks for; `vocabulary` holds its pieces and must outlive it.
std::unique_ptr<SubwordModel> make_spm_model(const SpmFile& file, const Vocabulary& vocabulary,
                                             const std::string& name);

}  // namespace nibble::text
