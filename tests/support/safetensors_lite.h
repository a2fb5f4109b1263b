// Just enough safetensors to read test vectors, independent of the reader under test.
#pragma once

#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace nibble::testing {

inline DType lite_dtype(const std::string& name) {
  static const std::map<std::string, DType> kNames = {
      {"F32", DType::f32},     {"F64", DType::f64}, {"BF16", DType::bf16}, {"F16", DType::f16},
      {"U8", DType::u8},       {"I8", DType::i8},   {"I16", DType::i16},   {"I32", DType::i32},
      {"I64", DType::i64},     {"U16", DType::u16}, {"U32", DType::u32},   {"U64", DType::u64},
      {"BOOL", DType::boolean}};
  return kNames.at(name);
}

// Every tensor of a file; each owns its bytes.
inline std::map<std::string, Tensor> read_safetensors(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  uint64_t header_bytes = 0;
  in.read(reinterpret_cast<char*>(&header_bytes), sizeof header_bytes);
  if (!in || header_bytes > 100u << 20) throw std::runtime_error("no safetensors file: " + path);
  std::string header(header_bytes, ' ');
  in.read(header.data(), static_cast<std::streamsize>(header_bytes));
  std::map<std::string, Tensor> out;
  const nlohmann::json json = nlohmann::json::parse(header);
  for (const auto& entry : json.items()) {
    if (entry.key() == "__metadata__") continue;
    const auto offsets = entry.value().at("data_offsets").get<std::vector<uint64_t>>();
    auto bytes = std::make_shared<std::vector<uint64_t>>((offsets.at(1) - offsets.at(0)) / 8 + 1);
    in.seekg(static_cast<std::streamoff>(8 + header_bytes + offsets[0]));
    in.read(reinterpret_cast<char*>(bytes->data()),
            static_cast<std::streamsize>(offsets[1] - offsets[0]));
    if (!in) throw std::runtime_error("truncated: " + path);
    Shape shape;
    for (const auto& n : entry.value().at("shape")) {
      shape.d.at(static_cast<size_t>(shape.rank++)) = n.get<int64_t>();
    }
    const DType dtype = lite_dtype(entry.value().at("dtype").get<std::string>());
    check_eq(shape.numel() * size_of(dtype), static_cast<int64_t>(offsets[1] - offsets[0]),
             "bytes of " + entry.key());
    void* data = bytes->data();
    out.emplace(entry.key(), Tensor::wrap(data, shape, dtype, std::move(bytes)));
  }
  return out;
}

}  // namespace nibble::testing
