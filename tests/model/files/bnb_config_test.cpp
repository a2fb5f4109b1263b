// quantization_config of config.json: read in full, written as transformers writes it.
#include "model/files/bnb_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "tests/support/data.h"

namespace nibble {
namespace {

Json config_with(const std::string& text) {
  return Json{{"quantization_config", parse_json(text, "test")}};
}

TEST(BnbConfig, WhatTransformersWroteComesBackAsItWas) {
  NIBBLE_REQUIRE_DATA(folder, "golden/quantization/serialization");
  int models = 0;
  const Json list = read_json(folder + "/tiny.json");
  for (const auto& item : list.items()) {
    const std::string path = folder + "/" + item.key() + "/config.json";
    if (!item.value().is_object() || !std::filesystem::exists(path)) continue;
    const Json config = read_json(path);
    const auto bnb = read_bnb_config(config, path);
    ASSERT_TRUE(bnb) << path;
    EXPECT_EQ(dump_json(bnb_config_json(*bnb), 1), dump_json(config.at("quantization_config"), 1));
    Json other = config;
    other.erase("quantization_config");
    set_bnb_config(other, *bnb);
    EXPECT_EQ(dump_json(other, 1), dump_json(config, 1));
    ++models;
  }
  EXPECT_GT(models, 0);
}

TEST(BnbConfig, MissingKeysHaveTransformersDefaults) {
  const auto bnb = read_bnb_config(config_with(R"({"_load_in_4bit": true})"), "c");
  ASSERT_TRUE(bnb);
  EXPECT_TRUE(bnb->four_bit);
  EXPECT_FALSE(bnb->eight_bit);
  EXPECT_EQ(bnb->type, "fp4");
  EXPECT_EQ(bnb->storage, "uint8");
  EXPECT_EQ(bnb->compute_dtype, "float32");
  EXPECT_FALSE(bnb->double_quant);
  EXPECT_EQ(bnb->threshold, 6.0);
  EXPECT_FALSE(bnb->skip);
  EXPECT_FALSE(read_bnb_config(Json::object(), "c"));
  EXPECT_FALSE(read_bnb_config(Json{{"quantization_config", nullptr}}, "c"));
}

TEST(BnbConfig, WhatItCannotMeanIsRefusedByKeyAndValue) {
  const struct {
    const char* text;
    const char* part;
  } kCases[] = {
      {R"({"quant_method": "gptq"})", "gptq"},
      {R"({"load_in_4bit": true, "load_in_8bit": true})", "both true"},
      {R"({"load_in_4bit": false})", "neither"},
      {R"({"load_in_4bit": true, "_load_in_4bit": false})", "_load_in_4bit is false"},
      {R"({"load_in_4bit": 1})", "load_in_4bit is 1"},
      {R"({"load_in_4bit": true, "bnb_4bit_quant_typ": "nf4"})", "'bnb_4bit_quant_typ'"},
      {R"({"load_in_4bit": true, "bnb_4bit_quant_type": "af4"})", "af4"},
      {R"({"load_in_4bit": true, "bnb_4bit_quant_storage": "int64"})", "int64"},
      {R"({"load_in_8bit": true, "llm_int8_threshold": -1})", "llm_int8_threshold is -1"},
      {R"({"load_in_8bit": true, "llm_int8_skip_modules": "lm_head"})", "llm_int8_skip_modules"},
      {R"({"load_in_8bit": true, "llm_int8_has_fp16_weight": true})", "llm_int8_has_fp16_weight"}};
  for (const auto& c : kCases) {
    try {
      read_bnb_config(config_with(c.text), "config.json");
      ADD_FAILURE() << c.text;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(c.part), std::string::npos) << e.what();
      EXPECT_EQ(e.code(), Exit::bad_data);
      EXPECT_FALSE(e.hint().empty());
    }
  }
}

}  // namespace
}  // namespace nibble
