// What a person sees on standard error: in a file, and on a terminal of 20 columns.
#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

namespace nibble {
namespace {

template <class Work>
std::string in_a_file(const Work& work) {
  ::testing::internal::CaptureStderr();
  work();
  return ::testing::internal::GetCapturedStderr();
}

// Runs `work` with standard error on a pseudo terminal; returns what the terminal received.
template <class Work>
std::string on_a_terminal(const Work& work) {
  const int controller = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (controller < 0 || ::grantpt(controller) != 0 || ::unlockpt(controller) != 0) return "";
  const int terminal = ::open(::ptsname(controller), O_RDWR | O_NOCTTY);
  if (terminal < 0) return "";
  winsize size{};
  size.ws_col = 20;
  size.ws_row = 10;
  ::ioctl(terminal, TIOCSWINSZ, &size);
  const int saved = ::dup(STDERR_FILENO);
  ::dup2(terminal, STDERR_FILENO);
  work();
  std::fflush(stderr);
  ::dup2(saved, STDERR_FILENO);
  ::close(saved);
  ::fcntl(controller, F_SETFL, O_NONBLOCK);
  std::string out;
  char buffer[1024];
  for (ssize_t got; (got = ::read(controller, buffer, sizeof buffer)) > 0;) out.append(buffer, got);
  ::close(terminal);
  ::close(controller);
  return out;
}

TEST(Log, RowsAlignAndLevelsFilter) {
  const std::string out = in_a_file([] {
    log::set_level(log::Level::info);
    log::row("base", "TinyLlama");
    log::row("länge", "x");
    log::row("a long label", "y");
    log::debug("hidden");
    log::info("{} stays as it is");
    log::warning("careful");
    log::set_level(log::Level::error);
    log::row("base", "hidden");
    log::error("broken");
    log::set_level(log::Level::info);
  });
  EXPECT_EQ(out,
            "base      TinyLlama\nlänge     x\na long label y\n{} stays as it is\n"
            "warning: careful\nerror: broken\n");
}

TEST(Log, ProgressInAFileIsALineNowAndThen) {
  EXPECT_EQ(in_a_file([] {
              log::Progress progress(0);
              for (int i = 0; i < 3; ++i) progress.update("step " + std::to_string(i));
            }),
            "step 0\nstep 1\nstep 2\n");
  EXPECT_EQ(in_a_file([] {
              log::Progress progress(0.05);
              progress.update("too soon");
              std::this_thread::sleep_for(std::chrono::milliseconds(60));
              progress.update("due");
              progress.update("the last one is kept");
            }),
            "due\nthe last one is kept\n");
}

TEST(Log, ShortWorkSaysNothingInAFile) {
  EXPECT_EQ(in_a_file([] { log::Progress progress; }), "");
  EXPECT_EQ(in_a_file([] {
              log::Progress progress(30);
              for (int i = 0; i < 100; ++i) progress.update("step " + std::to_string(i));
            }),
            "");
}

TEST(Log, ProgressOnATerminalRedrawsBelowOtherLines) {
  const std::string out = on_a_terminal([] {
    log::Progress progress;
    progress.update("step 1 of very many steps");  // cut to the width
    progress.update("step 2");                     // too soon to be drawn
    log::info("saved");
    std::this_thread::sleep_for(std::chrono::milliseconds(110));
    progress.update("step 3");
  });
  if (out.empty()) GTEST_SKIP() << "skipped: no pseudo terminal here";
  const std::string wipe = "\r\x1b[K";
  EXPECT_EQ(out, wipe + "step 1 of very many" + wipe + "saved\r\n" + wipe + "step 1 of very many" +
                     wipe + "step 3" + wipe + "step 3\r\n");
}

TEST(Log, ColourNeedsATerminalAndNobodyAgainstIt) {
  const char* term = std::getenv("TERM");
  const std::string saved = term == nullptr ? "" : term;
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  bool with = false, without = true, dumb = true;
  const std::string out = on_a_terminal([&] {
    with = log::colour();
    ::setenv("NO_COLOR", "1", 1);
    without = log::colour();
    ::unsetenv("NO_COLOR");
    ::setenv("TERM", "dumb", 1);
    dumb = log::colour();
    log::info(".");
  });
  ::setenv("TERM", saved.c_str(), 1);
  if (out.empty()) GTEST_SKIP() << "skipped: no pseudo terminal here";
  EXPECT_TRUE(with);
  EXPECT_FALSE(without);
  EXPECT_FALSE(dumb);
}

}  // namespace
}  // namespace nibble
