#include "carillon/wire/feed_event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon {
namespace {

using ::testing::Ge;
using ::testing::Le;
using ::testing::SizeIs;

FeedItem Item(int64_t seq, size_t body_size = 10) {
  FeedItem item;
  item.id = NewUuid7(absl::UnixEpoch());
  item.seq = seq;
  item.type = "like";
  item.title = "A title";
  item.body = std::string(body_size, 'b');
  item.create_time = absl::UnixEpoch() + absl::Microseconds(1'500'000'250'000);
  return item;
}

v1::SubscribeResponse Parse(const FeedEvent& event) {
  v1::SubscribeResponse response;
  EXPECT_TRUE(response.ParseFromString(*event.message));
  return response;
}

TEST(FeedEvent, CarriesEveryFieldOfAnItem) {
  FeedItem item = Item(42);
  item.actor_id = "ada";
  item.actor_name = "Ada";
  item.actor_picture_url = "https://example.org/ada.png";
  item.image_url = "https://example.org/image.png";
  item.action_link = "app://posts/1";
  item.badge = "heart";
  item.object_id = "post-1";
  item.data_json = R"({"count":3})";
  item.read = true;
  const FeedEvent event = EncodeFeedEvent(item);
  EXPECT_EQ(event.seq, 42);
  const v1::SubscribeResponse response = Parse(event);
  EXPECT_EQ(response.seq(), 42);
  EXPECT_EQ(response.item().notification_id(), item.id.ToString());
  EXPECT_EQ(response.item().seq(), 42);
  EXPECT_EQ(response.item().type(), "like");
  EXPECT_EQ(response.item().title(), "A title");
  EXPECT_EQ(response.item().body(), item.body);
  EXPECT_EQ(response.item().actor().actor_id(), "ada");
  EXPECT_EQ(response.item().actor().name(), "Ada");
  EXPECT_EQ(response.item().actor().picture_url(), "https://example.org/ada.png");
  EXPECT_EQ(response.item().image_url(), "https://example.org/image.png");
  EXPECT_EQ(response.item().action_link(), "app://posts/1");
  EXPECT_EQ(response.item().badge(), "heart");
  EXPECT_EQ(response.item().object_id(), "post-1");
  EXPECT_EQ(response.item().data().fields().at("count").number_value(), 3);
  EXPECT_EQ(response.item().create_time().seconds(), 1'500'000);
  EXPECT_EQ(response.item().create_time().nanos(), 250'000'000);
  EXPECT_TRUE(response.item().read());
}

TEST(FeedEvent, LeavesOutWhatAnItemLacks) {
  const v1::SubscribeResponse response = Parse(EncodeFeedEvent(Item(1)));
  EXPECT_FALSE(response.item().has_actor());
  EXPECT_FALSE(response.item().has_data());
}

TEST(LiveUpdate, ReadsBackWhatWasWritten) {
  const absl::StatusOr<LiveUpdate> update = DecodeLiveUpdate(EncodeLiveUpdate({Item(7), Item(9)}));
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_EQ(update->last_seq, 9);
  ASSERT_THAT(update->events, SizeIs(2));
  EXPECT_EQ(update->events[0].seq, 7);
  EXPECT_EQ(update->events[1].seq, 9);
  EXPECT_EQ(Parse(update->events[1]).item().seq(), 9);
}

TEST(LiveUpdate, CarriesReadMarkers) {
  const Uuid id = NewUuid7(absl::UnixEpoch());
  const ReadMarker marker{.seq = 5, .up_to_seq = 3, .ids = {id}, .unread = 2};
  const absl::StatusOr<LiveUpdate> update = DecodeLiveUpdate(EncodeLiveUpdate(marker));
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_EQ(update->last_seq, 5);
  ASSERT_THAT(update->events, SizeIs(1));
  const v1::SubscribeResponse response = Parse(update->events[0]);
  EXPECT_EQ(response.read_marker().up_to_seq(), 3);
  EXPECT_EQ(response.read_marker().notification_ids(0), id.ToString());
  EXPECT_EQ(response.read_marker().unread(), 2);
}

TEST(LiveUpdate, IsBoundedAndStillTellsTheLastNumber) {
  std::vector<FeedItem> items;
  for (int64_t seq = 1; seq <= 100; ++seq) items.push_back(Item(seq, /*body_size=*/10'000));
  const std::string payload = EncodeLiveUpdate(items);
  EXPECT_THAT(payload.size(), Le(kMaxLiveUpdateBytes + 1024));
  const absl::StatusOr<LiveUpdate> update = DecodeLiveUpdate(payload);
  ASSERT_TRUE(update.ok()) << update.status();
  EXPECT_THAT(update->events.size(), Ge(20u));
  EXPECT_EQ(update->events.front().seq, 1);
  EXPECT_EQ(update->last_seq, 100);
}

TEST(LiveUpdate, RefusesWhatIsNone) {
  EXPECT_FALSE(DecodeLiveUpdate("not a protobuf message").ok());
  // An event without its seq.
  EXPECT_FALSE(DecodeLiveUpdate(std::string("\x0a\x00", 2)).ok());
}

TEST(FeedEvent, NamesTheItemThatLeft) {
  const FeedRemoval removal{.seq = 9, .id = NewUuid7(absl::UnixEpoch())};
  const FeedEvent event = EncodeFeedEvent(removal);
  EXPECT_EQ(event.seq, 9);
  EXPECT_EQ(Parse(event).seq(), 9);
  EXPECT_EQ(Parse(event).removed().notification_id(), removal.id.ToString());
}

TEST(LiveUpdate, MixesItemsAndRemovals) {
  const std::vector<FeedEvent> events = {EncodeFeedEvent(Item(1)), EncodeFeedEvent(FeedRemoval{.seq = 2, .id = {}}),
                                         EncodeFeedEvent(Item(3))};
  const absl::StatusOr<LiveUpdate> update = DecodeLiveUpdate(EncodeLiveUpdate(events));
  ASSERT_TRUE(update.ok());
  ASSERT_THAT(update->events, SizeIs(3));
  EXPECT_EQ(update->events[1].seq, 2);
  EXPECT_TRUE(Parse(update->events[1]).has_removed());
  EXPECT_EQ(update->last_seq, 3);
}

}  // namespace
}  // namespace carillon
