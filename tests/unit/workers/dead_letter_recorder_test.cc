#include "workers/relay/dead_letter_recorder.h"

#include <gtest/gtest.h>

#include "carillon/wire/envelope.h"
#include "tests/unit/workers/lane_fakes.h"

namespace carillon {
namespace {

InboundMessage Message() {
  InboundMessage message;
  message.queue = "payment.dlq";
  message.message_id = "m1";
  message.reason = "delivery_limit";
  return message;
}

TEST(DeadLetter, KnowsItsNotificationFromTheEnvelope) {
  Notification notification;
  notification.id = NewUuid7(absl::FromUnixSeconds(1'800'000'000));
  notification.app = AppId(7);
  notification.type = "payment.receipt";
  notification.recipient = RecipientId("ana");
  InboundMessage message = Message();
  message.body = EncodeEnvelope(notification);
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  const DeadLetter& letter = letters.front();
  EXPECT_EQ(letter.queue, "payment");
  EXPECT_EQ(letter.lane, "payment");
  EXPECT_EQ(letter.app, AppId(7));
  EXPECT_EQ(letter.notification_id, notification.id);
  EXPECT_EQ(letter.type, "payment.receipt");
  EXPECT_EQ(letter.payload, message.body);
}

TEST(DeadLetter, IsAlwaysASingleOne) {
  const std::vector<Notification> items = {testing::Item("ana", "her own"), testing::Item("bob")};
  InboundMessage pack = testing::Pack(items);
  pack.queue = "marketing.dlq";
  pack.reason = "delivery_limit";
  const std::vector<DeadLetter> letters = ToDeadLetters(pack);
  ASSERT_EQ(letters.size(), 2u);
  for (size_t i = 0; i < letters.size(); ++i) {
    EXPECT_EQ(letters[i].queue, "marketing");
    EXPECT_EQ(letters[i].reason, "delivery_limit");
    EXPECT_EQ(letters[i].notification_id, items[i].id);
    EXPECT_EQ(letters[i].message_id, items[i].id.ToString());
    EXPECT_EQ(letters[i].payload, EncodeEnvelope(items[i]));
  }
  EXPECT_EQ(letters[0].traceparent, "her own");
  EXPECT_EQ(letters[1].traceparent, "the message's");
}

TEST(DeadLetter, KnowsItsDeliveryFromTheEnvelope) {
  const Delivery delivery{.id = NewUuid7(absl::FromUnixSeconds(1'800'000'001)),
                          .channel = Channel::kSms,
                          .device_id = "",
                          .item = testing::Item("ana")};
  InboundMessage message = Message();
  message.queue = "payment.sms.dlq";
  message.replay_count = 2;
  message.body = EncodeEnvelope(delivery);
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].queue, "payment.sms");
  EXPECT_EQ(letters[0].lane, "payment");
  EXPECT_EQ(letters[0].app, delivery.item.app);
  EXPECT_EQ(letters[0].notification_id, delivery.item.id);
  EXPECT_EQ(letters[0].delivery_id, delivery.id);
  EXPECT_EQ(letters[0].replay_count, 2);
  EXPECT_EQ(letters[0].retention_days, delivery.item.retention_days);
  EXPECT_EQ(letters[0].payload, message.body);
}

TEST(DeadLetter, KnowsTheGroupsOfItsReactions) {
  const Uuid first = NewUuid7(absl::FromUnixSeconds(1'800'000'000)),
             second = NewUuid7(absl::FromUnixSeconds(1'800'000'001));
  InboundMessage message = Message();
  for (const std::optional<Uuid>& group :
       {std::optional(first), std::optional(first), std::optional(second), std::optional<Uuid>()}) {
    message.body += EncodeEnvelope(Reaction{.app = AppId(7),
                                            .actor_id = "bob",
                                            .object_id = "post",
                                            .kind = "like",
                                            .version = 1,
                                            .recipient = "",
                                            .type = "",
                                            .data_json = "",
                                            .accept_time = {},
                                            .group = group});
  }
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters.front().reaction_groups, std::vector<Uuid>({first, second}));
  EXPECT_EQ(letters.front().payload, message.body);
}

TEST(DeadLetter, MakesTextsOfStrangersSafeToStore) {
  InboundMessage message = Message();
  message.queue = "unrouted";
  message.body = std::string("\0\xff", 2);
  message.error = std::string("a\0b\xff\n", 5);
  message.reason = "";
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  const DeadLetter& letter = letters.front();
  EXPECT_EQ(letter.error, "a?b??");
  EXPECT_EQ(letter.reason, "unknown");
  EXPECT_EQ(letter.lane, "");
  EXPECT_FALSE(letter.app.has_value());
  EXPECT_FALSE(letter.notification_id.has_value());
}

}  // namespace
}  // namespace carillon
