// How audiences are measured, cut, read and told.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/contract/postgres/event_fixture.h"
#include "tests/kit/status_matchers.h"
#include "workers/handlers/fanout_handler.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<std::string> RecipientsOf(const std::vector<WrittenItem>& written) {
  std::vector<std::string> recipients;
  for (const WrittenItem& one : written) recipients.push_back(one.recipient);
  std::sort(recipients.begin(), recipients.end());
  return recipients;
}

class EventFanoutTest : public EventTest {
 protected:
  EventStore::PageWrite WriteOf(const Event& event, const std::string& cursor, const std::string& new_cursor,
                                bool is_last = false) const {
    return {.page = PageOf(event, 0, cursor), .new_cursor = new_cursor, .read = 1, .is_last = is_last};
  }
  // What the ranges hold, read in pages; each range's members in their order.
  std::vector<std::string> ReadRanges(const Event& event, const std::vector<EventRange>& ranges, int page) {
    std::vector<std::string> all;
    for (EventRange range : ranges) {
      for (;;) {
        const auto members = store_.Members(event, range, page);
        EXPECT_OK(members);
        if (!members.ok() || members->empty()) break;
        EXPECT_LE(members->size(), static_cast<size_t>(page));
        all.insert(all.end(), members->begin(), members->end());
        range.after = members->back();
      }
    }
    return all;
  }
  // Every way of cutting the audience holds exactly these, in their order.
  void ExpectCutsCover(const Event& event, const std::vector<std::string>& people) {
    const auto size = static_cast<int64_t>(people.size());
    for (const int64_t step : {int64_t{1}, int64_t{3}, int64_t{10}, size - 1, size, size + 1}) {
      ASSERT_OK_AND_ASSIGN(const EventStore::Measure measure, store_.MeasureAudience(event, step, 1'000'000));
      EXPECT_EQ(measure.size, size) << "step " << step;
      EXPECT_THAT(measure.cuts, SizeIs(size / step)) << "step " << step;
      for (const int max_ranges : {1, 2, 8}) {
        const std::vector<EventRange> ranges = CutIntoRanges(measure.cuts, max_ranges);
        EXPECT_LE(ranges.size(), static_cast<size_t>(max_ranges));
        EXPECT_THAT(ReadRanges(event, ranges, 7), ElementsAreArray(people)) << step << " " << max_ranges;
      }
    }
  }
};

TEST_F(EventFanoutTest, WritesAPageWithTheNextNumbersAndTheNextPage) {
  Follow("star", {"ann", "ben", "cleo"});
  const NewNotification before = MakeNew(app_, "ben");
  AcceptOne(before);
  ASSERT_OK(feeds_.Deliver({DeliveryOf(before)}));
  const Event event = PublishExpanding(FollowersOf("star"));
  ForgetQueuedPages();

  const std::vector<WrittenItem> written = TellPage(event, EventRange(), 2);
  EXPECT_THAT(RecipientsOf(written), ElementsAre("ann", "ben"));
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(event, 0, "ben")));
  EXPECT_EQ(Record(event).expanded, 2);
  EXPECT_EQ(Head("ann").last_seq, 1);
  EXPECT_EQ(Head("ben").last_seq, 2);
  EXPECT_EQ(Head("ben").unread, 2);
  EXPECT_EQ(Head("cleo").last_seq, 0);
  for (const WrittenItem& one : written) {
    ASSERT_OK_AND_ASSIGN(const std::vector<FeedItem> items,
                         feeds_.List({.key = {app_, RecipientId(one.recipient)}, .before_seq = {}}));
    ASSERT_FALSE(items.empty());
    EXPECT_EQ(items[0].id, one.id);
    EXPECT_EQ(items[0].seq, one.seq);
    EXPECT_EQ(items[0].title, "title");
    EXPECT_EQ(items[0].actor_id, "star");
    EXPECT_EQ(items[0].object_id, "stream-1");
    EXPECT_EQ(items[0].data_json, R"({"a":1})");
    EXPECT_EQ(items[0].create_time, event.create_time);
  }
}

