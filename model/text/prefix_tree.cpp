// Breadth first: the keys are sorted, so the children of a node are the runs of equal bytes in its
// range of keys.
#include "model/text/prefix_tree.h"

#include <algorithm>

namespace nibble::text {

namespace {

struct Range {
  size_t begin, end, depth;
  uint32_t node;
};

}  // namespace

void PrefixTree::build(std::vector<std::pair<std::string_view, int32_t>> keys) {
  std::stable_sort(keys.begin(), keys.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  nodes_.assign(1, {});
  std::fill(std::begin(roots_), std::end(roots_), 0);
  std::vector<Range> open = {{0, keys.size(), 0, 0}};
  for (size_t next = 0; next < open.size(); ++next) {
    auto [begin, end, depth, node] = open[next];
    while (begin < end && keys[begin].first.size() == depth) {  // the node itself is a key
      if (depth > 0) nodes_[node].value = keys[begin].second;
      ++begin;
    }
    nodes_[node].first = static_cast<uint32_t>(nodes_.size());
    while (begin < end) {
      const char byte = keys[begin].first[depth];
      size_t stop = begin;
      while (stop < end && keys[stop].first[depth] == byte) ++stop;
      const auto made = static_cast<uint32_t>(nodes_.size());
      Node child;
      child.byte = static_cast<uint8_t>(byte);
      nodes_.push_back(child);
      ++nodes_[node].count;
      if (node == 0) roots_[child.byte] = made;
      open.push_back({begin, stop, depth + 1, made});
      begin = stop;
    }
  }
}

}  // namespace nibble::text
