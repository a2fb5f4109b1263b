// One sink to standard error. A progress line that stands on the terminal is wiped before other
// lines are written and drawn again below them.
#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <mutex>

#include "base/text.h"

namespace nibble::log {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr size_t kLabelWidth = 10;

struct Sink {
  std::mutex mutex;
  Level level = Level::info;
  std::string standing;  // the progress line now on the terminal
  std::shared_ptr<spdlog::logger> out;

  Sink() {
    out = std::make_shared<spdlog::logger>("nibble",
                                           std::make_shared<spdlog::sinks::stderr_sink_st>());
    out->set_pattern("%v");
    out->set_level(spdlog::level::trace);
    out->flush_on(spdlog::level::trace);
    const char* wanted = std::getenv("NIBBLE_LOG");
    if (wanted == nullptr || *wanted == 0) return;
    const std::vector<std::string> names = {"debug", "info", "warning", "error"};
    for (size_t i = 0; i < names.size(); ++i) {
      if (names[i] == wanted) {
        level = static_cast<Level>(i);
        return;
      }
    }
    out->warn("warning: NIBBLE_LOG is '{}'; it takes debug, info, warning or error", wanted);
  }
};

Sink& sink() {
  static Sink the_sink;
  return the_sink;
}

double now() {
  using std::chrono::steady_clock;
  return std::chrono::duration<double>(steady_clock::now().time_since_epoch()).count();
}

size_t terminal_width() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

// Cuts on a whole character; the last column stays free, or some terminals wrap.
std::string_view fitting(std::string_view line, size_t width) {
  size_t seen = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if ((static_cast<unsigned char>(line[i]) & 0xC0) == 0x80) continue;
    if (++seen >= width) return line.substr(0, i);
  }
  return line;
}

void draw(std::string_view text) {
  const std::string bytes = cat("\r\x1b[K", text);
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, bytes.data(), bytes.size());
}

// Call with the mutex held.
void print(Sink& s, std::string_view line) {
  if (!s.standing.empty()) draw("");
  s.out->info("{}", line);
  if (!s.standing.empty()) draw(s.standing);
}

std::string prefix(Level level) {
  const char* colour_on = level == Level::error ? "\x1b[31m" : "\x1b[33m";
  const char* word = level == Level::error ? "error: " : "warning: ";
  if (level == Level::debug) return "debug: ";
  if (level == Level::info) return "";
  return colour() ? cat(colour_on, word, "\x1b[0m") : std::string(word);
}

}  // namespace

void set_level(Level level) {
  Sink& s = sink();
  const std::lock_guard lock(s.mutex);
  s.level = level;
}

void write(Level level, std::string_view message) {
  Sink& s = sink();
  const std::lock_guard lock(s.mutex);
  if (level < s.level) return;
  print(s, cat(prefix(level), message));
}

void row(std::string_view label, std::string_view text) {
  size_t width = 0;
  for (const char c : label) width += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  const std::string padding(width < kLabelWidth ? kLabelWidth - width : 1, ' ');
  write(Level::info, cat(label, padding, text));
}

bool stderr_is_tty() { return isatty(STDERR_FILENO) == 1; }

bool colour() {
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return stderr_is_tty() && (no_color == nullptr || *no_color == 0) && term != nullptr &&
         std::string_view(term) != "dumb";
}

// Work that ends before the first line is due says nothing in a file.
Progress::Progress(double every_seconds)
    : every_(every_seconds), last_(stderr_is_tty() ? -1e30 : now()) {}

Progress::~Progress() { finish(); }

void Progress::update(std::string_view line) {
  Sink& s = sink();
  const std::lock_guard lock(s.mutex);
  line_ = line;
  const double time = now();
  if (s.level > Level::info || time - last_ < (stderr_is_tty() ? kRedrawSeconds : every_)) return;
  last_ = time;
  if (stderr_is_tty()) {
    s.standing = fitting(line, terminal_width());
    draw(s.standing);
    drawn_ = true;
  } else {
    print(s, line);
    drawn_ = true;
    line_.clear();  // said: finish() has nothing to add
  }
}

void Progress::finish() {
  Sink& s = sink();
  const std::lock_guard lock(s.mutex);
  if (drawn_ && stderr_is_tty()) {
    draw("");
    s.standing.clear();
  }
  if (drawn_ && !line_.empty() && s.level <= Level::info) print(s, line_);
  line_.clear();
  drawn_ = false;
}

}  // namespace nibble::log
