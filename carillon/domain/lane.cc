#include "carillon/domain/lane.h"

#include "carillon/domain/names.h"

namespace carillon {
namespace {

constexpr EnumNames<Lane, 5> kLaneNames = {{{Lane::kPayment, "payment"},
                                            {Lane::kOtp, "otp"},
                                            {Lane::kSocial, "social"},
                                            {Lane::kMarketing, "marketing"},
                                            {Lane::kFanout, "fanout"}}};
constexpr EnumNames<Channel, 6> kChannelNames = {{{Channel::kInApp, "in_app"},
                                                  {Channel::kEmail, "email"},
                                                  {Channel::kSms, "sms"},
                                                  {Channel::kApns, "apns"},
                                                  {Channel::kFcm, "fcm"},
                                                  {Channel::kWebhook, "webhook"}}};
constexpr EnumNames<State, 9> kStateNames = {{{State::kAccepted, "accepted"},
                                              {State::kQueued, "queued"},
                                              {State::kScheduled, "scheduled"},
                                              {State::kHeld, "held"},
                                              {State::kDelivered, "delivered"},
                                              {State::kSuppressed, "suppressed"},
                                              {State::kCancelled, "cancelled"},
                                              {State::kExpired, "expired"},
                                              {State::kDead, "dead"}}};

}  // namespace

absl::string_view ToString(Lane lane) { return NameOf(kLaneNames, lane); }
std::optional<Lane> ParseLane(absl::string_view text) { return ValueOf(kLaneNames, text); }

absl::string_view ToString(Channel channel) { return NameOf(kChannelNames, channel); }
std::optional<Channel> ParseChannel(absl::string_view text) { return ValueOf(kChannelNames, text); }

absl::string_view ToString(State state) { return NameOf(kStateNames, state); }
std::optional<State> ParseState(absl::string_view text) { return ValueOf(kStateNames, text); }

int DefaultPrefetch(Lane lane) {
  switch (lane) {
    case Lane::kPayment:
    case Lane::kFanout:
      return 1;
    case Lane::kOtp:
    case Lane::kSocial:
      return 10;
    case Lane::kMarketing:
      return 50;
  }
  return 1;
}

int DefaultPack(Lane lane) { return lane == Lane::kSocial || lane == Lane::kMarketing ? 100 : 1; }

double DefaultRest(Lane lane) { return lane == Lane::kMarketing ? 2 : 0; }

absl::Duration DefaultIdleBound(Lane lane) {
  // Above the longest wait in a retry queue (20 s), so that what only waits there is left alone.
  switch (lane) {
    case Lane::kPayment:
    case Lane::kOtp:
    case Lane::kFanout:
      return absl::Seconds(30);
    case Lane::kSocial:
      return absl::Seconds(45);
    case Lane::kMarketing:
      return absl::Seconds(60);
  }
  return absl::Seconds(60);
}

bool IsTerminal(State state) {
  return state != State::kAccepted && state != State::kQueued && state != State::kScheduled && state != State::kHeld;
}

}  // namespace carillon
