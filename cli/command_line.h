// The command line of one sub-command: its flags are settings rows, so that flag, environment name,
// help and error messages come from one declaration.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/settings.h"

namespace nibble {

class CommandLine {
 public:
  // usage: "MODEL --file F [options]"
  CommandLine(std::string command, std::string summary, std::string usage);

  Settings& flags() { return flags_; }
  void positional(std::string name, std::string& value, std::string help, bool required = true);
  // key=value words (dotted names), kept in order.
  void overrides(std::vector<std::pair<std::string, std::string>>& pairs, std::string help);
  void note(std::string text);     // a paragraph at the end of the help
  void example(std::string text);  // a line under "Examples"

  // False when help was asked for and printed (exit 0). Mistakes throw UserErrors, all of them.
  bool parse(const std::vector<std::string>& arguments);
  std::string help() const;

 private:
  struct Positional {
    std::string name, help;
    std::string* value;
    bool required;
  };
  void place(const std::string& word, size_t& next);

  std::string command_, summary_, usage_, overrides_help_;
  Settings flags_;
  std::vector<Positional> positionals_;
  std::vector<std::pair<std::string, std::string>>* overrides_ = nullptr;
  std::vector<std::string> notes_, examples_;
};

#define COMMAND(name, summary) int run_##name(const std::vector<std::string>& arguments);
#include "cli/commands.def"
#undef COMMAND

}  // namespace nibble
