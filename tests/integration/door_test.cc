// The RPCs that backends call, through the real processes.
#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Door : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { stack_ = new RunningStack(); }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  // A recipient that no other test has.
  static std::string NewUser() {
    static std::atomic<int> count = 0;
    return absl::StrCat("user-", ++count);
  }

  static RunningStack* stack_;
  Client client_ = ClientOf(*stack_);
};

RunningStack* Door::stack_ = nullptr;

TEST_F(Door, CarriesEveryWeightToTheFeedAndTheLiveStream) {
  const std::string user = NewUser();
  RecordedStream stream(client_, user);
  const std::vector<std::string> types = {"follow",
                                          "like",
                                          "comment",
                                          "chat.message",
                                          "stream.start",
                                          "otp.login",
                                          "otp.password_reset",
                                          "payment.receipt",
                                          "payment.failed",
                                          "marketing.discount",
                                          "marketing.digest"};
  std::vector<std::string> ids;
  for (const std::string& type : types) {
    ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(Request(type, user)));
    EXPECT_EQ(sent.notification().state(), v1::STATE_ACCEPTED);
    EXPECT_FALSE(sent.duplicate());
    ids.push_back(sent.notification().notification_id());
  }
  ASSERT_TRUE(stream.WaitForEvents(types.size()));
  EXPECT_THAT(stream.seqs(), ElementsAreArray(CountUpTo(static_cast<int64_t>(types.size()))));
  EXPECT_THAT(WholeFeed(client_, user), SizeIs(types.size()));
  for (const std::string& id : ids) EXPECT_EQ(StateOf(client_, id), v1::STATE_DELIVERED) << id;
}

TEST_F(Door, RendersTheTypesTemplate) {
  const std::string user = NewUser();
  ASSERT_OK(client_.SendNotification(Request("like", user)));
  ASSERT_TRUE(WaitFor([&] { return !WholeFeed(client_, user).empty(); }));
  const v1::FeedItem item = WholeFeed(client_, user).front();
  EXPECT_EQ(item.title(), "Bob liked your post");
  EXPECT_EQ(item.actor().actor_id(), "bob");
  EXPECT_EQ(item.actor().name(), "Bob");
  EXPECT_EQ(item.action_link(), "/posts/post-1");
  EXPECT_EQ(item.badge(), "like");
  EXPECT_EQ(item.data().fields().at("actor_name").string_value(), "Bob");
}

TEST_F(Door, TellsTheTimelineOfWhatWasDelivered) {
  ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(Request("payment.receipt", NewUser(), "timeline")));
  const std::string id = sent.notification().notification_id();
  ASSERT_TRUE(WaitFor([&] { return StateOf(client_, id) == v1::STATE_DELIVERED; }));
  v1::GetNotificationRequest request;
  request.set_notification_id(id);
  ASSERT_OK_AND_ASSIGN(const auto got, client_.GetNotification(request));
  ASSERT_EQ(got.notification().timeline_size(), 3);
  EXPECT_EQ(got.notification().timeline(0).state(), v1::STATE_ACCEPTED);
  EXPECT_EQ(got.notification().timeline(1).state(), v1::STATE_QUEUED);
  EXPECT_EQ(got.notification().timeline(2).state(), v1::STATE_DELIVERED);
  EXPECT_EQ(got.notification().idempotency_key(), "timeline");
}

TEST_F(Door, NamesEveryFaultOfARequestAndChangesNothing) {
  v1::SendNotificationRequest request;
  request.set_type("No Such Type");
  request.set_user_id("a\nb");
  request.mutable_ttl()->set_nanos(1);
  request.add_channels(static_cast<v1::Channel>(99));
  request.mutable_send_time()->set_seconds(4'000'000'000);
  const auto refused = client_.SendNotification(request);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kInvalidArgument,
                                AllOf(HasSubstr("type:"), HasSubstr("user_id:"), HasSubstr("ttl:"),
                                      HasSubstr("channels[0]:"), HasSubstr("send_time:"))));
}

