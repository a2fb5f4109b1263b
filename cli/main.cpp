// The front door: finds the sub-command and turns whatever it throws into a message and an exit
// code.
#include <malloc.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/text.h"
#include "cli/command_line.h"
#include "cli/version.h"

namespace nibble {
namespace {

struct Row {
  const char* name;
  const char* summary;
  int (*run)(const std::vector<std::string>&);
};
const Row kCommands[] = {
#define COMMAND(name, summary) {#name, summary, run_##name},
#include "cli/commands.def"
#undef COMMAND
};

void print_help(std::FILE* to) {
  std::fprintf(to,
               "nibble fine-tunes language models in four bits and serves them.\n\n"
               "usage  nibble COMMAND [options]\n\nCommands\n");
  for (const Row& row : kCommands) std::fprintf(to, "  %-10s %s\n", row.name, row.summary);
  std::fprintf(to,
               "\nnibble COMMAND --help says more; --version names this build.\n"
               "Results go to standard output, all else to standard error.\n");
}

int dispatch(const std::vector<std::string>& words) {
  if (words.empty()) {
    print_help(stderr);
    return static_cast<int>(Exit::usage);
  }
  const std::string& first = words[0];
  if (first == "--help" || first == "-h" || first == "help") {
    print_help(stdout);
    return 0;
  }
  if (first == "--version" || first == "version") {
    std::printf("%s\n", version_text().c_str());
    return 0;
  }
  std::vector<std::string> names;
  for (const Row& row : kCommands) {
    names.emplace_back(row.name);
    if (first == row.name) return row.run({words.begin() + 1, words.end()});
  }
  const std::string close = nearest(first, names);
  throw UserError("command line", cat("unknown command '", first, "'"),
                  close.empty() ? "nibble --help lists them" : cat("did you mean '", close, "'?"));
}

int front_door(const std::vector<std::string>& words) {
  auto say = [](const std::string& text) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s%s", text.c_str(), ends_with(text, "\n") ? "" : "\n");
  };
  try {
    return dispatch(words);
  } catch (const UserErrors& e) {
    say(e.render());
    return static_cast<int>(e.code());
  } catch (const UserError& e) {
    say(e.render());
    return static_cast<int>(e.code());
  } catch (const OutOfMemory& e) {
    say(cat("nibble: ", e.what()));
    return static_cast<int>(Exit::out_of_memory);
  } catch (const std::bad_alloc&) {
    say("nibble: out of memory outside the planned buffers; use a smaller batch or sequence_len");
    return static_cast<int>(Exit::out_of_memory);
  } catch (const Bug& e) {
    say(cat("nibble: this is a bug in nibble: ", e.what(),
            "\n  please report it with the command that shows it"));
    return static_cast<int>(Exit::bug);
  } catch (const std::exception& e) {
    say(cat("nibble: unexpected failure: ", e.what()));
    return static_cast<int>(Exit::bug);
  }
}

}  // namespace
}  // namespace nibble

int main(int argc, char** argv) {
  // A reader that goes away (nibble … | head) ends the program quietly, not with a signal.
  std::signal(SIGPIPE, SIG_IGN);
  // Large buffers of many sizes come and go: each its own mapping, or the heap grows by fragments.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 4 << 20);
  const int code = nibble::front_door({argv + 1, argv + argc});
  std::fflush(stdout);
  return code;
}
