// What happens when more comes than goes: queues and lanes that say so, notifications that
// say they are delayed, and a door that refuses the light before the heavy. Through the
// real processes.
#include <thread>

#include "absl/strings/str_cat.h"
#include "client/carillon/status.h"
#include "tests/integration/system_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

// Refusals are what some of these tests are about.
Client WithoutRepeats(const RunningStack& stack) {
  ClientOptions options{.address = stack.address(), .app_key = stack.app_key(), .app_secret = stack.app_secret()};
  options.retry.max_attempts = 1;
  return Client(std::move(options));
}

v1::Queue QueueOf(const v1::ListQueuesResponse& response, const std::string& name) {
  for (const v1::Queue& queue : response.queues()) {
    if (queue.name() == name) return queue;
  }
  return {};
}

v1::LaneStatus LaneOf(const v1::ListQueuesResponse& response, const std::string& name) {
  for (const v1::LaneStatus& lane : response.lanes()) {
    if (lane.lane() == name) return lane;
  }
  return {};
}

// Everything that is told of a notification, from now to its end.
class Watching {
 public:
  Watching(Client& client, const std::string& id)
      : thread_([this, &client, id] {
          v1::WatchNotificationRequest request;
          request.set_notification_id(id);
          const absl::Status status = client.WatchNotification(request, [this](const v1::Notification& told) {
            absl::MutexLock lock(&mutex_);
            told_.push_back(told);
            return true;
          });
          absl::MutexLock lock(&mutex_);
          end_ = status;
        }) {}
  ~Watching() { thread_.join(); }

  bool WaitFor(absl::FunctionRef<bool(const v1::Notification&)> condition) {
    return testing::WaitFor([&] {
      for (const v1::Notification& one : told()) {
        if (condition(one)) return true;
      }
      return false;
    });
  }
  absl::Status WaitForEnd() {
    testing::WaitFor([&] { return end().has_value(); });
    return end().value_or(absl::DeadlineExceededError("it is still watched"));
  }
  std::vector<v1::Notification> told() const {
    absl::MutexLock lock(&mutex_);
    return told_;
  }

 private:
  std::optional<absl::Status> end() const {
    absl::MutexLock lock(&mutex_);
    return end_;
  }

  mutable absl::Mutex mutex_;
  std::vector<v1::Notification> told_;
  std::optional<absl::Status> end_;
  std::thread thread_;
};

TEST(Pressure, ALaneThatIsBehindSaysSoAndWhenItsTurnComes) {
  RunningStackOptions options;
  options.processes = {"server", "relay", "worker-social"};
  options.flags["server"] = {"--objectives=social=2s"};
  options.flags["worker-social"] = {"--prefetch=1"};
  RunningStack stack(options);
  Client client = ClientOf(stack);
  SlowDownFeeds(stack, absl::Milliseconds(250));
  ASSERT_EQ(stack.StopProcess("worker-social"), 0);
  constexpr int kMessages = 24;
  std::string id;
  for (int i = 0; i < kMessages; ++i) {
    // Each after the one before has gone: none shares a message.
    ASSERT_OK_AND_ASSIGN(const auto sent, client.SendNotification(Request("comment", absl::StrCat("user-", i))));
    id = sent.notification().notification_id();
    ASSERT_TRUE(WaitFor([&] { return StateOf(client, id) == v1::STATE_QUEUED; }));
  }
  Watching watching(client, id);
  // Whoever asks makes it look more often.
  const auto lane_of = [&] { return LaneOf(client.ListQueues({}).value_or(v1::ListQueuesResponse()), "social"); };
  ASSERT_TRUE(WaitFor([&] { return lane_of().delayed(); }));
  ASSERT_TRUE(watching.WaitFor([](const v1::Notification& told) { return told.has_delay(); }));
  EXPECT_EQ(watching.told().front().state(), v1::STATE_QUEUED);

  v1::ListQueuesRequest request;
  request.mutable_history()->set_seconds(600);
  ASSERT_OK_AND_ASSIGN(const v1::ListQueuesResponse queues, client.ListQueues(request));
  const v1::Queue queue = QueueOf(queues, "social");
  EXPECT_EQ(queue.messages(), kMessages);
  EXPECT_EQ(queue.consumers(), 0);
  EXPECT_GE(queue.oldest_age().seconds(), 2);
  ASSERT_GT(queue.history_size(), 0);
  EXPECT_EQ(queue.history(queue.history_size() - 1).messages(), kMessages);
  const v1::LaneStatus lane = LaneOf(queues, "social");
  EXPECT_TRUE(lane.delayed());
  EXPECT_FALSE(lane.has_estimated_wait());  // Nobody is there.
  EXPECT_EQ(lane.backlog(), kMessages);
  EXPECT_EQ(lane.objective().seconds(), 2);
  EXPECT_FALSE(LaneOf(queues, "otp").delayed());

  v1::GetNotificationRequest get;
  get.set_notification_id(id);
  ASSERT_OK_AND_ASSIGN(const auto got, client.GetNotification(get));
  EXPECT_EQ(got.notification().delay().queue(), "social");
  EXPECT_FALSE(got.notification().delay().has_estimated_time());
  ASSERT_OK_AND_ASSIGN(const CommandResult text, stack.Carillonctl({"get", id}));
  EXPECT_THAT(text.output, HasSubstr("delayed: social is"));
  ASSERT_OK_AND_ASSIGN(const CommandResult top, stack.Carillonctl({"top", "--once"}));
  EXPECT_THAT(top.output, AllOf(HasSubstr("delayed, nothing moves"), HasSubstr("OUTBOX")));

  stack.StartProcess("worker-social");
  ASSERT_TRUE(WaitFor([&] { return lane_of().has_estimated_wait(); }));
  ASSERT_TRUE(watching.WaitFor([](const v1::Notification& told) { return told.delay().has_estimated_time(); }));
  EXPECT_OK(watching.WaitForEnd());
  EXPECT_EQ(watching.told().back().state(), v1::STATE_DELIVERED);
  EXPECT_FALSE(watching.told().back().has_delay());
  EXPECT_TRUE(
      WaitFor([&] { return lane_of().lane() == "social" && !lane_of().delayed() && lane_of().backlog() == 0; }));
  // Asked once more, it has ended: one answer.
  Watching again(client, id);
  EXPECT_OK(again.WaitForEnd());
  EXPECT_EQ(again.told().size(), 1);
  v1::WatchNotificationRequest unknown;
  unknown.set_notification_id("00000000-0000-7000-8000-000000000000");
  EXPECT_THAT(client.WatchNotification(unknown, [](const v1::Notification&) { return true; }),
              StatusIs(absl::StatusCode::kNotFound));
}

