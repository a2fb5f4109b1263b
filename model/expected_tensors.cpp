#include "model/expected_tensors.h"

#include <set>

#include "base/errors.h"
#include "model/files/stored_weight.h"

namespace nibble {
namespace {

using Kind = ExpectedTensor::Kind;

class Lister {
 public:
  explicit Lister(const Blueprint& b) : b_(b) {}

  std::vector<ExpectedTensor> all() {
    const Blueprint::Names& n = b_.names;
    table(n.embedding, b_.vocab, b_.tied && b_.head_bias);
    if (b_.positions == Positions::learned) table(n.positions, b_.max_positions, false);
    if (b_.token_types > 0) table(n.token_types, b_.token_types, false);
    if (!n.embedding_norm.empty()) norm(n.embedding_norm, {b_.hidden}, b_.norm_bias);
    for (int64_t i = 0; i < b_.layers; ++i) layer(i);
    if (!n.final_norm.empty()) norm(n.final_norm, {b_.hidden}, b_.norm_bias);
    if (!n.pooler.empty()) matrix(n.pooler, b_.hidden, b_.hidden, true, false, true);
    if (!b_.encoder && !b_.tied) matrix(n.head, b_.vocab, b_.hidden, b_.head_bias, false);
    return std::move(all_);
  }

 private:
  void layer(int64_t i) {
    for (const NormSpec& spec : layer_norms(b_)) {
      const std::string path = b_.layer_path(i, spec.part);
      const size_t hole = path.find("%d");
      if (hole == std::string::npos) {
        std::vector<int64_t> shape{spec.width};
        if (spec.own) shape.insert(shape.begin(), spec.groups);
        norm(path, shape, spec.bias);
        continue;
      }
      for (int64_t g = 0; g < spec.groups; ++g) {
        std::string name = path;
        norm(name.replace(hole, 2, std::to_string(g)), {spec.width}, spec.bias);
      }
    }
    for (const LinearSpec& spec : layer_linears(b_))
      matrix(b_.layer_path(i, spec.part), spec.out, spec.in, spec.bias, b_.transposed);
  }
  void table(const std::string& path, int64_t rows, bool bias) {
    all_.push_back({path + ".weight", {rows, b_.hidden}, Kind::table});
    if (bias) all_.push_back({b_.names.head + ".bias", {rows}, Kind::bias});
  }
  void matrix(const std::string& path, int64_t out, int64_t in, bool bias, bool transposed,
              bool optional = false) {
    std::vector<int64_t> shape{out, in};
    if (transposed) shape = {in, out};
    all_.push_back({path + ".weight", shape, Kind::matrix, optional});
    if (bias) all_.push_back({path + ".bias", {out}, Kind::bias, optional});
  }
  void norm(const std::string& path, const std::vector<int64_t>& shape, bool bias) {
    all_.push_back({path + ".weight", shape, Kind::norm});
    if (bias) all_.push_back({path + ".bias", shape, Kind::bias});
  }

  const Blueprint& b_;
  std::vector<ExpectedTensor> all_;
};

std::string text_of(const std::vector<int64_t>& shape) {
  TensorInfo info;
  info.shape = shape;
  return info.shape_str();
}

bool ends_with_part(const std::string& name, const std::string& part) {
  return name == part || (ends_with(name, part) && name.size() > part.size() &&
                          name[name.size() - part.size() - 1] == '.');
}

bool ignored(const Blueprint& b, const std::string& name) {
  for (const std::string& part : b.names.derived)
    if (ends_with_part(name, part)) return true;
  for (const std::string& begin : b.names.unused)
    if (starts_with(name, begin)) return true;
  return !b.encoder && b.tied && name == b.names.head + ".weight";  // compared by the loader
}

// The first so many in full, the rest counted.
class Mistakes {
 public:
  void add(UserError error) {
    ++count_;
    if (all_.size() < kMost) all_.push_back(std::move(error));
  }
  void raise(const std::string& place) {
    if (all_.empty()) return;
    if (count_ > kMost)
      all_.emplace_back(place, cat("and ", count_ - kMost, " tensors more"),
                        "config.json and the weights are of different models", Exit::bad_data);
    if (all_.size() == 1) throw all_[0];
    throw UserErrors(std::move(all_), Exit::bad_data);
  }

