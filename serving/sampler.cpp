// The logits processors and the draw.
#include "serving/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"

namespace nibble::serving {
namespace {

constexpr double kGone = -std::numeric_limits<double>::infinity();
constexpr double kGreedyBelow = 1e-5;

double largest(const std::vector<double>& z) { return *std::max_element(z.begin(), z.end()); }

void keep_top_k(std::vector<double>& z, int64_t k) {
  if (k <= 0 || k >= static_cast<int64_t>(z.size())) return;
  std::vector<double> order = z;
  const auto kth = order.begin() + (k - 1);
  std::nth_element(order.begin(), kth, order.end(), std::greater<>());
  for (double& v : z)
    if (v < *kth) v = kGone;
}

// A heap instead of a sort: likely tokens reach p after a few of a large vocabulary.
void keep_top_p(std::vector<double>& z, double p) {
  if (p >= 1) return;
  const double top = largest(z);
  struct Entry {
    double weight;
    int32_t id;
    bool operator<(const Entry& o) const {
      return weight != o.weight ? weight < o.weight : id > o.id;
    }
  };
  std::vector<Entry> heap;
  double total = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    if (z[i] == kGone) continue;
    heap.push_back({std::exp(z[i] - top), static_cast<int32_t>(i)});
    total += heap.back().weight;
  }
  std::make_heap(heap.begin(), heap.end());
  std::vector<double> kept(z.size(), kGone);
  double sum = 0;
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const auto id = static_cast<size_t>(heap.back().id);
    kept[id] = z[id];
    sum += heap.back().weight;
    heap.pop_back();
    if (sum >= p * total) break;
  }
  z = std::move(kept);
}

bool is_banned(std::span<const int32_t> banned, size_t id) {
  return std::find(banned.begin(), banned.end(), static_cast<int32_t>(id)) != banned.end();
}

// The largest logit, the lowest id of equals; -inf never wins.
int32_t greedy(std::span<const float> logits, std::span<const int32_t> banned) {
  int32_t best = -1;
  float value = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < logits.size(); ++i) {
    if (!(logits[i] > value) || is_banned(banned, i)) continue;
    value = logits[i];
    best = static_cast<int32_t>(i);
  }
  return best;
}

}  // namespace

bool usable(std::span<const float> logits) {
  bool finite = false;
  for (const float v : logits) {
    if (!(v <= std::numeric_limits<float>::max())) return false;  // NaN and +inf
    finite = finite || v > -std::numeric_limits<float>::infinity();
  }
  return finite;
}

TokenLogprob logprob_of(std::span<const float> logits, int32_t token, RowScore score, int top) {
  TokenLogprob out;
  out.token = token;
  out.logprob = 0.0f - score.nll;  // 0 - x, not -x: certainty is 0, never -0
  if (top <= 0) return out;
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto n =
      std::min(static_cast<std::ptrdiff_t>(top), static_cast<std::ptrdiff_t>(ids.size()));
  std::partial_sort(ids.begin(), ids.begin() + n, ids.end(), [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  });
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const int32_t id = ids[static_cast<size_t>(i)];
    const float other = logits[static_cast<size_t>(id)] - score.lse;
    out.top.emplace_back(id, id == token ? out.logprob : std::min(other, 0.0f));
  }
  return out;
}

std::vector<double> process_logits(std::span<const float> logits, const SamplingParams& params,
                                   std::span<const int32_t> banned) {
  std::vector<double> z(logits.begin(), logits.end());
  for (const int32_t id : banned)
    if (id >= 0 && static_cast<size_t>(id) < z.size()) z[static_cast<size_t>(id)] = kGone;
  if (params.temperature < kGreedyBelow) return z;
  for (double& v : z) v /= params.temperature;
  keep_top_k(z, params.top_k);
  keep_top_p(z, params.top_p);
  return z;
}

int32_t sample(std::span<const float> logits, const SamplingParams& params, const Draw& draw,
               std::span<const int32_t> banned) {
  if (!usable(logits)) return -1;
  const int32_t best = greedy(logits, banned);
  if (best < 0 || params.temperature < kGreedyBelow) return best;
  static const uint64_t kSite = rng_site("sample");
  const std::vector<double> z = process_logits(logits, params, banned);
  const double top = largest(z);
  double total = 0;
  for (const double v : z) total += std::exp(v - top);
  const RngKey key{draw.seed, kSite, static_cast<uint64_t>(draw.choice), 0};
  const double target = random_uniform(key, static_cast<uint64_t>(draw.position)) * total;
  double sum = 0;
  int32_t last = best;
  for (size_t i = 0; i < z.size(); ++i) {
    if (z[i] == kGone) continue;
    const double weight = std::exp(z[i] - top);
    sum += weight;
    if (weight > 0) last = static_cast<int32_t>(i);
    if (weight > 0 && target < sum) return last;
  }
  return last;
}

}  // namespace nibble::serving
