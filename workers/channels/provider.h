// The port to a provider: sends one message over the provider's own protocol and
// says in our words what came of it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "carillon/domain/delivery.h"
#include "carillon/v1/template.pb.h"

namespace carillon {

// What is sent, to one address.
struct ProviderMessage {
  Uuid delivery_id;  // The same on every attempt: given to the provider wherever it takes an id.
  NotificationId notification_id;
  AppId app;
  std::string type;
  std::string recipient_id;
  std::string object_id;
  std::string actor_id;
  std::string data_json;  // A JSON object, or empty.
  std::string address;    // E-mail address, E.164 number, device token; empty for webhooks.
  v1::RenderedContent content;
  std::string sound;     // Of push.
  std::string reply_to;  // Of e-mail.
  // Messages to one device with the same one replace each other. At most 64 bytes.
  std::string collapse_id;
  bool urgent = false;  // A payment or a code: the provider is asked to wake the device.
  absl::Time create_time;
  std::optional<absl::Time> expire_time;
  std::string receipt_url;      // Where the provider may report; empty: nowhere.
  std::string receipt_token;    // The part of receipt_url that names the delivery.
  std::string unsubscribe_url;  // Of e-mail; empty: none.
  std::string traceparent;      // W3C; empty: none.
  // An attempt before this one may have reached this provider: where it can be asked
  // it is, before anything is sent again.
  bool may_have_been_sent = false;
  bool at_most_once = false;  // A call is never repeated.
};

// What came of it.
struct SendResult {
  AttemptOutcome outcome = AttemptOutcome::kRetryable;
  std::string code;   // The provider's: a status, a code, a reason.
  std::string error;  // The provider's words, at most limits::kMaxErrorBytes.
  std::string provider_message_id;
  absl::Duration latency;
  // How long the provider asks to be left alone.
  std::optional<absl::Duration> retry_after;
  // The provider itself is well: this says nothing of other recipients.
  bool only_this_recipient = false;
  // Of kPermanent: another provider may do better.
  bool may_try_next = false;
  // Nothing is to be sent to this address any more: the reason in words.
  std::string suppress_reason;
  // Of kBadRecipient: since when the token is dead.
  std::optional<absl::Time> device_dead_since;
};

// One app's account at one provider. Thread-safe; outlives the calls it has begun.
class Provider {
 public:
  virtual ~Provider() = default;

  // Begins to send. `done` is called exactly once, on any thread, at most
  // `timeout` and a second later; it must not block for long. A token that has to be
  // got first (rarely, from PostgreSQL or the provider) may take some seconds more.
  // Does not block.
  virtual void Send(const ProviderMessage& message, absl::Duration timeout, std::function<void(SendResult)> done) = 0;

  // A receipt may still come for a call that ended kUnconfirmed.
  virtual bool reports_receipts() const = 0;
};

}  // namespace carillon
