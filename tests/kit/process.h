// Programs that a test runs: in the background, or to their end.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace carillon::testing {

struct ProcessOptions {
  std::vector<std::string> command;  // command[0] is a path, or a name to find in PATH.
  // Added to the test's own environment; an empty value removes a variable.
  std::map<std::string, std::string> environment;
  std::string output_file;  // Standard output and error are appended. Empty: they are the test's.
};

// A background process. It dies with this object, and with the thread that
// started it: start it from a thread that outlives it. Not thread-safe.
class Process {
 public:
  static absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessOptions& options);
  // Takes over a child of this program.
  explicit Process(pid_t pid) : pid_(pid) {}
  // Kills it if it still runs.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  bool IsRunning();
  // SIGKILL, and waits until it is gone.
  void Kill();
  // Asks it to end (SIGTERM); WaitForExit tells how it went.
  void Terminate();
  void Signal(int number);
  // Its exit status, 128 + the number of the signal that ended it, or nothing
  // if it still runs after the limit.
  std::optional<int> WaitForExit(absl::Duration limit);

 private:
  const pid_t pid_;
  std::optional<int> exit_status_;
};

struct CommandResult {
  int exit_status = 0;
  std::string output;  // Standard output.
  std::string errors;  // Standard error.
};

// Runs a program to its end. DEADLINE_EXCEEDED if that takes longer than the
// limit; the program is killed then.
absl::StatusOr<CommandResult> RunCommand(const std::vector<std::string>& command,
                                         const std::map<std::string, std::string>& environment = {},
                                         absl::Duration limit = absl::Seconds(60));

}  // namespace carillon::testing
