// A cursor that never goes beyond the file reads the header; shapes and offsets are checked with
// overflow in mind before any of them is used.
#include "model/files/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "base/errors.h"

namespace nibble {
namespace {

constexpr int64_t kMaxKeys = 1 << 16, kMaxTensors = 1 << 20;
constexpr int64_t kMaxString = 64 << 20;   // bytes
constexpr int64_t kMaxElements = 1 << 24;  // of an array
constexpr int64_t kMaxHeader = 256 << 20;  // bytes of keys and tensor infos together
constexpr int64_t kMaxName = 256;          // bytes of a tensor's name
constexpr int64_t kMaxAlignment = 1 << 20;
constexpr int64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;  // bytes of a tensor's info
constexpr int64_t kSmallestKey = 8 + 1 + 4 + 1;

int64_t size_of(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    default:
      return 8;  // a string has at least its length
  }
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 80)) out += c >= ' ' && c < 127 ? c : '?';
  return out;
}

class Cursor {
 public:
  Cursor(const std::string& path, int64_t size, const ReadBytes& read)
      : path_(path), size_(size), read_(read) {}

  [[noreturn]] void refuse(std::string what, std::string hint = "") const {
    if (hint.empty()) hint = "the file is damaged or not whole: copy it again";
    throw UserError(place_.empty() ? path_ : cat(path_, ": ", place_), std::move(what),
                    std::move(hint), Exit::bad_data);
  }
  // What is being read, for messages.
  void at(std::string place) { place_ = std::move(place); }
  int64_t position() const { return at_; }
  int64_t left() const { return std::min(size_, kMaxHeader) - at_; }

  void bytes(void* out, int64_t n, const char* what) {
    if (n > left())
      refuse(cat("the file ends inside ", what, ": ", n, " bytes are needed at ", at_, ", ", left(),
                 " are left"));
    auto* to = static_cast<char*>(out);
    while (n > 0) {
      if (used_ == buffer_.size()) fill();
      const size_t piece = std::min<size_t>(static_cast<size_t>(n), buffer_.size() - used_);
      std::memcpy(to, buffer_.data() + used_, piece);
      used_ += piece;
      to += piece;
      at_ += static_cast<int64_t>(piece);
      n -= static_cast<int64_t>(piece);
    }
  }

  template <class T>
  T number(const char* what) {
    unsigned char raw[sizeof(T)];
    bytes(raw, sizeof raw, what);
    uint64_t bits = 0;
    for (size_t i = sizeof(T); i-- > 0;) bits = bits << 8 | raw[i];
    if constexpr (std::is_same_v<T, float>) {
      return std::bit_cast<float>(static_cast<uint32_t>(bits));
    } else if constexpr (std::is_same_v<T, double>) {
      return std::bit_cast<double>(bits);
    } else {
      return static_cast<T>(bits);
    }
  }

  int64_t count(const char* what, int64_t most, int64_t bytes_each) {
    const auto n = number<uint64_t>(what);
    if (n > static_cast<uint64_t>(most)) refuse(cat(what, " is ", n, ", the most is ", most));
    if (static_cast<int64_t>(n) > left() / bytes_each)
      refuse(cat(what, " is ", n, ", but ", left(), " bytes are left of the file"));
    return static_cast<int64_t>(n);
  }

  std::string text(const char* what, int64_t most = kMaxString) {
    std::string out(static_cast<size_t>(count(what, most, 1)), '\0');
    bytes(out.data(), static_cast<int64_t>(out.size()), what);
    return out;
  }

 private:
  void fill() {
    const int64_t n = std::min<int64_t>(1 << 20, size_ - at_);
    buffer_.resize(static_cast<size_t>(n));
    read_(at_, buffer_.data(), n);
    used_ = 0;
  }

  const std::string& path_;
  int64_t size_, at_ = 0;
  const ReadBytes& read_;
  std::string place_;
  std::vector<char> buffer_;
  size_t used_ = 0;
};

