#include "model/linear_paths.h"

namespace nibble {

std::vector<LinearPath> linear_paths(const Blueprint& b) {
  const int64_t q = b.heads * b.head_dim, kv = b.kv_heads * b.head_dim;
  const auto& n = b.names;
  std::vector<LinearPath> all;
  for (int64_t i = 0; i < b.layers; ++i) {
    all.push_back({b.layer_path(i, n.q), q, b.hidden});
    all.push_back({b.layer_path(i, n.k), kv, b.hidden});
    all.push_back({b.layer_path(i, n.v), kv, b.hidden});
    all.push_back({b.layer_path(i, n.o), b.hidden, q});
    all.push_back({b.layer_path(i, n.gate), b.intermediate, b.hidden});
    all.push_back({b.layer_path(i, n.up), b.intermediate, b.hidden});
    all.push_back({b.layer_path(i, n.down), b.hidden, b.intermediate});
  }
  return all;
}

}  // namespace nibble