TEST_F(Door, TakesABatchWholeOrNotAtAll) {
  const std::string user = NewUser();
  v1::BatchSendNotificationsRequest batch;
  for (int i = 0; i < 1000; ++i) *batch.add_requests() = Request(i % 2 == 0 ? "like" : "marketing.discount", user);
  batch.mutable_requests(500)->set_user_id("");
  EXPECT_THAT(client_.BatchSendNotifications(batch),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("requests[500].user_id")));
  v1::ListNotificationsRequest list;
  list.set_user_id(user);
  ASSERT_OK_AND_ASSIGN(auto nothing, client_.ListNotifications(list));
  EXPECT_EQ(nothing.notifications_size(), 0);

  batch.mutable_requests(500)->set_user_id(user);
  ASSERT_OK_AND_ASSIGN(const auto sent, client_.BatchSendNotifications(batch));
  ASSERT_EQ(sent.responses_size(), 1000);
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(sent.responses(i).notification().type(), batch.requests(i).type());
    ids.insert(sent.responses(i).notification().notification_id());
  }
  EXPECT_THAT(ids, SizeIs(1000));
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client_, user).size() == 1000; }));
}

TEST_F(Door, RefusesABatchWithAReusedKeyAndWritesNothingOfIt) {
  const std::string user = NewUser();
  ASSERT_OK(client_.SendNotification(Request("like", user, "batch-key")));
  v1::BatchSendNotificationsRequest batch;
  *batch.add_requests() = Request("like", user, "batch-key-2");
  *batch.add_requests() = Request("comment", user, "batch-key");
  EXPECT_THAT(client_.BatchSendNotifications(batch), StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK_AND_ASSIGN(const auto again, client_.SendNotification(Request("like", user, "batch-key-2")));
  EXPECT_FALSE(again.duplicate());
}

TEST_F(Door, MakesOneNotificationOfAThousandConcurrentSendsWithOneKey) {
  const std::string user = NewUser();
  constexpr int kThreads = 50;
  constexpr int kSends = 20;
  absl::Mutex mutex;
  std::set<std::string> ids;
  int firsts = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kSends; ++i) {
        const auto sent = client_.SendNotification(Request("payment.receipt", user, "one-key"));
        ASSERT_OK(sent);
        absl::MutexLock lock(&mutex);
        ids.insert(sent->notification().notification_id());
        firsts += sent->duplicate() ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(ids, SizeIs(1));
  EXPECT_EQ(firsts, 1);
  ASSERT_TRUE(WaitFor([&] { return StateOf(client_, *ids.begin()) == v1::STATE_DELIVERED; }));
  EXPECT_THAT(WholeFeed(client_, user), SizeIs(1));
}

TEST_F(Door, RefusesAKeyWithAnotherPayload) {
  const std::string user = NewUser();
  ASSERT_OK(client_.SendNotification(Request("like", user, "reused")));
  EXPECT_THAT(client_.SendNotification(Request("comment", user, "reused")),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("reused")));
}

TEST_F(Door, ShowsNoAppAnythingOfAnother) {
  const std::string user = NewUser();
  ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(Request("like", user)));
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client_, user).size() == 1; }));
  const auto other = stack_->CreateApp("other");
  Client stranger({.address = stack_->address(),
                   .app_key = other["app"]["app_key"].get<std::string>(),
                   .app_secret = other["app_secret"].get<std::string>()});
  v1::GetNotificationRequest get;
  get.set_notification_id(sent.notification().notification_id());
  EXPECT_THAT(stranger.GetNotification(get), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(WholeFeed(stranger, user), SizeIs(0));
  v1::ListNotificationsRequest list;
  list.set_user_id(user);
  ASSERT_OK_AND_ASSIGN(const auto listed, stranger.ListNotifications(list));
  EXPECT_EQ(listed.notifications_size(), 0);
}

TEST_F(Door, ChecksSecretsAndScopes) {
  Client wrong({.address = stack_->address(), .app_key = stack_->app_key(), .app_secret = "cs_wrong"});
  EXPECT_THAT(wrong.SendNotification(Request("like", "x")), StatusIs(absl::StatusCode::kUnauthenticated));
  const auto reader = stack_->CreateApp("reader", "feed");
  Client limited({.address = stack_->address(),
                  .app_key = reader["app"]["app_key"].get<std::string>(),
                  .app_secret = reader["app_secret"].get<std::string>()});
  EXPECT_THAT(limited.SendNotification(Request("like", "x")),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("send")));
  EXPECT_OK(limited.ListFeed([] {
    v1::ListFeedRequest request;
    request.set_user_id("x");
    return request;
  }()));
}

