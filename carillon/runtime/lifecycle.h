// What every main() does: flags, signals, and a way out that never hangs.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "carillon/runtime/metrics.h"

namespace carillon {

// A program's parts, as RunProcess starts and stops them.
class ManagedProcess {
 public:
  virtual ~ManagedProcess() = default;
  // Starts everything; returns without waiting for backends that are away.
  virtual absl::Status Start() = 0;
  // Finishes what is under way, within a few seconds. Called once, after Start.
  virtual void Stop() = 0;
};

struct ProcessOptions {
  std::string name;             // In every log line.
  std::string log_level;        // debug, info, warn or error.
  std::string metrics_address;  // host:port of /metrics; port 0: any free one.
};

// Runs a process until SIGTERM, SIGINT or SIGHUP and returns its exit status: 0
// after a stop in good order, 1 if it could not start, 2 if `make` refused its
// configuration. /metrics is served once it has started. A stop that takes more
// than 20 s ends the process with status 3.
int RunProcess(const ProcessOptions& options,
               const std::function<absl::StatusOr<std::unique_ptr<ManagedProcess>>(Metrics&)>& make);

// Parses the command line into the program's flags. Names may be written with
// hyphens (--metrics-address) as well as with the underscores that absl has.
void ParseFlags(int argc, char** argv, const char* usage);

// The value of a flag if it is not empty, else of the environment variable.
std::string FlagOrEnv(const std::string& flag, const char* variable);

}  // namespace carillon
