// One kernel row per parameter and step; no temporaries.
#include "optim/adamw.h"

#include "quant/blockwise.h"

namespace nibble {

AdamW::AdamW(const Ctx& ctx, const OptimizerOptions& options, std::vector<Parameter*> parameters,
             const StateFormat& format)
    : options_(options), format_(format) {
  for (Parameter* p : parameters) {
    check(p->value.dtype() == DType::f32 && p->value.contiguous(),
          cat("adamw: ", p->name, " has a contiguous f32 master"));
    entries_.push_back({p, zero_state(ctx, p->value.shape(), format, dynamic_signed_map()),
                        zero_state(ctx, p->value.shape(), format, dynamic_unsigned_map())});
  }
}

void AdamW::step(const Ctx& ctx, double lr, int64_t step, double grad_scale) {
  for (Entry& e : entries_) {
    Parameter& p = *e.parameter;
    if (!p.grad.defined()) continue;
    check_eq(p.grad.shape(), p.value.shape(), cat("adamw: gradient of ", p.name));
    check(p.grad.dtype() == DType::f32 && p.grad.contiguous(),
          cat("adamw: ", p.name, " has a contiguous f32 gradient"));
    AdamWStep s;
    s.lr = lr;
    s.beta1 = options_.beta1;
    s.beta2 = options_.beta2;
    s.eps = options_.eps;
    s.weight_decay = p.decays ? options_.weight_decay : 0;
    s.step = step;
    s.grad_scale = grad_scale;
    const int64_t n = p.value.numel();
    if (e.m.coded()) {
      ctx.k.adamw_8bit(ctx.stream, n, s, format_.block, p.value.data<float>(), p.grad.data<float>(),
                       e.m.values.data<uint8_t>(), e.m.absmax.data<float>(),
                       e.v.values.data<uint8_t>(), e.v.absmax.data<float>(), dynamic_signed_map(),
                       dynamic_unsigned_map(), !options_.bnb_codec);
    } else {
      ctx.k.adamw(ctx.stream, n, s, p.value.data<float>(), p.grad.data<float>(),
                  e.m.values.data<float>(), e.v.values.data<float>());
    }
  }
}

// Codes of sqrt(v) and of v look alike; their names keep one from being read as the other.
std::string AdamW::name_of_v(const Entry& e) const {
  const bool root = e.v.coded() && !options_.bnb_codec;
  return e.parameter->name + (root ? ".sqrt_exp_avg_sq" : ".exp_avg_sq");
}

NamedTensors AdamW::state() const {
  NamedTensors all;
  for (const Entry& e : entries_) {
    e.m.append_to(all, e.parameter->name + ".exp_avg");
    e.v.append_to(all, name_of_v(e));
  }
  return all;
}

void AdamW::load(const NamedTensors& tensors) {
  StateReader reader(tensors);
  for (Entry& e : entries_) {
    reader.read(e.parameter->name + ".exp_avg", e.m);
    reader.read(name_of_v(e), e.v);
  }
  reader.finish();
}

int64_t AdamW::bytes() const {
  int64_t sum = 0;
  for (const Entry& e : entries_) sum += e.m.bytes() + e.v.bytes();
  return sum;
}

std::unique_ptr<Optimizer> make_adamw(const Ctx& ctx, const OptimizerOptions& o,
                                      std::vector<Parameter*> parameters) {
  return std::make_unique<AdamW>(ctx, o, std::move(parameters), StateFormat{});
}

}  // namespace nibble
