// A program that this one runs beside the local system.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace carillon::bench {

// Owner thread only.
class ChildProcess {
 public:
  // Starts it with our environment; its output goes to `log`.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(std::vector<std::string> command, const std::string& log);
  // As Stop.
  ~ChildProcess() { (void)Stop(); }

  // Asks it to end and waits; kills it after 30 s, which is an error.
  absl::Status Stop();
  pid_t pid() const { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_;  // 0: it has ended.
};

// The path of a program beside this one.
std::string ProgramBeside(const std::string& name);

}  // namespace carillon::bench
