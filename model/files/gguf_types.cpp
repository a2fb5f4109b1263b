// Every way of storing numbers that GGUF has a number for, whether nibble reads it or names it when
// it refuses.
#include <algorithm>
#include <cctype>

#include "model/files/gguf.h"

namespace nibble {
namespace {

const GgufTensorType kTypes[] = {
    {0, "F32", 1, 4, DType::f32, {}},
    {1, "F16", 1, 2, DType::f16, {}},
    {2, "Q4_0", 32, 18, {}, Format::q4_0},
    {3, "Q4_1", 32, 20, {}, Format::q4_1},
    {6, "Q5_0", 32, 22, {}, Format::q5_0},
    {7, "Q5_1", 32, 24, {}, Format::q5_1},
    {8, "Q8_0", 32, 34, {}, Format::q8_0},
    {9, "Q8_1", 32, 40, {}, {}},
    {10, "Q2_K", 256, 84, {}, {}},
    {11, "Q3_K", 256, 110, {}, {}},
    {12, "Q4_K", 256, 144, {}, Format::q4_k},
    {13, "Q5_K", 256, 176, {}, Format::q5_k},
    {14, "Q6_K", 256, 210, {}, Format::q6_k},
    {15, "Q8_K", 256, 292, {}, {}},
    {16, "IQ2_XXS", 256, 66, {}, {}},
    {17, "IQ2_XS", 256, 74, {}, {}},
    {18, "IQ3_XXS", 256, 98, {}, {}},
    {19, "IQ1_S", 256, 50, {}, {}},
    {20, "IQ4_NL", 32, 18, {}, {}},
    {21, "IQ3_S", 256, 110, {}, {}},
    {22, "IQ2_S", 256, 82, {}, {}},
    {23, "IQ4_XS", 256, 136, {}, {}},
    {24, "I8", 1, 1, {}, {}},
    {25, "I16", 1, 2, {}, {}},
    {26, "I32", 1, 4, {}, {}},
    {27, "I64", 1, 8, {}, {}},
    {28, "F64", 1, 8, {}, {}},
    {29, "IQ1_M", 256, 56, {}, {}},
    {30, "BF16", 1, 2, DType::bf16, {}},
    {34, "TQ1_0", 256, 54, {}, {}},
    {35, "TQ2_0", 256, 66, {}, {}},
    {39, "MXFP4", 32, 17, {}, {}},
    {40, "NVFP4", 64, 36, {}, {}},
    {41, "Q1_0", 128, 18, {}, {}},
};

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::toupper(x) == std::toupper(y);
  });
}

}  // namespace

const GgufTensorType* find_gguf_type(uint32_t id) {
  for (const GgufTensorType& type : kTypes)
    if (type.id == id) return &type;
  return nullptr;
}

const GgufTensorType* find_gguf_type(std::string_view name) {
  for (const GgufTensorType& type : kTypes)
    if (same_word(type.name, name)) return &type;
  return nullptr;
}

std::vector<std::string> readable_gguf_types() {
  std::vector<std::string> names;
  for (const GgufTensorType& type : kTypes)
    if (type.readable()) names.emplace_back(type.name);
  return names;
}

}  // namespace nibble
