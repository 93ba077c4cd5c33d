// A Redis of the test's own, to be killed, frozen and started again.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/kit/process.h"
#include "tests/kit/scratch_directory.h"

namespace carillon::testing {

// Keeps nothing on disk; asks for the password "secret". Not thread-safe.
class PrivateRedis {
 public:
  // Runs and listens.
  PrivateRedis();

  // On the same port as before, empty.
  void Start();
  void Kill() { process_->Kill(); }
  void Freeze();
  void Thaw();
  // Runs a command through redis-cli and returns what it prints.
  std::string Run(const std::vector<std::string>& command) const;

  // Of its database 3.
  std::string url(const std::string& password = "secret") const;

 private:
  const std::string address_;
  const ScratchDirectory directory_;
  std::unique_ptr<Process> process_;
};

}  // namespace carillon::testing
