// The merge loop. Short words scan an array of ranks for the best pair; long pieces keep a heap
// whose stale entries are recognized by their length, so that a megabyte of one character stays
// O(n log n).
#pragma once

#include <algorithm>

namespace nibble::text {

namespace merging {

// Joins the symbol at `left` and its right neighbour.
inline void join(std::vector<Symbol>& symbols, int32_t left, int32_t id) {
  Symbol& a = symbols[left];
  Symbol& b = symbols[a.next];
  a.id = id;
  a.bytes += b.bytes;
  a.next = b.next;
  b.bytes = 0;
  if (a.next >= 0) symbols[a.next].previous = left;
}

constexpr int32_t kScan = 32;  // up to this many symbols a scan beats a heap

template <class Find>
void merge_short(SubwordScratch& scratch, const Find& find) {
  std::vector<Symbol>& symbols = scratch.symbols;
  const auto n = static_cast<int32_t>(symbols.size());
  uint32_t ranks[kScan];  // of the pair that begins at this symbol
  int32_t ids[kScan];
  const auto look = [&](int32_t left) {
    const int32_t right = symbols[left].next;
    const MergeTable::Merge m =
        right < 0 ? MergeTable::Merge() : find(symbols[left], symbols[right]);
    ranks[left] = m.rank;
    ids[left] = m.id;
    ++scratch.work;
  };
  for (int32_t i = 0; i < n; ++i) look(i);
  while (true) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; ++i) best = ranks[i] < ranks[best] ? i : best;
    if (ranks[best] == MergeTable::kNever) return;
    ranks[symbols[best].next] = MergeTable::kNever;
    join(symbols, best, ids[best]);
    look(best);
    if (symbols[best].previous >= 0) look(symbols[best].previous);
  }
}

template <class Find>
void merge_long(SubwordScratch& scratch, const Find& find) {
  std::vector<Symbol>& symbols = scratch.symbols;
  std::vector<Candidate>& heap = scratch.heap;
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  const auto look = [&](int32_t left) {
    ++scratch.work;
    if (left < 0 || symbols[left].next < 0) return false;
    const Symbol& a = symbols[left];
    const Symbol& b = symbols[a.next];
    const MergeTable::Merge m = find(a, b);
    if (m.rank == MergeTable::kNever) return false;
    heap.push_back({m.rank, left, m.id, a.bytes + b.bytes});
    return true;
  };
  heap.clear();
  for (size_t i = 0; i + 1 < symbols.size(); ++i) look(static_cast<int32_t>(i));
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Candidate top = heap.back();
    heap.pop_back();
    const Symbol& a = symbols[top.left];
    if (a.bytes == 0 || a.next < 0 || a.bytes + symbols[a.next].bytes != top.bytes) continue;
    join(symbols, top.left, top.id);
    for (const int32_t left : {a.previous, top.left}) {
      if (look(left)) std::push_heap(heap.begin(), heap.end(), later);
    }
  }
}

}  // namespace merging

// The same for few ids without their text. first(i) is what ids i and i + 1 merge into.
template <class First>
size_t merge_ids(const MergeTable& table, int32_t* ids, size_t n, uint64_t& work,
                 const First& first) {
  constexpr uint32_t kNone = MergeTable::kNever;
  uint32_t keys[kFewIds];  // rank and place of the pair that begins here: the least key is next
  int32_t made[kFewIds];
  uint8_t before[kFewIds], after[kFewIds];
  const auto note = [&](size_t i, const MergeTable::Merge& m) {
    keys[i] = m.rank == kNone ? kNone : m.rank * kFewIds + static_cast<uint32_t>(i);
    made[i] = m.id;
  };
  for (size_t i = 0; i < n; ++i) {
    note(i, i + 1 < n ? first(i) : MergeTable::Merge());
    before[i] = static_cast<uint8_t>(i - 1);
    after[i] = static_cast<uint8_t>(i + 1);
  }
  work += n;
  while (true) {
    uint32_t least = kNone;
    for (size_t i = 0; i < n; ++i) least = keys[i] < least ? keys[i] : least;
    if (least == kNone) break;
    const size_t left = least % kFewIds, right = after[left];
    ids[left] = made[left];
    ids[right] = -1;
    keys[right] = kNone;
    after[left] = after[right];
    if (after[left] < n) {
      before[after[left]] = static_cast<uint8_t>(left);
      note(left, table.find(ids[left], ids[after[left]]));
    } else {
      keys[left] = kNone;
    }
    if (left > 0) note(before[left], table.find(ids[before[left]], ids[left]));
    work += 2;
  }
  size_t kept = 0;
  for (size_t i = 0; i < n; i = after[i]) ids[kept++] = ids[i];
  return kept;
}

template <class Find>
void merge_symbols(SubwordScratch& scratch, const Find& find) {
  if (scratch.symbols.empty()) return;
  if (scratch.symbols.size() <= static_cast<size_t>(merging::kScan)) {
    merging::merge_short(scratch, find);
  } else {
    merging::merge_long(scratch, find);
  }
}

}  // namespace nibble::text