TEST_F(Door, KeepsTwoSecretsThroughARotationAndDropsTheThird) {
  const auto app = stack_->CreateApp("rotating");
  const std::string key = app["app"]["app_key"].get<std::string>();
  const std::string first = app["app_secret"].get<std::string>();
  v1::RotateAppSecretRequest rotate;
  rotate.set_app_key(key);
  ASSERT_OK_AND_ASSIGN(const auto second, client_.RotateAppSecret(rotate));
  const auto works = [&](const std::string& secret) {
    Client caller({.address = stack_->address(), .app_key = key, .app_secret = secret});
    return caller.SendNotification(Request("like", "rotation")).ok();
  };
  EXPECT_TRUE(WaitFor([&] { return works(second.app_secret()); }));
  EXPECT_TRUE(works(first));
  ASSERT_OK_AND_ASSIGN(const auto third, client_.RotateAppSecret(rotate));
  EXPECT_TRUE(WaitFor([&] { return works(third.app_secret()) && !works(first); }));
  EXPECT_TRUE(works(second.app_secret()));
}

// From when a new type is applied until something of it is in a feed.
TEST_F(Door, ServesANewTypeWithinFiveSecondsOnRunningProcesses) {
  absl::Duration shortest = absl::InfiniteDuration();
  // A busy machine may be late once.
  for (int i = 0; i < 3 && shortest >= absl::Seconds(5); ++i) {
    v1::ApplyTypesRequest apply;
    v1::Type& type = *apply.add_types();
    type.set_name(absl::StrCat("poll.closed_", i));
    type.set_weight(v1::WEIGHT_SOCIAL);
    type.set_routing_key("social.poll_closed");
    type.add_channels(v1::CHANNEL_IN_APP);
    type.mutable_in_app()->set_title("The poll of {{data.actor_name}} is closed");
    const absl::Time applied = absl::Now();
    ASSERT_OK(client_.ApplyTypes(apply));
    const std::string user = NewUser();
    ASSERT_TRUE(WaitFor([&] { return client_.SendNotification(Request(type.name(), user)).ok(); }));
    ASSERT_TRUE(WaitFor([&] { return !WholeFeed(client_, user).empty(); }));
    shortest = std::min(shortest, absl::Now() - applied);
    EXPECT_EQ(WholeFeed(client_, user).front().title(), "The poll of Bob is closed");
  }
  EXPECT_LT(shortest, absl::Seconds(5));
}

TEST_F(Door, RefusesTypesThatNoLaneCouldCarry) {
  v1::ApplyTypesRequest apply;
  v1::Type& type = *apply.add_types();
  type.set_name("Bad Name");
  type.set_weight(v1::WEIGHT_PAYMENT);
  type.set_routing_key("social.x");
  type.set_exchange(v1::EXCHANGE_DIRECT);
  type.set_retention_days(8);
  EXPECT_THAT(client_.ApplyTypes(apply),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("types[0].name"), HasSubstr("types[0].routing_key"),
                             HasSubstr("types[0].exchange"), HasSubstr("types[0].retention_days"),
                             HasSubstr("types[0].channels"), HasSubstr("types[0].in_app.title"))));
}

TEST_F(Door, ListsEveryQueueOfTheTopologyAndEveryLanesOutbox) {
  ASSERT_OK_AND_ASSIGN(const auto queues, client_.ListQueues({}));
  EXPECT_GT(queues.queues_size(), 50);
  for (const v1::Queue& queue : queues.queues()) EXPECT_TRUE(queue.declared()) << queue.name();
  EXPECT_EQ(queues.outbox_size(), 5);
}

TEST_F(Door, ExpiresWhatNoWorkerTookInTime) {
  ASSERT_EQ(stack_->StopProcess("worker-otp"), 0);
  v1::SendNotificationRequest request = Request("otp.login", NewUser());
  request.mutable_ttl()->set_seconds(1);
  ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(request));
  const std::string id = sent.notification().notification_id();
  ASSERT_TRUE(WaitFor([&] { return StateOf(client_, id) == v1::STATE_QUEUED; }));
  // It is the ttl that is waited for, and then some: a later start only makes it surer.
  ASSERT_TRUE(
      WaitFor([&] { return absl::Now() > absl::FromUnixSeconds(sent.notification().expire_time().seconds() + 1); }));
  EXPECT_EQ(StateOf(client_, id), v1::STATE_QUEUED);
  stack_->StartProcess("worker-otp");
  EXPECT_TRUE(WaitFor([&] { return StateOf(client_, id) == v1::STATE_EXPIRED; }));
}

TEST_F(Door, ServesAClientGeneratedForAnotherLanguage) {
  const auto result = RunCommand({"/usr/bin/python3", SourceDirectory() + "/tests/clients/python_client.py"},
                                 stack_->Environment(), absl::Seconds(60));
  ASSERT_OK(result);
  EXPECT_EQ(result->exit_status, 0) << result->output << result->errors;
}

}  // namespace
}  // namespace carillon::testing
