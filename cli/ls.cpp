// nibble ls: what this program knows, from the rows it is made of.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "cli/command_line.h"
#include "model/blueprint.h"
#include "optim/names.h"

namespace nibble {
namespace {

enum class Form : uint8_t { table, json, markdown };

void families_table() {
  size_t name = 0;
  for (const Family& f : families()) name = std::max(name, std::string(f.model_type).size());
  std::printf("%-*s  %s\n", static_cast<int>(name), "model_type", "models");
  for (const Family& f : families()) {
    std::printf("%-*s  %s\n", static_cast<int>(name), f.model_type, f.members);
    if (*f.notes != 0) std::printf("%-*s  %s\n", static_cast<int>(name), "", f.notes);
  }
}

void print_families(Form form) {
  if (form == Form::table) return families_table();
  if (form == Form::json) {
    Json all = Json::array();
    for (const Family& f : families())
      all.push_back({{"model_type", f.model_type}, {"models", f.members}, {"notes", f.notes}});
    std::printf("%s\n", dump_json({{"families", std::move(all)}}).c_str());
    return;
  }
  // docs/models.md between its markers.
  std::printf("| `model_type` | models | notes |\n|---|---|---|\n");
  for (const Family& f : families())
    std::printf("| `%s` | %s | %s |\n", f.model_type, f.members, f.notes);
}

void print_optimizers(Form form) {
  const std::vector<OptimizerRow> rows = optimizer_rows();
  if (form == Form::json) {
    Json all = Json::array();
    for (const OptimizerRow& row : rows)
      all.push_back({{"name", row.name.str()},
                     {"rule", row.name.rule},
                     {"bits", row.name.bits},
                     {"paged", row.name.paged},
                     {"summary", row.summary},
                     {"spellings", row.spellings}});
    std::printf("%s\n", dump_json({{"optimizers", std::move(all)}}).c_str());
    return;
  }
  // docs/optimizers.md between its markers.
  if (form == Form::markdown)
    std::printf("| `optimizer` | rule | states | also spelled |\n|---|---|---|---|\n");
  size_t name = 0;
  for (const OptimizerRow& row : rows) name = std::max(name, row.name.str().size());
  for (const OptimizerRow& row : rows) {
    const std::vector<std::string> others(row.spellings.begin() + 1, row.spellings.end());
    const std::string states = cat(row.name.bits, "-bit", row.name.paged ? ", paged" : "");
    if (form == Form::markdown) {
      std::printf("| `%s` | %s | %s | `%s` |\n", row.name.str().c_str(), row.summary.c_str(),
                  states.c_str(), join(others, "`, `").c_str());
    } else {
      std::printf("%-*s  %s\n", static_cast<int>(name), row.name.str().c_str(),
                  join(others, ", ").c_str());
    }
  }
}

}  // namespace

int run_ls(const std::vector<std::string>& arguments) {
  CommandLine line("ls", "list what nibble knows", "families | optimizers [--json | --markdown]");
  std::string what;
  bool json = false, markdown = false;
  line.positional("WHAT", what,
                  "families: the model families that load, train and serve; optimizers: the names "
                  "that a recipe's optimizer may have");
  line.flags().heading("Output");
  line.flags().field("json", json, "one JSON object");
  line.flags().field("markdown", markdown, "the table of docs/models.md or docs/optimizers.md");
  line.example("nibble ls families");
  line.example("nibble ls optimizers");
  if (!line.parse(arguments)) return 0;
  const Form form = json ? Form::json : markdown ? Form::markdown : Form::table;
  if (what == "families") {
    print_families(form);
  } else if (what == "optimizers") {
    print_optimizers(form);
  } else {
    throw UserError("command line", cat("'", what, "' is no list"),
                    "nibble ls families, or nibble ls optimizers");
  }
  return 0;
}

}  // namespace nibble
