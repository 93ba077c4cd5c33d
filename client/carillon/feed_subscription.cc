#include "client/carillon/feed_subscription.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "client/carillon/client_core.h"
#include "client/carillon/feed_cursor.h"
#include "client/carillon/retry_policy.h"
#include "client/carillon/status.h"

namespace carillon {
namespace {

using FeedMethods = v1::FeedService::StubInterface::async_interface;

constexpr int kSilentHeartbeats = 3;

// No time heals these.
bool IsPermanent(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

// What a stream's response tells, in the one form that callbacks know.
const v1::SubscribeResponse& EventOf(const v1::SubscribeResponse& response) { return response; }

// Takes the event out of the response.
v1::SubscribeResponse EventOf(v1::SubscribeTopicResponse& response) {
  v1::SubscribeResponse event;
  event.set_seq(response.seq());
  switch (response.event_case()) {
    case v1::SubscribeTopicResponse::kItem:
      event.set_allocated_item(response.release_item());
      break;
    case v1::SubscribeTopicResponse::kHeartbeat:
      event.set_allocated_heartbeat(response.release_heartbeat());
      break;
    case v1::SubscribeTopicResponse::kResumeRequired:
      event.set_allocated_resume_required(response.release_resume_required());
      break;
    case v1::SubscribeTopicResponse::kRemoved:
      event.set_allocated_removed(response.release_removed());
      break;
    case v1::SubscribeTopicResponse::EVENT_NOT_SET:
      break;
  }
  return event;
}

}  // namespace

// One chain of steps, of which exactly one runs at any time: a stream, the
// question for last_seq, or the wait before the next of them. The chain keeps
// the session alive; `finished_` tells that it has ended for good.
class FeedSubscription::Session : public std::enable_shared_from_this<Session> {
 public:
  Session(ClientCore& core, Options options, Callbacks callbacks)
      : core_(core),
        options_(std::move(options)),
        callbacks_(std::move(callbacks)),
        cursor_(options_.after_seq),
        backoff_(options_.initial_backoff, options_.max_backoff) {}

  void Start() {
    WatchForSilence();
    if (options_.user_id.empty() != options_.topic_id.empty()) return Connect();
    // Told on the timer's thread: callbacks never run on the caller's.
    absl::MutexLock lock(&mutex_);
    next_step_ = core_.timer.Schedule(absl::ZeroDuration(), [self = shared_from_this()] {
      self->Recover(absl::InvalidArgumentError("a subscription takes exactly one of user_id and topic_id"));
    });
  }

  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    // Callbacks of gRPC never run inside TryCancel, so the lock may be held.
    if (context_ != nullptr) context_->TryCancel();
    if (next_step_.has_value() && core_.timer.Cancel(*next_step_)) finished_ = true;
    mutex_.Await(absl::Condition(&finished_));
    core_.timer.Cancel(watchdog_);
    // Lets go of the channel on the caller's thread, never on one of gRPC's.
    context_.reset();
  }

  int64_t last_seq() const {
    absl::MutexLock lock(&mutex_);
    return cursor_.after_seq();
  }

 private:
  // Reads one stream. Deletes itself when gRPC is done with it.
  template <typename Request, typename Response>
  class Stream final : public grpc::ClientReadReactor<Response> {
   public:
    using Method = void (FeedMethods::*)(grpc::ClientContext*, const Request*, grpc::ClientReadReactor<Response>*);

    Stream(std::shared_ptr<Session> session, Request request)
        : session_(std::move(session)), request_(std::move(request)) {}

    void Start(Method method, grpc::ClientContext* context) {
      (session_->core_.feed->async()->*method)(context, &request_, this);
      this->StartRead(&response_);
      this->StartCall();
    }

    void OnReadDone(bool ok) override {
      if (!ok) return;
      session_->OnEvent(EventOf(response_));
      this->StartRead(&response_);
    }

    void OnDone(const grpc::Status& status) override {
      const std::shared_ptr<Session> session = std::move(session_);
      delete this;
      session->OnStreamEnd(status);
    }

   private:
    std::shared_ptr<Session> session_;
    const Request request_;
    Response response_;
  };

  void Connect() {
    grpc::ClientContext* context = nullptr;
    bool must_resume = false;
    {
      absl::MutexLock lock(&mutex_);
      next_step_.reset();
      if (stopped_) return Finish();
      silent_ = false;
      last_heard_ = MonotonicNow();
      must_resume = cursor_.must_resume();
      context_ = std::make_unique<grpc::ClientContext>();
      context = context_.get();
    }
    token_ = core_.Authenticate(*context);
    must_resume ? AskForLastSeq(context) : OpenStream(context);
  }

  void OpenStream(grpc::ClientContext* context) {
    if (options_.topic_id.empty()) {
      v1::SubscribeRequest request;
      request.set_user_id(options_.user_id);
      Open(context, &FeedMethods::Subscribe, std::move(request));
    } else {
      v1::SubscribeTopicRequest request;
      request.set_topic_id(options_.topic_id);
      Open(context, &FeedMethods::SubscribeTopic, std::move(request));
    }
  }

  template <typename Request, typename Response>
  void Open(grpc::ClientContext* context,
            void (FeedMethods::*method)(grpc::ClientContext*, const Request*, grpc::ClientReadReactor<Response>*),
            Request request) {
    request.set_after_seq(last_seq());
    (new Stream<Request, Response>(shared_from_this(), std::move(request)))->Start(method, context);
  }

