// External channels: people and how they are reached, what is sent to them there,
// and what became of it. Plain data; validated where it enters (server/api).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"
#include "carillon/domain/notification.h"

namespace carillon {

// The life of a delivery. The values are those of carillon.v1.DeliveryState.
enum class DeliveryState {
  kPending = 1,
  kHeld = 2,
  kSent = 3,
  kDelivered = 4,
  kUndelivered = 5,
  kSuppressed = 6,
  kExpired = 7,
  kDead = 8,
};

absl::string_view ToString(DeliveryState state);
std::optional<DeliveryState> ParseDeliveryState(absl::string_view text);
bool IsTerminal(DeliveryState state);

// What a call to a provider came to.
enum class AttemptOutcome {
  kAccepted,
  kRetryable,     // May succeed later, or elsewhere.
  kPermanent,     // Will never succeed.
  kBadRecipient,  // The device is gone.
  kBadSender,     // The provider refuses the app: configuration.
  kUnconfirmed,   // The provider may have it, and did not say.
};

absl::string_view ToString(AttemptOutcome outcome);
std::optional<AttemptOutcome> ParseAttemptOutcome(absl::string_view text);

// A handset that could not be reached is tried once more after this time.
inline constexpr absl::Duration kResendDelay = absl::Minutes(10);
// So long after a message was sent a receipt may bring it back.
inline constexpr absl::Duration kKeepForReceipt = absl::Hours(72);

// One call to a provider.
struct DeliveryAttempt {
  std::string provider;
  absl::Time time;
  AttemptOutcome outcome = AttemptOutcome::kRetryable;
  std::string code;
  std::string error;
  absl::Duration latency;
  std::string provider_message_id;
  // It died of this one, or after it, and was put back: only whether a person may have it counts.
  bool before_replay = false;
};

// One notification on its way to one external channel; on a push channel, to one device.
struct Delivery {
  Uuid id;
  Channel channel = Channel::kEmail;
  std::string device_id;  // Of push channels.
  Notification item;
  // It was held until then, by the app's clock: a lane's worker decides on it again.
  std::optional<absl::Time> decide_time;
};

// The type that a digest is sent as.
inline constexpr absl::string_view kDigestType = "marketing.digest";

// A recipient's digest that is due.
struct DueDigest {
  AppId app;
  Uuid id;
  RecipientId recipient;
  Channel channel = Channel::kEmail;
  absl::Time due_time;  // By the app's clock: it is at least so late.
};

// A delivery as it is kept.
struct DeliveryRecord {
  Uuid id;
  Channel channel = Channel::kEmail;
  DeliveryState state = DeliveryState::kPending;
  std::string device_id;
  std::string provider;
  std::string provider_message_id;
  std::string detail;
  std::vector<DeliveryAttempt> attempts;
  absl::Time create_time;
  std::optional<absl::Time> finish_time;
  std::optional<absl::Time> hold_until;
};

// Where push messages go.
struct Device {
  std::string id;  // Made from channel and token.
  Channel channel = Channel::kFcm;
  std::string token;
  absl::Time register_time;
};

// How a person is reached. Empty texts are absent.
struct Recipient {
  FeedKey key;
  std::string email;
  std::string phone;
  std::string locale;
  std::string time_zone;
  std::vector<Device> devices;
  absl::Time create_time;
  absl::Time update_time;
};

// An address that nothing is sent to.
struct Suppression {
  AppId app;
  Channel channel = Channel::kEmail;
  std::string address;  // Empty for people who were erased.
  std::string type;     // Empty: every type.
  std::string reason;
  absl::Time create_time;
};

// What is said on a channel: a version of a template.
struct StoredTemplate {
  AppId app;
  std::string type;
  Channel channel = Channel::kEmail;
  std::string locale;
  int version = 0;
  bool active = false;
  absl::Time create_time;
  std::string content;  // A serialised carillon.v1.Template, its content field alone.
};

// A provider of an app's channel as it is kept.
struct StoredProvider {
  AppId app;
  Channel channel = Channel::kEmail;
  std::string name;
  int position = 0;
  std::string sealed;  // A serialised carillon.v1.Provider, sealed with the master key.
  absl::Time update_time;
};

enum class BreakerState { kClosed = 1, kOpen = 2, kHalfOpen = 3 };  // As carillon.v1.BreakerState.

absl::string_view ToString(BreakerState state);
std::optional<BreakerState> ParseBreakerState(absl::string_view text);

// What a lane's workers think of a provider.
struct ProviderHealth {
  AppId app;
  Channel channel = Channel::kEmail;
  std::string name;
  Lane lane = Lane::kSocial;
  BreakerState breaker = BreakerState::kClosed;
  bool misconfigured = false;
  std::string error;
  absl::Time since;
  std::optional<absl::Time> retry_time;
};

}  // namespace carillon
