#include "carillon/postgres/feed_store.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"
#include "carillon/postgres/notification_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Outcomes = std::vector<DeliveryOutcome>;

MATCHER_P(IsItemOf, item, "is the item of the notification") { return arg.id == item.notification.id; }

class FeedStoreTest : public PostgresTest {
 protected:
  FeedKey Key(const std::string& recipient = "ann") const { return {app_, RecipientId(recipient)}; }

  FeedHead Head(const std::string& recipient = "ann") {
    const absl::StatusOr<std::vector<FeedHead>> heads = store_.ReadHeads({Key(recipient)});
    EXPECT_OK(heads);
    return heads.ok() ? heads->front() : FeedHead();
  }
  // The whole feed, oldest first, in pages.
  std::vector<FeedItem> Feed(const std::string& recipient = "ann") {
    std::vector<FeedItem> items;
    for (BacklogRequest request{Key(recipient)};;) {
      const absl::StatusOr<std::vector<Backlog>> backlogs = store_.ReadBacklogs({request});
      EXPECT_OK(backlogs);
      if (!backlogs.ok()) return items;
      const Backlog& backlog = backlogs->front();
      items.insert(items.end(), backlog.items.begin(), backlog.items.end());
      if (backlog.complete_up_to == backlog.head.last_seq) return items;
      request.after_seq = backlog.complete_up_to;
    }
  }
  std::string State(const NewNotification& item) {
    return Query(absl::StrCat("SELECT state FROM notifications WHERE notification_id = '",
                              item.notification.id.ToString(), "'"));
  }
  std::vector<NewNotification> AcceptMany(int count, const std::string& recipient = "ann") {
    std::vector<NewNotification> items;
    for (int i = 0; i < count; ++i) items.push_back(MakeNew(app_, recipient));
    AcceptAll(items);
    return items;
  }

  const AppId app_ = NewApp();
  PostgresFeedStore store_{MakePool(2)};
};

std::vector<int64_t> Seqs(const std::vector<FeedItem>& items) {
  std::vector<int64_t> seqs;
  for (const FeedItem& item : items) seqs.push_back(item.seq);
  return seqs;
}

std::vector<int64_t> NumbersUpTo(int64_t last) {
  std::vector<int64_t> numbers(last);
  for (int64_t i = 0; i < last; ++i) numbers[i] = i + 1;
  return numbers;
}

TEST_F(FeedStoreTest, EndsANotificationAndShowsItsItem) {
  const NewNotification item = AcceptMany(1).front();
  FeedDelivery delivery = DeliveryOf(item);
  delivery.item.body = "body";
  delivery.item.actor_id = "actor";
  delivery.item.actor_name = "Ann \"quoted\" {x}, \\";
  delivery.item.actor_picture_url = "https://a/b";
  delivery.item.image_url = "https://c/d";
  delivery.item.action_link = "/posts/1";
  delivery.item.badge = "like";
  delivery.item.object_id = "post";
  delivery.item.data_json = R"({"a":{"b":"\u0000\"{},"}})";
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, store_.Deliver({delivery}));
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_TRUE(outcomes[0].applied);
  EXPECT_EQ(outcomes[0].seq, 1);
  EXPECT_EQ(State(item), "delivered");

  const std::vector<FeedItem> feed = Feed();
  ASSERT_THAT(feed, SizeIs(1));
  EXPECT_EQ(feed[0].id, item.notification.id);
  EXPECT_EQ(feed[0].seq, 1);
  EXPECT_EQ(feed[0].type, "like");
  EXPECT_EQ(feed[0].title, "title");
  EXPECT_EQ(feed[0].body, "body");
  EXPECT_EQ(feed[0].actor_id, "actor");
  EXPECT_EQ(feed[0].actor_name, delivery.item.actor_name);
  EXPECT_EQ(feed[0].actor_picture_url, "https://a/b");
  EXPECT_EQ(feed[0].image_url, "https://c/d");
  EXPECT_EQ(feed[0].action_link, "/posts/1");
  EXPECT_EQ(feed[0].badge, "like");
  EXPECT_EQ(feed[0].object_id, "post");
  EXPECT_EQ(feed[0].data_json, delivery.item.data_json);
  EXPECT_EQ(feed[0].create_time, item.notification.create_time);
  EXPECT_FALSE(feed[0].read);
}