TEST_F(EventFanoutTest, WritesAPageWithTheDeliveriesThatItBegins) {
  Event event = PublishExpanding(FollowersOf("star"));
  event.traceparent = "00-1-2-01";
  EmptyOutbox();
  EventStore::PageWrite write = WriteOf(event, "", "ben");
  std::vector<NewDelivery> begun;
  write.begin_deliveries = [&](absl::Span<const WrittenItem> written) {
    std::vector<std::vector<NewDelivery>> lists;
    begun.clear();
    for (const WrittenItem& item : written) {
      begun.push_back({.id = NewUuid7(absl::Now()),
                       .channel = Channel::kFcm,
                       .device_id = "device of " + item.recipient,
                       .fate = {},
                       .envelope = "to " + item.recipient});
      lists.push_back({begun.back()});
      if (item.recipient == "ben") {
        lists.back().push_back({.id = NewUuid7(absl::Now()),
                                .channel = Channel::kEmail,
                                .device_id = {},
                                .fate = {.state = DeliveryState::kSuppressed, .detail = "no address"},
                                .envelope = {}});
      }
    }
    return lists;
  };
  const PageItems items = ItemsFor(event, {"ann", "ben"});
  ASSERT_THAT(store_.WritePage(event, write, items), IsOkAndHolds(SizeIs(2)));
  const auto rows = [&](const std::string& columns, const std::string& from) {
    return Query(
        absl::StrCat("SELECT string_agg(concat_ws(' ', ", columns, "), ', ' ORDER BY ", columns, ") FROM ", from));
  };
  const std::string of_app = absl::StrCat(" WHERE app_id = ", app_.value());
  EXPECT_EQ(rows("recipient_id, channel, state, device_id, detail", "deliveries" + of_app),
            "ann fcm pending device of ann, ben email suppressed no address, ben fcm pending device of ben");
  EXPECT_EQ(Query("SELECT count(*) FROM deliveries d JOIN feed_items f USING (notification_id, recipient_id)"), "3");
  EXPECT_EQ(rows("lane, routing_key, traceparent, convert_from(payload, 'UTF8')",
                 "outbox" + of_app + " AND exchange = 'carillon.delivery'"),
            "social social.fcm 00-1-2-01 to ann, social social.fcm 00-1-2-01 to ben");
  EXPECT_EQ(rows("routing_key", "outbox" + of_app + " AND exchange = 'carillon.events'"), "suppressed.social.email");
  EXPECT_EQ(rows("channel, kind, count", "daily_stats" + of_app), "email suppressed 1");

  // A page that was told before begins nothing.
  ASSERT_THAT(store_.WritePage(event, write, ItemsFor(event, {"ann", "ben"})), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(Query("SELECT count(*) FROM deliveries" + of_app), "3");
}

TEST_F(EventFanoutTest, TellsEverybodyOnceToTheEnd) {
  const std::vector<std::string> people = People(23);
  for (const int page : {1, 5, 23, 50}) {
    Follow(absl::StrCat("star-", page), people);
    const Event event = PublishExpanding(FollowersOf(absl::StrCat("star-", page)));
    EXPECT_THAT(RecipientsOf(TellAll(event, 1, page)), ElementsAreArray(people));
    EXPECT_EQ(Record(event).state, EventState::kDone);
    EXPECT_EQ(Record(event).expanded, 23);
    EXPECT_NE(Record(event).finish_time, std::nullopt);
  }
}

TEST_F(EventFanoutTest, EndsAnEventWithoutAudience) {
  const Event event = PublishExpanding(FollowersOf("nobody"));
  ForgetQueuedPages();
  EXPECT_THAT(TellAll(event), IsEmpty());
  EXPECT_EQ(Record(event).state, EventState::kDone);
  EXPECT_THAT(QueuedPages(), IsEmpty());
}

TEST_F(EventFanoutTest, ARedeliveredPageDoesNothing) {
  Follow("star", People(10));
  const Event event = PublishExpanding(FollowersOf("star"));
  EXPECT_THAT(TellPage(event, EventRange(), 5), SizeIs(5));
  ForgetQueuedPages();
  EXPECT_THAT(TellPage(event, EventRange(), 5), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const OpenPage open, store_.Open(PageOf(event)));
  EXPECT_FALSE(open.range.has_value());
  EXPECT_THAT(QueuedPages(), IsEmpty());
  EXPECT_EQ(CountItems(), "5");
  EXPECT_EQ(Record(event).expanded, 5);
}

TEST_F(EventFanoutTest, ManyWorkersWithOnePageWriteItOnce) {
  const std::vector<std::string> people = People(200);
  Follow("star", people);
  const Event event = PublishExpanding(FollowersOf("star"));
  ForgetQueuedPages();
  std::atomic<size_t> written = 0;
  for (int page = 0; page < 4; ++page) {
    const EventRange range = {.shard = 0, .after = page == 0 ? "" : people[50 * page - 1], .last_id = {}};
    RunThreads(4, [&](int) { written += TellPage(event, range, 50).size(); });
    EXPECT_EQ(written, 50 * (page + 1));
  }
  EXPECT_EQ(CountItems(), "200");
  EXPECT_THAT(QueuedPages(), SizeIs(4));
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM feed_heads WHERE last_seq = 1 AND unread = 1 AND app_id = ",
                               app_.value())),
            "200");
}

