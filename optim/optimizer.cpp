// One optimizer for every rule: it knows parameters, states and the kernel rows; what a rule is
// comes from its row of optimizers.def.
#include "optim/optimizer.h"

#include <cmath>

#include "optim/bnb_state.h"
#include "optim/paged_state.h"
#include "optim/rule.h"
#include "quant/blockwise.h"

namespace nibble {
namespace {

struct Row {
  const char* name;
  Rule (*make)(const RuleOptions&);
};
const Row kRows[] = {
#define OPTIMIZER(name, summary) {#name, rule_##name},
#include "optim/optimizers.def"
#undef OPTIMIZER
};

constexpr int64_t kChunk = 4096;  // of optimizer_norms

void check_format(const StateFormat& format) {
  if (format.bits != 32 && format.bits != 8) {
    throw UserError("optimizer bits", cat("states of ", format.bits, " bits"), "use 32 or 8");
  }
  const int64_t b = format.block;
  if (b < 64 || b > 4096 || (b & (b - 1)) != 0) {
    throw UserError("optimizer_block_size", cat("blocks of ", b, " elements"),
                    "use a power of two from 64 to 4096; 256 is usual");
  }
}

// bitsandbytes codes the first state with the signed map, whatever it holds.
StateLayout layout_of(const Parameter& p, const StateFormat& format, const StateSpec& spec,
                      bool first) {
  StateLayout s;
  s.shape = p.value.shape();
  s.block = format.block;
  const bool square = spec.kind == StateKind::square;
  if (format.codes(p.value.numel())) {
    s.root = square && !format.bnb_codec;
    s.map = square && (s.root || !first) ? dynamic_unsigned_map() : dynamic_signed_map();
  }
  // Codes of sqrt(v) and of v look alike; their names keep one from being read as the other.
  s.name = cat(p.name, s.root ? ".sqrt_" : ".", spec.name);
  s.start = static_cast<float>(s.root ? std::sqrt(spec.start) : spec.start);
  return s;
}

class RuleOptimizer : public Optimizer {
 public:
  RuleOptimizer(const Ctx& ctx, const OptimizerOptions& options, Rule rule,
                std::vector<TrainedParameter> parameters)
      : ctx_(ctx, nullptr),
        options_(options),
        rule_(std::move(rule)),
        parameters_(std::move(parameters)) {
    for (const auto& [p, settings] : parameters_) {
      const DType t = p->value.dtype();
      check((t == DType::f32 || t == DType::bf16 || t == DType::f16) && p->value.contiguous(),
            cat("optimizer: ", p->name, " is contiguous f32, bf16 or f16"));
      check_format(settings.state);
      StateGroup& group = groups_.emplace_back();
      group.elements = p->value.numel();
      for (const StateSpec& spec : rule_.states) {
        group.states.push_back(layout_of(*p, settings.state, spec, group.states.empty()));
      }
    }
    states_ = make_paged_states(ctx, groups_, options.paging);
  }

  void step(const Ctx& ctx, double lr, int64_t step, double grad_scale) override {
    std::vector<bool> wanted;
    for (const auto& [p, settings] : parameters_) {
      wanted.push_back(p->grad.defined());
      if (!p->grad.defined()) continue;
      check_eq(p->grad.shape(), p->value.shape(), cat("optimizer: gradient of ", p->name));
      check(p->grad.dtype() == DType::f32 && p->grad.contiguous(),
            cat("optimizer: ", p->name, " has a contiguous f32 gradient"));
    }
    std::vector<OptimizerStep> steps;
    for (const TrainedParameter& p : parameters_) {
      steps.push_back(numbers_of(p, lr, step, grad_scale));
    }
    if (rule_.scale) set_scales(ctx, wanted, steps);
    states_->walk(wanted, true, [&](const StateSlice& s) {
      const Parameter& p = *parameters_[s.group].parameter;
      ctx.k.optimizer_step(ctx.stream, s.count, steps[s.group], p.value.dtype(),
                           at(p.value, s.begin), p.grad.data<float>() + s.begin, s.views.data(),
                           s.begin);
    });
  }

