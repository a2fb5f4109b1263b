// The fields of sentencepiece_model.proto that encoding needs, read from the wire format; fields
// that are not known are stepped over.
#include <cstring>

#include "base/errors.h"
#include "model/text/sentencepiece.h"

namespace nibble::text {

namespace {

class Wire {
 public:
  Wire(std::string_view bytes, std::string_view file) : bytes_(bytes), file_(file) {}

  // The next field; false at the end. One of number(), bytes() or real() then holds its value.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t tag = varint();
    field_ = static_cast<uint32_t>(tag >> 3);
    kind_ = static_cast<uint32_t>(tag & 7);
    number_ = 0;
    value_ = {};
    if (kind_ == 0) {
      number_ = varint();
    } else if (kind_ == 1) {
      value_ = take(8);
    } else if (kind_ == 2) {
      const uint64_t n = varint();
      value_ = take(n);
    } else if (kind_ == 5) {
      value_ = take(4);
    } else {
      damaged();
    }
    return true;
  }
  uint32_t field() const { return field_; }
  int64_t number() const { return static_cast<int64_t>(number_); }
  std::string_view bytes() const {
    if (kind_ != 2) damaged();
    return value_;
  }
  float real() const {
    if (kind_ != 5) damaged();
    float f;
    std::memcpy(&f, value_.data(), 4);
    return f;
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) damaged();
      const auto b = static_cast<uint8_t>(bytes_[at_++]);
      value |= static_cast<uint64_t>(b & 0x7F) << shift;
      if (b < 0x80) return value;
    }
    damaged();
  }
  std::string_view take(uint64_t n) {
    if (n > bytes_.size() - at_) damaged();
    const std::string_view part = bytes_.substr(at_, n);
    at_ += n;
    return part;
  }
  [[noreturn]] void damaged() const {
    throw UserError(file_,
                    cat("not a SentencePiece model: broken at byte ", at_, " of a message of ",
                        bytes_.size(), " bytes"),
                    "fetch the file again; git-lfs pointers are text, not models", Exit::bad_data);
  }

  std::string_view bytes_, file_;
  size_t at_ = 0;
  uint32_t field_ = 0, kind_ = 0;
  uint64_t number_ = 0;
  std::string_view value_;
};

SpmPiece read_piece(std::string_view bytes, std::string_view file) {
  SpmPiece piece;
  for (Wire w(bytes, file); w.next();) {
    if (w.field() == 1) piece.text = std::string(w.bytes());
    if (w.field() == 2) piece.score = w.real();
    if (w.field() == 3) piece.type = static_cast<PieceType>(w.number());
  }
  return piece;
}

void read_trainer(std::string_view bytes, std::string_view file, SpmFile& out) {
  for (Wire w(bytes, file); w.next();) {
    switch (w.field()) {
      case 3:
        out.model_type = static_cast<int>(w.number());
        break;
      case 24:
        out.space_is_suffix = w.number() != 0;
        break;
      case 35:
        out.byte_fallback = w.number() != 0;
        break;
      case 40:
        out.unk_id = static_cast<int32_t>(w.number());
        break;
      case 41:
        out.bos_id = static_cast<int32_t>(w.number());
        break;
      case 42:
        out.eos_id = static_cast<int32_t>(w.number());
        break;
      case 44:
        out.unk_surface = std::string(w.bytes());
        break;
      case 43:
        out.pad_id = static_cast<int32_t>(w.number());
        break;
      default:
        break;
    }
  }
}

void read_normalizer(std::string_view bytes, std::string_view file, SpmFile& out) {
  for (Wire w(bytes, file); w.next();) {
    switch (w.field()) {
      case 2:
        out.charsmap = std::string(w.bytes());
        break;
      case 3:
        out.add_dummy_prefix = w.number() != 0;
        break;
      case 4:
        out.remove_extra_spaces = w.number() != 0;
        break;
      case 5:
        out.escape_spaces = w.number() != 0;
        break;
      default:
        break;
    }
  }
}

void check_pieces(SpmFile& out, std::string_view file) {
  const auto bad = [&](std::string what) {
    throw UserError(file, std::move(what), "fetch the file again", Exit::bad_data);
  };
  if (out.pieces.empty()) bad("no pieces: not a SentencePiece model");
  int32_t unknown = -1;
  for (size_t i = 0; i < out.pieces.size(); ++i) {
    const SpmPiece& p = out.pieces[i];
    const int type = static_cast<int>(p.type);
    if (p.text.empty() || p.text.size() > kLongestPiece || type < 1 || type > 6 ||
        !valid_utf8(p.text)) {
      bad(cat("piece ", i, " is damaged (type ", type, ", ", p.text.size(), " bytes)"));
    }
    if (p.type == PieceType::unknown && unknown < 0) unknown = static_cast<int32_t>(i);
  }
  if (unknown < 0) bad("no piece for unknown characters");
  out.unk_id = unknown;
  const auto count = static_cast<int32_t>(out.pieces.size());
  for (int32_t* id : {&out.bos_id, &out.eos_id, &out.pad_id}) {
    if (*id >= count || *id < 0 || out.pieces[*id].type != PieceType::control) *id = -1;
  }
}

}  // namespace

SpmFile parse_spm(std::string_view bytes, std::string_view file) {
  SpmFile out;
  for (Wire w(bytes, file); w.next();) {
    if (w.field() == 1) {
      out.pieces.push_back(read_piece(w.bytes(), file));
    } else if (w.field() == 2) {
      read_trainer(w.bytes(), file, out);
    } else if (w.field() == 3) {
      read_normalizer(w.bytes(), file, out);
    } else if (w.field() == 5) {
      SpmFile denormalizer;
      read_normalizer(w.bytes(), file, denormalizer);
      if (!denormalizer.charsmap.empty()) {
        throw UserError(file, "a denormalizer map is not supported yet",
                        "use the tokenizer.json of this model", Exit::bad_data);
      }
    }
  }
  check_pieces(out, file);
  if (out.model_type < 1 || out.model_type > 4) {
    throw UserError(file, cat("model type ", out.model_type, " is none of SentencePiece's four"),
                    "the file is damaged: fetch it again", Exit::bad_data);
  }
  return out;
}

}  // namespace nibble::text
