// Sums and searches over a whole tensor. The sum's order is fixed by the tensor's length alone:
// partials of 4096 elements are the leaves of one binary tree, threads take whole subtrees.
#include "kernels/cpu/dtype_switch.h"
#include "kernels/cpu/rows.h"
#include "kernels/device.h"

namespace nibble::cpu::scalar {
namespace {

constexpr int64_t kLeaf = 4096;
constexpr int64_t kTasks = 64;  // pieces the threads share; their results fit on the stack

// The sum of a binary tree over leaf(0) … leaf(n - 1), filled from the left as a binary counter
// carries: two subtrees of one height are joined as soon as both are there, a rest from the right.
template <class Leaf>
double tree_sum(int64_t n, const Leaf& leaf) {
  double level[64];
  int64_t waiting = 0;  // bit k: level[k] holds a subtree of 2^k leaves
  for (int64_t i = 0; i < n; ++i) {
    double sum = leaf(i);
    int k = 0;
    for (; (waiting >> k & 1) != 0; ++k) {
      sum = level[k] + sum;
      waiting &= ~(int64_t{1} << k);
    }
    level[k] = sum;
    waiting |= int64_t{1} << k;
  }
  double sum = 0;
  bool first = true;
  for (int k = 0; k < 63; ++k) {
    if ((waiting >> k & 1) == 0) continue;
    sum = first ? level[k] : level[k] + sum;
    first = false;
  }
  return sum;
}

// Eight running sums, element i in sum i % 8, so that the additions overlap.
template <class T>
double leaf_sum(const T* x, int64_t n) {
  double lane[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int64_t j = 0; j < 8; ++j) {
      const double value = static_cast<double>(widen(x[i + j]));
      lane[j] += value * value;
    }
  }
  for (; i < n; ++i) {
    const double value = static_cast<double>(widen(x[i]));
    lane[i % 8] += value * value;
  }
  return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

// Finite means: not all exponent bits are set.
bool finite(double x) { return x - x == 0; }

}  // namespace

void sum_squares(Stream& stream, int64_t n, DType dtype, const void* x, double* out) {
  with_float("sum_squares", dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* values = static_cast<const T*>(x);
    const int64_t leaves = (n + kLeaf - 1) / kLeaf;
    int64_t per_task = 1;  // a power of two: tasks are whole subtrees, the tree stays the same
    while (per_task * kTasks < leaves) per_task *= 2;
    const int64_t tasks = (leaves + per_task - 1) / per_task;
    double sums[kTasks] = {};
    stream.pool().run(tasks, [&](int64_t task) {
      const int64_t first = task * per_task;
      sums[task] = tree_sum(std::min(per_task, leaves - first), [&](int64_t leaf) {
        const int64_t begin = (first + leaf) * kLeaf;
        return leaf_sum(values + begin, std::min(kLeaf, n - begin));
      });
    });
    *out = tree_sum(tasks, [&](int64_t task) { return sums[task]; });
  });
}

void find_nonfinite(Stream& stream, int64_t n, DType dtype, const void* x, int64_t* index) {
  with_float("find_nonfinite", dtype, [&](auto tag) {
    using T = decltype(tag);
    const T* values = static_cast<const T*>(x);
    const int64_t tasks = std::min(kTasks, (n + kLeaf - 1) / kLeaf);
    int64_t found[kTasks];
    stream.pool().run(tasks, [&](int64_t task) {
      found[task] = -1;
      for (int64_t i = n * task / tasks; i < n * (task + 1) / tasks; ++i) {
        if (finite(static_cast<double>(widen(values[i])))) continue;
        found[task] = i;
        return;
      }
    });
    *index = -1;
    for (int64_t task = 0; task < tasks && *index < 0; ++task) *index = found[task];
  });
}

}  // namespace nibble::cpu::scalar
