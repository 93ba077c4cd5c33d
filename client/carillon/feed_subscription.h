// Follows one recipient's feed, or a topic's public feed, and comes back by itself.
//
// - When the stream breaks it connects again, after a backoff with jitter (the
//   first time too, and not before the server asks for it), from the last event that was handled.
// - When nothing, not even a heartbeat, is heard for three heartbeat intervals
//   the connection is taken for dead.
// - After resume_required it goes on from the feed's last_seq; what lies before
//   that is for ListFeed, or ListTopicFeed.
// - It ends by itself only on an error that passes with no time: credentials,
//   scopes, arguments.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "carillon/v1/feed_service.pb.h"

namespace carillon {

class ClientCore;

// Made by Client::Subscribe; the client must outlive it. Thread-safe. Thousands
// share the few threads of gRPC; no thread is kept per subscription.
class FeedSubscription {
 public:
  struct Options {
    // Exactly one of user_id and topic_id.
    std::string user_id;
    std::string topic_id;
    // The last seq that was handled before. 0: from the oldest kept.
    int64_t after_seq = 0;
    // The server's; a lasting silence of three of them is a broken connection.
    absl::Duration heartbeat_interval = absl::Seconds(15);
    // Of connecting again.
    absl::Duration initial_backoff = absl::Milliseconds(200);
    absl::Duration max_backoff = absl::Seconds(10);
  };

  // Called one at a time, on threads of the library. They must not block and
  // must not stop or destroy the subscription; the stream reads no further while
  // on_event runs.
  struct Callbacks {
    // Every event, heartbeats and resume_required included, in the order of seq.
    // It counts as handled when the call returns. A topic's come in the same form;
    // there are no read markers among them.
    std::function<void(const v1::SubscribeResponse& event)> on_event;
    // The stream broke or could not be opened. It is tried again after
    // `retry_in`; nullopt: the subscription has ended. May be empty.
    std::function<void(const absl::Status& status, std::optional<absl::Duration> retry_in)> on_disconnect;
    // After resume_required: returns the seq to go on from. Empty: `last_seq`,
    // the feed's own, up to where everything can be listed by now.
    std::function<int64_t(int64_t last_seq)> on_resume;
  };

  FeedSubscription(ClientCore& core, Options options, Callbacks callbacks);
  // As Stop.
  ~FeedSubscription();
  FeedSubscription(const FeedSubscription&) = delete;
  FeedSubscription& operator=(const FeedSubscription&) = delete;

  // Ends the stream. Returns when no callback runs and none will. Idempotent.
  void Stop();

  // The last seq that was handled.
  int64_t last_seq() const;

 private:
  class Session;
  const std::shared_ptr<Session> session_;
};

}  // namespace carillon
