// The outbox as a relay loop sees it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"

namespace carillon {

struct OutboxRow {
  Uuid message_id;
  AppId app;
  int attempts = 0;
  // How often it was taken from the dead letters.
  int replay_count = 0;
  // Empty: the default exchange; routing_key is a queue.
  std::string exchange;
  std::string routing_key;
  std::string type;
  std::string traceparent;
  std::string payload;
};

// One lane's rows. Owner thread only. Between Take and Settle it holds a
// transaction that owns the rows taken; if the process dies they are free again.
class OutboxReader {
 public:
  virtual ~OutboxReader() = default;

  // The oldest ready rows that no other relay holds. If there are any, Settle or
  // Release must follow.
  virtual absl::StatusOr<std::vector<OutboxRow>> Take(int limit) = 0;

  struct Failure {
    const OutboxRow* row = nullptr;  // One that was taken.
    std::string error;
    absl::Duration delay;  // Until it is tried again.
  };
  // Puts the rows of `failures` off and deletes all others that were taken. On an
  // error all are as they were before, or deleted.
  virtual absl::Status Settle(absl::Span<const Failure> failures) = 0;
  // Lets all that were taken go as they were.
  virtual absl::Status Release() = 0;

  // Makes rows ready whose time has come: deferred ones, and what waited in
  // schedules. Returns how many.
  virtual absl::StatusOr<int> ReleaseDue(int limit) = 0;
};

// Tells the relays that rows were written. Thread-safe, never blocks; pings of a
// lane are sent at most every 2 ms by a thread of the implementation's own,
// outside every writer's transaction.
class OutboxWaker {
 public:
  virtual ~OutboxWaker() = default;
  virtual void Wake(Lane lane) = 0;
};

struct OutboxStats {
  Lane lane = Lane::kSocial;
  int64_t rows = 0;  // An estimate above 100 000.
  int64_t deferred = 0;
  absl::Duration oldest_age;
};

}  // namespace carillon
