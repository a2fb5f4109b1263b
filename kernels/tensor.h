// A tensor is a shape, a dtype and a window on a buffer: dense row-major, at most 4 dimensions, one
// row pitch, so that q|k|v, gate|up and shards are column windows without a copy.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "base/errors.h"

namespace nibble {

enum class DType : uint8_t { f32, f64, bf16, f16, u8, i8, i16, i32, i64, u16, u32, u64, boolean };
int64_t size_of(DType t);         // bytes
const char* name_of(DType t);     // "f32", "bf16", …
const char* torch_name(DType t);  // "float32", "bfloat16", …
bool is_float(DType t);
// At least fp32: what accumulators, statistics, masters and their gradients use beside `t`.
inline DType accumulator_of(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }

struct Shape {
  std::array<int64_t, 4> d{};
  int rank = 0;
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  int64_t operator[](int i) const { return d[i < 0 ? rank + i : i]; }
  int64_t numel() const;
  bool operator==(const Shape& o) const { return rank == o.rank && d == o.d; }
  std::string str() const;  // "(4, 64)"
};

class Memory;
enum class Purpose : uint8_t;

// Bytes somewhere, given back to their Memory when the last handle goes.
class Buffer {
 public:
  Buffer(Memory* owner, void* data, int64_t bytes, Purpose purpose)
      : owner_(owner), data_(data), bytes_(bytes), purpose_(purpose) {}
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  Purpose purpose() const { return purpose_; }

 private:
  Memory* owner_;
  void* data_;
  int64_t bytes_;
  Purpose purpose_;
};

class Tensor {
 public:
  Tensor() = default;
  // Uninitialised memory.
  static Tensor empty(Memory& memory, Shape shape, DType dtype, Purpose purpose);
  static Tensor zeros(Memory& memory, Shape shape, DType dtype, Purpose purpose);
  // A window on bytes that `keep` (may be null) holds alive.
  static Tensor wrap(void* data, Shape shape, DType dtype, std::shared_ptr<const void> keep = {});

  explicit operator bool() const { return data_ != nullptr || numel_ == 0; }
  bool defined() const { return shape_.rank > 0 || data_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t numel() const { return numel_; }
  int64_t cols() const { return shape_.rank == 0 ? 1 : shape_[-1]; }
  int64_t rows() const { return cols() == 0 ? 0 : numel_ / cols(); }
  int64_t pitch() const { return pitch_; }  // elements from one row to the next
  bool contiguous() const { return pitch_ == cols() || rows() <= 1; }
  int64_t bytes() const { return numel_ * size_of(dtype_); }

  void* raw() const { return data_; }
  template <class T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  const std::shared_ptr<const void>& keep() const { return keep_; }

  Tensor columns(int64_t begin, int64_t end) const;    // [begin, end) of the last dimension
  Tensor row_range(int64_t begin, int64_t end) const;  // [begin, end) of the flattened rows
  Tensor reshape(Shape shape) const;                   // contiguous only

 private:
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::f32;
  int64_t numel_ = 0, pitch_ = 0;
  std::shared_ptr<const void> keep_;
};

}  // namespace nibble
