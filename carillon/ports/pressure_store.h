// How much waits and how fast it moves, as workers tell and PostgreSQL knows.
// Thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"
#include "carillon/ports/outbox_store.h"

namespace carillon {

// What a worker process tells of a queue that it consumes. Counts are since it started.
struct QueueReport {
  std::string queue;
  std::string process;   // Of one start: another one counts from zero.
  int64_t messages = 0;  // Settled.
  int64_t items = 0;     // Notifications, reactions, pages or deliveries in them.
  int64_t retrying = 0;  // Messages that it has put off and that are not back yet.
  // When the newest one that it has taken was accepted.
  std::optional<absl::Time> newest_taken;
  // It was told within the last 10 s. Only when read.
  bool live = false;
};

// A provider that is out for a lane's workers.
struct OpenBreaker {
  std::string app_key;
  ProviderHealth health;
};

struct PressureFacts {
  std::vector<QueueReport> reports;
  // Of every lane. The oldest age counts from when a row came to wait, the deferred
  // ones' from acceptance.
  std::vector<OutboxStats> outbox;
  // Recorded dead letters that are dead, of all apps, by queue; so many at most are counted.
  std::map<std::string, int64_t> dead;
  std::vector<OpenBreaker> breakers;
};

class PressureStore {
 public:
  virtual ~PressureStore() = default;

  // Adds or replaces what a process says of its queues. One round trip.
  virtual absl::Status Report(absl::Span<const QueueReport> reports) = 0;
  // All of it in one round trip; dead letters of these queues.
  virtual absl::StatusOr<PressureFacts> Read(absl::Span<const std::string> queues) = 0;
  // Deletes what was told before so long ago: its process is gone. Returns how many.
  virtual absl::StatusOr<int> ForgetReports(absl::Duration age) = 0;
};

}  // namespace carillon