TEST_F(EventFanoutTest, WritesNothingForAnEventThatIsNotExpanding) {
  Follow("star", People(3));
  const Event accepted = Publish(FollowersOf("star"));
  const Event paused = PublishExpanding(FollowersOf("star"));
  ASSERT_OK(store_.Pause(app_, paused.id));
  const Event cancelled = PublishExpanding(FollowersOf("star"));
  ASSERT_OK(store_.Cancel(app_, cancelled.id));
  ForgetQueuedPages();
  for (const Event& event : {accepted, paused, cancelled}) {
    EXPECT_THAT(TellPage(event, EventRange(), 2), IsEmpty());
    EXPECT_EQ(Record(event).expanded, 0);
  }
  EXPECT_THAT(QueuedPages(), IsEmpty());
  EXPECT_EQ(CountItems(), "0");
}

TEST_F(EventFanoutTest, TheLastPageEndsItsShardAndQueuesNothing) {
  const Event event = PublishExpanding(FollowersOf("star"));
  ForgetQueuedPages();
  ASSERT_OK(store_.WritePage(event, WriteOf(event, "", "ann", true), ItemsFor(event, {"ann"})));
  EXPECT_THAT(QueuedPages(), IsEmpty());
  for (const char* cursor : {"", "ann"}) {
    ASSERT_OK_AND_ASSIGN(const OpenPage open, store_.Open(PageOf(event, 0, cursor)));
    EXPECT_FALSE(open.range.has_value()) << cursor;
    EXPECT_THAT(store_.WritePage(event, WriteOf(event, cursor, "ben"), ItemsFor(event, {"ben"})),
                IsOkAndHolds(IsEmpty()));
  }
  EXPECT_EQ(CountItems(), "1");
}

TEST_F(EventFanoutTest, AnEventEndsWithTheLastOfShardsThatEndTogether) {
  for (int round = 0; round < 30; ++round) {
    const Event event = Publish(FollowersOf("star"));
    ASSERT_OK(store_.BeginExpanding(
        event, 2, {{.shard = 0, .after = "", .last_id = "m"}, {.shard = 1, .after = "m", .last_id = {}}}));
    RunThreads(2, [&](int shard) {
      const std::string cursor = shard == 0 ? "" : "m";
      ASSERT_OK(
          store_.WritePage(event, {.page = PageOf(event, shard, cursor), .new_cursor = cursor, .is_last = true}, {}));
      ASSERT_OK(store_.FinishIfDone(event.id));
    });
    ASSERT_EQ(Record(event).state, EventState::kDone);
  }
}

