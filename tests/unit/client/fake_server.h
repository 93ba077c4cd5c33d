// A server in this process whose answers a test writes, for what the client does
// when servers fail, fall silent or come back.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/v1/admin_service.grpc.pb.h"
#include "carillon/v1/feed_service.grpc.pb.h"
#include "carillon/v1/notification_service.grpc.pb.h"
#include "client/carillon/client.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace carillon::testing {

// A status with the details that the server sends.
inline grpc::Status RichError(grpc::StatusCode code, const std::string& message, const std::string& reason,
                              absl::Duration retry_delay = absl::ZeroDuration()) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("carillon");
  (*info.mutable_metadata())["request_id"] = "r1";
  details.add_details()->PackFrom(info);
  if (retry_delay > absl::ZeroDuration()) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(absl::ToInt64Seconds(retry_delay));
    retry.mutable_retry_delay()->set_nanos(static_cast<int>(absl::ToInt64Nanoseconds(retry_delay % absl::Seconds(1))));
    details.add_details()->PackFrom(retry);
  }
  return grpc::Status(code, message, details.SerializeAsString());
}

// Answers with what its script says for the n-th call (from 0) of a method.
class FakeNotificationService final : public v1::NotificationService::Service {
 public:
  std::function<grpc::Status(int call, grpc::ServerContext& context)> script;

  grpc::Status SendNotification(grpc::ServerContext* context, const v1::SendNotificationRequest* request,
                                v1::SendNotificationResponse* response) override {
    response->mutable_notification()->set_user_id(request->user_id());
    return script(NextCall(), *context);
  }
  grpc::Status BatchSendNotifications(grpc::ServerContext* context, const v1::BatchSendNotificationsRequest*,
                                      v1::BatchSendNotificationsResponse*) override {
    return script(NextCall(), *context);
  }
  grpc::Status PublishEvent(grpc::ServerContext* context, const v1::PublishEventRequest*,
                            v1::PublishEventResponse*) override {
    return script(NextCall(), *context);
  }

  int calls() const {
    absl::MutexLock lock(&mutex_);
    return calls_;
  }

 private:
  int NextCall() {
    absl::MutexLock lock(&mutex_);
    return calls_++;
  }

  mutable absl::Mutex mutex_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
};

class FakeFeedService final : public v1::FeedService::Service {
 public:
  using Writer = grpc::ServerWriter<v1::SubscribeResponse>;
  using TopicWriter = grpc::ServerWriter<v1::SubscribeTopicResponse>;
  // Serves the n-th stream (from 0), users' and topics' counted together.
  std::function<grpc::Status(int stream, Writer& writer, grpc::ServerContext& context)> script;
  std::function<grpc::Status(int stream, TopicWriter& writer, grpc::ServerContext& context)> topic_script;
  v1::GetFeedSummaryResponse summary;
  v1::ListTopicFeedResponse topic_page;

  grpc::Status Subscribe(grpc::ServerContext* context, const v1::SubscribeRequest* request, Writer* writer) override {
    return script(NextStream(request->user_id(), request->after_seq()), *writer, *context);
  }
  grpc::Status SubscribeTopic(grpc::ServerContext* context, const v1::SubscribeTopicRequest* request,
                              TopicWriter* writer) override {
    return topic_script(NextStream(request->topic_id(), request->after_seq()), *writer, *context);
  }
  grpc::Status GetFeedSummary(grpc::ServerContext*, const v1::GetFeedSummaryRequest*,
                              v1::GetFeedSummaryResponse* response) override {
    *response = summary;
    return grpc::Status::OK;
  }
  grpc::Status ListTopicFeed(grpc::ServerContext*, const v1::ListTopicFeedRequest*,
                             v1::ListTopicFeedResponse* response) override {
    *response = topic_page;
    return grpc::Status::OK;
  }

  // Where each stream began.
  std::vector<int64_t> after_seqs() const {
    absl::MutexLock lock(&mutex_);
    return after_seqs_;
  }
  // Of which user or topic each stream was.
  std::vector<std::string> feeds() const {
    absl::MutexLock lock(&mutex_);
    return feeds_;
  }

 private:
  int NextStream(const std::string& feed, int64_t after_seq) {
    absl::MutexLock lock(&mutex_);
    feeds_.push_back(feed);
    after_seqs_.push_back(after_seq);
    return static_cast<int>(feeds_.size()) - 1;
  }

  mutable absl::Mutex mutex_;
  std::vector<std::string> feeds_ ABSL_GUARDED_BY(mutex_);
  std::vector<int64_t> after_seqs_ ABSL_GUARDED_BY(mutex_);
};

// Begins replays that it tells nothing more of until they are cancelled.
class SilentAdminService final : public v1::AdminService::Service {
 public:
  // Nothing is told at all.
  std::atomic<bool> is_mute = false;

  grpc::Status ReplayDeadLetters(grpc::ServerContext* context, const v1::ReplayDeadLettersRequest*,
                                 grpc::ServerWriter<v1::ReplayDeadLettersResponse>* writer) override {
    v1::ReplayDeadLettersResponse began;
    began.mutable_replay()->set_replay_id("r");
    if (!is_mute) writer->Write(began);
    while (!context->IsCancelled()) absl::SleepFor(absl::Milliseconds(5));
    return grpc::Status::CANCELLED;
  }
};

// All services on a free port of 127.0.0.1.
class FakeServer {
 public:
  FakeServer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&notifications);
    builder.RegisterService(&feed);
    builder.RegisterService(&admin);
    server_ = builder.BuildAndStart();
    address_ = absl::StrCat("127.0.0.1:", port);
  }
  // Cancels what still runs.
  ~FakeServer() { server_->Shutdown(std::chrono::system_clock::now()); }

  // For this server, in a hurry: its waits are a few milliseconds.
  ClientOptions Options() const {
    ClientOptions options;
    options.address = address_;
    options.app_key = "key";
    options.app_secret = "secret";
    options.retry.initial_backoff = absl::Milliseconds(1);
    options.retry.max_backoff = absl::Milliseconds(5);
    return options;
  }

  FakeNotificationService notifications;
  FakeFeedService feed;
  SilentAdminService admin;

 private:
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

}  // namespace carillon::testing
