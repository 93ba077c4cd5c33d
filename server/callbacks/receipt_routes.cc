#include "server/callbacks/receipt_routes.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/contact_mask.h"
#include "server/api/record_receipts.h"
#include "server/callbacks/status_response.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "send";

// The parser's words name the field and may repeat what is in it.
constexpr size_t kMaxParserWords = 300;

std::string NotARequest(absl::string_view parser_words) {
  return absl::StrCat("must be carillon.v1.RecordReceiptsRequest as JSON: ", parser_words.substr(0, kMaxParserWords));
}

HttpResponse UnknownToken() { return ErrorResponse(404, "NOT_FOUND", "no such receipt address"); }

absl::StatusOr<FormFields> FieldsOf(const HttpRequest& request) {
  if (request.method == "POST" && absl::StartsWithIgnoreCase(request.Header("content-type"), "application/json")) {
    return ParseFlatJson(request.body);
  }
  const bool by_query = request.method == "GET";
  const std::optional<FormFields> fields = by_query ? ParseUrlEncoded(request.query) : ParseForm(request);
  if (fields.has_value()) return *fields;
  return by_query ? error::InvalidField("query", "must be URL-encoded, with at most 100 fields")
                  : error::InvalidField("body", "must be a form, with at most 100 fields");
}

Interaction InteractionOf(const LinkTarget& target, InteractionKind kind) {
  return {.app = target.app,
          .notification = target.notification,
          .delivery = target.delivery,
          .recipient = "",
          .channel = target.channel,
          .kind = kind};
}

// Somebody has to talk to the provider.
void Alarm(const LinkTarget& target, const ProviderReport& report) {
  log::Error("provider.reported",
             {{"app", target.app.value()}, {"channel", ToString(target.channel)}, {"code", report.code}});
}

// At most so many from `begin` on.
template <typename T>
absl::Span<const T> Chunk(const std::vector<T>& all, size_t begin) {
  return absl::MakeConstSpan(all).subspan(begin, limits::kMaxBatchSize);
}

}  // namespace

void ReceiptRoutes::AddTo(Router& router) {
  router.Add("POST", "/receipts/twilio/",
             [this](const HttpRequest& request, const HttpRespond& respond) { Twilio(request, respond); });
  for (const char* const method : {"GET", "POST"}) {
    router.Add(method, "/receipts/vonage/",
               [this](const HttpRequest& request, const HttpRespond& respond) { Vonage(request, respond); });
  }
  router.Add("POST", "/receipts/sendgrid",
             [this](HttpRequest request, const HttpRespond& respond) { SendGrid(std::move(request), respond); });
  router.Add("POST", "/receipts/generic",
             [this](HttpRequest request, HttpRespond respond) { Generic(std::move(request), std::move(respond)); });
}

void ReceiptRoutes::Twilio(const HttpRequest& request, const HttpRespond& respond) {
  const absl::StatusOr<FormFields> fields = FieldsOf(request);
  Record(request.rest, fields.ok() ? ParseTwilioReport(*fields) : fields.status(), respond);
}

void ReceiptRoutes::Vonage(const HttpRequest& request, const HttpRespond& respond) {
  const absl::StatusOr<FormFields> fields = FieldsOf(request);
  Record(request.rest, fields.ok() ? ParseVonageReport(*fields) : fields.status(), respond);
}

void ReceiptRoutes::Record(absl::string_view token, const absl::StatusOr<ProviderReport>& report,
                           const HttpRespond& respond) {
  const auto link = deps_.tokens.Verify(LinkKind::kReceipt, token);
  if (!link.has_value()) return respond(UnknownToken());
  if (!report.ok()) return respond(StatusResponse(report.status()));
  if (report->blames_sender) Alarm(link->target, *report);
  if (!report->counts()) return respond(NoContent());
  const DeliveryReceipt receipt = ReceiptOf(link->target, *report);
  deps_.writer.Submit(receipt, [this, respond, receipt](const absl::StatusOr<bool>& matched) {
    if (!matched.ok()) return respond(StatusResponse(matched.status()));
    if (*matched) Count(receipt);
    respond(*matched ? NoContent() : UnknownToken());
  });
}

void ReceiptRoutes::SendGrid(HttpRequest request, const HttpRespond& respond) {
  RunBlocking(deps_.executor, respond, [this, body = std::move(request.body)] { return RecordSendGrid(body); });
}

