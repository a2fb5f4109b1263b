#include "model/files/peft_tokens.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/errors.h"
#include "base/files.h"
#include "model/decoder.h"

namespace nibble {
namespace {

constexpr char kPrefix[] = "base_model.model.";
constexpr char kDelta[] = ".token_adapter.trainable_tokens_delta";
constexpr char kUnder[] = ".token_adapter.base_layer.weight";

[[noreturn]] void refuse(const std::string& where, std::string what, std::string hint = "") {
  throw UserError(where, std::move(what), std::move(hint), Exit::bad_data);
}

bool is_suffix(const std::string& path, const std::string& name) {
  return path == name || ends_with(path, "." + name);
}

std::string last_part(const std::string& path) { return path.substr(path.rfind('.') + 1); }

std::vector<int64_t> read_indices(const Json& json, const std::string& where) {
  std::vector<int64_t> ids;
  bool good = json.is_array();
  for (const Json& id : good ? json : Json::array()) {
    good = good && id.is_number_integer();
    if (good) ids.push_back(id.get<int64_t>());
  }
  if (!good)
    refuse(where, cat("'trainable_token_indices' holds ", json.dump()),
           "a list of token ids, or a map from a table's name to one");
  return ids;
}

Tensor to_f32(const Device& device, const Tensor& x, Purpose purpose) {
  if (x.dtype() == DType::f32) return x;
  Tensor y = Tensor::empty(device.memory(), x.shape(), DType::f32, purpose);
  device.kernels().cast(device.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(),
                        DType::f32, y.raw(), y.pitch());
  return y;
}

// The base's rows of a table, where it is not quantized.
const Tensor& dense_table(const Linear& table) {
  check(table.weight() != nullptr, "rows of a frozen table");
  if (!is_float(table.weight()->codes.dtype()))
    refuse(table.path(),
           cat("is ", name_of(table.weight()->format), ": its rows cannot be replaced"),
           "use a base whose embedding and head are not quantized");
  return table.weight()->codes;
}

// Rows by id, in the ids' order, from wherever each one lies.
class Collector {
 public:
  Collector(const Device& device, int64_t width) : device_(device), width_(width) {}
  void add(int64_t id, const Tensor& table, int64_t row) {
    rows_[static_cast<int32_t>(id)] = table.row_range(row, row + 1);
  }
  bool empty() const { return rows_.empty(); }

  std::shared_ptr<TokenRows> take(const std::string& name, int64_t of, bool trains) {
    auto own = std::make_shared<TokenRows>();
    own->rows.name = name;
    own->of = of;
    own->trains = trains;
    const auto n = static_cast<int64_t>(rows_.size());
    own->rows.value = Tensor::empty(device_.memory(), {n, width_}, DType::f32, Purpose::adapter);
    int64_t at = 0;
    for (const auto& [id, row] : rows_) {
      const Tensor to = own->rows.value.row_range(at, at + 1);
      device_.kernels().cast(device_.stream(), 1, width_, row.dtype(), row.raw(), row.pitch(),
                             DType::f32, to.raw(), to.pitch());
      own->ids.push_back(id);
      ++at;
    }
    return own;
  }

