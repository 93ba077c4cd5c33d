// Lanes, channels and states: the closed sets of the vocabulary, with the words
// that PostgreSQL, the broker and the command line use for them.
#pragma once

#include <array>
#include <optional>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace carillon {

// A weight and everything that serves it. Fanout expands audiences.
enum class Lane { kPayment, kOtp, kSocial, kMarketing, kFanout };

inline constexpr std::array kAllLanes = {Lane::kPayment, Lane::kOtp, Lane::kSocial, Lane::kMarketing, Lane::kFanout};
// The lanes that carry notifications to one recipient.
inline constexpr std::array kNotificationLanes = {Lane::kPayment, Lane::kOtp, Lane::kSocial, Lane::kMarketing};

absl::string_view ToString(Lane lane);
std::optional<Lane> ParseLane(absl::string_view text);

// Messages a consumer holds unacknowledged, by default.
int DefaultPrefetch(Lane lane);
// Notifications that may share a message when they wait together, by default.
int DefaultPack(Lane lane);
// Rest after work, in times of it, by default: what may wait leaves room.
double DefaultRest(Lane lane);
// A notification of this lane that nothing has touched for so long, and that no
// queue can still hold, is put into the outbox again.
absl::Duration DefaultIdleBound(Lane lane);

// Where a notification can go. The values are those of carillon.v1.Channel.
enum class Channel { kInApp = 1, kEmail = 2, kSms = 3, kApns = 4, kFcm = 5, kWebhook = 6 };

inline constexpr std::array kExternalChannels = {Channel::kEmail, Channel::kSms, Channel::kApns, Channel::kFcm,
                                                 Channel::kWebhook};

absl::string_view ToString(Channel channel);
std::optional<Channel> ParseChannel(absl::string_view text);

// The life of a notification. The values are those of carillon.v1.State.
enum class State {
  kAccepted = 1,
  kQueued = 2,  // Derived from the outbox, never stored.
  kScheduled = 3,
  kHeld = 4,
  kDelivered = 5,
  kSuppressed = 6,
  kCancelled = 7,
  kExpired = 8,
  kDead = 9,
};

absl::string_view ToString(State state);
std::optional<State> ParseState(absl::string_view text);
bool IsTerminal(State state);

}  // namespace carillon
