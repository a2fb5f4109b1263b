// The stop flag: the first signal asks a run to finish its step and save, a second one ends it.
#pragma once

namespace nibble {

// Installs handlers for SIGINT, SIGTERM, SIGUSR1 and SIGUSR2 while it lives.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  static bool asked();
};

}  // namespace nibble
