#include "model/files/shards.h"

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/json.h"
#include "model/files/hf_directory.h"

namespace nibble {

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

}  // namespace nibble