 private:
  const Device& device_;
  int64_t width_;
  std::map<int32_t, Tensor> rows_;
};

std::vector<int64_t> ascending(int64_t n) {
  std::vector<int64_t> all(static_cast<size_t>(n));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

}  // namespace

void read_token_settings(const Json& json, const std::string& where, AdapterConfig& config) {
  const Json indices = json.value("trainable_token_indices", Json());
  if (indices.is_object()) {
    for (const auto& item : indices.items())
      config.token_indices[item.key()] = read_indices(item.value(), where);
  } else if (!indices.is_null() && !(indices.is_array() && indices.empty())) {
    config.token_indices[""] = read_indices(indices, where);
  }
  const Json modules = json.value("modules_to_save", Json());
  if (modules.is_null()) return;
  for (const Json& name : modules.is_array() ? modules : Json::array({modules})) {
    if (!name.is_string()) refuse(where, cat("'modules_to_save' holds ", name.dump()));
    config.modules_to_save.push_back(name.get<std::string>());
  }
}

void write_token_settings(const AdapterConfig& config, Json& json) {
  json["modules_to_save"] = nullptr;
  if (!config.modules_to_save.empty()) json["modules_to_save"] = config.modules_to_save;
  json["trainable_token_indices"] = nullptr;
  const auto& all = config.token_indices;
  if (all.size() == 1 && all.begin()->first.empty())
    json["trainable_token_indices"] = all.begin()->second;
  else if (!all.empty())
    json["trainable_token_indices"] = all;
}

int64_t adapter_vocab(const std::string& directory) {
  int64_t vocab = 0;
  const std::string path = join_path(directory, "adapter_model.safetensors");
  if (!exists(path)) return vocab;
  const TensorFiles files = TensorFiles::open_file(path);
  for (const TensorInfo& info : files.tensors())
    if (info.shape.size() == 2 && ends_with(info.name, ".weight") &&
        info.name.find(".lora_") == std::string::npos)
      vocab = std::max(vocab, info.shape[0]);
  return vocab;
}

TokenTargets token_targets(const AdapterConfig& config, const Blueprint& b, int64_t vocab,
                           const std::string& where) {
  const std::string tables = cat("this model has ", last_part(b.names.embedding),
                                 b.encoder ? std::string() : " and " + last_part(b.names.head));
  TokenTargets targets;
  const auto table = [&](const char* key, const std::string& name) -> TokenTargets::Table& {
    if (name.empty() || is_suffix(b.names.embedding, name)) return targets.embedding;
    if (!b.encoder && is_suffix(b.names.head, name)) return targets.head;
    refuse(where, cat("'", key, "': '", name, "' is no table of tokens"), tables);
  };
  for (const std::string& name : config.modules_to_save)
    table("modules_to_save", name).whole = true;
  for (const auto& [name, ids] : config.token_indices) {
    TokenTargets::Table& t = table("trainable_token_indices", name);
    const std::string shown = name.empty() ? last_part(b.names.embedding) : name;
    if (t.any() && !ids.empty())
      refuse(where, cat("'", shown, "' is named twice"),
             "a table trains whole (modules_to_save) or by rows (trainable_token_indices)");
    t.ids = ids;
    std::set<int64_t> seen;
    for (const int64_t id : ids) {
      if (id < 0 || id >= vocab)
        refuse(where, cat("'trainable_token_indices' holds ", id, ", the vocabulary has ", vocab),
               cat("use ids from 0 to ", vocab - 1));
      if (!seen.insert(id).second)
        refuse(where, cat("'trainable_token_indices' holds ", id, " twice"));
    }
  }
  const bool same = targets.head.ids.empty() || targets.head.ids == targets.embedding.ids;
  targets.head_follows = b.tied && !targets.embedding.ids.empty() && same && !targets.head.whole;
  if (targets.head_follows) targets.head.ids.clear();
  return targets;
}

namespace {

// Reads one table after the other and remembers which tensors belong to them.
class TableReader {
 public:
  TableReader(const TensorFiles& files, const Blueprint& b, const Device& device,
              StoredTokens& stored)
      : files_(files), b_(b), device_(device), stored_(stored) {}

  void read(const std::string& path, const TokenTargets::Table& target, StoredTable& table) {
    const std::string name = kPrefix + path;
    table.saved_module = target.whole;
    if (!target.ids.empty()) {
      const TensorInfo& info = files_.get(name + kDelta);
      const auto n = static_cast<int64_t>(target.ids.size());
      if (info.shape != std::vector<int64_t>{n, b_.hidden})
        refuse(files_.where(info), cat("has shape ", info.shape_str(), ", trainable_token_indices ",
                                       "asks for (", n, ", ", b_.hidden, ")"));
      table.ids = target.ids;
      table.rows = to_f32(device_, read_floats(info), Purpose::adapter);
      stored_.vocab =
          std::max(stored_.vocab, *std::max_element(table.ids.begin(), table.ids.end()) + 1);
    }
    for (const char* ending : {kUnder, ".weight"})
      if (const TensorInfo* info = files_.find(name + ending)) whole(*info, table);
    if (!target.whole) return;
    if (table.whole == nullptr) (void)files_.get(name + ".weight");
    // Where the vocabulary grew, PEFT saves the trained copy a second time and what it was before.
    repeats(name + ".modules_to_save.weight", *table.whole);
    if (const TensorInfo* before = files_.find(name + ".original_module.weight"))
      stored_.names.insert(before->name);
  }

