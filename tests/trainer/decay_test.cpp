// Which parameters weight decay shrinks: what transformers' Trainer decays, in every family.
#include <regex>

#include "tests/support/family_configs.h"
#include "tests/support/model_data.h"

namespace nibble {
namespace {

using testing::TemporaryFolder;
using testing::write_text;

std::vector<Parameter*> parameters_of(const Device& device, const TemporaryFolder& folder,
                                      const testing::FamilyConfig& family, Model& model) {
  write_text(folder / "config.json", testing::family_config(family));
  make_model(device, folder / "config.json", folder / "base", 3);
  LoadOptions options = testing::in_f32();
  options.train_all = true;
  options.encoder = true;
  model = load_model(device, folder / "base", options);
  return model.decoder->parameters();
}

TEST(Decay, IsOfMatricesAndTablesNeverOfBiasesAndNorms) {
  const Device device = Device::cpu(1);
  // get_decay_parameter_names of transformers 5.23, and the names of LayerNorms, which it tells by
  // their class.
  const std::regex forbidden(
      "bias|layernorm|rmsnorm|(?:^|\\.)norm(?:$|\\.)|_norm(?:$|\\.)|(?:^|\\.)ln_|LayerNorm");
  int64_t decays = 0, not_decayed = 0;
  for (const testing::FamilyConfig& family : testing::family_configs()) {
    if (family.model_type == "stablelm" && family.keys.find("qk_layernorm") != std::string::npos)
      continue;  // cannot be trained in full
    const TemporaryFolder folder;
    Model model;
    for (const Parameter* p : parameters_of(device, folder, family, model)) {
      EXPECT_EQ(p->decays, !std::regex_search(p->name, forbidden)) << family.name << " " << p->name;
      ++(p->decays ? decays : not_decayed);
    }
  }
  EXPECT_GT(decays, 100);
  EXPECT_GT(not_decayed, 100);
}

TEST(Decay, OfAQwen2IsThisList) {
  const Device device = Device::cpu(1);
  for (const testing::FamilyConfig& family : testing::family_configs()) {
    if (family.name != "qwen2") continue;
    const TemporaryFolder folder;
    Model model;
    std::vector<std::string> decaying;
    for (const Parameter* p : parameters_of(device, folder, family, model))
      if (p->decays && p->name.find("layers.1.") == std::string::npos) decaying.push_back(p->name);
    std::sort(decaying.begin(), decaying.end());
    EXPECT_EQ(
        decaying,
        (std::vector<std::string>{
            "lm_head.weight", "model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight",
            "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight",
            "model.layers.0.self_attn.k_proj.weight", "model.layers.0.self_attn.o_proj.weight",
            "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight"}));
  }
}

}  // namespace
}  // namespace nibble
