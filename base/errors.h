// Two kinds of failure. The user's mistake names the place, the value and the cure and becomes an
// exit code or an HTTP status; ours is a check that names both values and ends with exit 70 or 500.
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"

namespace nibble {

// Exit codes of the program (docs/design.md §6).
enum class Exit : int {
  done = 0,
  check_failed = 1,
  usage = 2,
  diverged = 3,
  bad_data = 65,
  missing_input = 66,
  device_unavailable = 69,
  bug = 70,
  out_of_memory = 71,
  cannot_create = 73,
  io = 74,
  stopped = 75,
  peer_lost = 76,
  ranks_disagree = 78,
};

// A place in the user's input. Lines and columns count from 1; 0 means "the whole file".
struct Where {
  std::string file;
  int line = 0;
  int column = 0;
  std::string text;  // the line itself, for the caret; may be empty
  int length = 1;    // how many characters the caret underlines

  std::string str() const;  // "recipe.yaml:14:10", "recipe.yaml" or "" when unknown
};

// One mistake of the user. `what` says what is wrong with which value, `hint` how to mend it.
class UserError : public std::exception {
 public:
  UserError(Where where, std::string what, std::string hint = "", Exit code = Exit::usage);
  UserError(std::string_view where, std::string what, std::string hint = "",
            Exit code = Exit::usage);

  const char* what() const noexcept override { return full_.c_str(); }  // where: what (hint)
  const Where& where() const { return where_; }
  const std::string& message() const { return what_; }
  const std::string& hint() const { return hint_; }
  Exit code() const { return code_; }
  // Several lines as a person should see them: the place, the source line, the caret, the hint.
  std::string render() const;

 private:
  Where where_;
  std::string what_, hint_, full_;
  Exit code_;
};

// All mistakes of one input, reported together.
class UserErrors : public std::exception {
 public:
  UserErrors(std::vector<UserError> all, Exit code = Exit::usage);
  const char* what() const noexcept override { return full_.c_str(); }
  const std::vector<UserError>& all() const { return all_; }
  Exit code() const { return code_; }
  std::string render() const;  // every mistake, then "3 mistakes, nothing was started."

 private:
  std::vector<UserError> all_;
  std::string full_;
  Exit code_;
};

// Our own bug: exit 70, HTTP 500.
class Bug : public std::exception {
 public:
  explicit Bug(std::string what) : what_(std::move(what)) {}
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string what_;
};

// No memory: carries the bytes asked for and a table by purpose (exit 71).
class OutOfMemory : public std::exception {
 public:
  explicit OutOfMemory(std::string what) : what_(std::move(what)) {}
  const char* what() const noexcept override { return what_.c_str(); }

 private:
  std::string what_;
};

[[noreturn]] void fail_check(std::string message, const char* file, int line);

inline void check(bool ok, std::string_view what, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (!ok) fail_check(std::string(what), file, line);
}

template <class A, class B>
void check_eq(const A& a, const B& b, std::string_view what, const char* file = __builtin_FILE(),
              int line = __builtin_LINE()) {
  if (!(a == b)) fail_check(cat(what, ": ", a, " is not ", b), file, line);
}

}  // namespace nibble
