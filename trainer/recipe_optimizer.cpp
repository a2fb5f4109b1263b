// The keys of a recipe that say how weights move: the rule and its numbers, what each parameter's
// states look like, what keeps a step in bounds, and what a bad step does.
#include <algorithm>

#include "optim/names.h"
#include "trainer/optimizer_keys.h"
#include "trainer/recipe.h"

namespace nibble {
namespace {

// The rule's numbers that have a key of their own too.
struct TwoNames {
  const char *key, *argument;
};
constexpr TwoNames kTwoNames[] = {{"adam_beta1", "beta1"},
                                  {"adam_beta2", "beta2"},
                                  {"adam_beta3", "beta3"},
                                  {"adam_epsilon", "eps"}};

}  // namespace

void Recipe::declare_optimizer(Settings& s) {
  s.heading("Optimizer");
  s.field("optimizer", optimizer,
          "adamw, lion, sgd, …, each also _8bit and paged_: nibble ls optimizers")
      .alias("optim");
  s.custom(
      "optim_args", "numbers of the rule: {momentum: 0.9, nesterov: true}",
      [this](const YamlNode& node, Settings& settings) {
        read_optim_args(node, settings, optim_args, optim_args_places);
      },
      [this] { return optim_args_text(optim_args); });
  s.field("learning_rate", learning_rate, "peak rate after warm-up")
      .alias("lr")
      .range(between(0, 10));
  s.field("lr_scheduler", lr_scheduler, "after warm-up")
      .alias("lr_scheduler_type")
      .choices({"constant", "constant_with_warmup", "linear", "cosine"});
  s.field("warmup_steps", warmup_steps, "rate grows from 0 over these steps").range(at_least(0));
  s.field("warmup_ratio", warmup_ratio, "the same as a share of all steps")
      .range({0, 1, false, true});
  s.field("weight_decay", weight_decay, "decoupled; not on vectors").range(between(0, 10));
  const Range below_one{0, 1, false, true};
  s.field("adam_beta1", adam_beta1, "the rule's own unless given").range(below_one);
  s.field("adam_beta2", adam_beta2, "the rule's own unless given").range(below_one);
  s.field("adam_beta3", adam_beta3, "of AdEMAMix's slow momentum").range(below_one);
  s.field("adam_epsilon", adam_epsilon, "the rule's own unless given").range(between(0, 1));
  s.field("loraplus_lr_ratio", loraplus_lr_ratio, "lora_B learns at the rate × this (LoRA+)")
      .range(above(0));
  s.field("loraplus_lr_embedding", loraplus_lr_embedding,
          "rate of an adapter's rows and tables of tokens")
      .range(between(0, 10));
  declare_states(s);
  declare_bounds(s);
}

void Recipe::declare_states(Settings& s) {
  s.field("optimizer_block_size", optimizer_block_size, "8-bit states that share a scale")
      .range(between(64, 4096));
  s.field("state_codec", state_codec,
          "of 8-bit states; bnb: bitsandbytes' codes, which lose small second moments")
      .choices({"default", "bnb"});
  s.field("min_8bit_size", min_8bit_size, "a smaller tensor keeps 32-bit states")
      .range(at_least(0));
  s.custom(
      "optimizer_overrides",
      "[{match: regex, bits: 32, lr: …, weight_decay: …}], the first that matches wins",
      [this](const YamlNode& node, Settings& settings) {
        read_overrides(node, settings, optimizer_overrides);
      },
      [this] { return overrides_text(optimizer_overrides); });
  s.field("optimizer_state_budget", optimizer_state_budget,
          "memory a paged optimizer's states may take: 512MiB; 0: all of them")
      .placeholder("BYTES");
  s.field("master_dtype", master_dtype,
          "of the matrices that adapter: full trains; bf16 halves their memory")
      .choices({"f32", "bf16", "float32", "bfloat16"});
  s.field("stochastic_rounding", stochastic_rounding,
          "of bf16 masters: small updates are kept on average instead of lost");
}

void Recipe::declare_bounds(Settings& s) {
  s.field("max_grad_norm", max_grad_norm, "clip to this norm; 0: never").range(at_least(0));
  s.field("max_grad_value", max_grad_value, "clip every element to this; 0: never")
      .range(at_least(0));
  s.field("percentile_clipping", percentile_clipping,
          "clip to this percentile of the last 100 steps' norms; 100: never")
      .range(between(1, 100));
  s.field("max_bad_steps", max_bad_steps,
          "steps in a row that may be skipped for a loss or gradient that is not finite")
      .range(at_least(0));
}

namespace {

bool any_8bit(const Recipe& recipe, const OptimizerName& name) {
  bool eight = name.bits == 8;
  for (const OptimizerOverride& o : recipe.optimizer_overrides)
    eight = eight || o.bits.value_or(32) == 8;
  return eight;
}

// Another name than those of the table.
void unknown_optimizer(const std::string& typed, Settings& s) {
  if (const auto why = optimizer_refused(typed)) {
    s.error(s.where("optimizer"), cat("optimizer: '", typed, "': ", *why),
            "nibble ls optimizers shows what is");
    return;
  }
  const std::string close = nearest(typed, optimizer_spellings());
  s.error(
      s.where("optimizer"), cat("unknown optimizer '", typed, "'"),
      close.empty() ? "nibble ls optimizers shows all names" : cat("did you mean '", close, "'?"));
}

}  // namespace

void Recipe::optimizer_contradictions(Settings& s) {
  const auto needs = [&](const char* key, bool met, const char* what, const char* hint) {
    if (s.given(key) && !met) s.error(s.where(key), cat("'", key, "' has no meaning ", what), hint);
  };
  const auto name = optimizer_named(optimizer);
  if (!name) {
    unknown_optimizer(optimizer, s);
  } else {
    const bool eight = any_8bit(*this, *name);
    needs("optimizer_block_size", eight, "with 32-bit states", "use an optimizer of 8 bits");
    needs("state_codec", eight, "with 32-bit states", "use an optimizer of 8 bits");
    needs("min_8bit_size", eight, "with 32-bit states", "use an optimizer of 8 bits");
    needs("optimizer_state_budget", name->paged, "without a paged optimizer",
          "use paged_adamw_8bit, say, or remove it");
    check_rule_numbers(*name, s);
  }
  if ((optimizer_block_size & (optimizer_block_size - 1)) != 0)
    s.error(s.where("optimizer_block_size"),
            cat("optimizer_block_size must be a power of two, got ", optimizer_block_size),
            "use 256");
  if (!bytes_of(optimizer_state_budget))
    s.error(
        s.where("optimizer_state_budget"),
        cat("optimizer_state_budget must be a number of bytes, got '", optimizer_state_budget, "'"),
        "512MiB, 2GiB or 0");
  needs("loraplus_lr_ratio", !full(), "with adapter: full", "remove it");
  needs("loraplus_lr_embedding", !full(), "with adapter: full", "use optimizer_overrides");
  needs("master_dtype", full(), "with an adapter: adapters are f32", "use adapter: full");
  needs("stochastic_rounding", master_dtype == "bf16" || master_dtype == "bfloat16",
        "without master_dtype: bf16", "f32 masters are rounded to nearest");
  bool own_rate = loraplus_lr_ratio || loraplus_lr_embedding;
  for (const OptimizerOverride& o : optimizer_overrides) own_rate = own_rate || o.lr;
  if (learning_rate == 0 && own_rate)
    s.error(s.where("learning_rate"), "learning_rate: 0 leaves the schedule nothing to scale",
            "give the frozen ones lr: 0 in optimizer_overrides instead");
}

// The rule itself says which numbers it has: it is made once, for no parameter.
void Recipe::check_rule_numbers(const OptimizerName& name, Settings& s) {
  for (const TwoNames& two : kTwoNames)
    if (s.given(two.key) && optim_args_places.count(two.argument) != 0)
      s.error(optim_args_places[two.argument],
              cat("'", two.key, "' and 'optim_args.", two.argument, "' say the same; keep one"));
  OptimizerOptions options;
  options.rule = name.rule;
  options.numbers = rule_numbers();
  try {
    Optimizer::make(Ctx(Device::cpu(1), DType::f32), options, {});
  } catch (const UserError& e) {
    Where place = s.where("optimizer");
    for (const auto& [argument, where] : optim_args_places)
      if (e.where().file == cat("optim_args.", argument)) place = where;
    for (const TwoNames& two : kTwoNames)
      if (e.where().file == cat("optim_args.", two.argument) && s.given(two.key))
        place = s.where(two.key);
    s.error(place, e.message(), e.hint());
  }
}

RuleOptions Recipe::rule_numbers() const {
  RuleOptions numbers = optim_args;
  if (adam_beta1) numbers.beta1 = adam_beta1;
  if (adam_beta2) numbers.beta2 = adam_beta2;
  if (adam_beta3) numbers.beta3 = adam_beta3;
  if (adam_epsilon) numbers.eps = adam_epsilon;
  return numbers;
}

OptimizerName Recipe::optimizer_name() const {
  const auto name = optimizer_named(optimizer);
  check(name.has_value(), "a recipe's optimizer was checked when it was read");
  return *name;
}

OptimizerOptions Recipe::optimizer_options() const {
  const OptimizerName name = optimizer_name();
  OptimizerOptions options;
  options.rule = name.rule;
  options.numbers = rule_numbers();
  options.paging.paged = name.paged;
  options.paging.budget = bytes_of(optimizer_state_budget).value_or(0);
  options.paging.directory =
      output_dir;  // beside the checkpoints: a temporary folder may be memory
  options.stochastic_rounding = stochastic_rounding;
  options.seed = static_cast<uint64_t>(seed);
  return options;
}

SettingsPlan Recipe::settings_plan() const {
  SettingsPlan plan;
  plan.state.bits = optimizer_name().bits;
  plan.state.block = optimizer_block_size;
  plan.state.min_elements = min_8bit_size;
  plan.state.bnb_codec = state_codec == "bnb";
  plan.learning_rate = learning_rate;
  plan.weight_decay = weight_decay;
  plan.loraplus_ratio = loraplus_lr_ratio;
  plan.embedding_rate = loraplus_lr_embedding;
  plan.overrides = optimizer_overrides;
  return plan;
}

// Those that say nothing in this run, so that the resolved recipe reads back.
std::vector<std::string> Recipe::silent_optimizer_keys() const {
  std::vector<std::string> silent;
  const auto unless = [&](bool speaks, const char* key) {
    if (!speaks) silent.push_back(cat(key, ":"));
  };
  const OptimizerName name = optimizer_name();
  for (const char* key : {"optimizer_block_size", "state_codec", "min_8bit_size"})
    unless(any_8bit(*this, name), key);
  unless(name.paged, "optimizer_state_budget");
  unless(adam_beta1.has_value(), "adam_beta1");
  unless(adam_beta2.has_value(), "adam_beta2");
  unless(adam_beta3.has_value(), "adam_beta3");
  unless(adam_epsilon.has_value(), "adam_epsilon");
  unless(optim_args_text(optim_args) != "{}", "optim_args");
  unless(!optimizer_overrides.empty(), "optimizer_overrides");
  unless(loraplus_lr_ratio.has_value(), "loraplus_lr_ratio");
  unless(loraplus_lr_embedding.has_value(), "loraplus_lr_embedding");
  unless(full(), "master_dtype");
  unless(full() && master_dtype == "bf16", "stochastic_rounding");
  return silent;
}

}  // namespace nibble
