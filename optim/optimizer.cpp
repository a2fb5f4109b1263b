// Update rules by name, from the rows of optimizers.def.
#include "optim/optimizer.h"

namespace nibble {
namespace {

struct Row {
  const char* name;
  std::unique_ptr<Optimizer> (*make)(const Ctx&, const OptimizerOptions&,
                                     std::vector<TrainedParameter>);
};
const Row kRows[] = {
#define OPTIMIZER(name, summary) {#name, make_##name},
#include "optim/optimizers.def"
#undef OPTIMIZER
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
    if (options.rule == row.name) return row.make(ctx, options, std::move(parameters));
  }
  const std::string near = nearest(options.rule, names());
  throw UserError(
      "optimizer", cat("unknown optimizer \"", options.rule, "\""),
      near.empty() ? cat("use one of ", join(names(), ", ")) : cat("did you mean ", near, "?"));
}

}  // namespace nibble
