// A RabbitMQ node of a test's own, to be killed and starved.
#pragma once

#include <string>
#include <vector>

#include "tests/kit/scratch_directory.h"

namespace carillon::testing {

// Runs on loopback in a directory of its own until the object is destroyed.
// Every call ends the program if it fails. Not thread-safe.
class PrivateBroker {
 public:
  PrivateBroker();
  ~PrivateBroker();
  PrivateBroker(const PrivateBroker&) = delete;
  PrivateBroker& operator=(const PrivateBroker&) = delete;

  const std::string& url() const { return url_; }
  // kill -9.
  void Kill();
  // Starts it again with what it had on disk; returns when it takes connections.
  void Start();
  // Makes it feel short of memory, or well again. Returns when the alarm is (un)set.
  void SetMemoryAlarm(bool on);

 private:
  std::string Stack(const std::vector<std::string>& arguments) const;

  ScratchDirectory scratch_;
  std::string directory_;
  std::string url_;
};

}  // namespace carillon::testing
