// The compute type, in nibble's word (dtype) or in transformers' and axolotl's (bf16, fp16).
#include "trainer/recipe.h"

namespace nibble {

void Recipe::declare_precision(Settings& s) {
  s.field("bf16", bf16, "true, auto: dtype: bf16; false alone: dtype: f32")
      .choices({"true", "auto", "full", "false"});
  s.field("fp16", fp16, "dtype: f16");
}

void Recipe::precision_contradictions(Settings& s) {
  const bool wants_bf16 = s.given("bf16") && bf16 != "false";
  if (wants_bf16 && fp16) s.error(s.where("fp16"), "'bf16' and 'fp16' are both on", "keep one");
  const auto agrees = [&](const char* key, bool on, const char* word, const char* full_word) {
    if (on && s.given("dtype") && dtype != word && dtype != full_word)
      s.error(s.where(key), cat("'", key, "' contradicts dtype: ", dtype), "keep one of the two");
  };
  agrees("bf16", wants_bf16, "bf16", "bfloat16");
  agrees("fp16", fp16, "f16", dtype == "fp16" ? "fp16" : "float16");
}

// One spelling from here on.
void Recipe::settle_precision(const Settings& s) {
  if (dtype == "float32") dtype = "f32";
  if (dtype == "bfloat16") dtype = "bf16";
  if (dtype == "float16" || dtype == "fp16") dtype = "f16";
  if (master_dtype == "float32") master_dtype = "f32";
  if (master_dtype == "bfloat16") master_dtype = "bf16";
  if (s.given("dtype")) return;
  if (fp16) dtype = "f16";
  if (s.given("bf16") && !fp16) dtype = bf16 == "false" ? "f32" : "bf16";
}

DType Recipe::compute() const {
  if (dtype == "f32") return DType::f32;
  return dtype == "f16" ? DType::f16 : DType::bf16;
}

}  // namespace nibble
