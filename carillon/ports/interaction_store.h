// What comes back after a message has left: receipts of providers, what recipients
// did with it, and that they want no more. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"

namespace carillon {

// What a provider says of a message. It names a delivery by both ids, or by the
// provider's id of the message together with the channel.
struct DeliveryReceipt {
  AppId app;
  std::optional<NotificationId> notification;
  std::optional<Uuid> delivery;
  // Empty: not told. With both ids it tells which of several calls is meant.
  std::string provider_message_id;
  std::optional<Channel> channel;
  // kDelivered or kUndelivered; absent: the receipt says nothing of arrival.
  std::optional<DeliveryState> state;
  std::string code;
  std::string error;
  // Nothing is sent to this address any more; the reason in words. Empty: no change.
  // No change either if the recipient was changed since the delivery was made: it may
  // have gone to another address.
  std::string suppress_reason;
  // Nothing of the notification's type only.
  bool suppress_type_only = false;
  // With kUndelivered: the handset could not be reached, and may be after this time. A
  // delivery that may be is sent once more then.
  std::optional<absl::Duration> resend_after;
  absl::Time time;
};

// The values are those of carillon.v1.InteractionKind.
enum class InteractionKind { kOpened = 1, kClicked = 2 };

struct Interaction {
  AppId app;
  NotificationId notification;
  std::optional<Uuid> delivery;  // Where it is known.
  std::string recipient;         // It must be this one's; empty: whoever's it is.
  Channel channel = Channel::kInApp;
  InteractionKind kind = InteractionKind::kOpened;
};

enum class InteractionOutcome {
  kNotFound,  // The app, or the recipient, has no such notification.
  kRecorded,
  kRepeated,  // It had been recorded before.
};

// What the link of a message says: nothing of a type is wanted at an address.
struct Unsubscription {
  AppId app;
  // The message; it need not be kept any more.
  NotificationId notification;
  Uuid delivery;
  Channel channel = Channel::kEmail;
  std::string type;
  std::string address_hash;  // 32 bytes: the SHA-256 of the address in lower case.
};

class InteractionStore {
 public:
  virtual ~InteractionStore() = default;

  // Writes what receipts say, all or none, in one round trip: states, the ends of
  // notifications, suppressed addresses, counts and events for carillon.events. A
  // final state never goes back, and of several receipts for one delivery the first
  // counts. In order, whether each named a delivery. Safe to repeat.
  virtual absl::StatusOr<std::vector<bool>> RecordReceipts(absl::Span<const DeliveryReceipt> receipts) = 0;

  // Records each kind once per notification and channel; a click is an opening too.
  // In order, all or none, in one round trip. Safe to repeat.
  virtual absl::StatusOr<std::vector<InteractionOutcome>> RecordInteractions(
      absl::Span<const Interaction> interactions) = 0;

  // Nothing of the type is sent to the address on the channel any more. The address
  // itself is kept if it is still that of the delivery's recipient. Safe to repeat.
  virtual absl::Status Unsubscribe(const Unsubscription& unsubscription) = 0;
};

}  // namespace carillon
