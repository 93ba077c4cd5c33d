// What people see who follow the unsubscribe link of a mail. Free functions;
// thread-safe.
#pragma once

#include "server/http/http_message.h"

namespace carillon {

// Asks; its button posts what a mail program's one click does.
HttpResponse AskToUnsubscribePage();
HttpResponse UnsubscribedPage();
// The link is not one of ours, or of a key that is not in use any more.
HttpResponse UnknownLinkPage();
// It did not work this time.
HttpResponse TryAgainPage();

}  // namespace carillon
