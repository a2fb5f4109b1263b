#include "cli/gguf_facts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/files/gguf.h"

namespace nibble {
namespace {

constexpr size_t kShown = 8;       // elements of a list
constexpr size_t kLongest = 4096;  // bytes of a text

Json text_of(const std::string& s) {
  return s.size() <= kLongest ? Json(s)
                              : Json(cat(s.substr(0, kLongest), "… (", s.size(), " bytes)"));
}

Json element(const GgufValue& v, size_t i) {
  if (v.type == GgufType::string) return text_of(v.strings[i]);
  if (v.type == GgufType::boolean) return v.integers[i] != 0;
  if (v.is_real()) return v.type == GgufType::f32 ? as_decimal(v.reals[i]) : v.reals[i];
  return v.integers[i];
}

Json shown(const GgufValue& v) {
  if (!v.is_array) return element(v, 0);
  Json first = Json::array();
  for (size_t i = 0; i < std::min(v.size(), kShown); ++i) first.push_back(element(v, i));
  if (v.size() <= kShown) return first;
  return {{"type", name_of(v.type)}, {"count", v.size()}, {"first", first}};
}

}  // namespace

Json gguf_facts(const std::string& path) {
  const Gguf file = parse_gguf(InputFile(path));
  Json keys = Json::object();
  for (const auto& [key, value] : file.metadata) keys[key] = shown(value);
  Json tensors = Json::array();
  int64_t bytes = 0;
  for (const GgufTensor& t : file.tensors) {
    tensors.push_back(
        {{"name", t.name}, {"dtype", t.type->name}, {"shape", t.shape}, {"bytes", t.bytes}});
    bytes += t.bytes;
  }
  Json facts = {{"kind", "gguf"}, {"version", file.version}, {"alignment", file.alignment}};
  facts["metadata"] = std::move(keys);
  facts["files"] = {
      {"count", file.tensors.size()}, {"bytes", bytes}, {"tensors", std::move(tensors)}};
  return facts;
}

}  // namespace nibble
