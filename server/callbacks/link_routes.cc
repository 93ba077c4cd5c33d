#include "server/callbacks/link_routes.h"

#include <utility>

#include "absl/strings/strip.h"
#include "carillon/runtime/logging.h"
#include "server/callbacks/unsubscribe_pages.h"
#include "server/http/form.h"

namespace carillon {
namespace {

// One transparent dot: 43 bytes.
constexpr absl::string_view kPixel(
    "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00"
    "\x01\x00\x00\x02\x02"
    "D\x01\x00;",
    43);

HttpResponse PixelResponse() {
  return {.status = 200, .content_type = "image/gif", .body = std::string(kPixel), .headers = {}};
}

// What mail programs post, and our own page too.
bool IsOneClick(const HttpRequest& request) {
  const std::optional<FormFields> form = ParseForm(request);
  return form.has_value() && FieldOf(*form, "List-Unsubscribe") == "One-Click";
}

Unsubscription UnsubscriptionOf(const LinkTokens::Verified& link) {
  return {.app = link.target.app,
          .notification = link.target.notification,
          .delivery = link.target.delivery,
          .channel = link.target.channel,
          .type = link.type,
          .address_hash = link.address_hash};
}

}  // namespace

void LinkRoutes::AddTo(Router& router) {
  router.Add("GET", "/t/o/",
             [this](const HttpRequest& request, const HttpRespond& respond) { Open(request, respond); });
  router.Add("GET", "/t/c/",
             [this](const HttpRequest& request, const HttpRespond& respond) { Click(request, respond); });
  router.Add("GET", "/u/",
             [this](const HttpRequest& request, const HttpRespond& respond) { AskToUnsubscribe(request, respond); });
  router.Add("POST", "/u/",
             [this](const HttpRequest& request, const HttpRespond& respond) { Unsubscribe(request, respond); });
}

// Whatever the token: a mail never shows a broken image.
void LinkRoutes::Open(const HttpRequest& request, const HttpRespond& respond) {
  const auto link = tokens_.Verify(LinkKind::kOpen, absl::StripSuffix(request.rest, ".gif"));
  if (link.has_value()) Record(link->target, InteractionKind::kOpened);
  respond(PixelResponse());
}

void LinkRoutes::Click(const HttpRequest& request, const HttpRespond& respond) {
  const auto link = tokens_.Verify(LinkKind::kClick, request.rest);
  if (!link.has_value()) return respond(TextResponse(404, "This link does not work."));
  Record(link->target, InteractionKind::kClicked);
  HttpResponse redirect{.status = 302, .content_type = "", .body = "", .headers = {}};
  redirect.headers.emplace_back("Location", link->url);
  respond(std::move(redirect));
}

void LinkRoutes::AskToUnsubscribe(const HttpRequest& request, const HttpRespond& respond) {
  respond(tokens_.Verify(LinkKind::kUnsubscribe, request.rest).has_value() ? AskToUnsubscribePage()
                                                                           : UnknownLinkPage());
}

void LinkRoutes::Unsubscribe(const HttpRequest& request, const HttpRespond& respond) {
  const auto link = tokens_.Verify(LinkKind::kUnsubscribe, request.rest);
  if (!link.has_value()) return respond(UnknownLinkPage());
  if (!IsOneClick(request)) {
    return respond(ErrorResponse(400, "INVALID_ARGUMENT", "List-Unsubscribe: must be One-Click, in a form"));
  }
  RunBlocking(executor_, respond, [this, asked = UnsubscriptionOf(*link)] {
    const absl::Status status = store_->Unsubscribe(asked);
    if (status.ok()) return UnsubscribedPage();
    log::Warn("http.unsubscribe_failed", {{"delivery", asked.delivery.ToString()}, {"error", status}});
    return TryAgainPage();
  });
}

void LinkRoutes::Record(const LinkTarget& target, InteractionKind kind) {
  const Interaction interaction{.app = target.app,
                                .notification = target.notification,
                                .delivery = target.delivery,
                                .recipient = "",
                                .channel = target.channel,
                                .kind = kind};
  const bool taken = executor_.Submit([this, interaction] {
    const auto recorded = store_->RecordInteractions({interaction});
    if (!recorded.ok()) log::Debug("http.interaction_lost", {{"error", recorded.status()}});
  });
  if (!taken) log::Debug("http.interaction_lost", {{"error", "the queue of this server is full"}});
}

}  // namespace carillon
