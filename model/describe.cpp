#include "model/describe.h"

#include <cstdio>
#include <map>

#include "base/errors.h"

namespace nibble {
namespace {

std::string activation_name(Activation a) {
  switch (a) {
    case Activation::silu:
      return "SiLU";
    case Activation::gelu:
      return "GELU";
    case Activation::gelu_tanh:
      return "GELU (tanh)";
    case Activation::relu:
      return "ReLU";
    case Activation::relu2:
      return "ReLU²";
  }
  return "";
}

// Four digits: these are for reading.
std::string number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", x);
  return text;
}

std::string size_words(const Blueprint& b) {
  return cat(human_count(b.parameters()), " parameters: ", b.layers, " layers of width ", b.hidden,
             ", vocabulary ", human_count(b.vocab), ", ", torch_name(b.file_dtype), " on file");
}

std::string attention_words(const Blueprint& b) {
  std::string text =
      cat(b.heads, " heads on ", b.kv_heads, " key heads of ", b.head_dim, " columns");
  if (b.qkv == QkvLayout::stacked) text += ", q|k|v in one matrix";
  if (b.qkv == QkvLayout::by_head) text += ", q|k|v head by head in one matrix";
  if (b.attention_bias) text += b.attention_out_bias ? ", biases" : ", biases on q, k and v";
  if (b.attention_scale != 0) text += cat(", scores × ", number(b.attention_scale));
  if (b.attention_cap != 0) text += cat(", scores capped at ", b.attention_cap);
  const char* const norms[] = {"", "q and k normalised over the row", "q and k normalised per head",
                               "q and k normalised per head with own weights"};
  if (b.qk_norm != QkNorm::none) text += cat(", ", norms[static_cast<size_t>(b.qk_norm)]);
  return text;
}

std::string mask_words(const Blueprint& b) {
  if (!b.causal) return "none: every token sees its whole text";
  std::map<int64_t, std::vector<bool>> by_window;
  for (size_t i = 0; i < b.layer.size(); ++i)
    by_window.try_emplace(b.layer[i].window, b.layer.size()).first->second[i] = true;
  std::string text;
  for (const auto& [window, layers] : by_window) {
    if (!text.empty()) text += "; ";
    text += window == 0 ? "all before: layers " : cat("window of ", window, ": layers ");
    text += layer_list(layers);
  }
  return text;
}

std::string rope_words(const RopeBlueprint& r, int64_t head_dim) {
  std::string text = cat("base ", r.theta);
  if (r.rotary != head_dim) text += cat(", ", r.rotary, " of ", head_dim, " columns");
  if (r.interleaved) text += ", neighbouring pairs";
  if (r.scaling == RopeScaling::none) return text;
  text += cat(", ", name_of(r.scaling), " × ", number(r.factor));
  if (r.scaling != RopeScaling::linear) text += cat(" from ", r.original_positions, " positions");
  return text;
}

std::string position_words(const Blueprint& b) {
  if (b.positions == Positions::learned) return cat("learned, ", b.max_positions, " of them");
  std::string text = "rotary";
  for (int kind = 0; kind < static_cast<int>(b.ropes.size()); ++kind) {
    std::vector<bool> layers(b.layer.size());
    bool any = false;
    for (size_t i = 0; i < layers.size(); ++i) any |= layers[i] = b.layer[i].rope == kind;
    if (!any) continue;
    text +=
        cat(kind == 0 ? ": " : "; ", rope_words(b.ropes[static_cast<size_t>(kind)], b.head_dim));
    if (b.ropes.size() > 1) text += cat(" (layers ", layer_list(layers), ")");
  }
  std::vector<bool> without(b.layer.size());
  bool any = false;
  for (size_t i = 0; i < without.size(); ++i) any |= without[i] = b.layer[i].rope < 0;
  if (any) text += cat("; none in layers ", layer_list(without));
  return text + cat("; up to ", human_count(b.max_positions), " positions");
}

std::string norm_words(const Blueprint& b) {
  std::string text = b.norm == NormKind::rms ? "RMSNorm" : "LayerNorm";
  if (b.norm_bias) text += " with bias";
  if (b.norm_offset != 0) text += " (1 + w)";
  const std::pair<NormRole, const char*> places[] = {
      {NormRole::attention_in, "before attention"},  {NormRole::attention_out, "behind attention"},
      {NormRole::attention_after, "behind its sum"}, {NormRole::mlp_in, "before the MLP"},
      {NormRole::mlp_out, "behind the MLP"},         {NormRole::mlp_after, "behind its sum"}};
  std::vector<std::string> where;
  for (const auto& [role, words] : places)
    if (!b.names[role].empty()) where.emplace_back(words);
  return cat(text, ", eps ", b.norm_eps, ": ", join(where, ", "));
}

std::string mlp_words(const Blueprint& b) {
  std::string text = cat("width ", b.intermediate, ", ", activation_name(b.activation));
  if (b.mlp != MlpKind::plain) text += ", gated";
  if (b.mlp == MlpKind::gated_fused) text += ", gate|up in one matrix";
  if (b.mlp_bias) text += ", biases";
  if (b.parallel) text += ", beside attention";
  return text;
}

std::string scale_words(const Blueprint& b) {
  std::vector<std::string> all;
  if (b.embedding_scale != 1) all.push_back(cat("embeddings × ", number(b.embedding_scale)));
  if (b.residual_scale != 1) all.push_back(cat("branches × ", number(b.residual_scale)));
  if (b.logits.scale != 1) all.push_back(cat("logits × ", number(b.logits.scale)));
  if (b.logits.cap != 0) all.push_back(cat("logits capped at ", b.logits.cap));
  return join(all, ", ");
}

}  // namespace

std::string layer_list(const std::vector<bool>& layers) {
  std::vector<std::string> parts;
  size_t count = 0;
  for (size_t i = 0; i < layers.size();) {
    if (!layers[i]) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < layers.size() && layers[end]) ++end;
    count += end - i;
    parts.push_back(end - i == 1 ? cat(i) : cat(i, "-", end - 1));
    i = end;
  }
  if (count == layers.size()) return "all";
  return parts.empty() ? "none" : join(parts, " ");
}

std::vector<std::pair<std::string, std::string>> describe(const Blueprint& b) {
  std::string head = b.encoder ? "none: an encoder, for embeddings"
                     : b.tied  ? "the embedding (tied)"
                               : "of its own";
  if (b.head_bias) head += ", with bias";
  std::vector<std::pair<std::string, std::string>> all = {{"family", b.family},
                                                          {"size", size_words(b)},
                                                          {"attention", attention_words(b)},
                                                          {"mask", mask_words(b)},
                                                          {"positions", position_words(b)},
                                                          {"norms", norm_words(b)},
                                                          {"mlp", mlp_words(b)},
                                                          {"head", head}};
  if (const std::string scales = scale_words(b); !scales.empty())
    all.emplace_back("scales", scales);
  if (b.transposed) all.emplace_back("files", "weights lie (in, out)");
  return all;
}

}  // namespace nibble
