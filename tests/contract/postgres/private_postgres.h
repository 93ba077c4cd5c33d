// A PostgreSQL server of a test's own, to be killed.
#pragma once

#include <string>
#include <vector>

#include "tests/kit/scratch_directory.h"

namespace carillon::testing {

// Runs on loopback in a directory of its own until the object is destroyed.
// Every call ends the program if it fails. Not thread-safe.
class PrivatePostgres {
 public:
  PrivatePostgres();
  ~PrivatePostgres();
  PrivatePostgres(const PrivatePostgres&) = delete;
  PrivatePostgres& operator=(const PrivatePostgres&) = delete;

  // Of an empty database.
  const std::string& url() const { return url_; }
  // kill -9.
  void Kill();
  // Starts it again on the same port; returns when it takes connections.
  void Start();

 private:
  void Stack(const std::vector<std::string>& arguments) const;

  ScratchDirectory scratch_;
  std::string directory_;
  std::string url_;
};

}  // namespace carillon::testing
