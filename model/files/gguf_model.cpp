// Rows are moved, never elements: blocks run along a row, so that every order of rows is exact in
// every type.
#include "model/files/gguf_model.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "kernels/device.h"

namespace nibble {
namespace {

// Tensors that config_of has made keys of, or that follow from keys.
bool derived(std::string_view name) {
  return name == "rope_freqs.weight" || name == "rope_factors_long.weight" ||
         name == "rope_factors_short.weight" || ends_with(name, ".attn_rot_embd.weight");
}

int64_t row_count(const GgufTensor& t) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < t.shape.size(); ++i) rows *= t.shape[i];
  return rows;
}

Shape shape_of(const std::vector<int64_t>& dims) {
  Shape shape;
  shape.rank = static_cast<int>(dims.size());
  std::copy(dims.begin(), dims.end(), shape.d.begin());
  return shape;
}

// Every type that is not read is named, the first with its tensor.
void check_types(const Gguf& file) {
  const GgufTensor* first = nullptr;
  std::vector<std::string> others;
  for (const GgufTensor& t : file.tensors) {
    if (t.type->readable()) continue;
    if (first == nullptr) {
      first = &t;
    } else if (t.type != first->type &&
               std::find(others.begin(), others.end(), t.type->name) == others.end()) {
      others.emplace_back(t.type->name);
    }
  }
  if (first == nullptr) return;
  throw UserError(cat(file.path, ": tensor '", first->name, "'"),
                  cat("is of type ", first->type->name, ", which is not supported",
                      others.empty() ? std::string() : cat("; nor are ", join(others, ", "))),
                  cat("make it one of ", join(readable_gguf_types(), ", ")), Exit::bad_data);
}

// One whole model, its blocks as they are laid out since version 2.
void check_kind(const Gguf& file) {
  const std::string type = file.text("general.type").value_or("model");
  if (type != "model")
    file.refuse("general.type", cat("is '", type, "', not a model"), "name the model's own file");
  if (const auto parts = file.integer("split.count"); parts && *parts > 1)
    file.refuse("split.count", cat("is ", *parts, ": the file is one part of a model"),
                "join the parts first: llama-gguf-split --merge");
  if (const auto n = file.integer("general.quantization_version"); n && *n != 2)
    file.refuse("general.quantization_version", cat("is ", *n, ", only 2 is known"),
                "convert the model again");
}

Tensor transposed(const Tensor& x, Memory& memory, Purpose purpose) {
  Tensor y = Tensor::empty(memory, {x.cols(), x.rows()}, x.dtype(), purpose);
  const int64_t size = size_of(x.dtype());
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c)
      std::memcpy(y.data<char>() + (c * x.rows() + r) * size,
                  x.data<char>() + (r * x.cols() + c) * size, static_cast<size_t>(size));
  return y;
}

}  // namespace

bool is_gguf(const std::string& path) {
  if (is_directory(path) || !exists(path)) return false;
  if (ends_with(path, ".gguf")) return true;
  const InputFile file(path);
  char magic[4] = {};
  if (file.size() >= 4) file.read(0, magic, 4);
  return std::memcmp(magic, "GGUF", 4) == 0;
}

