// The header is made in memory, since offsets are known before any tensor is; data follow in order.
#include <bit>

#include "base/errors.h"
#include "model/files/gguf.h"

namespace nibble {
namespace {

constexpr int64_t kAlignment = 32;

class Header {
 public:
  void number(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_ += static_cast<char>(value >> (8 * i) & 255);
  }
  void string(std::string_view s) {
    number(s.size(), 8);
    text_ += s;
  }
  void value(const GgufValue& v) {
    if (v.is_array) {
      number(static_cast<uint64_t>(GgufType::array), 4);
      number(static_cast<uint64_t>(v.type), 4);
      number(v.size(), 8);
    } else {
      check_eq(v.size(), size_t{1}, "gguf: one value");
      number(static_cast<uint64_t>(v.type), 4);
    }
    for (const int64_t i : v.integers) number(static_cast<uint64_t>(i), width(v.type));
    for (const double x : v.reals) {
      if (v.type == GgufType::f32) {
        number(std::bit_cast<uint32_t>(static_cast<float>(x)), 4);
      } else {
        number(std::bit_cast<uint64_t>(x), 8);
      }
    }
    for (const std::string& s : v.strings) string(s);
  }
  std::string take() { return std::move(text_); }

 private:
  static int width(GgufType type) {
    switch (type) {
      case GgufType::u8:
      case GgufType::i8:
      case GgufType::boolean:
        return 1;
      case GgufType::u16:
      case GgufType::i16:
        return 2;
      case GgufType::u64:
      case GgufType::i64:
        return 8;
      default:
        return 4;
    }
  }
  std::string text_;
};

int64_t bytes_of(const GgufWriter::Entry& e) {
  int64_t elements = 1;
  for (const int64_t d : e.shape) elements *= d;
  check_eq(e.shape.back() % e.type->block, int64_t{0}, cat(e.name, ": whole blocks"));
  return elements / e.type->block * e.type->bytes;
}

int64_t padded(int64_t n) { return (n + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

GgufWriter::GgufWriter(const std::string& path,
                       const std::vector<std::pair<std::string, GgufValue>>& metadata,
                       std::vector<Entry> entries)
    : file_(path), entries_(std::move(entries)) {
  Header header;
  header.number(0x46554747, 4);  // "GGUF"
  header.number(3, 4);
  header.number(entries_.size(), 8);
  header.number(metadata.size(), 8);
  for (const auto& [key, value] : metadata) {
    header.string(key);
    header.value(value);
  }
  int64_t offset = 0;
  for (const Entry& e : entries_) {
    header.string(e.name);
    header.number(e.shape.size(), 4);
    for (size_t i = e.shape.size(); i-- > 0;) header.number(static_cast<uint64_t>(e.shape[i]), 8);
    header.number(e.type->id, 4);
    header.number(static_cast<uint64_t>(offset), 8);
    offset += padded(bytes_of(e));
  }
  const std::string text = header.take();
  file_.write(text);
  at_ = static_cast<int64_t>(text.size());
  pad();
}

void GgufWriter::pad() {
  const std::string zeros(static_cast<size_t>(padded(at_) - at_), '\0');
  file_.write(zeros);
  at_ += static_cast<int64_t>(zeros.size());
}

void GgufWriter::write(const void* data, int64_t bytes) {
  check(next_ < entries_.size(), "gguf: a tensor that was not announced");
  const Entry& e = entries_[next_++];
  check_eq(bytes, bytes_of(e), e.name);
  file_.write(data, bytes);
  at_ += bytes;
  pad();
}

void GgufWriter::commit() {
  check_eq(next_, entries_.size(), "gguf: tensors written");
  file_.commit();
}

}  // namespace nibble
