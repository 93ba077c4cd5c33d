// The events of a measurement: how they are published, and how far they come.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/carillon/client.h"

namespace carillon::bench {

// Of weight social, without a dedupe window.
inline constexpr const char* kEventType = "bench.fanout";

// Adds kEventType to the app's catalogue, if it is not there, and waits until
// every process has it.
absl::Status ApplyEventType(Client& client);

// Nobody is told yet. The object is the event's own: its items are found by it.
v1::PublishEventRequest EventAbout(const std::string& object_id);

// From how many recipients on the app's events are stored once for all, until it
// is destroyed; then it is as it was. Owner thread only.
class SharedThreshold {
 public:
  // The client must outlive it.
  SharedThreshold(Client& client, std::string app_key) : client_(client), app_key_(std::move(app_key)) {}
  ~SharedThreshold() { (void)Restore(); }
  SharedThreshold(const SharedThreshold&) = delete;
  SharedThreshold& operator=(const SharedThreshold&) = delete;

  absl::Status Set(int64_t threshold);
  // Idempotent.
  absl::Status Restore();

 private:
  absl::StatusOr<int64_t> Update(std::optional<int64_t> threshold);

  Client& client_;
  const std::string app_key_;
  std::optional<int64_t> before_;
};

// What GetEvent told at an instant by MonotonicNow.
struct ProgressSample {
  absl::Duration moment;
  int64_t expanded = 0;
};

// One event on its way.
struct EventTrack {
  std::string event_id;
  std::string object_id;
  absl::Duration published;  // PublishEvent was answered.
  absl::Duration ended;      // It was seen to have ended; zero: not yet.
  v1::Event last;
  std::vector<ProgressSample> samples;

  bool has_ended() const { return ended != absl::ZeroDuration(); }
};

absl::StatusOr<EventTrack> Publish(Client& client, const v1::PublishEventRequest& request);
// One look at it. Errors that pass leave it as it was.
absl::Status Look(Client& client, EventTrack& track);

// Waits until it has ended, looking every 20 ms.
absl::Status WaitForEnd(Client& client, EventTrack& track, absl::Duration timeout);

// How far the slowest event was, of 1, when the first of them had ended.
double LeastShareAtFirstEnd(absl::Span<const EventTrack> tracks);
// The longest time in which an event that had not ended did not move, as far as its samples tell.
absl::Duration LongestPause(const EventTrack& track);

}  // namespace carillon::bench
