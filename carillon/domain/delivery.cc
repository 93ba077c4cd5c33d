#include "carillon/domain/delivery.h"

#include "carillon/domain/names.h"

namespace carillon {
namespace {

constexpr EnumNames<DeliveryState, 8> kStateNames = {{{DeliveryState::kPending, "pending"},
                                                      {DeliveryState::kHeld, "held"},
                                                      {DeliveryState::kSent, "sent"},
                                                      {DeliveryState::kDelivered, "delivered"},
                                                      {DeliveryState::kUndelivered, "undelivered"},
                                                      {DeliveryState::kSuppressed, "suppressed"},
                                                      {DeliveryState::kExpired, "expired"},
                                                      {DeliveryState::kDead, "dead"}}};
constexpr EnumNames<AttemptOutcome, 6> kOutcomeNames = {{{AttemptOutcome::kAccepted, "accepted"},
                                                         {AttemptOutcome::kRetryable, "retryable"},
                                                         {AttemptOutcome::kPermanent, "permanent"},
                                                         {AttemptOutcome::kBadRecipient, "bad_recipient"},
                                                         {AttemptOutcome::kBadSender, "bad_sender"},
                                                         {AttemptOutcome::kUnconfirmed, "unconfirmed"}}};
constexpr EnumNames<BreakerState, 3> kBreakerNames = {
    {{BreakerState::kClosed, "closed"}, {BreakerState::kOpen, "open"}, {BreakerState::kHalfOpen, "half_open"}}};

}  // namespace

absl::string_view ToString(DeliveryState state) { return NameOf(kStateNames, state); }
std::optional<DeliveryState> ParseDeliveryState(absl::string_view text) { return ValueOf(kStateNames, text); }
bool IsTerminal(DeliveryState state) { return state != DeliveryState::kPending && state != DeliveryState::kHeld; }

absl::string_view ToString(AttemptOutcome outcome) { return NameOf(kOutcomeNames, outcome); }
std::optional<AttemptOutcome> ParseAttemptOutcome(absl::string_view text) { return ValueOf(kOutcomeNames, text); }

absl::string_view ToString(BreakerState state) { return NameOf(kBreakerNames, state); }
std::optional<BreakerState> ParseBreakerState(absl::string_view text) { return ValueOf(kBreakerNames, text); }

}  // namespace carillon
