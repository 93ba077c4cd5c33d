#include "workers/relay/packer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/limits.h"
#include "carillon/domain/topology.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

OutboxRow Row(int64_t app, const std::string& type, const std::string& recipient) {
  Notification notification;
  notification.id = NewUuid7(absl::FromUnixSeconds(1'800'000'000));
  notification.app = AppId(app);
  notification.type = type;
  notification.recipient = RecipientId(recipient);
  return {.message_id = notification.id,
          .app = notification.app,
          .exchange = "carillon.direct",
          .routing_key = "social." + type,
          .type = type,
          .traceparent = "trace of " + recipient,
          .payload = EncodeEnvelope(notification)};
}

std::vector<std::string> RecipientsOf(const OutboundMessage& message) {
  const auto items = DecodeEnvelope(message.body);
  EXPECT_OK(items);
  std::vector<std::string> recipients;
  for (const Notification& item : *items) recipients.push_back(item.recipient.value());
  return recipients;
}

TEST(Packer, PutsRowsOfOneKindIntoOneMessage) {
  const std::vector<OutboxRow> rows = {Row(1, "like", "ana"), Row(1, "follow", "ben"), Row(1, "like", "cleo"),
                                       Row(2, "like", "dan")};
  const Packs packs = PackRows(rows, 100);
  ASSERT_THAT(packs.messages, SizeIs(3));
  EXPECT_THAT(RecipientsOf(packs.messages[0]), ElementsAre("ana", "cleo"));
  EXPECT_THAT(RecipientsOf(packs.messages[1]), ElementsAre("ben"));
  EXPECT_THAT(RecipientsOf(packs.messages[2]), ElementsAre("dan"));
  EXPECT_THAT(packs.rows, ElementsAre(ElementsAre(&rows[0], &rows[2]), ElementsAre(&rows[1]), ElementsAre(&rows[3])));
  const OutboundMessage& first = packs.messages[0];
  EXPECT_EQ(first.message_id, rows[0].message_id.ToString());
  EXPECT_EQ(first.app, AppId(1));
  EXPECT_EQ(first.type, "like");
  EXPECT_EQ(first.exchange, "carillon.direct");
  EXPECT_EQ(first.routing_key, "social.like");
  EXPECT_EQ(first.traceparent, "trace of ana");
  EXPECT_EQ(packs.messages[2].app, AppId(2));
}

TEST(Packer, LeavesAloneWhatWasDead) {
  std::vector<OutboxRow> rows = {Row(1, "like", "ana"), Row(1, "like", "ben"), Row(1, "like", "cleo"),
                                 Row(1, "like", "dan")};
  rows[0].replay_count = 1;
  rows[2].replay_count = 3;
  const Packs packs = PackRows(rows, 100);
  ASSERT_THAT(packs.messages, SizeIs(3));
  EXPECT_THAT(RecipientsOf(packs.messages[0]), ElementsAre("ana"));
  EXPECT_EQ(packs.messages[0].replay_count, 1);
  EXPECT_THAT(RecipientsOf(packs.messages[1]), ElementsAre("ben", "dan"));
  EXPECT_EQ(packs.messages[1].replay_count, 0);
  EXPECT_EQ(packs.messages[2].replay_count, 3);
}

TEST(Packer, BeginsAnotherMessageWhenOneIsFull) {
  std::vector<OutboxRow> rows;
  for (int i = 0; i < 7; ++i) rows.push_back(Row(1, "like", absl::StrCat("user", i)));
  const Packs packs = PackRows(rows, 3);
  ASSERT_THAT(packs.messages, SizeIs(3));
  EXPECT_THAT(RecipientsOf(packs.messages[0]), ElementsAre("user0", "user1", "user2"));
  EXPECT_THAT(RecipientsOf(packs.messages[1]), ElementsAre("user3", "user4", "user5"));
  EXPECT_THAT(RecipientsOf(packs.messages[2]), ElementsAre("user6"));
}

TEST(Packer, LeavesRowsAloneWhereALaneDoesNotPack) {
  const std::vector<OutboxRow> rows = {Row(1, "receipt", "ana"), Row(1, "receipt", "ben")};
  const Packs packs = PackRows(rows, 1);
  ASSERT_THAT(packs.messages, SizeIs(2));
  EXPECT_EQ(packs.messages[1].body, rows[1].payload);
  EXPECT_EQ(packs.messages[1].traceparent, "trace of ben");
}

TEST(Packer, BoundsAMessageByItsBytes) {
  std::vector<OutboxRow> rows(5, Row(1, "like", "ana"));
  for (OutboxRow& row : rows) row.payload.resize(limits::kMaxPackBytes / 2);
  // One that is larger than a pack may be still goes, by itself.
  rows[4].payload.resize(2 * limits::kMaxPackBytes);
  const Packs packs = PackRows(rows, 100);
  ASSERT_THAT(packs.messages, SizeIs(3));
  EXPECT_THAT(packs.rows[0], SizeIs(2));
  EXPECT_THAT(packs.rows[1], SizeIs(2));
  EXPECT_THAT(packs.rows[2], SizeIs(1));
}

TEST(Packer, LeavesDeliveriesAloneInEveryLane) {
  std::vector<OutboxRow> rows(3, Row(1, "like", "ana"));
  for (OutboxRow& row : rows) {
    row.message_id = NewUuid7(absl::FromUnixSeconds(1'800'000'000));
    row.exchange = std::string(kDeliveryExchange);
    row.routing_key = "social.email";
  }
  const Packs packs = PackRows(rows, 100);
  ASSERT_THAT(packs.messages, SizeIs(3));
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(packs.messages[i].message_id, rows[i].message_id.ToString());
    EXPECT_EQ(packs.messages[i].body, rows[i].payload);
    EXPECT_EQ(packs.messages[i].routing_key, "social.email");
    EXPECT_FALSE(packs.messages[i].is_event);
    EXPECT_THAT(packs.rows[i], ElementsAre(&rows[i]));
  }
}

TEST(Packer, LeavesEventsAloneAndSaysWhatTheyAre) {
  std::vector<OutboxRow> rows(2, Row(1, "like", "ana"));
  for (OutboxRow& row : rows) {
    row.exchange = std::string(kEventsExchange);
    row.routing_key = "sent.social.email";
    row.payload = R"({"event":"sent"})";
  }
  rows.push_back(Row(1, "like", "ben"));
  const Packs packs = PackRows(rows, 100);
  ASSERT_THAT(packs.messages, SizeIs(3));
  EXPECT_EQ(packs.messages[0].body, rows[0].payload);
  EXPECT_TRUE(packs.messages[0].is_event);
  EXPECT_TRUE(packs.messages[1].is_event);
  EXPECT_FALSE(packs.messages[2].is_event);
}

TEST(Packer, MakesNothingOfNothing) { EXPECT_THAT(PackRows({}, 100).messages, SizeIs(0)); }

}  // namespace
}  // namespace carillon
