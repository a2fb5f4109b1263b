// A number format is a rule: how wide a code is, what each code means, and which code a value gets.
// Kernels see tables and thresholds only; the names live here and in files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/table.h"

namespace nibble {

enum class Format : uint8_t {
#define FORMAT(name) name,
#include "quant/formats.def"
#undef FORMAT
};

// Blocks as GGUF files have them: they stay in memory as they are on file.
struct BlockRule {
  BlockCode code = BlockCode::q8_0;
  int64_t elements = 32;  // of a row that one block holds
  int64_t bytes = 0;      // of a block
  // One block of finite values; false when a scale does not fit an f16.
  bool (*encode)(const float* x, uint8_t* block) = nullptr;
};

// Dense formats have only `dtype`; one of `rows` has signed bytes and a scale a row. A coded one
// takes the code order[i] when its scaled value
// x × (1/absmax) lies in interval i of 15 ascending thresholds (strict > moves up).
struct FormatRule {
  const char* name = "";     // in recipes, flags and files
  const char* summary = "";  // one line of help
  bool coded = false;        // codes of the table below, apart from their scales
  bool rows = false;         // 8-bit integers, a scale a row (WeightKind::rows8)
  DType dtype = DType::f32;  // dense only
  std::optional<BlockRule> blocks;
  int bits = 0;  // of one code or value
  float table[16] = {};
  float thresholds[15] = {};
  uint8_t order[16] = {};
  uint8_t code_of_zero = 0;     // of x = 0 in a block that has other values; also the padding
  uint8_t zero_block_code = 0;  // of every element when the whole block is zero
};

const FormatRule& rule_of(Format format);
inline const char* name_of(Format format) { return rule_of(format).name; }
std::optional<Format> format_named(std::string_view name);
std::vector<std::string> format_names();
inline bool is_dense(Format format) {
  const FormatRule& rule = rule_of(format);
  return !rule.coded && !rule.blocks && !rule.rows;
}
Format dense_format(DType dtype);  // f32, bf16 or f16; another dtype is our bug

}  // namespace nibble