TEST_F(EventFanoutTest, DoesNotEndAnEventBeforeItsLastShard) {
  const Event event = Publish(FollowersOf("star"));
  ASSERT_OK(store_.BeginExpanding(
      event, 2, {{.shard = 0, .after = "", .last_id = "m"}, {.shard = 1, .after = "m", .last_id = {}}}));
  ASSERT_OK(store_.WritePage(event, WriteOf(event, "", "m", true), {}));
  ASSERT_OK(store_.FinishIfDone(event.id));
  EXPECT_EQ(Record(event).state, EventState::kExpanding);
}

TEST_F(EventFanoutTest, BeginsOnceWithTheRangesOfTheFirst) {
  const Event event = Publish(FollowersOf("star"));
  ForgetQueuedPages();
  const std::vector<EventRange> ranges = {{.shard = 0, .after = "", .last_id = "g"},
                                          {.shard = 1, .after = "g", .last_id = "p"},
                                          {.shard = 2, .after = "p", .last_id = {}}};
  RunThreads(4, [&](int thread) { ASSERT_OK(store_.BeginExpanding(event, 100 + thread, ranges)); });
  // The first one's page is under way with the caller.
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(event, 1, "g"), PageOf(event, 2, "p")));
  const EventRecord record = Record(event);
  EXPECT_EQ(record.state, EventState::kExpanding);
  EXPECT_NE(record.start_time, std::nullopt);
  for (const EventRange& range : ranges) {
    ASSERT_OK_AND_ASSIGN(const OpenPage open, store_.Open(PageOf(event, range.shard, range.after)));
    ASSERT_TRUE(open.range.has_value());
    EXPECT_EQ(open.range->last_id, range.last_id);
  }
}

TEST_F(EventFanoutTest, PutsEachRecipientsIdWhereThePlaceholderStands) {
  const std::vector<std::string> people = {"a\"b\\c'{d},e ä€😀", "ann", "\\1"};
  Event event = PublishExpanding(UserList(people));
  PageItems items = ItemsFor(event, people);
  items.placeholder = event.id.ToString();
  items.item.title = absl::StrCat(items.placeholder, " and ", items.placeholder);
  items.item.action_link = absl::StrCat("/u/", items.placeholder);
  items.item.badge = "same";
  ASSERT_OK(store_.WritePage(event, WriteOf(event, "", "z", true), items));
  for (const std::string& person : people) {
    ASSERT_OK_AND_ASSIGN(const std::vector<FeedItem> feed,
                         feeds_.List({.key = {app_, RecipientId(person)}, .before_seq = {}}));
    ASSERT_THAT(feed, SizeIs(1));
    EXPECT_EQ(feed[0].title, absl::StrCat(person, " and ", person));
    EXPECT_EQ(feed[0].action_link, "/u/" + person);
    EXPECT_EQ(feed[0].badge, "same");
    EXPECT_EQ(feed[0].body, "");
  }
}

TEST_F(EventFanoutTest, CutsCoverFollowersAndSubscribersExactly) {
  const std::vector<std::string> people = People(41);
  Follow("star", people);
  Follow("stars", People(5, "other-"));
  Subscribe("star", People(30, "subscriber-"));
  ExpectCutsCover(Publish(FollowersOf("star")), people);
  ExpectCutsCover(Publish(TopicOf("star")), People(30, "subscriber-"));
}

TEST_F(EventFanoutTest, CutsCoverListedUsersExactlyWhetherKnownOrNot) {
  std::vector<std::string> people = People(33);
  people.insert(people.end(), {"B", "a-", "ab", "ä€😀", "b\"c\\d{e},", "NULL"});
  std::sort(people.begin(), people.end());
  Follow("star", People(10));
  Publish(UserList({"somebody else"}));
  ExpectCutsCover(Publish(UserList(people)), people);
}

