#include "server/callbacks/provider_reports.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "nlohmann/json.hpp"

namespace carillon {
namespace {

using Words = std::set<absl::string_view>;

// SendGrid sends far fewer at once.
constexpr size_t kMaxEvents = 10'000;

// The recipient has opted out. 30004 (blocked) has other causes too.
const Words& TwilioOptOuts() {
  static const auto* const words = new Words{"21610"};
  return *words;
}
// The account is suspended; a carrier filters what it sends.
const Words& TwilioSenderFaults() {
  static const auto* const words = new Words{"30002", "30007"};
  return *words;
}
// Queue overflow, handset off, unknown: worth one more try, later.
const Words& TwilioUnreachable() {
  static const auto* const words = new Words{"30001", "30003", "30008"};
  return *words;
}
// Barred by the user, who wants nothing of this sender.
const Words& VonageOptOuts() {
  static const auto* const words = new Words{"4", "9"};
  return *words;
}
// Absent for now, busy, network error: Vonage says itself to try again, and that it
// will not (https://api.support.vonage.com/hc/en-us/articles/204014733).
const Words& VonageUnreachable() {
  static const auto* const words = new Words{"2", "7", "8"};
  return *words;
}

constexpr absl::string_view kVonageAbandonedNumber = "3";

nlohmann::json ParseJson(absl::string_view text) {
  return nlohmann::json::parse(text.begin(), text.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
}

// A text, or a number as one; empty for anything else.
std::string TextOf(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return "";
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number_integer()) return absl::StrCat(found->get<int64_t>());
  return "";
}

// sg_message_id is the id that the send was answered with and where it was handled.
std::string SendGridMessageId(const std::string& id) {
  return id.substr(0, std::min(id.find(".filter"), id.find(".recvd")));
}

// The end of the year 9999, where times of PostgreSQL and protobuf agree to end.
constexpr int64_t kLastSecond = 253'402'300'799;

// Seconds since 1970, if that can be a time of an event.
std::optional<absl::Time> SendGridTime(const nlohmann::json& event) {
  const auto found = event.find("timestamp");
  if (found == event.end() || !found->is_number_integer()) return std::nullopt;
  const int64_t seconds = found->get<int64_t>();
  if (seconds <= 0 || seconds > kLastSecond) return std::nullopt;
  return absl::FromUnixSeconds(seconds);
}

// What happened to the message, and what follows for the address.
void ReadSendGridOutcome(const nlohmann::json& event, const std::string& kind, ProviderReport& report) {
  if (kind == "delivered") report.state = DeliveryState::kDelivered;
  if (kind == "bounce" || kind == "dropped") {
    report.state = DeliveryState::kUndelivered;
    report.code = TextOf(event, "status");
    report.error = TextOf(event, "reason");
    // A block is of this message, a bounce of the address.
    if (kind == "bounce" && TextOf(event, "type") == "bounce") report.suppress_reason = "hard bounce";
  }
  if (kind == "spamreport") report.suppress_reason = "reported as spam";
  if (kind == "unsubscribe" || kind == "group_unsubscribe") {
    report.suppress_reason = "unsubscribed";
    report.suppress_type_only = true;
  }
}

SendGridEvent ReadSendGridEvent(const nlohmann::json& event) {
  SendGridEvent read;
  read.token = TextOf(event, "carillon");
  const std::string kind = TextOf(event, "event");
  if (kind == "open") read.interaction = InteractionKind::kOpened;
  if (kind == "click") read.interaction = InteractionKind::kClicked;
  read.report.provider_message_id = SendGridMessageId(TextOf(event, "sg_message_id"));
  read.report.time = SendGridTime(event);
  ReadSendGridOutcome(event, kind, read.report);
  return read;
}

}  // namespace

absl::StatusOr<ProviderReport> ParseTwilioReport(const FormFields& fields) {
  const std::string status = FieldOf(fields, "MessageStatus");
  if (status.empty()) return error::InvalidField("MessageStatus", "must be given");
  ProviderReport report;
  report.provider_message_id = FieldOf(fields, "MessageSid");
  if (status == "delivered" || status == "read") report.state = DeliveryState::kDelivered;
  if (status == "undelivered" || status == "failed") {
    report.state = DeliveryState::kUndelivered;
    report.code = FieldOf(fields, "ErrorCode");
    report.error = FieldOf(fields, "ErrorMessage");
    if (TwilioOptOuts().contains(report.code)) report.suppress_reason = absl::StrCat("opted out: ", report.code);
    report.worth_another_try = TwilioUnreachable().contains(report.code);
    report.blames_sender = TwilioSenderFaults().contains(report.code);
  }
  return report;
}

absl::StatusOr<ProviderReport> ParseVonageReport(const FormFields& fields) {
  const std::string status = FieldOf(fields, "status");
  if (status.empty()) return error::InvalidField("status", "must be given");
  ProviderReport report;
  report.provider_message_id = FieldOf(fields, "messageId");
  if (status == "delivered") report.state = DeliveryState::kDelivered;
  if (status == "failed" || status == "expired" || status == "rejected") {
    report.state = DeliveryState::kUndelivered;
    report.code = FieldOf(fields, "err-code");
    report.error = status;
    if (VonageOptOuts().contains(report.code)) report.suppress_reason = absl::StrCat("opted out: ", report.code);
    if (report.code == kVonageAbandonedNumber) report.suppress_reason = "the number is not in use any more: 3";
    report.worth_another_try = VonageUnreachable().contains(report.code);
  }
  return report;
}

absl::StatusOr<FormFields> ParseFlatJson(absl::string_view json) {
  const nlohmann::json object = ParseJson(json);
  if (!object.is_object()) return error::InvalidField("body", "must be a JSON object");
  FormFields fields;
  for (const auto& [name, value] : object.items()) fields.emplace(name, TextOf(object, name.c_str()));
  return fields;
}

absl::StatusOr<std::vector<SendGridEvent>> ParseSendGridEvents(absl::string_view json) {
  const nlohmann::json array = ParseJson(json);
  if (!array.is_array()) return error::InvalidField("body", "must be a JSON array of events");
  if (array.size() > kMaxEvents) {
    return error::InvalidField("body", absl::StrCat("must have at most ", kMaxEvents, " events"));
  }
  std::vector<SendGridEvent> events;
  for (const nlohmann::json& event : array) {
    if (event.is_object()) events.push_back(ReadSendGridEvent(event));
  }
  return events;
}

}  // namespace carillon
