// What recipients, apps and types say about when and how somebody is told. Plain data;
// validated where it enters (server/api).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"
#include "carillon/domain/quiet_hours.h"

namespace carillon {

// What somebody wants of a channel.
enum class Choice { kOn, kOff, kDigest };

// A choice for all types, a category of them, or one; on one channel, or on all.
struct Preference {
  enum class Scope { kAll, kCategory, kType };
  Scope scope = Scope::kAll;
  std::string name;  // Of the category or the type; empty for all.
  std::optional<Channel> channel;
  Choice choice = Choice::kOn;

  friend bool operator==(const Preference&, const Preference&) = default;
};

// What becomes of a message that a cap or quiet hours stop.
enum class Overflow {
  kDrop,       // It is suppressed, which is recorded.
  kHold,       // It is decided on again when the window ends.
  kDigest,     // It goes into the recipient's next digest of the channel.
  kInAppOnly,  // It is in the feed, and nowhere else.
};

// At most `limit` messages of a type to a recipient on a channel in any span of this length.
struct Cap {
  Channel channel = Channel::kEmail;
  int limit = 1;
  absl::Duration window;

  friend bool operator==(const Cap&, const Cap&) = default;
};

// What is told of together. A fixed window ends that long after its first message; a
// sliding one that long after its last, but no later than `max_window` after its first.
struct Aggregation {
  absl::Duration window;
  bool sliding = false;
  absl::Duration max_window;

  friend bool operator==(const Aggregation&, const Aggregation&) = default;
};

// What a type says about its messages.
struct DeliveryPolicy {
  std::string category;   // Empty: none.
  bool required = false;  // Nothing but its ttl keeps it away; it is held in place of kDrop and kInAppOnly.
  std::vector<Cap> caps;
  Overflow cap_overflow = Overflow::kDrop;
  Overflow quiet_overflow = Overflow::kHold;
  std::optional<Aggregation> aggregation;

  friend bool operator==(const DeliveryPolicy&, const DeliveryPolicy&) = default;
};

// When a recipient's digests come, by their own clock.
struct DigestTime {
  enum class Every { kHour, kDay, kWeek };
  Every every = Every::kDay;
  int minute = 9 * 60;                        // Of the day; no matter for kHour.
  absl::Weekday day = absl::Weekday::monday;  // For kWeek.

  friend bool operator==(const DigestTime&, const DigestTime&) = default;
};

// What an app, and each sender of it, may send; 0: no limit.
struct SendLimits {
  int64_t app_rate = 0;   // Per second.
  int64_t app_burst = 0;  // At once; 0: the rate.
  int64_t sender_rate = 0;
  int64_t sender_burst = 0;
  int64_t runaway_per_minute = 0;

  friend bool operator==(const SendLimits&, const SendLimits&) = default;
};

// What an app has said about all its messages.
struct AppPolicy {
  AppId app;
  std::vector<Preference> preferences;
  SendLimits limits;
  bool sandbox = false;
  absl::Duration clock_offset;  // How far its clock is ahead of ours.
  // The actor ids of senders that are shut out; "": of those without one.
  std::set<std::string, std::less<>> tripped;

  friend bool operator==(const AppPolicy&, const AppPolicy&) = default;
};

// What a recipient has said. Without any, everything is on.
struct RecipientSettings {
  std::vector<Preference> preferences;
  std::optional<absl::Time> do_not_disturb_until;
  QuietHours quiet_hours;
  DigestTime digest_time;

  friend bool operator==(const RecipientSettings&, const RecipientSettings&) = default;
};

}  // namespace carillon