  NamedTensors state() const override { return states_->tensors(); }

  void load(const NamedTensors& tensors) override {
    if (is_bnb_state(tensors)) return load(from_bnb_state(ctx_, tensors, groups_));
    StateReader reader(tensors);
    states_->load(reader);
    reader.finish();
  }

  int64_t bytes() const override { return states_->bytes(); }
  int64_t resident_bytes() const override { return states_->resident_bytes(); }

 private:
  static void* at(const Tensor& t, int64_t element) {
    return t.data<char>() + element * size_of(t.dtype());
  }

  OptimizerStep numbers_of(const TrainedParameter& p, double lr, int64_t step,
                           double grad_scale) const {
    OptimizerStep s = rule_.step;
    s.lr = lr * p.settings.lr_factor;
    s.weight_decay = p.settings.weight_decay;
    s.step = step;
    s.grad_scale = grad_scale;
    const StateFormat& format = p.settings.state;
    s.bnb_codec = format.bnb_codec && format.codes(p.parameter->value.numel());
    s.stochastic = options_.stochastic_rounding;
    s.rounding = {options_.seed, rng_site(p.parameter->name + ".rounding")};
    if (rule_.at_step) rule_.at_step(s);
    return s;
  }

  // One more walk: norms of whole tensors, in fp64, joined in the order of their chunks.
  void set_scales(const Ctx& ctx, const std::vector<bool>& wanted,
                  std::vector<OptimizerStep>& steps) {
    std::vector<double> partials;
    std::vector<Norms> squares(parameters_.size());
    const auto measure = [&](const StateSlice& s) {
      const Parameter& p = *parameters_[s.group].parameter;
      partials.resize(static_cast<size_t>(2 * ((s.count + kChunk - 1) / kChunk)));
      ctx.k.optimizer_norms(ctx.stream, s.count, steps[s.group], p.value.dtype(),
                            at(p.value, s.begin), p.grad.data<float>() + s.begin, s.views.data(),
                            partials.data());
      ctx.stream.wait();
      for (size_t i = 0; i < partials.size(); i += 2) {
        squares[s.group].value += partials[i];
        squares[s.group].update += partials[i + 1];
      }
    };
    if (rule_.norms_read_states) {
      states_->walk(wanted, false, measure);
    } else {
      for (size_t g = 0; g < parameters_.size(); ++g) {
        if (wanted[g]) measure({g, 0, parameters_[g].parameter->value.numel(), {}});
      }
    }
    for (size_t g = 0; g < parameters_.size(); ++g) {
      const Norms norms{std::sqrt(squares[g].value), std::sqrt(squares[g].update)};
      if (wanted[g]) steps[g].scale = rule_.scale(norms, steps[g]);
    }
  }

  Ctx ctx_;
  OptimizerOptions options_;
  Rule rule_;
  std::vector<TrainedParameter> parameters_;
  std::vector<StateGroup> groups_;
  std::unique_ptr<StateStore> states_;
};

}  // namespace

std::vector<std::string> Optimizer::names() {
  std::vector<std::string> all;
  for (const Row& row : kRows) all.emplace_back(row.name);
  return all;
}

std::unique_ptr<Optimizer> Optimizer::make(const Ctx& ctx, const OptimizerOptions& options,
                                           std::vector<TrainedParameter> parameters) {
  for (const Row& row : kRows) {
    if (options.rule != row.name) continue;
    return std::make_unique<RuleOptimizer>(ctx, options, row.make(options.numbers),
                                           std::move(parameters));
  }
  const std::string near = nearest(options.rule, names());
  throw UserError(
      "optimizer", cat("unknown optimizer \"", options.rule, "\""),
      near.empty() ? cat("use one of ", join(names(), ", ")) : cat("did you mean ", near, "?"));
}

}  // namespace nibble
