#include "server/api/send_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/wire/envelope.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;

const AppId kApp(7);
const AppId kSandbox(8);
const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

// "like", which lives for an hour, and a sandbox.
class OneType final : public CatalogStore {
 public:
  absl::StatusOr<int64_t> Version() override { return 1; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override {
    NotificationType type;
    type.app = kShippedApp;
    type.name = "like";
    type.channels = {Channel::kInApp};
    type.ttl = absl::Hours(1);
    return std::vector<NotificationType>{type};
  }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override {
    AppPolicy policy;
    policy.app = kSandbox;
    policy.sandbox = true;
    return std::vector<AppPolicy>{policy};
  }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

class SendTime : public ::testing::Test {
 protected:
  SendTime() { EXPECT_TRUE(catalogue_.Refresh().ok()); }

  // The clock of the sandbox is a day ahead.
  static SendOrigin OriginOf(AppId app) {
    const absl::Duration ahead = app == kSandbox ? absl::Hours(24) : absl::ZeroDuration();
    return {.app = app, .time = kNow + ahead, .traceparent = "", .clock_offset = ahead};
  }
  NewNotification Prepare(absl::Time send, AppId app = kApp) {
    request_.set_type("like");
    request_.set_user_id("ana");
    *request_.mutable_send_time() = ToTimestamp(send);
    Violations violations;
    NewNotification prepared = PrepareSend(request_, OriginOf(app), catalogue_, violations);
    status_ = violations.ToStatus();
    return prepared;
  }
  v1::Notification Answer(const NewNotification& prepared, bool duplicate = false,
                          absl::Time accepted = absl::InfinitePast()) {
    v1::SendNotificationResponse response;
    if (accepted == absl::InfinitePast()) accepted = prepared.notification.create_time;
    FillSendResponse(request_, prepared, {absl::OkStatus(), duplicate, prepared.notification.id, accepted}, &response);
    return response.notification();
  }

  v1::SendNotificationRequest request_;
  Catalogue catalogue_{std::make_shared<OneType>()};
  absl::Status status_;
};

TEST_F(SendTime, IsTakenUpToAYearAhead) {
  const absl::Time latest = kNow + absl::Hours(24 * 365);
  const NewNotification prepared = Prepare(latest);
  ASSERT_TRUE(status_.ok()) << status_;
  EXPECT_EQ(prepared.notification.send_time, latest);
  EXPECT_EQ(prepared.due_time, latest);
  Prepare(latest + absl::Microseconds(1));
  EXPECT_THAT(std::string(status_.message()), HasSubstr("send_time: must be at most 365 days ahead"));
  request_.mutable_send_time()->set_nanos(-1);
  Violations violations;
  PrepareSend(request_, OriginOf(kApp), catalogue_, violations);
  EXPECT_THAT(std::string(violations.ToStatus().message()), HasSubstr("send_time: must be a valid time"));
}

TEST_F(SendTime, ThatHasPassedMeansNow) {
  for (const absl::Time send : {kNow, kNow - absl::Hours(1)}) {
    const NewNotification prepared = Prepare(send);
    ASSERT_TRUE(status_.ok()) << status_;
    EXPECT_FALSE(prepared.notification.send_time.has_value());
    EXPECT_FALSE(prepared.due_time.has_value());
    EXPECT_EQ(prepared.notification.expire_time, kNow + absl::Hours(1));
    EXPECT_EQ(Answer(prepared).state(), v1::STATE_ACCEPTED);
  }
}

TEST_F(SendTime, IsWhereTheTtlTheIdAndTheEnvelopeBegin) {
  const absl::Time send = kNow + absl::Hours(48);
  const NewNotification prepared = Prepare(send);
  EXPECT_EQ(prepared.notification.create_time, kNow);
  EXPECT_EQ(prepared.notification.expire_time, send + absl::Hours(1));
  EXPECT_EQ(prepared.notification.id.time(), send);
  const absl::StatusOr<std::vector<Notification>> sent = DecodeEnvelope(prepared.envelope);
  ASSERT_TRUE(sent.ok());
  EXPECT_EQ((*sent)[0].create_time, send);
  const v1::Notification answer = Answer(prepared);
  EXPECT_EQ(answer.state(), v1::STATE_SCHEDULED);
  EXPECT_EQ(answer.expire_time().seconds(), absl::ToUnixSeconds(send + absl::Hours(1)));
}

TEST_F(SendTime, IsByTheClockOfTheApp) {
  const absl::Time send = kNow + absl::Hours(25);
  const NewNotification prepared = Prepare(send, kSandbox);
  EXPECT_EQ(prepared.due_time, kNow + absl::Hours(1));
  EXPECT_EQ(prepared.notification.expire_time, send + absl::Hours(1));
  EXPECT_EQ(prepared.notification.id.time(), kNow) << "its clock may be moved to that time at once";
  EXPECT_FALSE(Prepare(kNow + absl::Hours(23), kSandbox).due_time.has_value());
}

TEST_F(SendTime, IsAnsweredAgainAsTheFirstTime) {
  const absl::Time send = kNow - absl::Minutes(1);
  const NewNotification repeated = Prepare(send);
  const v1::Notification answer = Answer(repeated, /*duplicate=*/true, kNow - absl::Hours(5));
  EXPECT_EQ(answer.state(), v1::STATE_SCHEDULED);
  EXPECT_EQ(answer.expire_time().seconds(), absl::ToUnixSeconds(send + absl::Hours(1)));
}

v1::SendNotificationRequest Request() {
  v1::SendNotificationRequest request;
  request.set_type("like");
  request.set_user_id("ana");
  (*request.mutable_data()->mutable_fields())["a"].set_number_value(1);
  (*request.mutable_data()->mutable_fields())["b"].set_string_value("x");
  return request;
}

Notification Accepted(const v1::SendNotificationRequest& request) {
  Notification notification;
  notification.type = request.type();
  notification.recipient = RecipientId(request.user_id());
  notification.actor_id = request.actor_id();
  notification.object_id = request.object_id();
  notification.data_json = R"({"a":1,"b":"x"})";
  return notification;
}

std::string HashOf(const v1::SendNotificationRequest& request) { return PayloadHash(Accepted(request), request); }

TEST(PayloadHash, IsEqualForEqualRequests) {
  EXPECT_EQ(HashOf(Request()), HashOf(Request()));
  v1::SendNotificationRequest one = Request();
  one.add_channels(v1::CHANNEL_IN_APP);
  one.add_channels(v1::CHANNEL_EMAIL);
  v1::SendNotificationRequest other = Request();
  other.add_channels(v1::CHANNEL_EMAIL);
  other.add_channels(v1::CHANNEL_IN_APP);
  EXPECT_EQ(HashOf(one), HashOf(other));
}

TEST(PayloadHash, DiffersWithEveryField) {
  const std::string base = HashOf(Request());
  v1::SendNotificationRequest changed = Request();
  changed.set_user_id("bob");
  EXPECT_NE(HashOf(changed), base);
  changed = Request();
  changed.set_actor_id("x");
  EXPECT_NE(HashOf(changed), base);
  changed = Request();
  changed.set_object_id("x");
  EXPECT_NE(HashOf(changed), base);
  changed = Request();
  changed.mutable_ttl()->set_seconds(5);
  EXPECT_NE(HashOf(changed), base);
  changed = Request();
  changed.add_channels(v1::CHANNEL_IN_APP);
  EXPECT_NE(HashOf(changed), base);
}

TEST(PayloadHash, KeepsNeighbouringFieldsApart) {
  v1::SendNotificationRequest one = Request();
  one.set_actor_id("ab");
  one.set_object_id("c");
  v1::SendNotificationRequest other = Request();
  other.set_actor_id("a");
  other.set_object_id("bc");
  EXPECT_NE(HashOf(one), HashOf(other));
}

TEST(Timeline, TellsWhenItIsSentAndWhenThatTimeHadCome) {
  NotificationRecord record;
  record.notification.create_time = absl::FromUnixSeconds(100);
  record.notification.send_time = absl::FromUnixSeconds(200);
  record.state = State::kScheduled;
  v1::Notification waiting;
  AddTimeline(record, &waiting);
  ASSERT_EQ(waiting.timeline_size(), 2);
  EXPECT_EQ(waiting.timeline(1).state(), v1::STATE_SCHEDULED);
  EXPECT_EQ(waiting.timeline(1).time().seconds(), 200);
  record.state = State::kQueued;
  record.release_time = absl::FromUnixSeconds(201);
  v1::Notification released;
  AddTimeline(record, &released);
  ASSERT_EQ(released.timeline_size(), 4);
  EXPECT_EQ(released.timeline(2).state(), v1::STATE_ACCEPTED);
  EXPECT_EQ(released.timeline(2).time().seconds(), 201);
  EXPECT_EQ(released.timeline(3).state(), v1::STATE_QUEUED);
}

TEST(Timeline, TellsAttemptsBetweenAcceptanceAndTheEnd) {
  NotificationRecord record;
  record.notification.create_time = absl::FromUnixSeconds(100);
  record.state = State::kDead;
  record.finish_time = absl::FromUnixSeconds(140);
  record.detail = "gave up";
  record.history = {{absl::FromUnixSeconds(105), 1, "first"}, {absl::FromUnixSeconds(115), 2, "second"}};
  v1::Notification out;
  AddTimeline(record, &out);
  ASSERT_EQ(out.timeline_size(), 5);
  EXPECT_EQ(out.timeline(0).state(), v1::STATE_ACCEPTED);
  EXPECT_EQ(out.timeline(1).state(), v1::STATE_QUEUED);
  EXPECT_FALSE(out.timeline(1).has_time());
  EXPECT_EQ(out.timeline(3).attempt(), 2);
  EXPECT_EQ(out.timeline(4).state(), v1::STATE_DEAD);
  EXPECT_EQ(out.timeline(4).detail(), "gave up");
}

}  // namespace
}  // namespace carillon
