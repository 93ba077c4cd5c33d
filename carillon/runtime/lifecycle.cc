#include "carillon/runtime/lifecycle.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

sigset_t TerminationSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

}  // namespace

void BlockSignals() {
  const sigset_t signals = TerminationSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // libpq and hiredis write to sockets without MSG_NOSIGNAL.
  signal(SIGPIPE, SIG_IGN);
}

int WaitForTermination() {
  const sigset_t signals = TerminationSignals();
  int signal_number = 0;
  while (sigwait(&signals, &signal_number) != 0) {
  }
  return signal_number;
}

void ExitAtLatestAfter(absl::Duration time) {
  std::thread([time] {
    absl::SleepFor(time);
    log::Error("shutdown.overdue", {{"limit_seconds", absl::ToDoubleSeconds(time)}});
    log::Flush();
    _exit(3);
  }).detach();
}

void ParseFlags(int argc, char** argv, const char* usage) {
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (argument.substr(0, 2) != "--") continue;
    char* const end = argv[i] + std::min(argument.find('='), argument.size());
    std::replace(argv[i] + 2, end, '-', '_');
  }
  absl::SetProgramUsageMessage(usage);
  absl::ParseCommandLine(argc, argv);
}

std::string FlagOrEnv(const std::string& flag, const char* variable) {
  if (!flag.empty()) return flag;
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

}  // namespace carillon
