// The GGUF container, versions 2 and 3: a list of typed keys, a list of tensors, their data. Read
// strictly: every count, length, shape and offset is checked against the file before it is used,
// and nothing is believed that llama.cpp's own reader would refuse.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "quant/format.h"

namespace nibble {

enum class GgufType : uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};
const char* name_of(GgufType type);

// A value, or an array of values of one type. Arrays of arrays do not occur and are refused.
struct GgufValue {
  GgufType type = GgufType::u32;
  bool is_array = false;
  std::vector<int64_t> integers;     // integer types and booleans; u64 above 2^63 - 1 is refused
  std::vector<double> reals;         // f32 and f64
  std::vector<std::string> strings;  // raw bytes
  size_t size() const { return integers.size() + reals.size() + strings.size(); }
  bool is_integer() const;
  bool is_real() const { return type == GgufType::f32 || type == GgufType::f64; }

  static GgufValue of(std::string text);
  static GgufValue of(const char* text) { return of(std::string(text)); }
  static GgufValue of(bool value);
  static GgufValue u32(int64_t value);
  static GgufValue f32(double value);
  static GgufValue array(GgufType type) {
    GgufValue v;
    v.type = type;
    v.is_array = true;
    return v;
  }
};

// The shortest decimal that is the same f32: 1e-05 for what a file holds as 9.99999975e-06.
double as_decimal(double f32);

// How a tensor's elements are stored, by the number in the file.
struct GgufTensorType {
  uint32_t id = 0;
  const char* name = "";         // "Q4_K"
  int64_t block = 1, bytes = 0;  // elements and bytes of a block
  std::optional<DType> dtype;    // plain values
  std::optional<Format> format;  // blocks that nibble decodes
  bool readable() const { return dtype || format; }
};
const GgufTensorType* find_gguf_type(uint32_t id);
const GgufTensorType* find_gguf_type(std::string_view name);  // upper or lower case
std::vector<std::string> readable_gguf_types();

struct GgufTensor {
  std::string name;
  const GgufTensorType* type = nullptr;
  std::vector<int64_t> shape;    // rows first, as elsewhere: the reverse of the file's order
  int64_t begin = 0, bytes = 0;  // in the file
};

struct Gguf {
  std::string path;
  uint32_t version = 3;
  int64_t alignment = 32;
  std::vector<std::pair<std::string, GgufValue>> metadata;  // in the file's order
  std::vector<GgufTensor> tensors;                          // in the order of their data

  const GgufValue* find(std::string_view key) const;  // null when absent
  // Null or absent: nothing. Another type than asked for: UserError naming the key and the type.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;  // an integer counts
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  const GgufValue* array(std::string_view key, GgufType type) const;  // i32 also takes u32, u8 …
  [[noreturn]] void refuse(std::string_view key, std::string what, std::string hint = "") const;

 private:
  const GgufValue* scalar(std::string_view key, const char* wanted,
                          bool fits(const GgufValue&)) const;
};

// Reads `size` bytes by read(offset, out, bytes). Throws UserError (exit 65) naming the file, the
// key or tensor, and the value.
using ReadBytes = std::function<void(int64_t, void*, int64_t)>;
Gguf parse_gguf(const std::string& path, int64_t size, const ReadBytes& read);
Gguf parse_gguf(const InputFile& file);

// Writes version 3 with an alignment of 32: header first, then every tensor in order.
class GgufWriter {
 public:
  struct Entry {
    std::string name;
    const GgufTensorType* type;
    std::vector<int64_t> shape;  // rows first
  };
  GgufWriter(const std::string& path,
             const std::vector<std::pair<std::string, GgufValue>>& metadata,
             std::vector<Entry> entries);
  void write(const void* data, int64_t bytes);  // the next tensor, whole
  void commit();
  int64_t bytes() const { return at_; }

 private:
  void pad();
  OutputFile file_;
  std::vector<Entry> entries_;
  size_t next_ = 0;
  int64_t at_ = 0;
};

}  // namespace nibble
