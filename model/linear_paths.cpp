#include "model/linear_paths.h"

namespace nibble {

std::vector<LinearPath> linear_paths(const Blueprint& b) {
  std::vector<LinearPath> all;
  for (int64_t i = 0; i < b.layers; ++i)
    for (const LinearSpec& spec : layer_linears(b))
      all.push_back({b.layer_path(i, spec.part), spec.out, spec.in});
  return all;
}

std::vector<LinearPath> modules_of(const Blueprint& b) {
  std::vector<LinearPath> all = linear_paths(b);
  if (!b.names.pooler.empty()) all.push_back({b.names.pooler, b.hidden, b.hidden});
  all.push_back({b.names.embedding, b.vocab, b.hidden});
  if (!b.encoder) all.push_back({b.names.head, b.vocab, b.hidden});
  return all;
}

bool is_projection(const Blueprint& b, const std::string& path) {
  return path != b.names.embedding && path != b.names.head && path != b.names.pooler;
}

std::vector<std::string> module_paths(const Blueprint& b) {
  std::vector<std::string> paths;
  for (const LinearPath& p : modules_of(b)) paths.push_back(p.path);
  return paths;
}

std::optional<QuantSpec> planned_spec(const QuantPlan& plan, const Blueprint& b,
                                      const std::string& path, bool prequantized) {
  const bool table = path == b.names.embedding;
  const QuantRule* rule = plan.rule_for(path);
  if (rule == nullptr && table && b.tied) rule = plan.rule_for(b.names.head);
  if (rule != nullptr) return rule->spec;
  if (prequantized) return std::nullopt;
  return plan.spec_for(path, table                  ? Part::embedding
                             : path == b.names.head ? Part::head
                                                    : Part::linear);
}

}  // namespace nibble
