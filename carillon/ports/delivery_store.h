// Deliveries: who they can reach, who works on them, what became of them, and those
// that wait. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"
#include "carillon/ports/feed_store.h"

namespace carillon {

// Whether a person can be reached on a channel, when that is decided.
struct Contacts {
  bool has_email = false;
  bool has_phone = false;
  std::vector<Device> devices;  // Without their tokens.
};

// A delivery that a worker wants to work on.
struct ClaimRequest {
  const Delivery* delivery = nullptr;
  // Its message came a second time: whoever had it before has lost it.
  bool take_over = false;
};

struct ClaimResult {
  // False: it has ended, waits, was erased, or somebody else works on it; nothing
  // is left to do with this message.
  bool claimed = false;
  int claim = 0;  // Names this claim to Record.
  // Whoever claimed it before has not said what came of it.
  bool interrupted = false;
  // Where it goes: an address, a number, a token. Empty: nowhere, or a webhook.
  std::string address;
  absl::Time device_register_time;
  std::string locale;          // The recipient's; empty: none.
  std::string default_locale;  // The app's.
  // Why nothing may be sent to this address; empty: it may.
  std::string suppressed;
  std::vector<DeliveryAttempt> attempts;
};

// What a delivery waits for.
enum class HoldCause { kProvider, kReceipt, kBusy };

// What a worker has to say of a delivery that it had claimed.
struct DeliveryUpdate {
  const Delivery* delivery = nullptr;
  int claim = 0;
  // kPending: it goes on, by its message or, with hold_until, by a row that waits.
  DeliveryState state = DeliveryState::kPending;
  std::string detail;
  std::vector<DeliveryAttempt> attempts;  // Those made under this claim.
  // With kHeld or kPending: the message waits in the store, and is not to be
  // published by anybody else.
  std::optional<absl::Time> hold_until;
  HoldCause cause = HoldCause::kProvider;
  // The device's token was dead at this moment: it is forgotten unless it was
  // registered later.
  std::optional<absl::Time> device_dead_since;
  // Nothing is sent to this address any more; the reason in words. Empty: no change.
  std::string suppress_reason;
  std::string address;
  // With kSent: a receipt may say that it has to be sent once more; the message is kept.
  bool may_resend = false;
};

// A delivery that was held and is decided on again.
struct Redecision {
  const Delivery* delivery = nullptr;
  Lane lane = Lane::kSocial;
  DeliveryFate fate;
  // Of its type, for what is held further.
  std::string exchange;
  std::string routing_key;
  // Goes into the feed if this is carried out, in the same transaction; null: nothing.
  FeedAddition* shown = nullptr;
};

class DeliveryStore {
 public:
  virtual ~DeliveryStore() = default;

  // --- The lane's worker.
  // In order.
  virtual absl::StatusOr<std::vector<Contacts>> ReadContacts(absl::Span<const FeedKey> keys) = 0;

  // Carries out what was decided on deliveries that had been held until a time: in one
  // transaction they go to their channels' queues, wait further, or end. What does not
  // wait for that any more is passed over. Returns how many went on. Safe to repeat.
  virtual absl::StatusOr<int> DecideAgain(absl::Span<const Redecision> decisions) = 0;

  // --- The delivery worker.
  // Takes deliveries to work on until `lease` has passed, in one round trip. In
  // order; of one that is named twice one is claimed.
  virtual absl::StatusOr<std::vector<ClaimResult>> Claim(absl::Span<const ClaimRequest> requests,
                                                         absl::Duration lease) = 0;
  // Writes what became of them, all or none, in one round trip: attempts, states,
  // rows that wait, the ends of their notifications, counts and events for
  // carillon.events. What was claimed by somebody else meanwhile, or has ended, is
  // passed over. A receipt may have been quicker: after one that it arrived only the
  // calls are added; one that this call failed makes it kUndelivered. Safe to repeat.
  virtual absl::Status Record(absl::Span<const DeliveryUpdate> updates) = 0;

  // --- Those that wait. What is due the relay puts into the outbox (OutboxReader).
  // Puts what waits for providers of this app's channel into the outbox now, oldest
  // first. Returns how many.
  virtual absl::StatusOr<int> ReleaseHeld(AppId app, Channel channel, Lane lane, int limit) = 0;

  // The apps of whose deliveries some wait for providers of this channel.
  virtual absl::StatusOr<std::vector<AppId>> AppsWithHeld(Channel channel, Lane lane) = 0;

  // --- Reading.
  // Of one notification, in the order in which they were made.
  virtual absl::StatusOr<std::vector<DeliveryRecord>> List(AppId app, const NotificationId& id) = 0;

  // --- Housekeeping.
  // Writes outbox rows for pending ones that have none, do not wait, and that
  // nothing has touched since `idle_since`.
  virtual absl::StatusOr<int> RequeueIdle(Lane lane, Channel channel, absl::Time idle_since, int limit) = 0;
  // Forgets the messages that were kept for a receipt (may_resend) and sent before
  // this. Returns how many.
  virtual absl::StatusOr<int> ForgetKept(absl::Time sent_before, int limit) = 0;
};

}  // namespace carillon