// Nothing is published: what is sent stays in the outbox.
class FullOutbox : public ::testing::Test {
 protected:
  static RunningStackOptions Options() {
    RunningStackOptions options;
    options.processes = {"server", "relay"};
    options.flags["server"] = {absl::StrCat("--outbox-bound=", kBound)};
    return options;
  }

  FullOutbox() { EXPECT_EQ(stack_.StopProcess("relay"), 0); }

  absl::Status Send(const std::string& type, int count = 1) {
    v1::BatchSendNotificationsRequest batch;
    for (int i = 0; i < count; ++i) *batch.add_requests() = Request(type, "ann");
    return client_.BatchSendNotifications(batch).status();
  }
  absl::Status Publish(const std::string& type) {
    v1::PublishEventRequest request;
    request.set_type(type);
    request.mutable_audience()->mutable_users()->add_user_ids("ann");
    return client_.PublishEvent(request).status();
  }
  // With the lane that is named and a time to come again.
  static void ExpectRefused(const absl::Status& status, const std::string& lane) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("lane=" + lane)));
    EXPECT_EQ(ReasonOf(status), "OVERLOADED");
    EXPECT_THAT(RetryDelayOf(status), ::testing::Optional(AllOf(Ge(absl::Seconds(1)), Le(absl::Minutes(1)))));
  }
  bool IsRefused(const std::string& lane) {
    const auto queues = client_.ListQueues({});
    return queues.ok() && LaneOf(*queues, lane).refused();
  }

  static constexpr int kBound = 20;
  RunningStack stack_{Options()};
  Client client_ = WithoutRepeats(stack_);
};

TEST_F(FullOutbox, RefusesMarketingFirstThenSocialThenOtpAndPaymentLast) {
  ASSERT_OK(Send("marketing.discount", kBound));
  ASSERT_TRUE(WaitFor([&] { return IsRefused("marketing"); }));
  ExpectRefused(Send("marketing.discount"), "marketing");
  ExpectRefused(Publish("marketing.discount"), "marketing");
  EXPECT_OK(Publish("stream.start"));
  for (const char* type : {"comment", "otp.login", "payment.receipt"}) EXPECT_OK(Send(type));

  ASSERT_OK(Send("comment", kBound / 2));  // In all half as much again.
  ASSERT_TRUE(WaitFor([&] { return IsRefused("social"); }));
  ExpectRefused(Send("comment"), "social");
  ExpectRefused(Publish("stream.start"), "social");
  EXPECT_OK(Send("otp.login"));
  EXPECT_OK(Send("payment.receipt"));

  ASSERT_OK(Send("otp.login", kBound / 2));
  ASSERT_TRUE(WaitFor([&] { return IsRefused("otp"); }));
  ExpectRefused(Send("otp.login"), "otp");
  EXPECT_OK(Send("payment.receipt"));
  ASSERT_OK(Send("payment.receipt", kBound / 2));
  ASSERT_TRUE(WaitFor([&] { return IsRefused("payment"); }));
  ExpectRefused(Send("payment.receipt"), "payment");
  EXPECT_GE(MetricSum(stack_, "server", "carillon_door_refused_total"), 6);
  EXPECT_EQ(MetricSum(stack_, "server", "carillon_lane_refused"), 5);

  stack_.StartProcess("relay");
  EXPECT_TRUE(WaitFor([&] { return Send("marketing.discount").ok(); }));
  for (const char* type : {"comment", "otp.login", "payment.receipt"}) EXPECT_OK(Send(type));
}

}  // namespace
}  // namespace carillon::testing
