#include "cli/command_line.h"

#include <cstdio>
#include <cxxopts.hpp>

#include "base/errors.h"
#include "base/text.h"

namespace nibble {
namespace {

constexpr char kPlace[] = "command line";

std::string flag_of(const std::string& name) {
  std::string flag = name;
  for (char& c : flag)
    if (c == '_' || c == '.') c = '-';
  return flag;
}

}  // namespace

CommandLine::CommandLine(std::string command, std::string summary, std::string usage)
    : command_(std::move(command)), summary_(std::move(summary)), usage_(std::move(usage)) {}

void CommandLine::positional(std::string name, std::string& value, std::string help,
                             bool required) {
  positionals_.push_back({std::move(name), std::move(help), &value, required});
}

void CommandLine::overrides(std::vector<std::pair<std::string, std::string>>& pairs,
                            std::string help) {
  overrides_ = &pairs;
  overrides_help_ = std::move(help);
}

void CommandLine::note(std::string text) { notes_.push_back(std::move(text)); }
void CommandLine::example(std::string text) { examples_.push_back(std::move(text)); }

void CommandLine::place(const std::string& word, size_t& next) {
  const size_t equals = word.find('=');
  if (overrides_ != nullptr && equals != std::string::npos && equals > 0 &&
      next >= positionals_.size()) {
    overrides_->emplace_back(word.substr(0, equals), word.substr(equals + 1));
    return;
  }
  if (next < positionals_.size()) {
    *positionals_[next++].value = word;
    return;
  }
  flags_.error({kPlace}, cat("unexpected word '", word, "'"),
               overrides_ != nullptr ? "overrides are written key=value"
                                     : cat("nibble ", command_, " --help"));
}

bool CommandLine::parse(const std::vector<std::string>& arguments) {
  cxxopts::Options options("nibble " + command_, summary_);
  options.allow_unrecognised_options();
  options.add_options()("h,help", "this text");
  std::vector<std::string> known{"help"};
  for (const Field* field : flags_.fields()) {
    std::vector<std::string> spellings{field->name};
    spellings.insert(spellings.end(), field->aliases.begin(), field->aliases.end());
    for (const std::string& name : spellings) {
      known.push_back(flag_of(name));
      auto value = cxxopts::value<std::vector<std::string>>();
      if (field->is_bool) value->implicit_value("true");
      options.add_options()(flag_of(name), field->help, value);
    }
  }
  options.add_options()("positional-words", "", cxxopts::value<std::vector<std::string>>());
  options.parse_positional({"positional-words"});

  std::vector<const char*> argv{"nibble"};
  for (const std::string& a : arguments) argv.push_back(a.c_str());
  try {
    auto result = options.parse(static_cast<int>(argv.size()), argv.data());
    if (result.count("help") != 0) {
      std::fputs(help().c_str(), stdout);
      return false;
    }
    size_t next = 0;
    for (const auto& given : result.arguments()) {
      if (given.key() == "positional-words") {
        place(given.value(), next);
        continue;
      }
      for (const Field* field : flags_.fields()) {
        bool mine = flag_of(field->name) == given.key();
        for (const std::string& alias : field->aliases)
          mine = mine || flag_of(alias) == given.key();
        if (mine) flags_.assign(field->name, given.value(), {cat("--", given.key())});
      }
    }
    for (const std::string& word : result.unmatched()) {
      if (!starts_with(word, "-") || word.find_first_not_of('-') == std::string::npos) {
        place(word, next);
        continue;
      }
      const std::string name = word.substr(word.find_first_not_of('-'), word.find('=') - 2);
      const std::string close = nearest(name, known);
      flags_.error({kPlace}, cat("unknown option '", word, "'"),
                   close.empty() ? cat("nibble ", command_, " --help")
                                 : cat("did you mean '--", close, "'?"));
    }
    for (; next < positionals_.size(); ++next)
      if (positionals_[next].required)
        flags_.error({kPlace}, cat(positionals_[next].name, " is missing"),
                     cat("usage: nibble ", command_, " ", usage_));
  } catch (const cxxopts::exceptions::exception& e) {
    flags_.error({kPlace}, e.what(), cat("nibble ", command_, " --help"));
  }
  flags_.read_environment();
  flags_.finish();
  return true;
}

std::string CommandLine::help() const {
  std::string out =
      cat("nibble ", command_, " — ", summary_, "\n\nusage  nibble ", command_, " ", usage_, "\n");
  if (!examples_.empty()) {
    out += "\nExamples\n";
    for (const std::string& e : examples_) out += "  " + e + "\n";
  }
  if (!positionals_.empty() || overrides_ != nullptr) out += "\nArguments\n";
  auto line = [&](std::string left, const std::string& right) {
    left = "  " + left;
    if (left.size() < 26) left.resize(26, ' ');
    out += left + " " + right + "\n";
  };
  for (const Positional& p : positionals_) line(p.name, p.help);
  if (overrides_ != nullptr) line("key=value …", overrides_help_);
  const std::string flags = flags_.help("--");
  if (!flags.empty()) out += "\n" + flags;
  for (const std::string& n : notes_) out += "\n" + n + "\n";
  return out;
}

}  // namespace nibble
