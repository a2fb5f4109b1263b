// Finds models where the Hub's own tools put them and says what else belongs to a model.
#include "model/files/hf_directory.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "model/files/gguf_model.h"

namespace nibble {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string hub_cache() {
  if (std::string cache = environment("HF_HUB_CACHE"); !cache.empty()) return cache;
  if (std::string home = environment("HF_HOME"); !home.empty()) return join_path(home, "hub");
  return join_path(environment("HOME"), ".cache/huggingface/hub");
}

bool looks_like_hub_id(const std::string& name) {
  if (name.empty() || name[0] == '/' || name[0] == '.') return false;
  return std::count(name.begin(), name.end(), '/') == 1 && name.back() != '/';
}

std::string five_digits(size_t n) {
  std::string digits = std::to_string(n);
  if (digits.size() < 5) digits.insert(0, 5 - digits.size(), '0');
  return digits;
}

// The one GGUF file of a directory that holds no model of another kind, or "".
std::string only_gguf(const std::string& directory) {
  if (exists(join_path(directory, "config.json"))) return "";
  std::string found;
  for (const std::string& name : list_directory(directory)) {
    if (!ends_with(name, ".gguf")) continue;
    if (!found.empty())
      throw UserError(directory, cat("holds more than one GGUF file: ", found, ", ", name),
                      "name the file that is meant", Exit::missing_input);
    found = name;
  }
  return found.empty() ? "" : join_path(directory, found);
}

}  // namespace

std::string resolve_model(const std::string& name) {
  if (is_directory(name)) {
    const std::string gguf = only_gguf(name);
    return gguf.empty() ? name : gguf;
  }
  if (is_gguf(name)) return name;
  if (exists(name))
    throw UserError(name, "is a file, not a model directory", "name the directory that holds it",
                    Exit::missing_input);
  if (!looks_like_hub_id(name))
    throw UserError(name, "no such model directory",
                    "name a Hugging Face directory with config.json and safetensors weights",
                    Exit::missing_input);
  std::string id = name, revision = "main";
  if (size_t at = name.find('@'); at != std::string::npos) {
    id = name.substr(0, at);
    revision = name.substr(at + 1);
  }
  std::string folder = "models--" + id;
  folder.replace(folder.find('/'), 1, "--");
  const std::string repo = join_path(hub_cache(), folder);
  std::string commit = revision;
  if (const std::string ref = join_path(repo, "refs/" + revision); exists(ref))
    commit = std::string(trim(read_file(ref)));
  const std::string snapshot = join_path(repo, "snapshots/" + commit);
  if (is_directory(snapshot)) return snapshot;
  throw UserError(name, cat("is no directory, and the hub cache has no ", snapshot),
                  cat("nibble fetches nothing; download it with: huggingface-cli download ", id),
                  Exit::missing_input);
}

Json read_model_config(const std::string& place, std::string* where) {
  if (is_gguf(place)) {
    if (where != nullptr) *where = place;
    return GgufModel(place).config();
  }
  const std::string path = join_path(place, "config.json");
  if (!exists(path))
    throw UserError(place, "has no config.json", "name a Hugging Face model directory",
                    Exit::missing_input);
  if (where != nullptr) *where = path;
  return read_json(path);
}

std::vector<std::string> companion_files(const std::string& directory) {
  static const char* const kSuffixes[] = {".json", ".model", ".txt", ".jinja"};
  static const char* const kNever[] = {
      "config.json",   "model.safetensors.index.json", "adapter_config.json",
      "manifest.json", "pytorch_model.bin.index.json", "trainer_state.json"};
  std::vector<std::string> names;
  if (!is_directory(directory)) return names;  // a GGUF file travels alone
  for (const std::string& name : list_directory(directory)) {
    if (is_directory(join_path(directory, name))) continue;
    if (std::find(std::begin(kNever), std::end(kNever), name) != std::end(kNever)) continue;
    bool wanted = starts_with(name, "LICENSE") || starts_with(name, "NOTICE");
    for (const char* suffix : kSuffixes) wanted = wanted || ends_with(name, suffix);
    if (wanted) names.push_back(name);
  }
  return names;
}

void copy_file(const std::string& from, const std::string& to) {
  InputFile in(from);
  OutputFile out(to);
  std::string piece(std::min<int64_t>(in.size(), 8 << 20), '\0');
  for (int64_t at = 0; at < in.size(); at += static_cast<int64_t>(piece.size())) {
    const int64_t n = std::min<int64_t>(static_cast<int64_t>(piece.size()), in.size() - at);
    in.read(at, piece.data(), n);
    out.write(piece.data(), n);
  }
  out.commit();
}

ShardPlan plan_shards(const std::vector<int64_t>& bytes, int64_t shard_bytes) {
  ShardPlan plan;
  int64_t used = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (plan.shards.empty() || (used > 0 && used + bytes[i] > shard_bytes)) {
      plan.shards.emplace_back();
      used = 0;
    }
    plan.shards.back().push_back(i);
    used += bytes[i];
  }
  if (plan.shards.empty()) plan.shards.emplace_back();
  const size_t n = plan.shards.size();
  for (size_t i = 0; i < n; ++i) {
    if (n == 1) {
      plan.names.emplace_back("model.safetensors");
      continue;
    }
    plan.names.push_back(cat("model-", five_digits(i + 1), "-of-", five_digits(n), ".safetensors"));
  }
  return plan;
}

}  // namespace nibble
