// AdamW (Loshchilov and Hutter 2019). With g the scaled gradient and t the step from 1:
//   p -= lr wd p,  m = b1 m + (1-b1) g,  v = b2 v + (1-b2) g^2,
//   p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)
// Masters and arithmetic are fp32; the states are kept as a StateFormat says. One kernel row per
// parameter and step; no temporaries.
#include "optim/rule_options.h"
#include "quant/blockwise.h"

namespace nibble {
namespace {

class AdamW : public Optimizer {
 public:
  AdamW(const Ctx& ctx, const OptimizerOptions& options, std::vector<TrainedParameter> parameters)
      : options_(options.numbers) {
    check_only(options.numbers, "adamw", {"beta1", "beta2", "eps"});
    for (const auto& [p, settings] : parameters) {
      check(p->value.dtype() == DType::f32 && p->value.contiguous(),
            cat("adamw: ", p->name, " has a contiguous f32 master"));
      entries_.push_back(
          {p, settings, zero_state(ctx, p->value.shape(), settings.state, dynamic_signed_map()),
           zero_state(ctx, p->value.shape(), settings.state, dynamic_unsigned_map())});
    }
  }

  void step(const Ctx& ctx, double lr, int64_t step, double grad_scale) override {
    for (Entry& e : entries_) {
      Parameter& p = *e.parameter;
      if (!p.grad.defined()) continue;
      check_eq(p.grad.shape(), p.value.shape(), cat("adamw: gradient of ", p.name));
      check(p.grad.dtype() == DType::f32 && p.grad.contiguous(),
            cat("adamw: ", p.name, " has a contiguous f32 gradient"));
      AdamWStep s;
      s.lr = lr * e.settings.lr_factor;
      s.beta1 = options_.beta1.value_or(0.9);
      s.beta2 = options_.beta2.value_or(0.999);
      s.eps = options_.eps.value_or(1e-8);
      s.weight_decay = e.settings.weight_decay;
      s.step = step;
      s.grad_scale = grad_scale;
      const StateFormat& format = e.settings.state;
      const int64_t n = p.value.numel();
      if (e.m.coded()) {
        ctx.k.adamw_8bit(ctx.stream, n, s, format.block, p.value.data<float>(),
                         p.grad.data<float>(), e.m.values.data<uint8_t>(), e.m.absmax.data<float>(),
                         e.v.values.data<uint8_t>(), e.v.absmax.data<float>(), dynamic_signed_map(),
                         dynamic_unsigned_map(), !format.bnb_codec);
      } else {
        ctx.k.adamw(ctx.stream, n, s, p.value.data<float>(), p.grad.data<float>(),
                    e.m.values.data<float>(), e.v.values.data<float>());
      }
    }
  }

  NamedTensors state() const override {
    NamedTensors all;
    for (const Entry& e : entries_) {
      e.m.append_to(all, e.parameter->name + ".exp_avg");
      e.v.append_to(all, name_of_v(e));
    }
    return all;
  }

  void load(const NamedTensors& tensors) override {
    StateReader reader(tensors);
    for (Entry& e : entries_) {
      reader.read(e.parameter->name + ".exp_avg", e.m);
      reader.read(name_of_v(e), e.v);
    }
    reader.finish();
  }

  int64_t bytes() const override {
    int64_t sum = 0;
    for (const Entry& e : entries_) sum += e.m.bytes() + e.v.bytes();
    return sum;
  }
  int64_t resident_bytes() const override { return bytes(); }

 private:
  struct Entry {
    Parameter* parameter;
    ParameterSettings settings;
    StateTensor m, v;
  };
  // Codes of sqrt(v) and of v look alike; their names keep one from being read as the other.
  static std::string name_of_v(const Entry& e) {
    const bool root = e.v.coded() && !e.settings.state.bnb_codec;
    return e.parameter->name + (root ? ".sqrt_exp_avg_sq" : ".exp_avg_sq");
  }

  RuleOptions options_;
  std::vector<Entry> entries_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const Ctx& ctx, const OptimizerOptions& o,
                                      std::vector<TrainedParameter> parameters) {
  return std::make_unique<AdamW>(ctx, o, std::move(parameters));
}

}  // namespace nibble
