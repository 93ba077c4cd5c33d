#include "server/api/send_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon {
namespace {

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
