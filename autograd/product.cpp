// Checks and scratch around the product rows.
#include "autograd/product.h"

namespace nibble {
namespace {

Tensor scratch(const Ctx& ctx, int64_t bytes) {
  return bytes > 0 ? ctx.empty({bytes}, DType::u8, Purpose::scratch) : Tensor();
}

}  // namespace

WeightView dense_view(const Tensor& w) {
  check_eq(w.shape().rank, 2, "dense weight: dimensions");
  WeightView view;
  view.out = w.dim(0);
  view.in = w.dim(1);
  view.dtype = view.value_dtype = w.dtype();
  view.pitch = w.pitch();
  view.codes = w.raw();
  return view;
}

void product(const Ctx& ctx, const Tensor& x, const WeightView& w, const Tensor& y, double alpha,
             bool accumulate) {
  check_eq(x.cols(), w.in, "product: input width");
  check_eq(y.cols(), w.out, "product: output width");
  check_eq(y.rows(), x.rows(), "product: rows");
  if (x.rows() == 0) return;
  const Tensor s = scratch(ctx, ctx.k.linear_scratch(ctx.stream, x.rows(), w, x.dtype()));
  ctx.k.linear_fwd(ctx.stream, x.rows(), w, x.dtype(), x.raw(), x.pitch(), y.dtype(), y.raw(),
                   y.pitch(), alpha, accumulate, s.raw());
}

void product_int8(const Ctx& ctx, const Tensor& x, const WeightView& w, double threshold,
                  const Tensor& y) {
  check_eq(x.cols(), w.in, "product_int8: input width");
  check_eq(y.cols(), w.out, "product_int8: output width");
  check_eq(y.rows(), x.rows(), "product_int8: rows");
  if (x.rows() == 0) return;
  const Tensor s = scratch(ctx, ctx.k.linear_int8_scratch(ctx.stream, x.rows(), w, x.dtype()));
  ctx.k.linear_int8(ctx.stream, x.rows(), w, x.dtype(), x.raw(), x.pitch(), threshold, nullptr,
                    y.dtype(), y.raw(), y.pitch(), s.raw());
}

void product_dx(const Ctx& ctx, const Tensor& dy, const WeightView& w, const Tensor& dx,
                double alpha, bool accumulate) {
  check_eq(dy.cols(), w.out, "product_dx: output width");
  check_eq(dx.cols(), w.in, "product_dx: input width");
  check_eq(dx.rows(), dy.rows(), "product_dx: rows");
  if (dy.rows() == 0) return;
  const Tensor s = scratch(ctx, ctx.k.linear_scratch(ctx.stream, dy.rows(), w, dy.dtype()));
  ctx.k.linear_dx(ctx.stream, dy.rows(), w, dy.dtype(), dy.raw(), dy.pitch(), dx.dtype(), dx.raw(),
                  dx.pitch(), alpha, accumulate, s.raw());
}

void product_dw(const Ctx& ctx, const Tensor& dy, const Tensor& x, const Tensor& dw, double alpha) {
  check_eq(dy.rows(), x.rows(), "product_dw: rows");
  check_eq(dw.dim(0), dy.cols(), "product_dw: output width");
  check_eq(dw.dim(1), x.cols(), "product_dw: input width");
  check_eq(dy.dtype() == x.dtype(), true, "product_dw: one dtype");
  if (x.rows() == 0) return;
  const Tensor s =
      scratch(ctx, ctx.k.linear_dw_scratch(ctx.stream, x.rows(), dw.dim(0), dw.dim(1), x.dtype()));
  ctx.k.linear_dw(ctx.stream, x.rows(), dw.dim(0), dw.dim(1), x.dtype(), dy.raw(), dy.pitch(),
                  x.raw(), x.pitch(), alpha, dw.raw(), dw.pitch(), s.raw());
}

}  // namespace nibble
