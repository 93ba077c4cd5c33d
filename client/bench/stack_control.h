// Breaks and mends the parts of a local system (deploy/local/stack.py).
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace carillon::bench {

// Thread-safe. Everything blocks, for a limited time.
class StackControl {
 public:
  // `directory`: of the stack; `launcher`: the path of stack.py.
  StackControl(std::string directory, std::string launcher);

  // Kills the process of a part with SIGKILL, at once.
  absl::Status Kill(const std::string& part) const;
  absl::Status Start(const std::string& part) const;
  absl::Status Stop(const std::string& part) const;
  // Forgets everything that Redis holds.
  absl::Status FlushRedis() const;
  // Removes the messages of a queue behind everybody's back.
  absl::Status PurgeQueue(const std::string& queue) const;

 private:
  absl::Status Launch(const std::string& command, std::vector<std::string> arguments) const;

  const std::string directory_;
  const std::string launcher_;
};

}  // namespace carillon::bench
