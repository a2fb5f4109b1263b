// Everything that is not a result goes to standard error through one sink. Results (standard
// output) never pass here.
#pragma once

#include <string>
#include <string_view>

namespace nibble::log {

enum class Level { debug, info, warning, error };

void set_level(Level level);  // default info; NIBBLE_LOG=debug|info|warning|error
void write(Level level, std::string_view message);
inline void debug(std::string_view m) { write(Level::debug, m); }
inline void info(std::string_view m) { write(Level::info, m); }
inline void warning(std::string_view m) { write(Level::warning, m); }
inline void error(std::string_view m) { write(Level::error, m); }

// A line of a person's report: "base      TinyLlama-1.1B  22 layers …" (label padded to 10
// columns).
void row(std::string_view label, std::string_view text);

bool stderr_is_tty();
bool colour();  // TTY, NO_COLOR unset, TERM not dumb

// One line that redraws in place on a TTY and otherwise becomes a plain line every 30 s.
class Progress {
 public:
  explicit Progress(double every_seconds = 30);
  ~Progress();
  void update(std::string_view line);  // keeps only what fits the terminal's width
  void finish();                       // leaves the last line in place

 private:
  double every_, last_;
  bool drawn_ = false;
  std::string line_;
};

}  // namespace nibble::log