 private:
  static constexpr size_t kMost = 24;
  std::vector<UserError> all_;
  size_t count_ = 0;
};

}  // namespace

std::vector<ExpectedTensor> expected_tensors(const Blueprint& b) { return Lister(b).all(); }

std::string name_on_file(const TensorFiles& files, const Blueprint& b, const std::string& name) {
  const std::string& prefix = b.names.prefix;
  std::vector<std::string> spellings = {name};
  if (!prefix.empty())
    spellings.push_back(starts_with(name, prefix) ? name.substr(prefix.size()) : prefix + name);
  const size_t written = spellings.size();
  for (size_t i = 0; i < written; ++i)
    for (const auto& [now, old] : {std::pair("LayerNorm.weight", "LayerNorm.gamma"),
                                   std::pair("LayerNorm.bias", "LayerNorm.beta")})
      if (ends_with(spellings[i], now))
        spellings.push_back(spellings[i].substr(0, spellings[i].size() - std::string(now).size()) +
                            old);
  for (const std::string& spelling : spellings)
    if (files.find(spelling) != nullptr) return spelling;
  return name;
}

void check_tensors(const TensorFiles& files, const Blueprint& b, bool prequantized) {
  const std::string place = files.file_names().empty() ? "" : files.file_names()[0];
  Mistakes mistakes;
  std::set<std::string> read;
  std::vector<std::string> coded;  // parts below these belong to a quantized weight
  const std::vector<ExpectedTensor> expected = expected_tensors(b);
  std::vector<std::string> missing;
  for (const ExpectedTensor& tensor : expected) {
    const std::string name = name_on_file(files, b, tensor.name);
    const TensorInfo* info = files.find(name);
    if (info == nullptr) {
      if (!tensor.optional) missing.push_back(tensor.name);
      continue;
    }
    read.insert(name);
    const std::string path = name.substr(0, name.size() - std::min<size_t>(name.size(), 6));
    const bool may = tensor.kind == Kind::matrix || tensor.name == b.names.embedding + ".weight";
    const Stored as = may ? stored_as(files, *info) : Stored::plain;
    if (as != Stored::plain && !prequantized) {
      mistakes.add(UserError(
          files.where(*info),
          cat("is quantized (", info->dtype_name, "), and config.json has no quantization_config"),
          "put back the one that the model was saved with", Exit::bad_data));
      coded.push_back(path);
      continue;
    }
    if (as == Stored::four_bit) coded.push_back(name + ".");  // its reader knows them
    if (as == Stored::eight_bit) read.insert({path + "SCB", path + "weight_format"});
    if (as != Stored::plain) continue;
    if (info->shape != tensor.shape)
      mistakes.add(UserError(
          files.where(*info),
          cat("has shape ", info->shape_str(), ", config.json asks for ", text_of(tensor.shape)),
          "config.json and the weights are of different models", Exit::bad_data));
    else if (!info->dtype || !is_float(*info->dtype))
      mistakes.add(UserError(files.where(*info), cat("has dtype ", info->dtype_name),
                             "weights must be BF16, F16 or F32", Exit::bad_data));
  }
  std::vector<std::string> extra;
  for (const TensorInfo& info : files.tensors()) {
    bool known = read.count(info.name) != 0 || ignored(b, info.name);
    for (const std::string& begin : coded) known = known || starts_with(info.name, begin);
    if (!known) extra.push_back(info.name);
  }
  for (const std::string& name : missing) {
    const std::string close = nearest(name, extra);
    mistakes.add(UserError(place, cat("tensor '", name, "' is missing"),
                           close.empty() ? "config.json and the weights are of different models"
                                         : cat("the file has '", close, "'"),
                           Exit::bad_data));
  }
  for (const std::string& name : extra)
    mistakes.add(UserError(
        files.where(files.get(name)), "belongs to no part of the model config.json describes",
        "check model_type, the biases and the number of layers in config.json", Exit::bad_data));
  mistakes.raise(place);
}

}  // namespace nibble
