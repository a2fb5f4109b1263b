#include "trainer/stop_signal.h"

#include <unistd.h>
#include <csignal>

namespace nibble {
namespace {

volatile std::sig_atomic_t asked_to_stop = 0;
const int kSignals[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

void on_signal(int number) {
  if (asked_to_stop != 0) _exit(128 + number);
  asked_to_stop = 1;
}

}  // namespace

StopSignal::StopSignal() {
  asked_to_stop = 0;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (int s : kSignals) sigaction(s, &action, nullptr);
}

StopSignal::~StopSignal() {
  for (int s : kSignals) std::signal(s, SIG_DFL);
}

bool StopSignal::asked() { return asked_to_stop != 0; }

}  // namespace nibble