TEST_F(FeedStoreTest, KeepsTextsOfItemsThatAreEmpty) {
  FeedDelivery delivery = DeliveryOf(AcceptMany(1).front());
  delivery.item.title = "";
  ASSERT_OK(store_.Deliver({delivery}));
  const std::vector<FeedItem> feed = Feed();
  ASSERT_THAT(feed, SizeIs(1));
  EXPECT_EQ(feed[0].title, "");
  EXPECT_EQ(feed[0].body, "");
  EXPECT_EQ(feed[0].data_json, "");
}

TEST_F(FeedStoreTest, NumbersEachFeedWithoutGaps) {
  std::vector<NewNotification> items;
  for (int i = 0; i < 90; ++i) items.push_back(MakeNew(app_, absl::StrCat("recipient-", i % 3)));
  AcceptAll(items);
  const std::vector<FeedDelivery> deliveries = DeliveriesOf(items);
  ASSERT_OK(store_.Deliver(absl::MakeSpan(deliveries).subspan(0, 40)));
  ASSERT_OK(store_.Deliver(absl::MakeSpan(deliveries).subspan(40)));
  for (int i = 0; i < 3; ++i) {
    const std::string recipient = absl::StrCat("recipient-", i);
    EXPECT_EQ(Seqs(Feed(recipient)), NumbersUpTo(30));
    EXPECT_EQ(Head(recipient).last_seq, 30);
    EXPECT_EQ(Head(recipient).unread, 30);
  }
}

TEST_F(FeedStoreTest, AnswersInTheOrderAsked) {
  std::vector<NewNotification> items = AcceptMany(20);
  std::shuffle(items.begin(), items.end(), std::mt19937(1));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, store_.Deliver(DeliveriesOf(items)));
  const std::vector<FeedItem> feed = Feed();
  ASSERT_THAT(feed, SizeIs(20));
  for (size_t i = 0; i < items.size(); ++i) EXPECT_THAT(feed[outcomes[i].seq - 1], IsItemOf(items[i]));
}

TEST_F(FeedStoreTest, ChangesNothingWhenADeliveryIsRepeated) {
  const std::vector<FeedDelivery> deliveries = DeliveriesOf(AcceptMany(5));
  ASSERT_OK(store_.Deliver(deliveries));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, store_.Deliver(deliveries));
  for (const DeliveryOutcome& outcome : outcomes) {
    EXPECT_FALSE(outcome.applied);
    EXPECT_EQ(outcome.seq, 0);
  }
  EXPECT_EQ(Seqs(Feed()), NumbersUpTo(5));
  EXPECT_EQ(Head().unread, 5);
}

TEST_F(FeedStoreTest, AppliesANotificationThatIsNamedTwiceOnce) {
  const std::vector<FeedDelivery> one = DeliveriesOf(AcceptMany(2));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, store_.Deliver({one[0], one[1], one[0], one[1], one[0]}));
  EXPECT_EQ(std::count_if(outcomes.begin(), outcomes.end(), [](const auto& outcome) { return outcome.applied; }), 2);
  EXPECT_EQ(Seqs(Feed()), NumbersUpTo(2));
  EXPECT_EQ(Head().unread, 2);
}

TEST_F(FeedStoreTest, EndsExpiredAndSuppressedOnesWithoutAnItem) {
  const std::vector<NewNotification> items = AcceptMany(3);
  std::vector<FeedDelivery> deliveries = DeliveriesOf(items);
  deliveries[0].state = State::kExpired;
  deliveries[1].state = State::kSuppressed;
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, store_.Deliver(deliveries));
  EXPECT_TRUE(outcomes[0].applied);
  EXPECT_EQ(outcomes[0].seq, 0);
  EXPECT_TRUE(outcomes[1].applied);
  EXPECT_EQ(outcomes[1].seq, 0);
  EXPECT_EQ(outcomes[2].seq, 1);
  EXPECT_EQ(State(items[0]), "expired");
  EXPECT_EQ(State(items[1]), "suppressed");
  EXPECT_THAT(Feed(), ElementsAre(IsItemOf(items[2])));
  EXPECT_EQ(Head().unread, 1);
}