void read_element(Cursor& in, GgufValue& value) {
  constexpr const char* what = "a value";
  switch (value.type) {
    case GgufType::u8:
      return value.integers.push_back(in.number<uint8_t>(what));
    case GgufType::i8:
      return value.integers.push_back(in.number<int8_t>(what));
    case GgufType::u16:
      return value.integers.push_back(in.number<uint16_t>(what));
    case GgufType::i16:
      return value.integers.push_back(in.number<int16_t>(what));
    case GgufType::u32:
      return value.integers.push_back(in.number<uint32_t>(what));
    case GgufType::i32:
      return value.integers.push_back(in.number<int32_t>(what));
    case GgufType::i64:
      return value.integers.push_back(in.number<int64_t>(what));
    case GgufType::u64: {
      const auto n = in.number<uint64_t>(what);
      if (n > static_cast<uint64_t>(INT64_MAX)) in.refuse(cat("holds ", n, ", out of range"));
      return value.integers.push_back(static_cast<int64_t>(n));
    }
    case GgufType::boolean: {
      const auto b = in.number<uint8_t>(what);
      if (b > 1) in.refuse(cat("is a boolean with the value ", static_cast<int>(b)));
      return value.integers.push_back(b);
    }
    case GgufType::f32:
      return value.reals.push_back(in.number<float>(what));
    case GgufType::f64:
      return value.reals.push_back(in.number<double>(what));
    case GgufType::string:
      return value.strings.push_back(in.text("the length of a string"));
    case GgufType::array:
      break;
  }
  check(false, "gguf: an array is no element");
}

GgufType read_type(Cursor& in) {
  const auto type = in.number<uint32_t>("the type of a value");
  if (type > static_cast<uint32_t>(GgufType::f64)) in.refuse(cat("has the unknown type ", type));
  return static_cast<GgufType>(type);
}

GgufValue read_value(Cursor& in) {
  GgufValue value;
  value.type = read_type(in);
  if (value.type != GgufType::array) {
    read_element(in, value);
    return value;
  }
  value.is_array = true;
  value.type = read_type(in);
  if (value.type == GgufType::array) in.refuse("is an array of arrays, which no reader takes");
  const int64_t n = in.count("the length of an array", kMaxElements, size_of(value.type));
  for (int64_t i = 0; i < n; ++i) read_element(in, value);
  return value;
}

void read_metadata(Cursor& in, int64_t keys, Gguf& file) {
  std::set<std::string> seen;
  for (int64_t i = 0; i < keys; ++i) {
    in.at(cat("key ", i));
    std::string key = in.text("the length of a key", 65535);
    if (key.empty()) in.refuse("is empty");
    if (!valid_utf8(key)) in.refuse(cat("'", printable(key), "' is not UTF-8"));
    in.at(cat("key '", printable(key), "'"));
    if (!seen.insert(key).second) in.refuse("occurs twice");
    file.metadata.emplace_back(std::move(key), read_value(in));
  }
  in.at("");
  if (const GgufValue* v = file.find("general.alignment")) {
    const int64_t n = v->integers.size() == 1 ? v->integers[0] : -1;
    if (v->is_array || v->type != GgufType::u32 || n <= 0 || n > kMaxAlignment ||
        (n & (n - 1)) != 0)
      file.refuse("general.alignment",
                  cat("is ", v->is_array ? "an array" : cat(name_of(v->type), " ", n),
                      ", not a power of two as u32"));
    file.alignment = n;
  }
}

// Bytes of a shape, or nothing when they do not fit 62 bits.
std::optional<int64_t> bytes_of(const std::vector<int64_t>& shape, const GgufTensorType& type) {
  int64_t elements = 1;
  for (const int64_t d : shape)
    if (__builtin_mul_overflow(elements, d, &elements)) return std::nullopt;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / type.block, type.bytes, &bytes)) return std::nullopt;
  return bytes < (int64_t{1} << 62) ? std::optional(bytes) : std::nullopt;
}

