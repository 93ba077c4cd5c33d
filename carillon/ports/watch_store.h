// Whether watched notifications have changed, for many at once. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/ids.h"

namespace carillon {

struct WatchKey {
  AppId app;
  NotificationId id;
};

class WatchStore {
 public:
  virtual ~WatchStore() = default;

  // What each looks like now, as a text that means nothing but that it differs when the
  // notification or one of its deliveries has changed; empty: there is neither. In order,
  // in one round trip.
  virtual absl::StatusOr<std::vector<std::string>> Look(absl::Span<const WatchKey> keys) = 0;
};

}  // namespace carillon
