// What a run sends: drawn from its seed, so that a run can be repeated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "carillon/v1/notification_service.pb.h"
#include "client/bench/random.h"

namespace carillon::bench {

// Not thread-safe.
class Workload {
 public:
  struct Options {
    uint64_t seed = 0;
    // Part of every idempotency key; no other run may share it.
    std::string run_name;
    int64_t count = 0;
    std::vector<std::string> user_ids;
    std::vector<std::string> types;
  };

  explicit Workload(Options options);

  // The next requests, at most so many; empty at the end. Each has an
  // idempotency key of its own.
  std::vector<v1::SendNotificationRequest> Next(int most);

 private:
  v1::SendNotificationRequest NextOne();

  const Options options_;
  Random random_;
  int64_t made_ = 0;
  // Holds a value for every name that the shipped templates use.
  google::protobuf::Struct data_;
};

}  // namespace carillon::bench
