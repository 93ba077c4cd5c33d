// What recipients and apps have said about when and how somebody is told. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/domain/settings.h"

namespace carillon {

enum class MuteKind { kActor, kObject };

struct Mute {
  MuteKind kind = MuteKind::kActor;
  std::string id;
  absl::Time until = absl::InfiniteFuture();

  friend bool operator==(const Mute&, const Mute&) = default;
};

// All that bears on decisions about one recipient.
struct KnownSettings {
  RecipientSettings settings;
  std::string time_zone;    // Empty: UTC.
  std::vector<Mute> mutes;  // That were not over when it was read.
};

class SettingsStore {
 public:
  // A recipient's mutes; more are refused.
  static constexpr int kMaxMutes = 1000;

  virtual ~SettingsStore() = default;

  // In order. Who has said nothing has none.
  virtual absl::StatusOr<std::vector<KnownSettings>> Read(absl::Span<const FeedKey> keys) = 0;

  // Changes a recipient's settings under a lock: `change` gets them as they are, makes
  // them what they shall be, and may be called more than once. Returns what is kept now.
  using Change = absl::FunctionRef<absl::Status(RecipientSettings&)>;
  virtual absl::StatusOr<RecipientSettings> Update(const FeedKey& key, Change change) = 0;

  // Each once. Safe to repeat: what is muted already gets the new time. INVALID_ARGUMENT
  // past kMaxMutes.
  virtual absl::Status AddMutes(const FeedKey& key, absl::Span<const Mute> mutes) = 0;
  // Returns how many there were.
  virtual absl::StatusOr<int> RemoveMutes(const FeedKey& key, absl::Span<const Mute> mutes) = 0;

  // By scope, name and channel.
  virtual absl::StatusOr<std::vector<Preference>> ReadAppPreferences(AppId app) = 0;
  virtual absl::Status SetAppPreferences(AppId app, absl::Span<const Preference> preferences) = 0;
};

}  // namespace carillon
