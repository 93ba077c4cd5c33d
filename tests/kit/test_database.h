// A database of a test's own, with the schema of the migrations.
#pragma once

#include <string>

namespace carillon::testing {

// Made as a copy of a template, which the first test of a server migrates and
// all others share. Dropped on destruction, connections or not. Ends the program
// if it can't be made. Not thread-safe.
class TestDatabase {
 public:
  TestDatabase();
  ~TestDatabase();
  TestDatabase(const TestDatabase&) = delete;
  TestDatabase& operator=(const TestDatabase&) = delete;

  // As CARILLON_DATABASE_URL: names the schema too.
  const std::string& url() const { return url_; }

  // Runs statements and returns the first column of the first row as text, empty
  // if there is none. Ends the program if one fails.
  std::string Query(const std::string& statements) const;

 private:
  std::string name_;
  std::string url_;
};

// Stops the tests' database server gently and starts it again: every session ends.
// Ends the program if it fails.
void RestartPostgres();

}  // namespace carillon::testing
