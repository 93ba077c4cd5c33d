#include "server/connect/feed_event_routes.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "server/api/subscribe_call.h"
#include "server/connect/connect_error.h"
#include "server/connect/feed_event_stream.h"
#include "server/http/form.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "feed";

absl::StatusOr<int64_t> ParseSeq(absl::string_view field, absl::string_view text) {
  int64_t seq = 0;
  if (text.empty() || (absl::SimpleAtoi(text, &seq) && seq >= 0)) return seq;
  return error::InvalidField(field, "must be a number of at least 0");
}

absl::StatusOr<int64_t> AfterSeq(const HttpRequest& request, const FormFields& query) {
  const absl::string_view last = request.Header("last-event-id");
  return last.empty() ? ParseSeq("after_seq", FieldOf(query, "after_seq")) : ParseSeq("last-event-id", last);
}

Credentials CredentialsOf(const HttpRequest& request, const FormFields& query) {
  Credentials credentials{.app_key = std::string(request.Header("x-app-key")),
                          .app_secret = std::string(request.Header("x-app-secret")),
                          .authorization = std::string(request.Header("authorization"))};
  const std::string token = FieldOf(query, "access_token");
  if (credentials.authorization.empty() && !token.empty()) credentials.authorization = absl::StrCat("Bearer ", token);
  return credentials;
}

HttpResponse EventStream(std::shared_ptr<HttpBodyProducer> producer) {
  return {.status = 200,
          .content_type = "text/event-stream",
          .body = "",
          // Proxies are not to gather it.
          .headers = {{"X-Accel-Buffering", "no"}},
          .producer = std::move(producer)};
}

}  // namespace

void FeedEventRoutes::AddTo(Router& router) {
  router.Add("GET", "/v1/feed/events",
             [this](const HttpRequest& request, HttpRespond respond) { Answer(request, std::move(respond)); });
}

void FeedEventRoutes::Answer(const HttpRequest& request, HttpRespond respond) {
  const auto fail = [this, respond](const absl::Status& status) { respond(ConnectErrorResponse(status, json_)); };
  const std::optional<FormFields> query = ParseUrlEncoded(request.query);
  if (!query.has_value()) {
    return fail(error::InvalidField("query", "must be URL-encoded, with at most 100 fields"));
  }
  const absl::StatusOr<int64_t> after_seq = AfterSeq(request, *query);
  if (!after_seq.ok()) return fail(after_seq.status());
  v1::SubscribeRequest subscribe;
  subscribe.set_user_id(FieldOf(*query, "user_id"));
  subscribe.set_after_seq(*after_seq);
  const auto open = [this, subscribe](const Caller& caller) -> absl::StatusOr<std::shared_ptr<HttpBodyProducer>> {
    ASSIGN_OR_RETURN(const StreamPlace place, PlaceInFeed(caller, subscribe));
    auto stream = std::make_shared<FeedEventStream>(hub_, json_);
    RETURN_IF_ERROR(stream->Open({.app = caller.app, .recipient = place.recipient}, place.after_seq,
                                 authenticator_.PermitFor(caller, kScope)));
    return stream;
  };
  authenticator_.Authenticate(CredentialsOf(request, *query), Access::WithUsers(kScope),
                              [fail, open, respond](const absl::StatusOr<Caller>& caller) {
                                if (!caller.ok()) return fail(caller.status());
                                auto stream = open(*caller);
                                stream.ok() ? respond(EventStream(*std::move(stream))) : fail(stream.status());
                              });
}

}  // namespace carillon
