// The merge loop. Short words scan for the best pair; long pieces keep a heap whose stale entries
// are recognized by their length, so that a megabyte of one character stays O(n log n).
#pragma once

#include <algorithm>

namespace nibble::text {

template <class Rank>
void merge_symbols(std::vector<Symbol>& symbols, std::vector<Candidate>& heap, const Rank& rank) {
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  heap.clear();
  const auto candidate = [&](int32_t left, Candidate& c) {
    if (left < 0 || symbols[left].next < 0) return false;
    const Symbol& a = symbols[left];
    const Symbol& b = symbols[a.next];
    if (!rank(a, b, c)) return false;
    c.left = left;
    c.bytes = a.bytes + b.bytes;
    return true;
  };
  const auto merge = [&](const Candidate& c) {
    Symbol& a = symbols[c.left];
    Symbol& b = symbols[a.next];
    a.id = c.id;
    a.bytes += b.bytes;
    a.next = b.next;
    b.bytes = 0;
    if (a.next >= 0) symbols[a.next].previous = c.left;
  };

  Candidate c;
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    if (candidate(static_cast<int32_t>(i), c)) heap.push_back(c);
  }
  constexpr size_t kScan = 24;  // up to this many symbols a scan beats a heap
  const bool scan = symbols.size() <= kScan;
  if (!scan) std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    Candidate top;
    if (scan) {
      const auto best = std::max_element(heap.begin(), heap.end(), later);
      top = *best;
      *best = heap.back();
      heap.pop_back();
    } else {
      std::pop_heap(heap.begin(), heap.end(), later);
      top = heap.back();
      heap.pop_back();
    }
    const Symbol& a = symbols[top.left];
    if (a.bytes == 0 || a.next < 0 || a.bytes + symbols[a.next].bytes != top.bytes) continue;
    merge(top);
    for (const int32_t left : {symbols[top.left].previous, top.left}) {
      if (!candidate(left, c)) continue;
      heap.push_back(c);
      if (!scan) std::push_heap(heap.begin(), heap.end(), later);
    }
  }
}

}  // namespace nibble::text