  // PEFT writes a tied head's tensors a second time.
  void same_as(const std::string& path, const std::string& first) {
    for (const char* ending : {kDelta, kUnder, ".weight"}) {
      if (files_.find(kPrefix + path + ending) != nullptr)
        repeats(kPrefix + path + ending, files_.get(kPrefix + first + ending));
    }
  }

 private:
  void repeats(const std::string& name, const TensorInfo& info) {
    const TensorInfo* again = files_.find(name);
    if (again == nullptr) return;
    stored_.names.insert(name);
    bool same = again->shape == info.shape && again->dtype_name == info.dtype_name;
    std::vector<char> a(static_cast<size_t>(same ? info.bytes() : 0)), b(a.size());
    files_.read_bytes(info, 0, a.data(), static_cast<int64_t>(a.size()));
    files_.read_bytes(*again, 0, b.data(), static_cast<int64_t>(b.size()));
    if (!same || a != b)
      refuse(files_.where(*again), cat("differs from ", info.name, ", which should be the same"));
  }

  Tensor read_floats(const TensorInfo& info) {
    stored_.names.insert(info.name);
    if (!info.dtype || !is_float(*info.dtype))
      refuse(files_.where(info), cat("has dtype ", info.dtype_name));
    return files_.read(info.name, device_.memory(), Purpose::adapter);
  }

  void whole(const TensorInfo& info, StoredTable& table) {
    stored_.names.insert(info.name);
    const int64_t base = b_.vocab - b_.grown;
    if (info.shape.size() != 2 || info.shape[1] != b_.hidden || info.shape[0] < base)
      refuse(files_.where(info),
             cat("has shape ", info.shape_str(), ", the base has (", base, ", ", b_.hidden, ")"),
             "the adapter belongs to another base model");
    if (!info.dtype || !is_float(*info.dtype))
      refuse(files_.where(info), cat("has dtype ", info.dtype_name));
    stored_.vocab = std::max(stored_.vocab, info.shape[0]);
    table.whole = &info;
  }

