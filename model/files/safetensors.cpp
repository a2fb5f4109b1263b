// The reader believes nothing: lengths are checked before they are used, the header before the
// data, and tensors must tile the data exactly.
#include "model/files/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/json.h"
#include "kernels/memory.h"
#include "model/files/gguf_model.h"

namespace nibble {
namespace {

constexpr uint64_t kHeaderCap = 100'000'000;  // the reference reader's own bound

struct TypeRow {
  const char* name;
  int bits;
  std::optional<DType> dtype;
};
const TypeRow kTypes[] = {
    {"F32", 32, DType::f32},
    {"F16", 16, DType::f16},
    {"BF16", 16, DType::bf16},
    {"F64", 64, DType::f64},
    {"U8", 8, DType::u8},
    {"I8", 8, DType::i8},
    {"I16", 16, DType::i16},
    {"U16", 16, DType::u16},
    {"I32", 32, DType::i32},
    {"U32", 32, DType::u32},
    {"I64", 64, DType::i64},
    {"U64", 64, DType::u64},
    {"BOOL", 8, DType::boolean},
    {"F8_E4M3", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E8M0", 8, {}},
    {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
    {"C64", 64, {}},
};

const TypeRow* find_type(const std::string& name) {
  for (const TypeRow& row : kTypes)
    if (name == row.name) return &row;
  return nullptr;
}

const char* file_type_name(DType t) {
  for (const TypeRow& row : kTypes)
    if (row.dtype == t) return row.name;
  return "?";
}

[[noreturn]] void refuse(const std::string& place, std::string what, std::string hint = "") {
  if (hint.empty()) hint = "the file is damaged or not safetensors: copy it again";
  throw UserError(place, std::move(what), std::move(hint), Exit::bad_data);
}

int64_t read_offset(const Json& value, const std::string& place) {
  if (!value.is_number_integer()) refuse(place, cat("offset ", value.dump(), " is not an integer"));
  if (!value.is_number_unsigned() || value.get<uint64_t>() > (uint64_t{1} << 62))
    refuse(place, cat("offset ", value.dump(), " is out of range"));
  return value.get<int64_t>();
}

// Bits of a shape, or nothing when the product does not fit.
std::optional<uint64_t> total_bits(const std::vector<int64_t>& shape, int bits) {
  uint64_t total = static_cast<uint64_t>(bits);
  for (int64_t d : shape)
    if (__builtin_mul_overflow(total, static_cast<uint64_t>(d), &total)) return std::nullopt;
  return total;
}

TensorInfo read_entry(const std::string& name, const Json& entry, const std::string& path) {
  const std::string place = cat(path, ": tensor '", name, "'");
  if (!entry.is_object()) refuse(place, cat("its header entry is ", entry.type_name()));
  for (const auto& item : entry.items())
    if (item.key() != "dtype" && item.key() != "shape" && item.key() != "data_offsets")
      refuse(place, cat("unknown header key '", item.key(), "'"));
  if (!entry.contains("dtype") || !entry["dtype"].is_string()) refuse(place, "has no dtype");
  if (!entry.contains("shape") || !entry["shape"].is_array()) refuse(place, "has no shape");
  if (!entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
      entry["data_offsets"].size() != 2)
    refuse(place, "needs exactly two data_offsets");

  TensorInfo info;
  info.name = name;
  info.dtype_name = entry["dtype"].get<std::string>();
  const TypeRow* type = find_type(info.dtype_name);
  if (type == nullptr) refuse(place, cat("unknown dtype '", info.dtype_name, "'"));
  info.dtype = type->dtype;
  for (const Json& d : entry["shape"]) info.shape.push_back(read_offset(d, place));
  info.begin = read_offset(entry["data_offsets"][0], place);
  info.end = read_offset(entry["data_offsets"][1], place);
  if (info.end < info.begin)
    refuse(place, cat("data ends at ", info.end, " before it begins at ", info.begin));
  auto bits = total_bits(info.shape, type->bits);
  if (!bits) refuse(place, cat("shape ", info.shape_str(), " overflows 64 bits"));
  if (*bits % 8 != 0) refuse(place, cat(*bits, " bits are not whole bytes"));
  if (*bits / 8 != static_cast<uint64_t>(info.bytes()))
    refuse(place, cat("shape ", info.shape_str(), " of ", info.dtype_name, " needs ", *bits / 8,
                      " bytes, its range has ", info.bytes()));
  return info;
}

}  // namespace

std::string TensorInfo::shape_str() const {
  std::string out = "(";
  for (size_t i = 0; i < shape.size(); ++i) out += cat(i ? ", " : "", shape[i]);
  return out + ")";
}

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const int64_t size = file_.size();
  if (size < 8) refuse(path, cat("has ", size, " bytes, a header needs at least 8"));
  unsigned char raw[8];
  file_.read(0, raw, 8);
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | raw[i];
  if (length > kHeaderCap) refuse(path, cat("header length ", length, " is over ", kHeaderCap));
  if (length < 2 || length > static_cast<uint64_t>(size - 8))
    refuse(path, cat("header length ", length, " does not fit a file of ", size, " bytes"));

  std::string text(length, '\0');
  file_.read(8, text.data(), static_cast<int64_t>(length));
  Json header = parse_json(text, path + " (header)");
  if (!header.is_object())
    refuse(path, cat("its header is ", header.type_name(), ", not an object"));
  for (const auto& item : header.items()) {
    if (item.key() == "__metadata__") {
      if (!item.value().is_object()) refuse(path, "__metadata__ is not an object");
      for (const auto& entry : item.value().items()) {
        if (!entry.value().is_string())
          refuse(path, cat("__metadata__ '", entry.key(), "' is not a string"));
        metadata_[entry.key()] = entry.value().get<std::string>();
      }
      continue;
    }
    tensors_.push_back(read_entry(item.key(), item.value(), path));
  }
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  int64_t at = 0;
  for (TensorInfo& info : tensors_) {
    if (info.begin != at)
      refuse(cat(path, ": tensor '", info.name, "'"),
             cat("data begins at ", info.begin, ", ", info.begin > at ? "a hole after " : "inside ",
                 at));
    at = info.end;
  }
  const int64_t data = size - 8 - static_cast<int64_t>(length);
  if (at != data) refuse(path, cat("tensors cover ", at, " bytes, the file holds ", data));
  for (TensorInfo& info : tensors_) {
    info.begin += 8 + static_cast<int64_t>(length);
    info.end += 8 + static_cast<int64_t>(length);
  }
}

TensorFiles TensorFiles::open_file(const std::string& path) {
  TensorFiles files;
  files.files_.push_back(std::make_shared<SafetensorsFile>(path));
  for (const TensorInfo& info : files.files_[0]->tensors()) {
    files.by_name_[info.name] = files.all_.size();
    files.all_.push_back(info);
  }
  return files;
}

TensorFiles TensorFiles::of(std::shared_ptr<const TensorContainer> container) {
  TensorFiles files;
  files.all_ = container->tensors();
  for (size_t i = 0; i < files.all_.size(); ++i) files.by_name_[files.all_[i].name] = i;
  files.container_ = std::move(container);
  return files;
}

TensorFiles TensorFiles::open(const std::string& directory, const std::string& stem) {
  if (is_gguf(directory)) return of(std::make_shared<GgufModel>(directory));
  const std::string single = join_path(directory, stem + ".safetensors");
  const std::string index_path = single + ".index.json";
  if (!exists(index_path)) {
    if (!exists(single))
      throw UserError(
          directory, cat("has no ", stem, ".safetensors and no ", stem, ".safetensors.index.json"),
          "name a Hugging Face model directory with safetensors weights", Exit::missing_input);
    return open_file(single);
  }
  Json index = read_json(index_path);
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    refuse(index_path, "has no weight_map");
  TensorFiles files;
  std::map<std::string, std::string> mapped;  // tensor → shard; the JSON's own look-up is linear
  std::set<std::string> shards;
  for (const auto& item : index["weight_map"].items()) {
    if (!item.value().is_string()) refuse(index_path, cat("'", item.key(), "' names no file"));
    const std::string name = item.value().get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name == "..")
      refuse(index_path, cat("shard name '", name, "' is not a plain file name"));
    mapped[item.key()] = name;
    shards.insert(name);
  }
  for (const std::string& name : shards) {
    const int number = static_cast<int>(files.files_.size());
    files.files_.push_back(std::make_shared<SafetensorsFile>(join_path(directory, name)));
    for (TensorInfo info : files.files_.back()->tensors()) {
      const auto there = mapped.find(info.name);
      const std::string says = there == mapped.end() ? "nothing" : there->second;
      if (says != name)
        refuse(index_path,
               cat("tensor '", info.name, "' lies in ", name, ", the index says ", says));
      info.file = number;
      files.by_name_[info.name] = files.all_.size();
      files.all_.push_back(std::move(info));
    }
  }
  for (const auto& [tensor, shard] : mapped)
    if (files.find(tensor) == nullptr)
      refuse(index_path, cat("tensor '", tensor, "' is not in ", shard));
  return files;
}

const TensorInfo* TensorFiles::find(std::string_view name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &all_[it->second];
}

const TensorInfo& TensorFiles::get(std::string_view name) const {
  if (const TensorInfo* info = find(name)) return *info;
  std::vector<std::string> names;
  for (const TensorInfo& info : all_) names.push_back(info.name);
  std::string close = nearest(name, names);
  throw UserError(file_names().empty() ? "" : file_names()[0],
                  cat("tensor '", name, "' is missing"),
                  close.empty() ? cat("the file holds ", all_.size(), " other tensors")
                                : cat("the nearest name is '", close, "'"),
                  Exit::bad_data);
}

std::vector<std::string> TensorFiles::file_names() const {
  std::vector<std::string> names;
  if (container_) names.push_back(container_->path());
  for (const auto& f : files_) names.push_back(f->file().path());
  return names;
}

std::vector<std::string> TensorFiles::names_below(std::string_view prefix) const {
  std::vector<std::string> names;
  for (auto it = by_name_.lower_bound(prefix);
       it != by_name_.end() && starts_with(it->first, prefix); ++it)
    names.push_back(it->first);
  return names;
}

std::string TensorFiles::where(const TensorInfo& info) const {
  if (container_) return cat(container_->path(), ": ", info.name);
  return cat(files_[static_cast<size_t>(info.file)]->file().path(), ": ", info.name);
}

Tensor TensorFiles::read(std::string_view name, Memory& memory, Purpose purpose) const {
  const TensorInfo& info = get(name);
  if (container_) return container_->read(name, memory, purpose);
  if (!info.dtype)
    throw UserError(where(info), cat("dtype ", info.dtype_name, " is not supported"),
                    "convert it to bf16, f16 or f32", Exit::bad_data);
  if (info.shape.size() > 4)
    throw UserError(where(info), cat("shape ", info.shape_str(), " has more than 4 dimensions"), "",
                    Exit::bad_data);
  Shape shape;
  shape.rank = static_cast<int>(info.shape.size());
  for (size_t i = 0; i < info.shape.size(); ++i) shape.d[i] = info.shape[i];
  Tensor out = Tensor::empty(memory, shape, *info.dtype, purpose);
  read_bytes(info, 0, out.raw(), info.bytes());
  return out;
}

std::optional<Weight> TensorFiles::blocks(std::string_view name, Memory& memory,
                                          Purpose purpose) const {
  get(name);
  return container_ ? container_->blocks(name, memory, purpose) : std::nullopt;
}

void TensorFiles::read_bytes(const TensorInfo& info, int64_t offset, void* out,
                             int64_t bytes) const {
  check(container_ == nullptr, "read_bytes: of safetensors files");
  check(offset >= 0 && bytes >= 0 && offset + bytes <= info.bytes(), "safetensors: read in range");
  files_[static_cast<size_t>(info.file)]->file().read(info.begin + offset, out, bytes);
}

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<Entry> entries,
                                     std::map<std::string, std::string> metadata)
    : file_(path), entries_(std::move(entries)), metadata_(std::move(metadata)) {
  const std::string text = header();
  room_ = text.size();
  file_.write(text);
}

