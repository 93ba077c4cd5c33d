// What all measurements have in common.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/carillon/options.h"

namespace carillon::bench {

struct BenchOptions {
  ClientOptions client;
  // Of the system's own backends: for the guards, and to prepare and watch.
  std::string database_url;
  std::string amqp_url;
  // Of a local system, whose processes are measured and stopped; may be empty.
  std::string stack_directory;
  std::string launcher = "deploy/local/stack.py";
  uint64_t seed = 0;
  int in_flight = 64;
  int batch = 1;
  int users = 10'000;
  // With weights: "like=8".
  std::vector<std::string> types = {"like"};
  bool keys = false;
  // Load that comes first and is not counted.
  absl::Duration warmup = absl::Seconds(2);
  absl::Duration time = absl::Seconds(10);
  // 0: as many as the time allows.
  int64_t count = 0;
};

}  // namespace carillon::bench
