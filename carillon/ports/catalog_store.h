// Types and apps. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"

namespace carillon {

class CatalogStore {
 public:
  virtual ~CatalogStore() = default;
  // Moves on with every change of any type or policy.
  virtual absl::StatusOr<int64_t> Version() = 0;
  // All types of all apps, by app and name.
  virtual absl::StatusOr<std::vector<NotificationType>> LoadTypes() = 0;
  // What the apps have said, by app: of those that have said anything.
  virtual absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() { return std::vector<AppPolicy>(); }
  // Adds or replaces, all or none.
  virtual absl::Status Apply(absl::Span<const NotificationType> types) = 0;
};

// An app with what is needed to check its callers.
struct AppCredentials {
  App app;
  // SHA-256 of its two newest secrets, 32 bytes each.
  std::vector<std::string> secret_hashes;
};

// What of an app changes; absent: as it is.
struct AppChanges {
  std::optional<int64_t> shared_audience_threshold;
  std::string default_locale;  // Empty: as it is.
  std::optional<SendLimits> limits;
  bool make_sandbox = false;
};

// A sandbox whose time was moved.
struct MovedClock {
  absl::Time app_time;
  int64_t due = 0;  // What waited became due by it.
};

class AppStore {
 public:
  virtual ~AppStore() = default;
  // NOT_FOUND if no app has the key.
  virtual absl::StatusOr<AppCredentials> Find(const std::string& app_key) = 0;
  // ALREADY_EXISTS if the name is taken. Returns the app with its id.
  virtual absl::StatusOr<App> Create(const App& app, const std::string& secret_hash) = 0;
  // NOT_FOUND if no app has the key. Returns the app as it is then.
  virtual absl::StatusOr<App> Update(const std::string& app_key, const AppChanges& changes) = 0;
  // Adds a secret and removes all but the two newest. NOT_FOUND without the app.
  virtual absl::Status AddSecret(const std::string& app_key, const std::string& secret_hash) = 0;
  // Moves a sandbox's time forward, and with it what waits for a time, in one transaction.
  // FAILED_PRECONDITION if the app is none; INVALID_ARGUMENT, naming `by`, if its clock
  // would be more than limits::kMaxClockOffset ahead.
  virtual absl::StatusOr<MovedClock> AdvanceClock(AppId app, absl::Duration by) = 0;
  // Whether anything that a sandbox sent in the last 10 s is not decided yet.
  virtual absl::StatusOr<bool> HasUndecided(AppId app) = 0;
};

}  // namespace carillon
