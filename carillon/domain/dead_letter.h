// Messages that were given up, and what is done with them. Plain data; validated where
// it enters (server/api).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/domain/ids.h"

namespace carillon {

// A message that was given up.
struct DeadLetter {
  int64_t id = 0;
  std::optional<AppId> app;
  std::optional<NotificationId> notification_id;
  std::string queue;
  std::string lane;  // Empty if the queue is of no lane.
  std::string message_id;
  std::string type;
  std::string exchange;
  std::string routing_key;
  std::string reason;
  std::string error;
  std::string traceparent;
  int retry_count = 0;
  int replay_count = 0;  // How often it was put back before it died again.
  std::string payload;
  absl::Time dead_time;
  std::vector<Uuid> reaction_groups;  // In the payload. Only when it is recorded.
  // Of a delivery: which one, and the provider that was asked last.
  std::optional<Uuid> delivery_id;
  std::string provider;
  // Of its notification; 0: it has none. Only when it is recorded.
  int retention_days = 0;
  // Its message may have been recorded before. Only when it is recorded.
  bool redelivered = false;
  // Nothing is done with its payload but to keep it. Only when it is recorded.
  bool is_opaque = false;
  // Only when it is read.
  std::string app_key;
  int64_t payload_bytes = 0;
};

// Those that meet all that is said. Empty texts say nothing.
struct DeadLetterFilter {
  std::optional<AppId> app;  // Absent: of every app.
  bool or_of_no_app = false;
  std::string queue;
  std::string lane;
  std::string type;
  std::string error;       // A part of the error or the reason, whatever the case.
  std::string error_kind;  // As a DeadLetterGroup has it.
  std::string provider;
  bool without_provider = false;  // Then `provider` is empty.
  std::vector<int64_t> ids;
  std::optional<absl::Time> died_before;
  std::optional<absl::Time> died_after;
  // As the caller said it, to be shown.
  std::string app_key;
  std::optional<absl::Duration> older_than;
  std::optional<absl::Duration> newer_than;
};

// Letters that differ in nothing that matters.
struct DeadLetterGroup {
  std::string lane;
  std::string queue;
  std::string type;
  std::string error_kind;
  std::string reason;
  std::string provider;
  int64_t count = 0;
  absl::Time oldest;
  absl::Time newest;
};

enum class ReplayKind { kReplay, kPurge, kExport };
// The values are those of carillon.v1.ReplayState.
enum class ReplayState { kRunning = 1, kDone = 2, kInterrupted = 3, kFailing = 4 };

// What somebody wants to be done with dead letters.
struct ReplayOrder {
  AppId app;  // Whose credentials it came with.
  ReplayKind kind = ReplayKind::kReplay;
  std::string operator_name;
  std::string reason;
  DeadLetterFilter filter;
  int64_t limit = 0;  // Letters that are looked at; 0: all.
  int max_replays = 0;
};

// Letters of a run, by what became of them.
struct ReplayCounts {
  int64_t matched = 0;
  int64_t replayed = 0;
  int64_t expired = 0;
  int64_t ended = 0;
  int64_t poison = 0;
  int64_t unroutable = 0;
  int64_t taken = 0;  // By somebody else, meanwhile.
  int64_t died_again = 0;

  int64_t looked_at() const { return replayed + expired + ended + poison + unroutable; }
};

// A run and how far it is.
struct Replay {
  Uuid id;
  ReplayOrder order;
  std::string app_key;
  ReplayState state = ReplayState::kRunning;
  ReplayCounts counts;
  absl::Time start_time;
  std::optional<absl::Time> finish_time;
  std::string detail;
};

}  // namespace carillon
