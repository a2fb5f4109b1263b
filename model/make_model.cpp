// Random weights for a config.json, and the writing of whole models: the two ways an HF directory
// of nibble's own comes to be.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "base/random.h"
#include "model/expected_tensors.h"
#include "model/files/hf_directory.h"
#include "model/files/safetensors.h"
#include "model/files/shards.h"
#include "model/model.h"
#include "model/transposed.h"

namespace nibble {
namespace {

const char* config_dtype(DType t) { return torch_name(t); }

}  // namespace

void make_model(const Device& device, const std::string& config_path, const std::string& out_path,
                uint64_t seed) {
  Json config = read_json(config_path);
  const Blueprint b = read_blueprint(config, config_path);
  const double range = config.value("initializer_range", 0.02);
  const std::vector<ExpectedTensor> all = expected_tensors(b);
  std::vector<SafetensorsWriter::Entry> entries;
  for (const ExpectedTensor& e : all) entries.push_back({e.name, b.file_dtype, e.shape});
  OutputDirectory out(out_path);
  write_file(out.file("config.json"), dump_json(config, 2) + "\n");
  write_shards(out.folder(), entries, int64_t{5} << 30, [&](size_t i) {
    const ExpectedTensor& e = all[i];
    using Kind = ExpectedTensor::Kind;
    const bool random = e.kind == Kind::matrix || e.kind == Kind::table;
    // A norm that adds its offset begins at 0.
    const double constant = e.kind == Kind::norm && b.norm_offset == 0 ? 1 : 0;
    Shape shape;
    shape.rank = static_cast<int>(e.shape.size());
    std::copy(e.shape.begin(), e.shape.end(), shape.d.begin());
    Tensor x = Tensor::empty(device.memory(), shape, DType::f32, Purpose::staging);
    const RngKey key{seed, rng_site(e.name), 0, 0};
    device.stream().pool().parallel_for(x.rows(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t c = 0; c < x.cols(); ++c) {
          const double v = random ? range * random_normal(key, r, c) : constant;
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
  std::set<const Parameter*> turned;  // lie (in, out) on file
  if (model.decoder->blueprint().transposed)
    for (const Linear* linear : std::as_const(*model.decoder).linears())
      turned.insert(linear->trained().get());
  std::vector<SafetensorsWriter::Entry> entries;
  for (const Parameter* p : masters) {
    const Shape& s = p->value.shape();
    std::vector<int64_t> shape(s.d.begin(), s.d.begin() + s.rank);
    if (turned.count(p) != 0) std::reverse(shape.begin(), shape.end());
    entries.push_back({p->name, dtype, std::move(shape)});
  }
  write_shards(folder, entries, shard_bytes, [&](size_t i) {
    Tensor x = masters[i]->value;
    if (turned.count(masters[i]) != 0) x = transposed(device, x, Purpose::staging);
    if (x.dtype() == dtype) return x;
    Tensor y = Tensor::empty(device.memory(), x.shape(), dtype, Purpose::staging);
    device.kernels().cast(device.stream(), x.rows(), x.cols(), x.dtype(), x.raw(), x.pitch(), dtype,
                          y.raw(), y.pitch());
    return y;
  });
}

}  // namespace nibble