  const TensorFiles& files_;
  const Blueprint& b_;
  const Device& device_;
  StoredTokens& stored_;
};

// Rows of a stored table that are not the base's, and those the adapter trained.
std::shared_ptr<TokenRows> own_rows(const StoredTable& stored, const TensorFiles& files,
                                    const Linear& table, bool trains, const Device& device) {
  const int64_t rows = table.out(), width = table.in();
  Collector own(device, width);
  const std::set<int64_t> trained(stored.ids.begin(), stored.ids.end());
  Tensor kept;  // what own's rows are windows on
  if (stored.whole != nullptr) {
    kept = files.read(stored.whole->name, device.memory(), Purpose::staging);
    const Tensor& base = dense_table(table);
    Tensor one = Tensor::empty(device.memory(), {1, width}, base.dtype(), Purpose::staging);
    for (int64_t r = 0; r < kept.rows(); ++r) {
      const Tensor row = kept.row_range(r, r + 1);
      device.kernels().cast(device.stream(), 1, width, kept.dtype(), row.raw(), row.pitch(),
                            base.dtype(), one.raw(), one.pitch());
      const bool same = std::memcmp(one.raw(), base.row_range(r, r + 1).raw(),
                                    static_cast<size_t>(one.bytes())) == 0;
      if (stored.saved_module || (!same && trained.count(r) == 0)) own.add(r, kept, r);
    }
    if (trains && !stored.saved_module && !own.empty())
      refuse(files.where(*stored.whole), "differs from the base where nothing trains it",
             "to train on from this adapter, merge it first");
  }
  for (size_t i = 0; i < stored.ids.size(); ++i)
    own.add(stored.ids[i], stored.rows, static_cast<int64_t>(i));
  if (own.empty()) return nullptr;
  const std::string name = table.path() + (stored.saved_module ? ".weight" : kDelta);
  return own.take(name, rows, trains);
}

}  // namespace

StoredTokens read_stored_tokens(const AdapterConfig& config, const TensorFiles& files,
                                const Blueprint& b, const Device& device) {
  StoredTokens stored;
  const std::string where = files.file_names()[0];
  int64_t most = b.vocab;  // a table that is stored says how many tokens there are
  for (const TensorInfo& info : files.tensors())
    for (const std::string& path : {b.names.embedding, b.names.head})
      for (const char* ending : {kUnder, ".weight"})
        if (info.name == kPrefix + path + ending && !info.shape.empty())
          most = std::max(most, info.shape[0]);
  const TokenTargets targets = token_targets(config, b, most, where);
  stored.head_follows = targets.head_follows;
  TableReader reader(files, b, device, stored);
  reader.read(b.names.embedding, targets.embedding, stored.embedding);
  // Without settings of its own a tied head can only repeat the embedding.
  const bool repeats =
      targets.head_follows || (b.tied && !targets.head.any() && stored.embedding.whole != nullptr &&
                               !stored.embedding.saved_module);
  if (b.encoder) return stored;
  if (repeats) {
    reader.same_as(b.names.head, b.names.embedding);
    stored.head_follows = true;
  } else {
    reader.read(b.names.head, targets.head, stored.head);
  }
  return stored;
}

void load_tokens(const StoredTokens& stored, const TensorFiles& files, Decoder& decoder, int slot,
                 bool trains, const Device& device) {
  const Blueprint& b = decoder.blueprint();
  if (stored.vocab > b.vocab)
    refuse(files.file_names()[0],
           cat("has rows for ", stored.vocab, " tokens, the model has ", b.vocab),
           "the adapter belongs to another base model");
  AdapterTokens tokens;
  tokens.vocab = std::max(stored.vocab, b.vocab - b.grown);
  tokens.embedding = own_rows(stored.embedding, files, decoder.embedding(), trains, device);
  tokens.head = stored.head_follows ? tokens.embedding
                : b.encoder         ? nullptr
                                    : own_rows(stored.head, files, decoder.head(), trains, device);
  // A tied head's own rows are saved under the head's name.
  if (tokens.head && tokens.head != tokens.embedding)
    tokens.head->rows.name = b.names.head + (stored.head.saved_module ? ".weight" : kDelta);
  decoder.set_tokens(slot, std::move(tokens));
}

void fresh_tokens(const TokenTargets& targets, Decoder& decoder, const Device& device) {
  const Blueprint& b = decoder.blueprint();
  AdapterTokens tokens;
  tokens.vocab = b.vocab;
  const auto start = [&](const TokenTargets::Table& target, const Linear& table,
                         const std::string& path) -> std::shared_ptr<TokenRows> {
    if (!target.any()) return nullptr;
    Collector own(device, b.hidden);
    const Tensor& base = dense_table(table);
    for (const int64_t id : target.whole ? ascending(b.vocab) : target.ids) own.add(id, base, id);
    return own.take(path + (target.whole ? ".weight" : kDelta), b.vocab, true);
  };
  tokens.embedding = start(targets.embedding, decoder.embedding(), b.names.embedding);
  tokens.head =
      targets.head_follows ? tokens.embedding : start(targets.head, decoder.head(), b.names.head);
  decoder.set_tokens(0, std::move(tokens));
}

NamedTensors saved_tokens(const AdapterConfig& config, const Decoder& decoder, int slot) {
  const Blueprint& b = decoder.blueprint();
  const AdapterTokens& own = decoder.tokens(slot);
  const TokenTargets targets = token_targets(config, b, b.vocab, "adapter");
  NamedTensors tensors;
  const auto save = [&](const std::string& path, const TokenTargets::Table& target,
                        const std::shared_ptr<TokenRows>& rows, const Linear& table) {
    if (target.any()) {
      const auto n = target.whole ? b.vocab : static_cast<int64_t>(target.ids.size());
      check(rows != nullptr, cat(path, ": rows to save"));
      check_eq(rows->rows.value.rows(), n, cat(path, ": rows to save"));
      tensors.emplace_back(kPrefix + path + (target.whole ? ".weight" : kDelta), rows->rows.value);
    }
    // PEFT's save_pretrained does the same where the vocabulary is not the base's.
    if (b.grown > 0 && !target.whole)
      tensors.emplace_back(kPrefix + path + (target.ids.empty() ? ".weight" : kUnder),
                           dense_table(table));
  };
  save(b.names.embedding, targets.embedding, own.embedding, decoder.embedding());
  if (!b.encoder && (!b.tied || targets.head.any()))
    save(b.names.head, targets.head, own.head, decoder.head());
  return tensors;
}

}  // namespace nibble
