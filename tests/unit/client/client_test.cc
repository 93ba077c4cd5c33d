#include "client/carillon/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/synchronization/blocking_counter.h"
#include "client/carillon/call_canceller.h"
#include "client/carillon/timer.h"
#include "tests/kit/loopback.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/client/fake_server.h"

namespace carillon {
namespace {

using testing::FakeServer;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::RichError;
using testing::StatusIs;

v1::SendNotificationRequest Request(const std::string& key) {
  v1::SendNotificationRequest request;
  request.set_type("like");
  request.set_user_id("alice");
  request.set_idempotency_key(key);
  return request;
}

grpc::Status Unavailable() { return RichError(grpc::StatusCode::UNAVAILABLE, "away", "BACKEND_UNAVAILABLE"); }

TEST(Client, RepeatsASendWithAKeyUntilTheServerIsBack) {
  FakeServer server;
  server.notifications.script = [](int call, grpc::ServerContext&) {
    return call < 3 ? Unavailable() : grpc::Status::OK;
  };
  Client client(server.Options());
  ASSERT_OK_AND_ASSIGN(const v1::SendNotificationResponse response, client.SendNotification(Request("k")));
  EXPECT_EQ(response.notification().user_id(), "alice");
  EXPECT_EQ(server.notifications.calls(), 4);
}

TEST(Client, NeverRepeatsASendWithoutAKey) {
  FakeServer server;
  server.notifications.script = [](int, grpc::ServerContext&) { return Unavailable(); };
  Client client(server.Options());
  EXPECT_THAT(client.SendNotification(Request("")),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("BACKEND_UNAVAILABLE")));
  EXPECT_EQ(server.notifications.calls(), 1);
}

TEST(Client, RepeatsABatchOnlyIfEveryRequestHasAKey) {
  FakeServer server;
  server.notifications.script = [](int, grpc::ServerContext&) { return Unavailable(); };
  ClientOptions options = server.Options();
  options.retry.max_attempts = 2;
  Client client(options);
  v1::BatchSendNotificationsRequest batch;
  *batch.add_requests() = Request("a");
  *batch.add_requests() = Request("");
  EXPECT_THAT(client.BatchSendNotifications(batch), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(server.notifications.calls(), 1);
  batch.mutable_requests(1)->set_idempotency_key("b");
  EXPECT_THAT(client.BatchSendNotifications(batch), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(server.notifications.calls(), 3);
}

TEST(Client, RepeatsAnEventOnlyIfItHasAKey) {
  FakeServer server;
  server.notifications.script = [](int, grpc::ServerContext&) { return Unavailable(); };
  ClientOptions options = server.Options();
  options.retry.max_attempts = 2;
  Client client(options);
  v1::PublishEventRequest request;
  EXPECT_THAT(client.PublishEvent(request), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(server.notifications.calls(), 1);
  request.set_idempotency_key("k");
  EXPECT_THAT(client.PublishEvent(request), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(server.notifications.calls(), 3);
}

TEST(Client, TellsOfEachAttemptThatItRepeats) {
  FakeServer server;
  server.notifications.script = [](int call, grpc::ServerContext&) {
    return call < 2 ? Unavailable() : grpc::Status::OK;
  };
  std::atomic<int> told = 0;
  ClientOptions options = server.Options();
  options.on_retry = [&told](const absl::Status& status, absl::Duration) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable));
    ++told;
  };
  Client client(options);
  EXPECT_OK(client.SendNotification(Request("k")));
  EXPECT_EQ(told, 2);
}

TEST(Client, PutsItsCredentialsOnEveryCall) {
  FakeServer server;
  server.notifications.script = [](int, grpc::ServerContext& context) {
    const auto& metadata = context.client_metadata();
    const auto key = metadata.find("x-app-key");
    const auto secret = metadata.find("x-app-secret");
    if (key == metadata.end() || secret == metadata.end()) return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "");
    return key->second == "key" && secret->second == "secret" ? grpc::Status::OK
                                                              : grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "");
  };
  Client client(server.Options());
  EXPECT_OK(client.SendNotification(Request("k")));
}

TEST(Client, EndsACallThatIsNotAnsweredAtItsDeadline) {
  FakeServer server;
  server.notifications.script = [](int, grpc::ServerContext& context) {
    while (!context.IsCancelled()) absl::SleepFor(absl::Milliseconds(5));
    return grpc::Status::CANCELLED;
  };
  ClientOptions options = server.Options();
  options.deadline = absl::Milliseconds(50);
  Client client(options);
  EXPECT_THAT(client.SendNotification(Request("k")),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("did not answer within the 0.05 s that")));
}

TEST(Client, InterruptsAReplayThatNothingIsHeardOf) {
  FakeServer server;
  Client client(server.Options());
  CallCanceller canceller;
  std::thread admin;
  const auto on_progress = [&](const v1::ReplayDeadLettersResponse&) {
    admin = std::thread([&] { canceller.Cancel(); });
    return true;
  };
  EXPECT_OK(client.ReplayDeadLetters({}, on_progress, &canceller));
  admin.join();
  // Also one that has not begun.
  server.admin.is_mute = true;
  EXPECT_OK(client.ReplayDeadLetters({}, on_progress, &canceller));
}

TEST(Client, GivesUpOnAServerThatIsNotThereWithinItsTotalTime) {
  ClientOptions options;
  options.address = testing::FreeAddress();
  options.retry.max_attempts = 1'000'000;
  options.retry.total_time = absl::Milliseconds(300);
  Client client(options);
  const absl::Duration begin = MonotonicNow();
  EXPECT_THAT(client.SendNotification(Request("k")), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(MonotonicNow() - begin, absl::Seconds(5));
}

TEST(Client, AnswersEveryAsynchronousSendOnce) {
  constexpr int kSends = 500;
  FakeServer server;
  server.notifications.script = [](int call, grpc::ServerContext&) {
    return call % 3 == 0 ? Unavailable() : grpc::Status::OK;
  };
  ClientOptions options = server.Options();
  options.retry.max_attempts = 100;
  Client client(options);
  absl::BlockingCounter left(kSends);
  std::atomic<int> sent = 0;
  for (int i = 0; i < kSends; ++i) {
    client.SendNotificationAsync(Request("k"), [&](const absl::StatusOr<v1::SendNotificationResponse>& result) {
      if (result.ok()) ++sent;
      left.DecrementCount();
    });
  }
  left.Wait();
  EXPECT_EQ(sent, kSends);
}

TEST(Client, WaitsForItsCallsWhenItIsDestroyed) {
  FakeServer server;
  server.notifications.script = [](int call, grpc::ServerContext&) {
    return call < 5 ? Unavailable() : grpc::Status::OK;
  };
  std::atomic<bool> answered = false;
  {
    Client client(server.Options());
    client.SendNotificationAsync(Request("k"), [&](absl::StatusOr<v1::SendNotificationResponse>) { answered = true; });
  }
  EXPECT_TRUE(answered);
}

}  // namespace
}  // namespace carillon