TEST_F(FeedStoreTest, AppliesNothingThatIsNotInTheStore) {
  const NewNotification unknown = MakeNew(app_);
  const NewNotification known = AcceptMany(1).front();
  FeedDelivery of_another_app = DeliveryOf(known);
  of_another_app.key.app = NewApp();
  FeedDelivery of_another_recipient = DeliveryOf(known);
  of_another_recipient.key.recipient = RecipientId("ben");
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes,
                       store_.Deliver({DeliveryOf(unknown), of_another_app, of_another_recipient}));
  for (const DeliveryOutcome& outcome : outcomes) EXPECT_FALSE(outcome.applied);
  EXPECT_THAT(Feed(), IsEmpty());
  EXPECT_EQ(State(known), "accepted");
  EXPECT_EQ(Head().last_seq, 0);
}

TEST_F(FeedStoreTest, TakesAnEmptyBatch) {
  EXPECT_THAT(store_.Deliver({}), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_.ReadBacklogs({}), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(store_.ReadHeads({}), IsOkAndHolds(IsEmpty()));
}

TEST_F(FeedStoreTest, DeliversExactlyOnceWhenManyDeliverTheSame) {
  constexpr int kThreads = 8;
  constexpr int kRecipients = 12;
  constexpr int kPerRecipient = 25;
  std::vector<NewNotification> items;
  for (int i = 0; i < kRecipients * kPerRecipient; ++i) {
    items.push_back(MakeNew(app_, absl::StrCat("recipient-", i % kRecipients)));
  }
  AcceptAll(items);
  const std::vector<FeedDelivery> deliveries = DeliveriesOf(items);
  PostgresFeedStore store(MakePool(kThreads));
  std::atomic<int> applied = 0;
  // Each thread delivers everything in an order and in batches of its own.
  RunThreads(kThreads, [&](int thread) {
    std::vector<FeedDelivery> own = deliveries;
    std::shuffle(own.begin(), own.end(), std::mt19937(thread));
    for (size_t from = 0; from < own.size(); from += 20 + thread) {
      const auto batch = absl::MakeSpan(own).subspan(from, 20 + thread);
      const absl::StatusOr<Outcomes> outcomes = store.Deliver(batch);
      ASSERT_OK(outcomes);
      for (const DeliveryOutcome& outcome : *outcomes) applied += outcome.applied;
    }
  });
  EXPECT_EQ(applied, kRecipients * kPerRecipient);
  for (int i = 0; i < kRecipients; ++i) {
    const std::string recipient = absl::StrCat("recipient-", i);
    EXPECT_EQ(Seqs(Feed(recipient)), NumbersUpTo(kPerRecipient));
    EXPECT_EQ(Head(recipient).unread, kPerRecipient);
  }
  // A deadlock costs a second each and is run again: none may have been needed.
  EXPECT_EQ(Query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
}

TEST_F(FeedStoreTest, ReadsManyHeadsInTheOrderAskedAndZerosForUnknownRecipients) {
  ASSERT_OK(store_.Deliver(DeliveriesOf(AcceptMany(2, "ann"))));
  ASSERT_OK(store_.Deliver(DeliveriesOf(AcceptMany(3, "ben"))));
  ASSERT_OK_AND_ASSIGN(const std::vector<FeedHead> heads,
                       store_.ReadHeads({Key("ben"), Key("nobody"), Key("ann"), Key("ben")}));
  ASSERT_THAT(heads, SizeIs(4));
  EXPECT_EQ(heads[0].last_seq, 3);
  EXPECT_EQ(heads[1].last_seq, 0);
  EXPECT_EQ(heads[1].unread, 0);
  EXPECT_EQ(heads[2].last_seq, 2);
  EXPECT_EQ(heads[3].last_seq, 3);
}

TEST_F(FeedStoreTest, ReadsManyBacklogsInTheOrderAsked) {
  const std::vector<NewNotification> of_ann = AcceptMany(3, "ann");
  const std::vector<NewNotification> of_ben = AcceptMany(1, "ben");
  ASSERT_OK(store_.Deliver(DeliveriesOf(of_ann)));
  ASSERT_OK(store_.Deliver(DeliveriesOf(of_ben)));
  ASSERT_OK_AND_ASSIGN(const std::vector<Backlog> backlogs,
                       store_.ReadBacklogs({{Key("nobody"), 0}, {Key("ann"), 1}, {Key("ben"), 0}, {Key("ann"), 3}}));
  ASSERT_THAT(backlogs, SizeIs(4));
  EXPECT_EQ(backlogs[0].head.last_seq, 0);
  EXPECT_EQ(backlogs[0].complete_up_to, 0);
  EXPECT_THAT(backlogs[0].items, IsEmpty());
  EXPECT_EQ(backlogs[0].marker, std::nullopt);
  EXPECT_EQ(Seqs(backlogs[1].items), (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(backlogs[1].head.unread, 3);
  EXPECT_EQ(backlogs[1].complete_up_to, 3);
  EXPECT_THAT(backlogs[2].items, ElementsAre(IsItemOf(of_ben[0])));
  EXPECT_THAT(backlogs[3].items, IsEmpty());
  EXPECT_EQ(backlogs[3].head.last_seq, 3);
  EXPECT_EQ(backlogs[3].complete_up_to, 3);
}

TEST_F(FeedStoreTest, ReadsLongBacklogsInPages) {
  const int count = limits::kBacklogPage + 1;
  ASSERT_OK(store_.Deliver(DeliveriesOf(AcceptMany(count))));
  ASSERT_OK_AND_ASSIGN(std::vector<Backlog> backlogs, store_.ReadBacklogs({{Key(), 0}}));
  EXPECT_THAT(backlogs[0].items, SizeIs(limits::kBacklogPage));
  EXPECT_EQ(backlogs[0].complete_up_to, limits::kBacklogPage);
  EXPECT_EQ(backlogs[0].head.last_seq, count);
  ASSERT_OK_AND_ASSIGN(backlogs, store_.ReadBacklogs({{Key(), limits::kBacklogPage}}));
  EXPECT_EQ(Seqs(backlogs[0].items), std::vector<int64_t>{count});
  EXPECT_EQ(backlogs[0].complete_up_to, count);
  EXPECT_EQ(Seqs(Feed()), NumbersUpTo(count));
}

TEST_F(FeedStoreTest, ListsNewestFirstInPages) {
  ASSERT_OK(store_.Deliver(DeliveriesOf(AcceptMany(25))));
  std::vector<int64_t> listed;
  FeedStore::ListQuery query{.key = Key(), .unread_only = false, .before_seq = {}, .limit = 10};
  for (int page = 0; page < 4; ++page) {
    ASSERT_OK_AND_ASSIGN(const std::vector<FeedItem> items, store_.List(query));
    EXPECT_THAT(items, SizeIs(page < 2 ? 10 : page == 2 ? 5 : 0));
    for (const FeedItem& item : items) listed.push_back(item.seq);
    if (!items.empty()) query.before_seq = items.back().seq;
  }
  std::reverse(listed.begin(), listed.end());
  EXPECT_EQ(listed, NumbersUpTo(25));
}

TEST_F(FeedStoreTest, ListsOnlyUnreadOnesWhenAsked) {
  const std::vector<NewNotification> items = AcceptMany(6);
  for (const NewNotification& item : items) ASSERT_OK(store_.Deliver({DeliveryOf(item)}));
  ASSERT_OK(store_.MarkReadUpTo(Key(), 2));
  ASSERT_OK(store_.MarkReadItems(Key(), {items[4].notification.id}));
  ASSERT_OK_AND_ASSIGN(const std::vector<FeedItem> unread, store_.List({.key = Key(), .unread_only = true}));
  EXPECT_THAT(unread, ElementsAre(IsItemOf(items[5]), IsItemOf(items[3]), IsItemOf(items[2])));
  EXPECT_THAT(unread, Each(::testing::Field(&FeedItem::read, false)));
  ASSERT_OK_AND_ASSIGN(const std::vector<FeedItem> all, store_.List({.key = Key()}));
  std::vector<bool> read;
  for (const FeedItem& item : all) read.push_back(item.read);
  EXPECT_THAT(read, ElementsAre(false, true, false, false, true, true));
}

}  // namespace
}  // namespace carillon::testing
