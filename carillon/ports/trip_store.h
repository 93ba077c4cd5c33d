// Senders that are shut out for an absurd volume. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/ids.h"

namespace carillon {

struct TrippedSender {
  AppId app;
  std::string sender_id;  // Empty: those without an actor_id.
  int64_t count = 0;      // What it had sent within the minute.
  int64_t limit = 0;
  absl::Time trip_time;
  std::string app_key;  // Only when it is listed.
};

class TripStore {
 public:
  virtual ~TripStore() = default;
  // Shuts them out, all or none; who is shut out already stays so as he is. Of an app
  // limits::kMaxTrippedSenders are kept, those that were tripped last. Every server knows
  // within about a second, by the catalogue's version.
  virtual absl::Status Trip(absl::Span<const TrippedSender> senders) = 0;
  // Of one app, or, with an empty key, of all; newest first. NOT_FOUND if no app has the key.
  virtual absl::StatusOr<std::vector<TrippedSender>> List(const std::string& app_key, int limit) = 0;
  // Lets a sender in again. False: it was not shut out. NOT_FOUND if no app has the key.
  virtual absl::StatusOr<bool> Lift(const std::string& app_key, const std::string& sender_id) = 0;
};

}  // namespace carillon
