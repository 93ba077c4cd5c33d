// A live feed as Server-Sent Events.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "server/connect/message_json.h"
#include "server/feed/live_hub.h"
#include "server/http/http_body.h"

namespace carillon {

// The frame of a serialised carillon.v1.SubscribeResponse: its seq as the id, what it is
// as the event's name, and all of it in JSON. resume_required has no id, so that a
// client that comes back without having handled it is told again.
std::string FeedEventFrame(const std::string& message, const MessageJson& json);
// The last frame of a stream that ends for a reason.
std::string EndFrame(const absl::Status& status, const MessageJson& json);
// How long this client waits before it comes back: 1 to 3 s, so that those who lose a
// server at the same time do not come back at the same time.
std::string RetryFrame(absl::string_view user);

// Carries a live stream to a client, one write at a time, each with all that fits. The
// hub and the connection hold it. Thread-safe.
class FeedEventStream final : public StreamSink,
                              public HttpBodyProducer,
                              public std::enable_shared_from_this<FeedEventStream> {
 public:
  // Both outlive it.
  FeedEventStream(LiveHub& hub, const MessageJson& json) : hub_(hub), json_(json) {}

  // Opens the stream with the hub; what it fails with is the answer. Once, before
  // OnOpen; if it succeeds OnEnd must follow.
  absl::Status Open(FeedKey key, int64_t after_seq, StreamPermit permit);

  // StreamSink
  void OnReady() override { Pump(); }
  void OnAbandoned() override ABSL_LOCKS_EXCLUDED(mutex_);

  // HttpBodyProducer
  void OnOpen(std::shared_ptr<HttpBodySink> sink) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnWritten() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnEnd() override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  enum class State {
    kOpening,  // Until OnOpen.
    kIdle,     // Nothing to send.
    kBusy,     // Somebody takes what there is, or it is being written.
    kEnded,
  };
  struct Batch {
    std::string frames;
    bool is_last = false;
  };

  // Sends what there is, if that can be done now.
  void Pump() ABSL_LOCKS_EXCLUDED(mutex_);
  // The right to take and to send; false if another has it, who then looks again.
  bool BecomeBusy() ABSL_LOCKS_EXCLUDED(mutex_);
  // Gives it up, unless there may be more.
  bool BecomeIdle() ABSL_LOCKS_EXCLUDED(mutex_);
  Batch TakeBatch();
  void Send(Batch batch) ABSL_LOCKS_EXCLUDED(mutex_);

  LiveHub& hub_;
  const MessageJson& json_;
  // Set by Open.
  std::shared_ptr<LiveStream> stream_;

  absl::Mutex mutex_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kOpening;
  bool look_again_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<HttpBodySink> sink_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
