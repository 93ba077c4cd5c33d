// The run of `carillon-bench e2e`: load, faults, and the comparison at the end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/bench/report.h"

namespace carillon::bench {

struct E2eOptions {
  std::string address;
  std::string app_key;
  std::string app_secret;
  int in_flight = 64;
  int64_t count = 20'000;
  int users = 200;
  std::vector<std::string> types = {"payment.receipt", "otp.login", "like", "chat.message", "marketing.discount"};
  int batch = 1;
  uint64_t seed = 0;
  // Empty: a file in the directory for temporary files, removed after a run that passed.
  std::string accepted_log;
  absl::Duration settle_timeout = absl::Seconds(180);
  // Empty: no faults.
  std::vector<std::string> faults;
  std::string stack_directory;
  std::string launcher;
  absl::Duration postgres_away = absl::Seconds(60);
};

// Blocks until the run is over. Tells what it does on standard error. An error
// means that it could not begin.
absl::StatusOr<Report> RunE2e(E2eOptions options);

}  // namespace carillon::bench
