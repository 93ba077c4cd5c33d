// Sending later and cancelling, through the real processes.
#include <google/protobuf/util/time_util.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"

namespace carillon::testing {
namespace {

using google::protobuf::util::TimeUtil;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class Scheduled : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { stack_ = new RunningStack(); }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  // A recipient that no other test has.
  static std::string NewUser() {
    static std::atomic<int> count = 0;
    return absl::StrCat("later-", ++count);
  }
  static v1::SendNotificationRequest Later(const std::string& type, const std::string& user, absl::Duration delay) {
    v1::SendNotificationRequest request = Request(type, user);
    *request.mutable_send_time() = TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(absl::Now() + delay));
    return request;
  }
  v1::Notification Get(const std::string& id) {
    v1::GetNotificationRequest request;
    request.set_notification_id(id);
    const auto got = client_.GetNotification(request);
    EXPECT_OK(got);
    return got.ok() ? got->notification() : v1::Notification();
  }
  absl::StatusOr<v1::CancelNotificationResponse> Cancel(const std::string& id) {
    v1::CancelNotificationRequest request;
    request.set_notification_id(id);
    return client_.CancelNotification(request);
  }
  static std::vector<v1::State> StatesOf(const v1::Notification& notification) {
    std::vector<v1::State> states;
    for (const v1::TimelineEntry& entry : notification.timeline()) states.push_back(entry.state());
    return states;
  }

  static RunningStack* stack_;
  Client client_ = ClientOf(*stack_);
};

RunningStack* Scheduled::stack_ = nullptr;

TEST_F(Scheduled, ArrivesWhenItsTimeHasComeAndNotBefore) {
  for (const std::string type : {"payment.receipt", "otp.login", "like", "marketing.discount"}) {
    const std::string user = NewUser();
    const v1::SendNotificationRequest request = Later(type, user, absl::Seconds(3));
    ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(request));
    EXPECT_EQ(sent.notification().state(), v1::STATE_SCHEDULED);
    const std::string id = sent.notification().notification_id();
    ASSERT_TRUE(WaitFor([&] { return StateOf(client_, id) == v1::STATE_DELIVERED; })) << type;
    EXPECT_GE(absl::Now(), absl::FromUnixMicros(TimeUtil::TimestampToMicroseconds(request.send_time())));
    const v1::Notification got = Get(id);
    EXPECT_THAT(StatesOf(got), ElementsAre(v1::STATE_ACCEPTED, v1::STATE_SCHEDULED, v1::STATE_ACCEPTED,
                                           v1::STATE_QUEUED, v1::STATE_DELIVERED));
    EXPECT_EQ(got.timeline(1).time(), request.send_time());
    EXPECT_GE(got.timeline(4).time(), request.send_time());
    // To its reader it is of then.
    const std::vector<v1::FeedItem> feed = WholeFeed(client_, user);
    ASSERT_THAT(feed, SizeIs(1));
    EXPECT_EQ(feed[0].create_time(), request.send_time());
  }
}

TEST_F(Scheduled, IsShownListedAndCancelledBeforeItsTime) {
  const std::string user = NewUser();
  const v1::SendNotificationRequest request = Later("like", user, absl::Hours(24 * 300));
  ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(request));
  const std::string id = sent.notification().notification_id();
  const v1::Notification got = Get(id);
  EXPECT_EQ(got.state(), v1::STATE_SCHEDULED);
  EXPECT_THAT(StatesOf(got), ElementsAre(v1::STATE_ACCEPTED, v1::STATE_SCHEDULED));
  v1::ListNotificationsRequest list;
  list.set_user_id(user);
  list.set_state(v1::STATE_SCHEDULED);
  ASSERT_OK_AND_ASSIGN(const auto listed, client_.ListNotifications(list));
  ASSERT_EQ(listed.notifications_size(), 1);
  EXPECT_EQ(listed.notifications(0).notification_id(), id);

  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(const auto cancelled, Cancel(id));
    EXPECT_EQ(cancelled.notification().state(), v1::STATE_CANCELLED);
    EXPECT_THAT(StatesOf(cancelled.notification()),
                ElementsAre(v1::STATE_ACCEPTED, v1::STATE_SCHEDULED, v1::STATE_CANCELLED));
    EXPECT_EQ(cancelled.notification().timeline(2).detail(), "cancelled by the caller");
  }
  EXPECT_THAT(WholeFeed(client_, user), IsEmpty());
}