GgufTensor read_tensor(Cursor& in, int64_t index, int64_t alignment) {
  GgufTensor tensor;
  in.at(cat("tensor ", index));
  tensor.name = in.text("the length of a tensor's name", kMaxName);
  if (tensor.name.empty()) in.refuse("has no name");
  if (!valid_utf8(tensor.name)) in.refuse(cat("'", printable(tensor.name), "' is not UTF-8"));
  in.at(cat("tensor '", printable(tensor.name), "'"));
  const auto rank = in.number<uint32_t>("the number of dimensions");
  if (rank < 1 || rank > 4) in.refuse(cat("has ", rank, " dimensions, 1 to 4 are possible"));
  for (uint32_t i = 0; i < rank; ++i) {
    const auto d = in.number<uint64_t>("a dimension");
    if (d < 1 || d > static_cast<uint64_t>(INT64_MAX)) in.refuse(cat("has a dimension of ", d));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(d));
  }
  const auto id = in.number<uint32_t>("the type");
  tensor.type = find_gguf_type(id);
  if (tensor.type == nullptr)
    in.refuse(cat("has the unknown type ", id), "the file is newer than this program, or damaged");
  if (tensor.shape.back() % tensor.type->block != 0)
    in.refuse(cat("has rows of ", tensor.shape.back(), ", no whole ", tensor.type->name,
                  " blocks of ", tensor.type->block));
  const auto bytes = bytes_of(tensor.shape, *tensor.type);
  if (!bytes) in.refuse("has more bytes than 62 bits count");
  tensor.bytes = *bytes;
  const auto offset = in.number<uint64_t>("the offset");
  if (offset % static_cast<uint64_t>(alignment) != 0)
    in.refuse(cat("begins at ", offset, ", which is no multiple of the alignment ", alignment));
  if (offset > static_cast<uint64_t>(INT64_MAX / 2)) in.refuse(cat("begins at ", offset));
  tensor.begin = static_cast<int64_t>(offset);
  return tensor;
}

void place_tensors(const std::string& path, int64_t size, int64_t data, Gguf& file) {
  std::stable_sort(file.tensors.begin(), file.tensors.end(),
                   [](const GgufTensor& a, const GgufTensor& b) { return a.begin < b.begin; });
  const GgufTensor* before = nullptr;
  for (GgufTensor& t : file.tensors) {
    const auto refuse = [&](std::string what) {
      throw UserError(cat(path, ": tensor '", t.name, "'"), std::move(what),
                      "the file is damaged or not whole: copy it again", Exit::bad_data);
    };
    t.begin += data;
    if (t.begin > size || t.bytes > size - t.begin)
      refuse(cat("needs the bytes ", t.begin, " to ", t.begin + t.bytes, ", the file has ", size));
    if (before != nullptr && t.begin < before->begin + before->bytes)
      refuse(cat("begins at ", t.begin, ", inside tensor '", before->name, "', which ends at ",
                 before->begin + before->bytes));
    before = &t;
  }
}

void read_magic(Cursor& in, Gguf& file) {
  char magic[4];
  in.bytes(magic, 4, "the magic number");
  if (std::memcmp(magic, "GGUF", 4) != 0) {
    const std::string_view given(magic, 4);
    const bool old = given == "lmgg" || given == "fmgg" || given == "tjgg" || given == "algg";
    in.refuse(cat("begins with '", printable(given), "', not with 'GGUF'"),
              old ? "it is a GGML file, the format before GGUF: convert it from its source again"
                  : "name a GGUF file");
  }
  file.version = in.number<uint32_t>("the version");
  if ((file.version & 0xffff) == 0 && file.version != 0)
    in.refuse("is big-endian", "convert it for little-endian machines (gguf_convert_endian.py)");
  if (file.version == 1)
    in.refuse("is GGUF version 1, which nobody writes any more",
              "convert it from its source again");
  if (file.version < 2 || file.version > 3)
    in.refuse(cat("is GGUF version ", file.version, ", versions 2 and 3 are read"),
              "update nibble, or write the file as version 3");
}

}  // namespace

const char* name_of(GgufType type) {
  static const char* const kNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                       "bool", "string", "array", "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

Gguf parse_gguf(const std::string& path, int64_t size, const ReadBytes& read) {
  Gguf file;
  file.path = path;
  Cursor in(path, size, read);
  read_magic(in, file);
  const int64_t tensors = in.count("the number of tensors", kMaxTensors, kSmallestTensor);
  const int64_t keys = in.count("the number of keys", kMaxKeys, kSmallestKey);
  read_metadata(in, keys, file);
  std::set<std::string> seen;
  for (int64_t i = 0; i < tensors; ++i) {
    file.tensors.push_back(read_tensor(in, i, file.alignment));
    if (!seen.insert(file.tensors.back().name).second) in.refuse("occurs twice");
  }
  const int64_t data = (in.position() + file.alignment - 1) / file.alignment * file.alignment;
  place_tensors(path, size, data, file);
  return file;
}

Gguf parse_gguf(const InputFile& file) {
  return parse_gguf(file.path(), file.size(), [&](int64_t offset, void* out, int64_t bytes) {
    file.read(offset, out, bytes);
  });
}

}  // namespace nibble