std::string SafetensorsWriter::header() const {
  Json header = Json::object();
  if (!metadata_.empty()) header["__metadata__"] = metadata_;
  int64_t at = 0;
  for (const Entry& e : entries_) {
    int64_t bytes = size_of(e.dtype);
    for (int64_t d : e.shape) bytes *= d;
    header[e.name] = {
        {"dtype", file_type_name(e.dtype)}, {"shape", e.shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text = dump_json(header);
  while (text.size() % 8 != 0) text.push_back(' ');  // readers map the data aligned
  if (room_ > 0) {
    check(text.size() + 8 <= room_, "safetensors: the last header fits the first one's room");
    text.resize(room_ - 8, ' ');
  }
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i));
  return length + text;
}

void SafetensorsWriter::write(const Tensor& tensor) {
  check(next_ < entries_.size(), "safetensors: a tensor that was not announced");
  Entry& e = entries_[next_++];
  if (e.at_most) {
    check(tensor.shape().rank == 1 && tensor.numel() <= e.shape[0], e.name);
    changed_ = changed_ || tensor.numel() != e.shape[0];
    e.shape[0] = tensor.numel();
  }
  check_eq(std::string(name_of(tensor.dtype())), std::string(name_of(e.dtype)), e.name);
  int64_t numel = 1;
  for (int64_t d : e.shape) numel *= d;
  check_eq(tensor.numel(), numel, e.name);
  if (tensor.contiguous()) {
    file_.write(tensor.raw(), tensor.bytes());
    return;
  }
  const int64_t width = tensor.cols() * size_of(tensor.dtype());
  const int64_t pitch = tensor.pitch() * size_of(tensor.dtype());
  for (int64_t r = 0; r < tensor.rows(); ++r) file_.write(tensor.data<char>() + r * pitch, width);
}

void SafetensorsWriter::commit() {
  check_eq(next_, entries_.size(), "safetensors: tensors written");
  if (changed_) file_.rewrite(0, header());
  file_.commit();
}

void write_safetensors(const std::string& path, const NamedTensors& tensors,
                       std::map<std::string, std::string> metadata) {
  std::vector<SafetensorsWriter::Entry> entries;
  for (const auto& [name, tensor] : tensors) {
    std::vector<int64_t> shape(tensor.shape().d.begin(),
                               tensor.shape().d.begin() + tensor.shape().rank);
    entries.push_back({name, tensor.dtype(), std::move(shape)});
  }
  SafetensorsWriter writer(path, std::move(entries), std::move(metadata));
  for (const auto& [name, tensor] : tensors) writer.write(tensor);
  writer.commit();
}

}  // namespace nibble