// Events of other messages of the same account are passed over: an error would make
// SendGrid repeat them all.
HttpResponse ReceiptRoutes::RecordSendGrid(const std::string& json) {
  const absl::StatusOr<std::vector<SendGridEvent>> events = ParseSendGridEvents(json);
  if (!events.ok()) return StatusResponse(events.status());
  std::vector<DeliveryReceipt> receipts;
  std::vector<Interaction> interactions;
  for (const SendGridEvent& event : *events) {
    const auto link = deps_.tokens.Verify(LinkKind::kReceipt, event.token);
    if (!link.has_value()) continue;
    if (event.report.counts()) receipts.push_back(ReceiptOf(link->target, event.report));
    if (event.interaction.has_value()) interactions.push_back(InteractionOf(link->target, *event.interaction));
  }
  const absl::Status status = Store(receipts, interactions);
  return status.ok() ? NoContent() : StatusResponse(status);
}

absl::Status ReceiptRoutes::Store(const std::vector<DeliveryReceipt>& receipts,
                                  const std::vector<Interaction>& interactions) {
  for (size_t i = 0; i < receipts.size(); i += limits::kMaxBatchSize) {
    const absl::Span<const DeliveryReceipt> chunk = Chunk(receipts, i);
    ASSIGN_OR_RETURN(const std::vector<bool> matched, deps_.store->RecordReceipts(chunk));
    for (size_t k = 0; k < chunk.size(); ++k) {
      if (matched[k]) Count(chunk[k]);
    }
  }
  for (size_t i = 0; i < interactions.size(); i += limits::kMaxBatchSize) {
    RETURN_IF_ERROR(deps_.store->RecordInteractions(Chunk(interactions, i)).status());
  }
  return absl::OkStatus();
}

void ReceiptRoutes::Generic(HttpRequest request, HttpRespond respond) {
  std::string key(request.Header("x-app-key"));
  std::string secret(request.Header("x-app-secret"));
  deps_.authenticator.Authenticate(
      std::move(key), std::move(secret), kScope,
      [this, body = std::move(request.body), respond = std::move(respond)](absl::StatusOr<Caller> caller) mutable {
        if (!caller.ok()) return respond(StatusResponse(caller.status()));
        RunBlocking(deps_.executor, std::move(respond),
                    [this, app = caller->app, body = std::move(body)] { return RecordGeneric(app, body); });
      });
}

HttpResponse ReceiptRoutes::RecordGeneric(AppId app, const std::string& json) {
  v1::RecordReceiptsRequest request;
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, &request);
  if (!parsed.ok()) return StatusResponse(error::InvalidField("body", NotARequest(std::string(parsed.message()))));
  Violations violations;
  const std::vector<DeliveryReceipt> receipts = PrepareReceipts(request, app, deps_.clock.Now(), violations);
  if (!violations.empty()) return StatusResponse(violations.ToStatus());
  const absl::StatusOr<std::vector<bool>> matched = deps_.store->RecordReceipts(receipts);
  if (!matched.ok()) return StatusResponse(matched.status());
  v1::RecordReceiptsResponse response;
  response.set_matched(static_cast<int>(absl::c_count(*matched, true)));
  std::string answer;
  (void)google::protobuf::util::MessageToJsonString(response, &answer);
  return JsonResponse(std::move(answer));
}

// Many that are unreachable are the sender's trouble, not theirs.
void ReceiptRoutes::Count(const DeliveryReceipt& receipt) const {
  if (!receipt.state.has_value() || !receipt.channel.has_value()) return;
  deps_.metrics
      .Counter("carillon_receipts_total", "Reports of providers that tell what became of a message",
               {{"app", absl::StrCat(receipt.app.value())},
                {"channel", std::string(ToString(*receipt.channel))},
                {"outcome", receipt.resend_after.has_value() ? "unreachable" : std::string(ToString(*receipt.state))}})
      .Increment();
}

DeliveryReceipt ReceiptRoutes::ReceiptOf(const LinkTarget& target, const ProviderReport& report) const {
  return {.app = target.app,
          .notification = target.notification,
          .delivery = target.delivery,
          .provider_message_id = report.provider_message_id,
          .channel = target.channel,
          .state = report.state,
          .code = report.code,
          .error = WithoutContacts(report.error),
          .suppress_reason = report.suppress_reason,
          .suppress_type_only = report.suppress_type_only,
          .resend_after = report.worth_another_try ? std::make_optional(kResendDelay) : std::nullopt,
          .time = report.time.value_or(deps_.clock.Now())};
}

}  // namespace carillon