TEST_F(EventFanoutTest, CutsCoverEveryoneOfTheAppWithoutItsTopicFeeds) {
  std::vector<std::string> people = People(25);
  people.insert(people.end(), {"B", "ä", "zz"});
  std::sort(people.begin(), people.end());
  Follow("star", people);
  const Event topic_event = Publish(TopicOf("news"));
  ASSERT_OK(store_.AddToTopicFeed(topic_event, ItemsFor(topic_event, {}).item));
  const AppId other = NewStoredApp();
  ASSERT_OK(memberships_.Add(other, GroupKind::kFollowers, {{"star", "a stranger"}}));
  const Event event = Publish(Everyone());
  ExpectCutsCover(event, people);
  ASSERT_OK(store_.BeginExpanding(event, 0, {EventRange()}));
  EXPECT_THAT(RecipientsOf(TellAll(event, 1, 4)), ElementsAreArray(people));
}

TEST_F(EventFanoutTest, StopsCountingAboveTheLimit) {
  Follow("star", People(100));
  const Event event = Publish(FollowersOf("star"));
  ASSERT_OK_AND_ASSIGN(const EventStore::Measure above, store_.MeasureAudience(event, 10, 35));
  EXPECT_GT(above.size, 35);
  EXPECT_LT(above.size, 100);
  ASSERT_OK_AND_ASSIGN(const EventStore::Measure at, store_.MeasureAudience(event, 10, 100));
  EXPECT_EQ(at.size, 100);
  ASSERT_OK_AND_ASSIGN(const EventStore::Measure none, store_.MeasureAudience(event, 1000, 0));
  EXPECT_EQ(none.size, 100);
}

TEST(CutIntoRanges, MakesRangesOfAboutOneSizeThatTouch) {
  EXPECT_THAT(CutIntoRanges({}, 8), SizeIs(1));
  EXPECT_THAT(CutIntoRanges({"m"}, 8), SizeIs(1));
  std::vector<std::string> cuts;
  for (char c = 'a'; c <= 'z'; ++c) cuts.emplace_back(1, c);
  const std::vector<EventRange> ranges = CutIntoRanges(cuts, 8);
  ASSERT_THAT(ranges, SizeIs(8));
  EXPECT_EQ(ranges.front().after, "");
  EXPECT_EQ(ranges.back().last_id, std::nullopt);
  for (size_t i = 1; i < ranges.size(); ++i) {
    EXPECT_EQ(ranges[i].shard, static_cast<int>(i));
    EXPECT_EQ(ranges[i].after, ranges[i - 1].last_id);
    EXPECT_NEAR(ranges[i].after[0] - (i == 1 ? 'a' - 1 : ranges[i - 1].after[0]), 26.0 / 8, 1);
  }
}

TEST_F(EventFanoutTest, SharedEventsTakePositionsWithoutGapsInTheOrderOfTheirCommits) {
  constexpr int kEvents = 40;
  Follow("star", {"ann"});
  std::vector<Event> events;
  for (int i = 0; i < kEvents; ++i) events.push_back(Publish(FollowersOf("star")));
  RunThreads(4, [&](int thread) {
    for (int i = thread; i < kEvents; i += 4) {
      StoreShared(events[i], absl::StrCat("event ", i));
      // Repeated by a second delivery of its message.
      StoreShared(events[i], "again");
      // Whoever sees a number has everything up to it.
      const absl::StatusOr<FeedHead> head = feeds_.Summarize({app_, RecipientId("ann")});
      ASSERT_OK(head);
      EXPECT_EQ(head->unread, head->last_seq);
    }
  });
  EXPECT_EQ(
      Query(absl::StrCat("SELECT count(*) || ' ' || min(position) || ' ' || max(position) FROM events WHERE app_id = ",
                         app_.value())),
      absl::StrCat(kEvents, " 1 ", kEvents));
  EXPECT_EQ(Query(absl::StrCat("SELECT position FROM event_positions WHERE app_id = ", app_.value())),
            absl::StrCat(kEvents));
  const std::vector<std::string> titles = TitlesOf("ann");
  EXPECT_THAT(std::set<std::string>(titles.begin(), titles.end()), SizeIs(kEvents));
  EXPECT_THAT(titles, SizeIs(kEvents));
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM feed_items f JOIN events e USING (app_id) WHERE f.app_id = ",
                               app_.value(), " AND f.title = e.item ->> 'title' AND f.seq = e.position")),
            absl::StrCat(kEvents))
      << "numbers in the order of positions";
}

