// Shapes, dtype names and the windows on a buffer. Nothing here touches the bytes but zeros().
#include "kernels/tensor.h"

#include <cstring>

#include "kernels/memory.h"

namespace nibble {
namespace {

struct DTypeRow {
  int64_t bytes;
  const char* name;
  const char* torch;
  bool is_float;
};

// In the order of DType.
constexpr DTypeRow kDTypes[] = {
    {4, "f32", "float32", true},   {8, "f64", "float64", true}, {2, "bf16", "bfloat16", true},
    {2, "f16", "float16", true},   {1, "u8", "uint8", false},   {1, "i8", "int8", false},
    {2, "i16", "int16", false},    {4, "i32", "int32", false},  {8, "i64", "int64", false},
    {2, "u16", "uint16", false},   {4, "u32", "uint32", false}, {8, "u64", "uint64", false},
    {1, "boolean", "bool", false},
};

const DTypeRow& row_of(DType t) { return kDTypes[static_cast<size_t>(t)]; }

}  // namespace

int64_t size_of(DType t) { return row_of(t).bytes; }
const char* name_of(DType t) { return row_of(t).name; }
const char* torch_name(DType t) { return row_of(t).torch; }
bool is_float(DType t) { return row_of(t).is_float; }

Shape::Shape(std::initializer_list<int64_t> dims) {
  check(dims.size() <= d.size(), "a tensor has at most 4 dimensions");
  for (const int64_t n : dims) {
    check(n >= 0, cat("a dimension cannot be ", n));
    d[static_cast<size_t>(rank++)] = n;
  }
}

int64_t Shape::numel() const {
  int64_t n = 1;
  for (int i = 0; i < rank; ++i) {
    check(!__builtin_mul_overflow(n, d[static_cast<size_t>(i)], &n),
          cat("shape ", str(), " has more elements than 64 bits count"));
  }
  return n;
}

std::string Shape::str() const {
  std::string out = "(";
  for (int i = 0; i < rank; ++i) {
    out += cat(i > 0 ? ", " : "", d[static_cast<size_t>(i)]);
  }
  return out + ")";
}

Buffer::~Buffer() { owner_->release(data_, bytes_, purpose_); }

Tensor Tensor::empty(Memory& memory, Shape shape, DType dtype, Purpose purpose) {
  const int64_t numel = shape.numel();
  int64_t bytes = 0;
  check(!__builtin_mul_overflow(numel, size_of(dtype), &bytes),
        cat("shape ", shape, " has more bytes than 64 bits count"));
  std::shared_ptr<Buffer> buffer = memory.allocate(bytes, purpose);
  void* data = buffer->data();
  return wrap(data, shape, dtype, std::move(buffer));
}

Tensor Tensor::zeros(Memory& memory, Shape shape, DType dtype, Purpose purpose) {
  Tensor t = empty(memory, shape, dtype, purpose);
  std::memset(t.raw(), 0, static_cast<size_t>(t.bytes()));
  return t;
}

Tensor Tensor::wrap(void* data, Shape shape, DType dtype, std::shared_ptr<const void> keep) {
  Tensor t;
  t.data_ = data;
  t.shape_ = shape;
  t.dtype_ = dtype;
  t.numel_ = shape.numel();
  t.pitch_ = t.cols();
  t.keep_ = std::move(keep);
  return t;
}

Tensor Tensor::columns(int64_t begin, int64_t end) const {
  check(shape_.rank > 0 && begin >= 0 && begin <= end && end <= cols(),
        cat("columns ", begin, " to ", end, " of a tensor of shape ", shape_));
  Tensor t = *this;
  t.data_ = static_cast<char*>(data_) + begin * size_of(dtype_);
  t.shape_.d[static_cast<size_t>(shape_.rank - 1)] = end - begin;
  t.numel_ = t.shape_.numel();
  return t;  // the pitch stays
}

Tensor Tensor::row_range(int64_t begin, int64_t end) const {
  check(begin >= 0 && begin <= end && end <= rows(),
        cat("rows ", begin, " to ", end, " of a tensor of shape ", shape_));
  Tensor t = *this;
  t.data_ = static_cast<char*>(data_) + begin * pitch_ * size_of(dtype_);
  t.shape_ = {end - begin, cols()};
  t.numel_ = t.shape_.numel();
  return t;
}

Tensor Tensor::reshape(Shape shape) const {
  check(contiguous(), cat("reshape of a window with pitch ", pitch_, " and shape ", shape_));
  check_eq(shape.numel(), numel_, cat("reshape ", shape_, " to ", shape, ": elements"));
  return wrap(data_, shape, dtype_, keep_);
}

}  // namespace nibble
