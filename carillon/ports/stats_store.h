// What was sent and what became of it, counted by day. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"

namespace carillon {

// Of one day in UTC, type and channel.
struct DailyStats {
  absl::CivilDay day;
  std::string type;
  Channel channel = Channel::kInApp;
  int64_t sent = 0;
  int64_t delivered = 0;
  int64_t undelivered = 0;
  int64_t opened = 0;
  int64_t clicked = 0;
  int64_t suppressed = 0;
  int64_t expired = 0;
  int64_t dead = 0;

  friend bool operator==(const DailyStats&, const DailyStats&) = default;
};

class StatsStore {
 public:
  virtual ~StatsStore() = default;

  struct Query {
    AppId app;
    // Both counted.
    absl::CivilDay from;
    absl::CivilDay to;
    std::string type;  // Empty: all.
    std::optional<Channel> channel;
  };
  // By day, type and channel, without those of which nothing was counted; at most
  // `limit`.
  virtual absl::StatusOr<std::vector<DailyStats>> Read(const Query& query, int limit) = 0;
};

}  // namespace carillon
