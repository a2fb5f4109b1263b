// The vectors of the quant tests: the part in the tree always, the whole set where
// NIBBLE_TEST_DATA has it; and small tools to look at tensors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "quant/weight.h"
#include "tests/support/data.h"
#include "tests/support/safetensors_lite.h"

namespace nibble::testing {

using Tensors = std::map<std::string, Tensor>;

inline Device& device() {
  static Device cpu = Device::cpu(2);
  return cpu;
}

// Paths of the .safetensors files of `folder` (a path), sorted.
inline std::vector<std::string> vectors_in(const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

inline std::string stem(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

inline nlohmann::json read_json_file(const std::string& path) {
  std::ifstream in(path);
  return nlohmann::json::parse(in);
}

// What a safetensors file says about itself.
inline std::map<std::string, std::string> metadata_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  uint64_t bytes = 0;
  in.read(reinterpret_cast<char*>(&bytes), sizeof bytes);
  std::string header(bytes, ' ');
  in.read(header.data(), static_cast<std::streamsize>(bytes));
  return nlohmann::json::parse(header).at("__metadata__");
}

// {"a.b.in", "a.b.absmax"} by what precedes the last dot; no dot: one group named "".
inline std::map<std::string, Tensors> groups_of(const Tensors& all) {
  std::map<std::string, Tensors> groups;
  for (const auto& [name, tensor] : all) {
    const size_t dot = name.rfind('.');
    const bool none = dot == std::string::npos;
    groups[none ? "" : name.substr(0, dot)][none ? name : name.substr(dot + 1)] = tensor;
  }
  return groups;
}

// What the cases.json of a folder of vectors lists. "file" is the name of a file, or of a file and
// one of its groups: "edges:nf4.denormal".
struct GoldenCase {
  std::string name;  // as listed
  nlohmann::json facts;
  Tensors tensors;
};

// Calls test(case) for every case that has `key`, and checks that each .safetensors file of the
// folder is either one of theirs or one of `others`, which have tests of their own.
template <class Test>
void for_each_case(const std::string& folder, const std::string& key,
                   const std::set<std::string>& others, const Test& test) {
  std::set<std::string> files = others;
  const nlohmann::json listed = read_json_file(folder + "/cases.json");
  ASSERT_FALSE(listed.at("cases").empty());
  for (const auto& facts : listed.at("cases")) {
    if (!facts.contains(key)) continue;
    GoldenCase c{facts.at("file").get<std::string>(), facts, {}};
    const size_t colon = c.name.find(':');
    const std::string file = c.name.substr(0, colon);
    files.insert(file);
    c.tensors = groups_of(read_safetensors(folder + "/" + file + ".safetensors"))
                    .at(colon == std::string::npos ? "" : c.name.substr(colon + 1));
    SCOPED_TRACE(c.name);
    test(c);
  }
  for (const std::string& path : vectors_in(folder)) {
    EXPECT_EQ(files.count(stem(path)), 1u) << path << " is in no case";
  }
}

inline Tensor new_tensor(Shape shape, DType dtype) {
  return Tensor::zeros(device().memory(), shape, dtype, Purpose::scratch);
}

inline Tensor copy_of(const Tensor& t) {
  Tensor copy = new_tensor(t.shape(), t.dtype());
  if (t.bytes() > 0) std::memcpy(copy.raw(), t.raw(), static_cast<size_t>(t.bytes()));
  return copy;
}

inline Tensor flat(const Tensor& t) { return t.reshape({t.numel()}); }
inline Tensor one_row(const Tensor& t) { return t.reshape({1, t.numel()}); }

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0);
}

// Any dtype as fp64, by bit arithmetic of the test's own.
inline double value_at(const Tensor& t, int64_t i) {
  const auto from_bits = [](uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return static_cast<double>(value);
  };
  switch (t.dtype()) {
    case DType::f32:
      return t.data<float>()[i];
    case DType::u8:
      return t.data<uint8_t>()[i];
    case DType::bf16:
      return from_bits(static_cast<uint32_t>(t.data<uint16_t>()[i]) << 16);
    case DType::f16: {
      const uint32_t h = t.data<uint16_t>()[i], exponent = (h >> 10) & 31, fraction = h & 1023;
      const double magnitude = exponent == 31 ? (fraction ? NAN : INFINITY)
                               : exponent == 0
                                   ? std::ldexp(fraction, -24)
                                   : std::ldexp(1024 + fraction, static_cast<int>(exponent) - 25);
      return (h & 0x8000) ? -magnitude : magnitude;
    }
    default:
      ADD_FAILURE() << "value_at: " << name_of(t.dtype());
      return 0;
  }
}

// First index where the values differ (0 and -0 do not, nor do two NaNs), or -1.
inline int64_t first_difference(const Tensor& a, const Tensor& b) {
  if (a.numel() != b.numel()) return 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = value_at(a, i), y = value_at(b, i);
    if (x != y && !(std::isnan(x) && std::isnan(y))) return i;
  }
  return -1;
}

}  // namespace nibble::testing