TEST_F(Scheduled, IsSentAndCancelledFromTheCommandLine) {
  const std::string in_a_year = absl::FormatTime(absl::Now() + absl::Hours(24 * 364), absl::UTCTimeZone());
  ASSERT_OK_AND_ASSIGN(const CommandResult sent,
                       stack_->Carillonctl({"send", "--type", "like", "--user", NewUser(), "--send-time", in_a_year,
                                            "--ttl", "10m", "--json"}));
  ASSERT_EQ(sent.exit_status, 0) << sent.errors;
  const nlohmann::json notification = nlohmann::json::parse(sent.output)["notification"];
  EXPECT_EQ(notification["state"], "STATE_SCHEDULED");
  const std::string id = notification["notification_id"].get<std::string>();
  const v1::Notification got = Get(id);
  EXPECT_EQ(got.expire_time() - got.timeline(1).time(), TimeUtil::MinutesToDuration(10));
  ASSERT_OK_AND_ASSIGN(const CommandResult cancelled, stack_->Carillonctl({"cancel", id}));
  EXPECT_EQ(cancelled.exit_status, 0) << cancelled.errors;
  EXPECT_THAT(cancelled.output, HasSubstr("cancelled by the caller"));
  ASSERT_OK_AND_ASSIGN(const CommandResult wrong,
                       stack_->Carillonctl({"send", "--type", "like", "--user", "u", "--send-time", "tomorrow"}));
  EXPECT_NE(wrong.exit_status, 0);
  EXPECT_THAT(wrong.errors, HasSubstr("--send-time must be a time"));
}

TEST_F(Scheduled, OrEnqueuedInSqlArrivesAsAnyOther) {
  const std::string user = NewUser();
  const std::string id = stack_->database().Query(absl::StrCat(
      "SELECT notification_id FROM enqueue_notifications('", stack_->app_key(), R"(', '[{"type": "like", "user_id": ")",
      user, R"(", "data": {"actor_name": "Bob"}, "idempotency_key": "one"}]'))"));
  ASSERT_TRUE(WaitFor([&] { return StateOf(client_, id) == v1::STATE_DELIVERED; }));
  const std::vector<v1::FeedItem> feed = WholeFeed(client_, user);
  ASSERT_THAT(feed, SizeIs(1));
  EXPECT_EQ(feed[0].title(), "Bob liked your post");
  v1::SendNotificationRequest request;
  request.set_type("like");
  request.set_user_id(user);
  (*request.mutable_data()->mutable_fields())["actor_name"].set_string_value("Bob");
  request.set_idempotency_key("one");
  ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(request));
  EXPECT_TRUE(sent.duplicate());
  EXPECT_EQ(sent.notification().notification_id(), id);
}

TEST_F(Scheduled, CannotBeCancelledOnceItHasArrived) {
  ASSERT_OK_AND_ASSIGN(const auto sent, client_.SendNotification(Request("like", NewUser())));
  const std::string id = sent.notification().notification_id();
  ASSERT_TRUE(WaitFor([&] { return StateOf(client_, id) == v1::STATE_DELIVERED; }));
  EXPECT_THAT(Cancel(id), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("it has ended: it is delivered")));
  EXPECT_THAT(Cancel("01a21b83-171d-74e2-b033-45fd81b4796a"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Cancel("x"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace carillon::testing
