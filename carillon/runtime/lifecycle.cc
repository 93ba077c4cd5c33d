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
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr absl::Duration kShutdownLimit = absl::Seconds(20);
constexpr int kNotStarted = 1;
constexpr int kBadConfiguration = 2;
constexpr int kOverdue = 3;

sigset_t TerminationSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  return signals;
}

// For this and all later threads.
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

// Whatever hangs on the way out does not keep the process.
void ExitAtLatestAfter(absl::Duration time) {
  std::thread([time] {
    absl::SleepFor(time);
    log::Error("shutdown.overdue", {{"limit_seconds", absl::ToDoubleSeconds(time)}});
    log::Flush();
    _exit(kOverdue);
  }).detach();
}

absl::Status StartAndServe(ManagedProcess& process, Metrics& metrics, const ProcessOptions& options) {
  RETURN_IF_ERROR(process.Start());
  ASSIGN_OR_RETURN(const std::string address, metrics.Serve(options.metrics_address));
  log::Info("process.started", {{"metrics", address}});
  return absl::OkStatus();
}

int Run(const ProcessOptions& options,
        const std::function<absl::StatusOr<std::unique_ptr<ManagedProcess>>(Metrics&)>& make) {
  Metrics metrics;
  const absl::StatusOr<std::unique_ptr<ManagedProcess>> process = make(metrics);
  if (!process.ok()) {
    log::Error("config.invalid", {{"error", process.status()}});
    return kBadConfiguration;
  }
  const absl::Status started = StartAndServe(**process, metrics, options);
  if (!started.ok()) {
    log::Error("process.not_started", {{"error", started}});
    log::Flush();
    // Some of its threads may run: there is nothing to finish, and nothing to wait for.
    _exit(kNotStarted);
  }
  const int signal_number = WaitForTermination();
  log::Info("shutdown.started", {{"signal", signal_number}});
  ExitAtLatestAfter(kShutdownLimit);
  (*process)->Stop();
  log::Info("shutdown.finished");
  return 0;
}

}  // namespace

int RunProcess(const ProcessOptions& options,
               const std::function<absl::StatusOr<std::unique_ptr<ManagedProcess>>(Metrics&)>& make) {
  BlockSignals();
  // Debian's Abseil looks for deadlocks at every lock, gRPC's included.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  log::Start(options.name, options.log_level);
  const int status = Run(options, make);
  log::Flush();
  return status;
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