  void OnEvent(const v1::SubscribeResponse& event) {
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return;
      last_heard_ = MonotonicNow();
    }
    callbacks_.on_event(event);
    absl::MutexLock lock(&mutex_);
    cursor_.Advance(event);
    // A server that sends resume_required again and again is not asked in a tight loop.
    if (!event.has_resume_required()) backoff_.Reset();
    last_heard_ = MonotonicNow();
  }

  void OnStreamEnd(const grpc::Status& status) {
    absl::Status reason = FromGrpcStatus(status);
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return Finish();
      if (cursor_.must_resume()) return ConnectAfter(backoff_.Next());
      if (silent_)
        reason = absl::UnavailableError(absl::StrCat("nothing heard for ", absl::FormatDuration(SilenceLimit())));
    }
    if (reason.ok()) reason = absl::UnavailableError("the server ended the stream");
    Recover(reason);
  }

  void AskForLastSeq(grpc::ClientContext* context) {
    context->set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(core_.options.deadline));
    if (options_.topic_id.empty()) {
      v1::GetFeedSummaryRequest request;
      request.set_user_id(options_.user_id);
      Ask<v1::GetFeedSummaryRequest, v1::GetFeedSummaryResponse>(context, &FeedMethods::GetFeedSummary,
                                                                 std::move(request));
    } else {
      v1::ListTopicFeedRequest request;
      request.set_topic_id(options_.topic_id);
      request.set_page_size(1);
      Ask<v1::ListTopicFeedRequest, v1::ListTopicFeedResponse>(context, &FeedMethods::ListTopicFeed,
                                                               std::move(request));
    }
  }

  template <typename Request, typename Response>
  void Ask(grpc::ClientContext* context,
           void (FeedMethods::*method)(grpc::ClientContext*, const Request*, Response*,
                                       std::function<void(grpc::Status)>),
           Request request) {
    const auto call = std::make_shared<std::pair<Request, Response>>(std::move(request), Response());
    (core_.feed->async()->*method)(context, &call->first, &call->second,
                                   [self = shared_from_this(), call](const grpc::Status& status) {
                                     if (!status.ok()) return self->Recover(FromGrpcStatus(status));
                                     self->Resume(call->second.last_seq());
                                   });
  }

  void Resume(int64_t seq) {
    if (callbacks_.on_resume && !is_stopped()) seq = callbacks_.on_resume(seq);
    {
      absl::MutexLock lock(&mutex_);
      cursor_.ResumeFrom(seq);
    }
    Connect();
  }

  // The token has ended and there is another one.
  bool HasNewToken(const absl::Status& status) const {
    return ReasonOf(status) == "TOKEN_EXPIRED" && core_.options.user_token && core_.options.user_token() != token_;
  }

  // After a failure: tells it, then tries again or ends.
  void Recover(const absl::Status& status) {
    const bool is_permanent = IsPermanent(status) && !HasNewToken(status);
    std::optional<absl::Duration> delay;
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_) return Finish();
      if (!is_permanent) delay = RetryDelayOf(status).value_or(absl::ZeroDuration()) + backoff_.Next();
    }
    if (callbacks_.on_disconnect) callbacks_.on_disconnect(status, delay);
    absl::MutexLock lock(&mutex_);
    if (stopped_ || !delay.has_value()) return Finish();
    ConnectAfter(*delay);
  }

  void ConnectAfter(absl::Duration delay) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    next_step_ = core_.timer.Schedule(delay, [self = shared_from_this()] { self->Connect(); });
  }

  void Finish() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { finished_ = true; }

  // Looks once per heartbeat interval whether the stream is still alive.
  void WatchForSilence() {
    absl::MutexLock lock(&mutex_);
    if (stopped_ || finished_) return;
    if (!next_step_.has_value() && MonotonicNow() - last_heard_ > SilenceLimit() && context_ != nullptr) {
      silent_ = true;
      context_->TryCancel();
    }
    watchdog_ = core_.timer.Schedule(options_.heartbeat_interval, [weak = weak_from_this()] {
      if (const std::shared_ptr<Session> self = weak.lock()) self->WatchForSilence();
    });
  }

  absl::Duration SilenceLimit() const { return kSilentHeartbeats * options_.heartbeat_interval; }

  bool is_stopped() const {
    absl::MutexLock lock(&mutex_);
    return stopped_;
  }

  ClientCore& core_;
  const Options options_;
  const Callbacks callbacks_;
  // Of the step that runs, or of the last one.
  std::string token_;

  mutable absl::Mutex mutex_;
  FeedCursor cursor_ ABSL_GUARDED_BY(mutex_);
  JitteredBackoff backoff_ ABSL_GUARDED_BY(mutex_);
  // Of the call that runs, or of the last one.
  std::unique_ptr<grpc::ClientContext> context_ ABSL_GUARDED_BY(mutex_);
  // Set while the chain waits.
  std::optional<Timer::Id> next_step_ ABSL_GUARDED_BY(mutex_);
  Timer::Id watchdog_ ABSL_GUARDED_BY(mutex_);
  absl::Duration last_heard_ ABSL_GUARDED_BY(mutex_) = MonotonicNow();
  bool silent_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
};

FeedSubscription::FeedSubscription(ClientCore& core, Options options, Callbacks callbacks)
    : session_(std::make_shared<Session>(core, std::move(options), std::move(callbacks))) {
  session_->Start();
}

FeedSubscription::~FeedSubscription() { Stop(); }

void FeedSubscription::Stop() { session_->Stop(); }

int64_t FeedSubscription::last_seq() const { return session_->last_seq(); }

}  // namespace carillon
