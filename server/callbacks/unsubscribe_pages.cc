#include "server/callbacks/unsubscribe_pages.h"

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

HttpResponse Page(int status, absl::string_view title, absl::string_view content) {
  return HtmlResponse(status, absl::StrCat("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                                           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                                           "<meta name=\"color-scheme\" content=\"light dark\">\n"
                                           "<title>",
                                           title, "</title>\n</head>\n<body>\n<main>\n<h1>", title, "</h1>\n", content,
                                           "</main>\n</body>\n</html>\n"));
}

}  // namespace

HttpResponse AskToUnsubscribePage() {
  return Page(200, "Unsubscribe",
              "<p>You will get no more e-mails of this kind.</p>\n"
              "<form method=\"post\">\n"
              "<input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\n"
              "<button type=\"submit\">Unsubscribe</button>\n"
              "</form>\n");
}

HttpResponse UnsubscribedPage() {
  return Page(200, "You are unsubscribed", "<p role=\"status\">You will get no more e-mails of this kind.</p>\n");
}

HttpResponse UnknownLinkPage() {
  return Page(404, "This link does not work",
              "<p>It is incomplete or too old. Please use the link of a newer e-mail.</p>\n");
}

HttpResponse TryAgainPage() {
  HttpResponse page = Page(503, "That did not work", "<p role=\"alert\">Please try again in a moment.</p>\n");
  page.headers.emplace_back("Retry-After", "1");
  return page;
}

}  // namespace carillon
