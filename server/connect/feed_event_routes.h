// GET /v1/feed/events.
#pragma once

#include "server/api/authenticator.h"
#include "server/connect/message_json.h"
#include "server/feed/live_hub.h"
#include "server/http/router.h"

namespace carillon {

// Live feeds for browsers: ?user_id=U&after_seq=N, with the credentials of an app or a
// user token, in the headers or (access_token) in the query. Last-Event-ID wins over
// after_seq. Thread-safe; it and everything given outlive the HTTP server.
class FeedEventRoutes {
 public:
  FeedEventRoutes(Authenticator& authenticator, LiveHub& hub, const MessageJson& json)
      : authenticator_(authenticator), hub_(hub), json_(json) {}

  void AddTo(Router& router);

 private:
  void Answer(const HttpRequest& request, HttpRespond respond);

  Authenticator& authenticator_;
  LiveHub& hub_;
  const MessageJson& json_;
};

}  // namespace carillon
