// Random weights for a config.json, and the writing of whole models: the two ways an HF directory
// of nibble's own comes to be.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/random.h"
#include "model/files/hf_directory.h"
#include "model/files/safetensors.h"
#include "model/model.h"

namespace nibble {
namespace {

struct Entry {
  std::string name;
  std::vector<int64_t> shape;
  double deviation;  // 0: all ones for norms
  bool zero = false;
};

std::vector<Entry> entries_of(const Blueprint& b, double range) {
  std::vector<Entry> all;
  auto matrix = [&](const std::string& path, int64_t out, int64_t in, bool bias) {
    all.push_back({path + ".weight", {out, in}, range});
    if (bias) all.push_back({path + ".bias", {out}, 0, true});
  };
  const int64_t q = b.heads * b.head_dim, kv = b.kv_heads * b.head_dim;
  const auto& n = b.names;
  matrix(n.embedding, b.vocab, b.hidden, false);
  for (int64_t i = 0; i < b.layers; ++i) {
    auto at = [&](const std::string& part) { return b.layer_path(i, part); };
    all.push_back({at(n.attention_norm) + ".weight", {b.hidden}, 0});
    matrix(at(n.q), q, b.hidden, b.attention_bias);
    matrix(at(n.k), kv, b.hidden, b.attention_bias);
    matrix(at(n.v), kv, b.hidden, b.attention_bias);
    matrix(at(n.o), b.hidden, q, b.attention_out_bias);
    all.push_back({at(n.mlp_norm) + ".weight", {b.hidden}, 0});
    matrix(at(n.gate), b.intermediate, b.hidden, b.mlp_bias);
    matrix(at(n.up), b.intermediate, b.hidden, b.mlp_bias);
    matrix(at(n.down), b.hidden, b.intermediate, b.mlp_bias);
  }
  all.push_back({n.final_norm + ".weight", {b.hidden}, 0});
  if (!b.tied) matrix(n.head, b.vocab, b.hidden, false);
  return all;
}

const char* config_dtype(DType t) { return torch_name(t); }

// Writes tensors over as many shards as the size asks for; `value` makes one at a time.
void write_shards(const std::string& folder, const std::vector<SafetensorsWriter::Entry>& entries,
                  int64_t shard_bytes, const std::function<Tensor(size_t)>& value) {
  std::vector<int64_t> bytes;
  int64_t total = 0;
  for (const auto& e : entries) {
    int64_t n = size_of(e.dtype);
    for (int64_t d : e.shape) n *= d;
    bytes.push_back(n);
    total += n;
  }
  const ShardPlan plan = plan_shards(bytes, shard_bytes);
  Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", Json::object()}};
  for (size_t s = 0; s < plan.shards.size(); ++s) {
    std::vector<SafetensorsWriter::Entry> part;
    for (size_t i : plan.shards[s]) {
      part.push_back(entries[i]);
      index["weight_map"][entries[i].name] = plan.names[s];
    }
    SafetensorsWriter writer(join_path(folder, plan.names[s]), std::move(part));
    for (size_t i : plan.shards[s]) writer.write(value(i));
    writer.commit();
  }
  if (plan.shards.size() > 1)
    write_file(join_path(folder, "model.safetensors.index.json"), dump_json(index, 2) + "\n");
}

}  // namespace

void make_model(const Device& device, const std::string& config_path, const std::string& out_path,
                uint64_t seed) {
  Json config = read_json(config_path);
  const Blueprint b = read_blueprint(config, config_path);
  const double range = config.value("initializer_range", 0.02);
  const std::vector<Entry> all = entries_of(b, range);
  std::vector<SafetensorsWriter::Entry> entries;
  for (const Entry& e : all) entries.push_back({e.name, b.file_dtype, e.shape});
  OutputDirectory out(out_path);
  write_file(out.file("config.json"), dump_json(config, 2) + "\n");
  write_shards(out.folder(), entries, int64_t{5} << 30, [&](size_t i) {
    const Entry& e = all[i];
    Shape shape;
    shape.rank = static_cast<int>(e.shape.size());
    std::copy(e.shape.begin(), e.shape.end(), shape.d.begin());
    Tensor x = Tensor::empty(device.memory(), shape, DType::f32, Purpose::staging);
    const RngKey key{seed, rng_site(e.name), 0, 0};
    device.stream().pool().parallel_for(x.rows(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t c = 0; c < x.cols(); ++c) {
          const double v =
              e.deviation > 0 ? e.deviation * random_normal(key, r, c) : (e.zero ? 0.0 : 1.0);
          x.data<float>()[r * x.cols() + c] = static_cast<float>(v);
        }
    });
    if (b.file_dtype == DType::f32) return x;
    Tensor y = Tensor::empty(device.memory(), shape, b.file_dtype, Purpose::staging);
    device.kernels().cast(device.stream(), x.rows(), x.cols(), DType::f32, x.raw(), x.pitch(),
                          b.file_dtype, y.raw(), y.pitch());
    return y;
  });
  out.commit();
}

void save_full_model(const Device& device, const std::string& folder, const Model& model,
                     DType dtype, int64_t shard_bytes) {
  Json config = *model.config;
  config.erase("quantization_config");
  for (const char* key : {"dtype", "torch_dtype"})
    if (config.contains(key)) config[key] = config_dtype(dtype);
  if (!config.contains("dtype") && !config.contains("torch_dtype"))
    config["dtype"] = config_dtype(dtype);
  write_file(join_path(folder, "config.json"), dump_json(config, 2) + "\n");
  for (const std::string& name : companion_files(model.directory))
    copy_file(join_path(model.directory, name), join_path(folder, name));
  const std::vector<Parameter*> masters = model.decoder->masters();
  std::vector<SafetensorsWriter::Entry> entries;
  for (const Parameter* p : masters) {
    const Shape& s = p->value.shape();
    entries.push_back({p->name, dtype, {s.d.begin(), s.d.begin() + s.rank}});
  }
  write_shards(folder, entries, shard_bytes, [&](size_t i) {
    const Tensor& x = masters[i]->value;
    if (x.dtype() == dtype) return x;
    Tensor y = Tensor::empty(device.memory(), x.shape(), dtype, Purpose::staging);
    device.kernels().cast(device.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), dtype,
                          y.raw(), y.pitch());
    return y;
  });
}

}  // namespace nibble
