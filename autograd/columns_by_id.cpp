// Neighbouring ids move as one window: added tokens are usually one run at the vocabulary's end.
#include "autograd/columns_by_id.h"

namespace nibble {
namespace {

void move(const Ctx& ctx, const Tensor& narrow, std::span<const int32_t> ids, const Tensor& wide,
          bool to_wide) {
  check_eq(narrow.rows(), wide.rows(), "columns by id: rows");
  check_eq(narrow.cols(), static_cast<int64_t>(ids.size()), "columns by id: columns");
  check(narrow.dtype() == wide.dtype(), "columns by id: one dtype");
  if (wide.rows() == 0) return;
  for (size_t begin = 0; begin < ids.size();) {
    size_t end = begin + 1;
    while (end < ids.size() && ids[end] == ids[end - 1] + 1) ++end;
    const auto n = static_cast<int64_t>(end - begin);
    const Tensor a = narrow.columns(static_cast<int64_t>(begin), static_cast<int64_t>(end));
    const Tensor b = wide.columns(ids[begin], ids[begin] + n);
    const Tensor &from = to_wide ? a : b, &to = to_wide ? b : a;
    ctx.k.cast(ctx.stream, wide.rows(), n, wide.dtype(), from.raw(), from.pitch(), wide.dtype(),
               to.raw(), to.pitch());
    begin = end;
  }
}

}  // namespace

void put_columns(const Ctx& ctx, const Tensor& narrow, std::span<const int32_t> ids,
                 const Tensor& wide) {
  move(ctx, narrow, ids, wide, true);
}

void take_columns(const Ctx& ctx, const Tensor& wide, std::span<const int32_t> ids,
                  const Tensor& narrow) {
  move(ctx, narrow, ids, wide, false);
}

}  // namespace nibble