TEST_F(EventFanoutTest, ASharedEventIsDoneAtOnce) {
  const Event event = Publish(FollowersOf("star"));
  StoreShared(event, "live");
  const EventRecord record = Record(event);
  EXPECT_TRUE(record.shared);
  EXPECT_EQ(record.state, EventState::kDone);
  EXPECT_EQ(record.audience_size, 1'000'000);
  EXPECT_NE(record.finish_time, std::nullopt);
  ASSERT_OK_AND_ASSIGN(const OpenPage open, store_.Open(PageOf(event)));
  EXPECT_FALSE(open.range.has_value());
}

TEST_F(EventFanoutTest, ACancelledEventIsNotShared) {
  Follow("star", {"ann"});
  const Event event = Publish(FollowersOf("star"));
  ASSERT_OK(store_.Cancel(app_, event.id));
  StoreShared(event, "live");
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM event_positions WHERE app_id = ", app_.value())), "0");
  EXPECT_THAT(TitlesOf("ann"), IsEmpty());
}

TEST_F(EventFanoutTest, WhoComesByAPageHasNoOlderSharedEventComing) {
  StoreShared(Publish(Everyone()), "before");
  const Event event = PublishExpanding(UserList({"new"}));
  TellAll(event);
  EXPECT_FALSE(Head("new").behind);
  EXPECT_THAT(TitlesOf("new"), ElementsAre("title"));
}

TEST_F(EventFanoutTest, ATopicsFeedShowsAnEventOnceHoweverManyShowIt) {
  const FeedKey feed = TopicFeedKey(app_, "news");
  for (int round = 1; round <= 10; ++round) {
    const Event event = Publish(TopicOf("news"));
    std::atomic<int64_t> seqs = 0;
    RunThreads(4, [&](int) {
      const absl::StatusOr<int64_t> seq = store_.AddToTopicFeed(event, ItemsFor(event, {}).item);
      ASSERT_OK(seq);
      seqs += *seq;
    });
    ASSERT_EQ(seqs, round);
    ASSERT_OK_AND_ASSIGN(const std::vector<FeedItem> items, feeds_.List({.key = feed, .before_seq = {}}));
    ASSERT_THAT(items, SizeIs(round));
    EXPECT_EQ(items[0].id, event.id);
    EXPECT_EQ(items[0].seq, round);
  }
}

TEST_F(EventFanoutTest, NothingIsSharedWithATopicsFeed) {
  const Event topic_event = Publish(TopicOf("news"));
  ASSERT_OK(store_.AddToTopicFeed(topic_event, ItemsFor(topic_event, {}).item));
  StoreShared(Publish(Everyone()), "to people");
  StoreShared(topic_event, "to subscribers");
  EXPECT_THAT(TitlesOf(TopicFeedKey(app_, "news").recipient.value()), ElementsAre("title"));
}

TEST_F(EventFanoutTest, PagesOfTwoEventsToTheSamePeopleEndInNoDeadlock) {
  const std::vector<std::string> people = People(100);
  Follow("star", people);
  std::vector<Event> events;
  for (int i = 0; i < 4; ++i) events.push_back(PublishExpanding(FollowersOf("star")));
  RunThreads(8, [&](int thread) {
    for (int round = 0; round < 5; ++round) {
      if (thread < 4) {
        const std::string after = round == 0 ? "" : people[20 * round - 1];
        EXPECT_THAT(TellPage(events[thread], {.shard = 0, .after = after, .last_id = {}}, 20), SizeIs(20));
      } else {
        std::vector<NewNotification> items;
        for (const std::string& person : people) items.push_back(MakeNew(app_, person));
        AcceptAll(items);
        std::reverse(items.begin(), items.end());
        ASSERT_OK(feeds_.Deliver(DeliveriesOf(items)));
      }
    }
  });
  EXPECT_EQ(Query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM feed_heads WHERE last_seq = 24 AND unread = 24 AND app_id = ",
                               app_.value())),
            "100");
}

}  // namespace
}  // namespace carillon::testing
