#include "model/merge_tokens.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"
#include "model/grow_rows.h"

namespace nibble {

MergedTables::MergedTables(const Device& device, const Blueprint& base, const AdapterConfig& config,
                           const TensorFiles& adapter)
    : device_(device),
      base_(base),
      files_(adapter),
      stored_(read_stored_tokens(config, adapter, base, device)),
      vocab_(std::max(base.vocab, stored_.vocab)) {}

bool MergedTables::unties() const {
  const auto any = [](const StoredTable& t) { return t.whole != nullptr || !t.ids.empty(); };
  return base_.tied && !base_.encoder && !stored_.head_follows &&
         (any(stored_.embedding) || any(stored_.head));
}

const StoredTable* MergedTables::table(const std::string& name) const {
  if (name == embedding()) return &stored_.embedding;
  if (base_.encoder || name != head()) return nullptr;
  return stored_.head_follows ? &stored_.embedding : &stored_.head;
}

bool MergedTables::changes(const std::string& name) const {
  if (vocab_ > base_.vocab && name == base_.names.head + ".bias") return true;
  const StoredTable* t = table(name);
  return t != nullptr && (vocab_ > base_.vocab || t->whole != nullptr || !t->ids.empty());
}

Tensor MergedTables::merged(const std::string& name, const Tensor& x) const {
  const Tensor y = grow_rows(device_, x, vocab_, Purpose::staging);
  const StoredTable* t = table(name);
  if (t == nullptr || (t->whole == nullptr && t->ids.empty())) return y;
  const KernelTable& k = device_.kernels();
  Tensor wide = Tensor::empty(device_.memory(), y.shape(), DType::f32, Purpose::staging);
  const auto cast_row = [&](const Tensor& from, int64_t i, const Tensor& to, int64_t j) {
    const Tensor a = from.row_range(i, i + 1), b = to.row_range(j, j + 1);
    k.cast(device_.stream(), 1, wide.cols(), a.dtype(), a.raw(), a.pitch(), b.dtype(), b.raw(),
           b.pitch());
  };
  for (int64_t r = 0; r < y.rows(); ++r) cast_row(y, r, wide, r);
  if (t->whole != nullptr) {
    const Tensor whole = files_.read(t->whole->name, device_.memory(), Purpose::staging);
    const Tensor one =
        Tensor::empty(device_.memory(), {1, wide.cols()}, whole.dtype(), Purpose::staging);
    for (int64_t r = 0; r < whole.rows(); ++r) {
      // A row that is the base's in a narrower dtype says nothing new.
      cast_row(y, r, one, 0);
      const bool same = std::memcmp(one.raw(), whole.row_range(r, r + 1).raw(),
                                    static_cast<size_t>(one.bytes())) == 0;
      if (!same) cast_row(whole, r, wide, r);
    }
  }
  for (size_t i = 0; i < t->ids.size(); ++i)
    cast_row(t->rows, static_cast<int64_t>(i), wide, t->ids[i]);
  return wide;
}

}  // namespace nibble