GgufModel::GgufModel(const std::string& path)
    : file_(path), header_(parse_gguf(file_)), architecture_(&architecture_of(header_)) {
  check_types(header_);
  check_kind(header_);
  sizes_ = head_sizes(config());
  for (const GgufTensor& t : header_.tensors)
    if (!derived(t.name)) add(t);
  std::sort(places_.begin(), places_.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
}

void GgufModel::add(const GgufTensor& t) {
  const std::string where = cat(path(), ": tensor '", t.name, "'");
  const NamedRow row = hf_name(*architecture_, t.name);
  if (row.name.empty())
    throw UserError(where,
                    cat("has no place in a model of architecture '", architecture_->name, "'"),
                    "nibble computes only what it knows", Exit::bad_data);
  if (t.shape.size() > 2)
    throw UserError(where, cat("has ", t.shape.size(), " dimensions"),
                    "mixtures of experts are not supported", Exit::bad_data);
  Place place{&t, row.order, row.norm ? -architecture_->norm_offset : 0};
  if (t.shape.size() == 1 && row.order == RowOrder::transposed) place.order = RowOrder::same;
  const int64_t rows = t.shape[0];
  const int64_t heads = row.order == RowOrder::pairs_q   ? sizes_.heads
                        : row.order == RowOrder::pairs_k ? sizes_.kv_heads
                        : row.order == RowOrder::stacked ? sizes_.heads + 2 * sizes_.kv_heads
                                                         : 0;
  if (heads > 0 && rows != heads * sizes_.head_dim)
    throw UserError(where,
                    cat("has ", rows, " rows, ", heads, " heads of width ", sizes_.head_dim,
                        " have ", heads * sizes_.head_dim),
                    "its keys and its tensors are of different models", Exit::bad_data);
  TensorInfo info;
  info.name = row.name;
  info.dtype_name = t.type->name;
  info.dtype = t.type->dtype.value_or(DType::f32);
  info.blocks = t.type->format.has_value();
  info.shape = t.shape;
  if (place.order == RowOrder::transposed) std::reverse(info.shape.begin(), info.shape.end());
  info.begin = t.begin;
  info.end = t.begin + t.bytes;
  infos_.push_back(info);
  places_.emplace_back(row.name, place);
}

Json GgufModel::config() const {
  return config_of(header_, *architecture_, [this](const GgufTensor& t) { return factors(t); });
}

bool GgufModel::has_blocks() const {
  return std::any_of(header_.tensors.begin(), header_.tensors.end(), [](const GgufTensor& t) {
    return t.type->format && t.name != "token_embd.weight";
  });
}

std::vector<float> GgufModel::factors(const GgufTensor& t) const {
  if (t.type->dtype != DType::f32 || t.shape.size() != 1 || t.shape[0] > 65536)
    throw UserError(cat(path(), ": tensor '", t.name, "'"), "is no list of f32 factors", "",
                    Exit::bad_data);
  std::vector<float> out(static_cast<size_t>(t.shape[0]));
  file_.read(t.begin, out.data(), t.bytes);
  return out;
}

const GgufModel::Place& GgufModel::place(std::string_view name) const {
  const auto it = std::lower_bound(places_.begin(), places_.end(), name,
                                   [](const auto& p, std::string_view n) { return p.first < n; });
  check(it != places_.end() && it->first == name, cat("gguf: no tensor ", name));
  return it->second;
}

Tensor GgufModel::rows_of(const Place& place, Memory& memory, Purpose purpose) const {
  const GgufTensor& t = *place.tensor;
  // A vector counts as rows of one element here: biases of q and k are ordered like their rows.
  const int64_t rows = t.shape.size() == 1 && !t.type->format ? t.shape[0] : row_count(t);
  const int64_t width = t.bytes / rows;
  const bool moves = place.order != RowOrder::same && place.order != RowOrder::transposed;
  Tensor out = Tensor::empty(memory, {rows, width}, DType::u8, purpose);
  if (!moves) {
    file_.read(t.begin, out.raw(), t.bytes);
    return out;
  }
  Tensor raw = Tensor::empty(memory, {rows, width}, DType::u8, Purpose::staging);
  file_.read(t.begin, raw.raw(), t.bytes);
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(out.data<char>() + r * width,
                raw.data<char>() + gguf_row(place.order, sizes_, rows, r) * width,
                static_cast<size_t>(width));
  return out;
}

Tensor GgufModel::read(std::string_view name, Memory& memory, Purpose purpose) const {
  const Place& p = place(name);
  const GgufTensor& t = *p.tensor;
  Tensor rows = rows_of(p, memory, purpose);
  Tensor values;
  if (t.type->format) {
    const Weight w = block_weight(*t.type->format, rows, t.shape.back());
    values = Tensor::empty(memory, shape_of(t.shape), DType::f32, purpose);
    cpu_table(choose_cpu_tier().tier)
        .decode_tile(w.view(), 0, w.out, 0, w.in, DType::f32, values.raw(), w.in);
  } else {
    values = Tensor::wrap(rows.raw(), shape_of(t.shape), *t.type->dtype, rows.keep());
  }
  if (p.offset != 0) {
    if (values.dtype() != DType::f32)
      throw UserError(cat(path(), ": tensor '", t.name, "'"),
                      cat("is a norm of type ", t.type->name), "norms are F32 in GGUF files",
                      Exit::bad_data);
    for (int64_t i = 0; i < values.numel(); ++i)
      values.data<float>()[i] += static_cast<float>(p.offset);
  }
  return p.order == RowOrder::transposed ? transposed(values, memory, purpose) : values;
}

std::optional<Weight> GgufModel::blocks(std::string_view name, Memory& memory,
                                        Purpose purpose) const {
  const Place& p = place(name);
  if (!p.tensor->type->format || p.tensor->shape.size() != 2) return std::nullopt;
  return block_weight(*p.tensor->type->format, rows_of(p, memory, purpose), p.tensor->shape.back());
}

}  // namespace nibble
