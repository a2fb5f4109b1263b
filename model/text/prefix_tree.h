// All tokens of a vocabulary that begin at one place of a text, in one walk. Built once; the
// children of a node lie side by side, so that a walk touches little memory.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace nibble::text {

class PrefixTree {
 public:
  // Keys may repeat: the last one stands. Empty keys are left out.
  void build(std::vector<std::pair<std::string_view, int32_t>> keys);

  // Calls visit(bytes, value) for every key that is a prefix of text[at…], the shortest first.
  template <class Visit>
  void walk(std::string_view text, size_t at, const Visit& visit) const {
    if (nodes_.empty()) return;
    uint32_t node = 0;
    for (size_t i = at; i < text.size(); ++i) {
      node = child(node, static_cast<uint8_t>(text[i]));
      if (node == 0) return;
      if (nodes_[node].value >= 0) visit(i + 1 - at, nodes_[node].value);
    }
  }
  // Bytes of the longest key at `at` and its value; 0 bytes for none.
  std::pair<size_t, int32_t> longest(std::string_view text, size_t at) const {
    std::pair<size_t, int32_t> best{0, -1};
    walk(text, at, [&](size_t bytes, int32_t value) { best = {bytes, value}; });
    return best;
  }

 private:
  struct Node {
    uint32_t first = 0;  // its children: nodes_[first, first + count), sorted by byte
    uint16_t count = 0;
    uint8_t byte = 0;
    int32_t value = -1;
  };
  uint32_t child(uint32_t node, uint8_t byte) const {
    if (node == 0) return roots_[byte];
    const uint32_t begin = nodes_[node].first, end = begin + nodes_[node].count;
    for (uint32_t at = begin; at < end; ++at) {
      if (nodes_[at].byte >= byte) return nodes_[at].byte == byte ? at : 0;
    }
    return 0;
  }

  std::vector<Node> nodes_;
  uint32_t roots_[256] = {};
};

}  // namespace nibble::text
