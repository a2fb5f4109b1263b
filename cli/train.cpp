// nibble train recipe.yaml [key=value …]
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "trainer/recipe.h"
#include "trainer/run.h"

namespace nibble {
namespace {

void print_json(const RunReport& r) {
  Json out = {
      {"output_dir", r.output_dir}, {"stopped", r.stopped},     {"already_done", r.already_done},
      {"steps", r.steps},           {"tokens", r.tokens},       {"seconds", r.seconds},
      {"first_loss", r.first_loss}, {"last_loss", r.last_loss}, {"peak_bytes", r.peak_bytes}};
  out["held_out_loss"] = r.held_out_loss >= 0 ? Json(r.held_out_loss) : Json();
  std::printf("%s\n", dump_json(out).c_str());
}

void print_report(const RunReport& r) {
  if (r.already_done) {
    log::row("done", cat(r.output_dir, " holds a finished run; nothing was changed"));
    return;
  }
  std::string text = cat(human_count(r.steps), " steps, ", human_count(r.tokens), " tokens in ",
                         human_duration(r.seconds), " · loss ", fixed(r.first_loss, 3), " → ",
                         fixed(r.last_loss, 3));
  if (r.held_out_loss >= 0)
    text += cat(", held-out ", fixed(r.held_out_loss, 3), " (perplexity ",
                fixed(std::exp(r.held_out_loss), 2), ")");
  log::row(r.stopped ? "stopped" : "done", text);
  if (r.stopped) {
    log::row("next", "nibble train RECIPE resume_from_checkpoint=auto goes on from here");
  } else if (r.full) {
    log::row("next", cat("nibble chat ", r.output_dir, "          nibble serve ", r.output_dir));
  } else {
    log::row("next", cat("nibble chat ", r.output_dir));
    log::row("next", cat("nibble merge BASE ", r.output_dir, " merged/"));
  }
}

}  // namespace

int run_train(const std::vector<std::string>& arguments) {
  CommandLine line("train", "fine-tune a model as a recipe says", "RECIPE.yaml [key=value …]");
  std::string recipe;
  bool json = false, help_keys = false;
  std::vector<std::pair<std::string, std::string>> overrides;
  line.positional("RECIPE.yaml", recipe, "the recipe", false);
  line.overrides(overrides, "settings that win over the recipe's; dotted names reach into maps");
  line.flags().heading("Options");
  line.flags().field("json", json, "print the run's summary as one JSON object");
  line.flags().field("help_keys", help_keys, "list every recipe key");
  line.example("nibble train recipes/tiny-qlora.yaml");
  line.example("nibble train r.yaml learning_rate=1e-4 quant.type=fp4 output_dir=out/fp4");
  line.example("nibble train r.yaml resume_from_checkpoint=auto");
  line.note(
      "Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2 finish the step, save a checkpoint and end with "
      "exit 75;\na second signal ends at once. A loss that is not finite ends with exit 3.");
  if (!line.parse(arguments)) return 0;
  if (help_keys) {
    Recipe rows;
    Settings settings;
    rows.declare(settings);
    std::printf("%s", settings.help().c_str());
    return 0;
  }
  if (recipe.empty())
    throw UserError("command line", "RECIPE.yaml is missing", "usage: nibble train RECIPE.yaml");
  const RunReport report = train(recipe, overrides);
  print_report(report);
  if (json) print_json(report);
  return static_cast<int>(report.stopped ? Exit::stopped : Exit::done);
}

}  // namespace nibble
