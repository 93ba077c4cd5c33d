// What providers report of messages, each in its own format, in our words. Free
// functions; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/ports/interaction_store.h"
#include "server/http/form.h"

namespace carillon {

// What one report says. One that says nothing that counts has neither a state nor a
// reason to suppress the address.
struct ProviderReport {
  std::optional<DeliveryState> state;
  std::string provider_message_id;
  std::string code;
  std::string error;
  std::string suppress_reason;
  bool suppress_type_only = false;  // Else all of the app's to this address.
  // The handset could not be reached, and may be later.
  bool worth_another_try = false;
  // The provider does not let the sender through: it concerns every message.
  bool blames_sender = false;
  std::optional<absl::Time> time;  // Absent: not told.

  bool counts() const { return state.has_value() || !suppress_reason.empty(); }
};

// An event of SendGrid's, and the token that it was sent with.
struct SendGridEvent {
  std::string token;  // Empty: it is of no message of ours.
  ProviderReport report;
  std::optional<InteractionKind> interaction;
};

// A status callback of Twilio's Messages. INVALID_ARGUMENT without a MessageStatus.
absl::StatusOr<ProviderReport> ParseTwilioReport(const FormFields& fields);

// A delivery receipt of Vonage's SMS API: the fields of its query, form or object.
// INVALID_ARGUMENT without a status.
absl::StatusOr<ProviderReport> ParseVonageReport(const FormFields& fields);
// The fields of an object of texts and numbers. INVALID_ARGUMENT for anything else.
absl::StatusOr<FormFields> ParseFlatJson(absl::string_view json);

// A delivery of SendGrid's Event Webhook: an array of events; what else is in it is
// passed over. INVALID_ARGUMENT if it is none, or one of more than 10 000.
absl::StatusOr<std::vector<SendGridEvent>> ParseSendGridEvents(absl::string_view json);

}  // namespace carillon
