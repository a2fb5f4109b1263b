// nibble ls: what this program knows, from the rows it is made of.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "cli/command_line.h"
#include "model/blueprint.h"

namespace nibble {
namespace {

void print_table() {
  size_t name = 0, members = 0;
  for (const Family& f : families()) {
    name = std::max(name, std::string(f.model_type).size());
    members = std::max(members, std::string(f.members).size());
  }
  std::printf("%-*s  %s\n", static_cast<int>(name), "model_type", "models");
  for (const Family& f : families()) {
    std::printf("%-*s  %s\n", static_cast<int>(name), f.model_type, f.members);
    if (*f.notes != 0) std::printf("%-*s  %s\n", static_cast<int>(name), "", f.notes);
  }
}

// docs/models.md between its markers.
void print_markdown() {
  std::printf("| `model_type` | models | notes |\n|---|---|---|\n");
  for (const Family& f : families())
    std::printf("| `%s` | %s | %s |\n", f.model_type, f.members, f.notes);
}

}  // namespace

int run_ls(const std::vector<std::string>& arguments) {
  CommandLine line("ls", "list what nibble knows", "families [--json | --markdown]");
  std::string what;
  bool json = false, markdown = false;
  line.positional("WHAT", what, "families: the model families that load, train and serve");
  line.flags().heading("Output");
  line.flags().field("json", json, "one JSON object");
  line.flags().field("markdown", markdown, "the table of docs/models.md");
  line.example("nibble ls families");
  if (!line.parse(arguments)) return 0;
  if (what != "families")
    throw UserError("command line", cat("'", what, "' is no list"), "nibble ls families");
  if (json) {
    Json all = Json::array();
    for (const Family& f : families())
      all.push_back({{"model_type", f.model_type}, {"models", f.members}, {"notes", f.notes}});
    std::printf("%s\n", dump_json({{"families", std::move(all)}}).c_str());
  } else if (markdown) {
    print_markdown();
  } else {
    print_table();
  }
  return 0;
}

}  // namespace nibble
