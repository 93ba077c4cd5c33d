#include "carillon/postgres/reaction_store.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/postgres/upkeep_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// As a client that follows a feed keeps it: every change applied in the order of seq.
class FollowedFeed {
 public:
  FollowedFeed(FeedStore& store, FeedKey key) : store_(store), key_(std::move(key)) {}

  // Reads on until nothing is left.
  void CatchUp() {
    while (true) {
      const absl::StatusOr<std::vector<Backlog>> backlogs = store_.ReadBacklogs({{key_, after_}});
      ASSERT_OK(backlogs);
      const Backlog& backlog = backlogs->front();
      Take(backlog);
      if (backlog.complete_up_to <= after_) return;
      after_ = backlog.complete_up_to;
    }
  }

  const std::map<NotificationId, FeedItem>& items() const { return items_; }
  const std::vector<NotificationId>& removed() const { return removed_; }

 private:
  void Take(const Backlog& backlog) {
    std::map<int64_t, std::function<void()>> events;
    const auto add = [&](int64_t seq, std::function<void()> event) {
      if (seq > backlog.complete_up_to) return;
      EXPECT_GT(seq, after_);
      EXPECT_TRUE(events.emplace(seq, std::move(event)).second) << "two changes with number " << seq;
    };
    for (const FeedItem& item : backlog.items) add(item.seq, [this, item] { items_[item.id] = item; });
    for (const FeedRemoval& removal : backlog.removals) {
      add(removal.seq, [this, removal] {
        items_.erase(removal.id);
        removed_.push_back(removal.id);
      });
    }
    if (backlog.marker.has_value()) add(backlog.marker->seq, [this, marker = *backlog.marker] { Mark(marker); });
    for (const auto& [seq, event] : events) event();
  }

  void Mark(const ReadMarker& marker) {
    for (auto& [id, item] : items_) item.read = item.read || item.seq <= marker.up_to_seq;
    for (const NotificationId& id : marker.ids) {
      if (const auto item = items_.find(id); item != items_.end()) item->second.read = true;
    }
  }

  FeedStore& store_;
  const FeedKey key_;
  int64_t after_ = 0;
  std::map<NotificationId, FeedItem> items_;
  std::vector<NotificationId> removed_;
};

class ReactionStoreTest : public PostgresTest {
 protected:
  static constexpr char kPost[] = "post-1";

  // By `actor`, of kind like, on kPost, told to ann as type like.
  Reaction Like(const std::string& actor, int64_t version) const {
    return {.app = ann_.app,
            .actor_id = actor,
            .object_id = kPost,
            .kind = "like",
            .active = true,
            .version = version,
            .recipient = "ann",
            .type = "like",
            .data_json = absl::StrCat(R"({"name":")", actor, R"("})"),
            .accept_time = absl::FromUnixSeconds(1'700'000'000 + version)};
  }
  Reaction Unlike(const std::string& actor, int64_t version) const {
    Reaction reaction = Like(actor, version);
    reaction.active = false;
    return reaction;
  }

  static ReactionItem Render(const Reaction& newest) {
    ReactionItem rendered;
    rendered.item.id = NewUuid7(absl::Now());
    rendered.item.title = absl::StrCat(newest.actor_id, " ", newest.kind);
    rendered.item.actor_id = newest.actor_id;
    rendered.item.data_json = newest.data_json;
    rendered.item.create_time = newest.accept_time;
    return rendered;
  }

  std::vector<ReactionChange> Apply(const std::vector<Reaction>& reactions) {
    absl::StatusOr<std::vector<ReactionChange>> changes = store_.Apply(reactions, Render);
    EXPECT_OK(changes);
    return changes.ok() ? *std::move(changes) : std::vector<ReactionChange>();
  }

  FeedHead Head(const FeedKey& key) {
    const absl::StatusOr<std::vector<FeedHead>> heads = feeds_.ReadHeads({key});
    EXPECT_OK(heads);
    return heads.ok() ? heads->front() : FeedHead();
  }
  std::vector<FeedItem> Items(const FeedKey& key) {
    absl::StatusOr<std::vector<FeedItem>> items = feeds_.List({.key = key, .before_seq = {}, .limit = 500});
    EXPECT_OK(items);
    return items.ok() ? *std::move(items) : std::vector<FeedItem>();
  }
  int64_t Count(const std::string& object = kPost, const std::string& kind = "like") {
    const absl::StatusOr<std::vector<ReactionCounter>> counters = store_.Counters(ann_.app, {object});
    EXPECT_OK(counters);
    for (const ReactionCounter& counter : *counters) {
      if (counter.kind == kind) return counter.count;
    }
    return 0;
  }
  // What unread must be, counted from the items.
  int64_t UnreadItems(const FeedKey& key) {
    return std::stoll(Query(absl::StrCat(
        "SELECT count(*) FROM feed_items f JOIN feed_heads h USING (app_id, recipient_id) WHERE f.app_id = ",
        key.app.value(), " AND recipient_id = '", key.recipient.value(),
        "' AND f.read_seq IS NULL AND f.seq > h.last_read_seq")));
  }

  const FeedKey ann_{NewApp(), RecipientId("ann")};
  PostgresReactionStore store_{MakePool(10)};
  PostgresFeedStore feeds_{MakePool(4)};
};

TEST_F(ReactionStoreTest, GivesOutVersionsInBlocksThatRise) {
  PostgresReactionStore other(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const int64_t first, store_.TakeVersions());
  ASSERT_OK_AND_ASSIGN(const int64_t second, other.TakeVersions());
  ASSERT_OK_AND_ASSIGN(const int64_t third, store_.TakeVersions());
  EXPECT_GT(first, 0);
  EXPECT_GE(second, first + ReactionStore::kVersionBlock);
  EXPECT_GE(third, second + ReactionStore::kVersionBlock);
}

TEST_F(ReactionStoreTest, PutsRowsIntoTheOutboxOfLaneSocial) {
  EmptyOutbox();
  const Uuid id = NewUuid7(absl::Now());
  ASSERT_OK(store_.Enqueue({{.message_id = id, .app = ann_.app, .type = "like", .envelope = std::string("a\0b", 3)}}));
  PostgresOutboxReader reader(Options(), Lane::kSocial);
  ASSERT_OK_AND_ASSIGN(const std::vector<OutboxRow> rows, reader.Take(10));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].message_id, id);
  EXPECT_EQ(rows[0].app, ann_.app);
  EXPECT_EQ(rows[0].exchange, "carillon.direct");
  EXPECT_EQ(rows[0].routing_key, "social.reaction");
  EXPECT_EQ(rows[0].type, "like");
  EXPECT_EQ(rows[0].payload, std::string("a\0b", 3));
  ASSERT_OK(reader.Release());
  EmptyOutbox();
}

TEST_F(ReactionStoreTest, LetsTheHighestVersionWinWhateverTheOrder) {
  Apply({Unlike("bob", 2)});
  EXPECT_EQ(Count(), 0);
  Apply({Like("bob", 1)});
  EXPECT_EQ(Count(), 0);
  Apply({Like("bob", 5), Like("bob", 3), Unlike("bob", 4), Like("eve", 6)});
  EXPECT_EQ(Count(), 2);
  Apply({Unlike("bob", 4)});
  EXPECT_EQ(Count(), 2);
  Apply({Unlike("bob", 7)});
  EXPECT_EQ(Count(), 1);
}

TEST_F(ReactionStoreTest, ChangesNothingWhenRepeated) {
  const std::vector<Reaction> batch = {Like("bob", 1), Like("eve", 2), Unlike("dan", 3)};
  EXPECT_THAT(Apply(batch), SizeIs(1));
  const FeedHead before = Head(ann_);
  EXPECT_THAT(Apply(batch), IsEmpty());
  EXPECT_EQ(Head(ann_).last_seq, before.last_seq);
  EXPECT_EQ(Count(), 2);
  // The same once more, accepted anew.
  EXPECT_THAT(Apply({Like("bob", 4)}), IsEmpty());
  EXPECT_EQ(Head(ann_).last_seq, before.last_seq);
  EXPECT_EQ(Count(), 2);
}

TEST_F(ReactionStoreTest, ListsCountersInTheOrderAskedAndNoneForNobody) {
  Reaction love = Like("bob", 1);
  love.kind = "love";
  Reaction other = Like("bob", 2);
  other.object_id = "post-0";
  Reaction gone = Like("bob", 3);
  gone.object_id = "post-2";
  Reaction gone_again = gone;
  gone_again.active = false;
  gone_again.version = 4;
  Apply({love, Like("bob", 5), Like("eve", 6), other, gone});
  Apply({gone_again});
  ASSERT_OK_AND_ASSIGN(const auto counters,
                       store_.Counters(ann_.app, {kPost, std::string("post-9"), "post-2", "post-0"}));
  std::vector<std::string> texts;
  for (const ReactionCounter& c : counters) texts.push_back(absl::StrCat(c.object_id, " ", c.kind, " ", c.count));
  EXPECT_THAT(texts, ElementsAre("post-1 like 2", "post-1 love 1", "post-0 like 1"));
  EXPECT_THAT(store_.Counters(NewApp(), {kPost}), IsOkAndHolds(IsEmpty()));
}

TEST_F(ReactionStoreTest, CountsWithoutAnItemWhereNobodyIsTold) {
  Reaction silent = Like("bob", 1);
  silent.recipient = silent.type = silent.data_json = "";
  EXPECT_THAT(Apply({silent}), IsEmpty());
  EXPECT_EQ(Count(), 1);
  EXPECT_THAT(Items(ann_), IsEmpty());
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM feed_heads WHERE app_id = ", ann_.app.value())), "0");
}

TEST_F(ReactionStoreTest, KeepsOneItemThatGrowsAndMovesUp) {
  std::vector<ReactionChange> changes = Apply({Like("bob", 1)});
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].key, ann_);
  EXPECT_EQ(changes[0].item.seq, 1);
  const NotificationId id = changes[0].item.id;
  changes = Apply({Like("dan", 3), Like("eve", 2)});
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].item.id, id);
  EXPECT_FALSE(changes[0].removed);

  const std::vector<FeedItem> items = Items(ann_);
  ASSERT_THAT(items, SizeIs(1));
  EXPECT_EQ(items[0].id, id);
  EXPECT_EQ(items[0].seq, 2);
  EXPECT_EQ(items[0].type, "like");
  EXPECT_EQ(items[0].object_id, kPost);
  EXPECT_EQ(items[0].title, "dan like");
  EXPECT_EQ(items[0].data_json, R"({"name":"dan"})");
  EXPECT_EQ(items[0].actor_id, "dan");
  EXPECT_EQ(items[0].actor_count, 3);
  EXPECT_EQ(items[0].create_time, Like("bob", 1).accept_time);
  // What streams are woken with is what is stored.
  EXPECT_EQ(changes[0].item.create_time, items[0].create_time);
  EXPECT_EQ(changes[0].item.title, items[0].title);
  EXPECT_EQ(changes[0].item.actor_count, 3);
  EXPECT_EQ(Head(ann_).unread, 1);
  EXPECT_EQ(Head(ann_).last_seq, 2);
}

TEST_F(ReactionStoreTest, ShowsTheNewestOfThoseWhoAreStillThere) {
  Apply({Like("bob", 1)});
  Apply({Like("eve", 2)});
  Apply({Like("dan", 3)});
  Apply({Unlike("dan", 4)});
  ASSERT_THAT(Items(ann_), SizeIs(1));
  EXPECT_EQ(Items(ann_)[0].title, "eve like");
  EXPECT_EQ(Items(ann_)[0].actor_count, 2);
  Apply({Unlike("bob", 5)});
  EXPECT_EQ(Items(ann_)[0].title, "eve like");
  EXPECT_EQ(Items(ann_)[0].actor_count, 1);
}

TEST_F(ReactionStoreTest, TakesTheItemAlongWithTheLastWhoLeaves) {
  FollowedFeed stream(feeds_, ann_);
  const NotificationId first = Apply({Like("bob", 1)})[0].item.id;
  Apply({Like("eve", 2)});
  stream.CatchUp();
  EXPECT_THAT(stream.items(), SizeIs(1));
  const std::vector<ReactionChange> changes = Apply({Unlike("eve", 3), Unlike("bob", 4)});
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_TRUE(changes[0].removed);
  EXPECT_EQ(changes[0].item.id, first);
  EXPECT_EQ(changes[0].item.seq, 3);
  EXPECT_THAT(Items(ann_), IsEmpty());
  EXPECT_EQ(Head(ann_).unread, 0);
  EXPECT_EQ(Head(ann_).last_seq, 3);
  stream.CatchUp();
  EXPECT_THAT(stream.items(), IsEmpty());
  EXPECT_THAT(stream.removed(), ElementsAre(first));

  const std::vector<ReactionChange> again = Apply({Like("bob", 5)});
  ASSERT_THAT(again, SizeIs(1));
  EXPECT_NE(again[0].item.id, first);
  EXPECT_EQ(again[0].item.actor_count, 1);
  EXPECT_EQ(Head(ann_).unread, 1);
  // Who comes new has nothing to forget.
  FollowedFeed fresh(feeds_, ann_);
  fresh.CatchUp();
  EXPECT_THAT(fresh.removed(), IsEmpty());
  EXPECT_THAT(fresh.items(), SizeIs(1));
}

TEST_F(ReactionStoreTest, MakesAReadItemUnreadWhenSomebodyJoinsOnly) {
  Apply({Like("bob", 1), Like("eve", 2)});
  ASSERT_OK(feeds_.MarkReadUpTo(ann_, 1));  // 2
  EXPECT_EQ(Head(ann_).unread, 0);
  std::vector<ReactionChange> changes = Apply({Unlike("eve", 3)});
  EXPECT_TRUE(changes[0].item.read);
  EXPECT_TRUE(Items(ann_)[0].read);
  EXPECT_EQ(Head(ann_).unread, 0);
  EXPECT_EQ(UnreadItems(ann_), 0);
  changes = Apply({Like("eve", 4)});
  EXPECT_FALSE(changes[0].item.read);
  EXPECT_FALSE(Items(ann_)[0].read);
  EXPECT_EQ(Head(ann_).unread, 1);
  EXPECT_EQ(UnreadItems(ann_), 1);
  // One leaves an item that is unread: it stays so.
  changes = Apply({Unlike("bob", 5)});
  EXPECT_FALSE(changes[0].item.read);
  EXPECT_EQ(Head(ann_).unread, 1);
  // Marked by itself, above what is marked in bulk; then one comes and one goes.
  ASSERT_OK(feeds_.MarkReadItems(ann_, {changes[0].item.id}));
  EXPECT_EQ(Head(ann_).unread, 0);
  changes = Apply({Like("dan", 6), Unlike("eve", 7)});
  EXPECT_FALSE(changes[0].item.read);
  EXPECT_EQ(Head(ann_).unread, 1);
  ASSERT_OK(feeds_.MarkReadItems(ann_, {changes[0].item.id}));
  changes = Apply({Unlike("dan", 8)});
  EXPECT_TRUE(changes[0].removed);
  EXPECT_EQ(Head(ann_).unread, 0);
  EXPECT_EQ(UnreadItems(ann_), 0);
}

TEST_F(ReactionStoreTest, CountsSeveralKindsOfOneTypeInOneItem) {
  Reaction love = Like("bob", 2);
  love.kind = "love";
  Reaction other_type = Like("bob", 3);
  other_type.kind = "wow";
  other_type.type = "wow";
  Apply({Like("bob", 1), love, other_type});
  const std::vector<FeedItem> items = Items(ann_);
  ASSERT_THAT(items, SizeIs(2));
  EXPECT_EQ(items[0].type, "wow");
  EXPECT_EQ(items[0].actor_count, 1);
  EXPECT_EQ(items[1].title, "bob love");
  EXPECT_EQ(items[1].actor_count, 2);
  EXPECT_EQ(Count(kPost, "like"), 1);
  EXPECT_EQ(Count(kPost, "love"), 1);
  EXPECT_EQ(Head(ann_).unread, 2);
}

TEST_F(ReactionStoreTest, LeavesTheItemThatCountedItEvenIfTheRetractionNamesNone) {
  Apply({Like("bob", 1)});
  Reaction retraction = Unlike("bob", 2);
  retraction.recipient = retraction.type = "";
  ASSERT_THAT(Apply({retraction}), SizeIs(1));
  EXPECT_THAT(Items(ann_), IsEmpty());
  EXPECT_EQ(Count(), 0);
}

TEST_F(ReactionStoreTest, MovesBetweenFeedsWithItsRecipient) {
  const FeedKey ben{ann_.app, RecipientId("ben")};
  Apply({Like("bob", 1), Like("eve", 2)});
  Reaction moved = Like("bob", 3);
  moved.recipient = "ben";
  EXPECT_THAT(Apply({moved}), SizeIs(2));
  EXPECT_EQ(Items(ann_)[0].actor_count, 1);
  ASSERT_THAT(Items(ben), SizeIs(1));
  EXPECT_EQ(Items(ben)[0].actor_count, 1);
  EXPECT_EQ(Count(), 2);
}

TEST_F(ReactionStoreTest, MakesANewItemWhereRetentionTookTheOldOne) {
  const NotificationId old = Apply({Like("bob", 1), Like("eve", 2)})[0].item.id;
  Query(absl::StrCat("WITH gone AS (DELETE FROM feed_items WHERE app_id = ", ann_.app.value(),
                     ") UPDATE feed_heads SET unread = 0, floor_seq = 1 WHERE app_id = ", ann_.app.value()));
  // Nobody new: nothing to tell.
  EXPECT_THAT(Apply({Unlike("eve", 3)}), IsEmpty());
  EXPECT_EQ(Head(ann_).last_seq, 1);
  const std::vector<ReactionChange> changes = Apply({Like("dan", 4)});
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_NE(changes[0].item.id, old);
  ASSERT_THAT(Items(ann_), SizeIs(1));
  EXPECT_EQ(Items(ann_)[0].actor_count, 2);
  EXPECT_EQ(Head(ann_).unread, 1);
  // It changes in place from then on.
  EXPECT_EQ(Apply({Like("eve", 5)})[0].item.id, changes[0].item.id);
  Query(absl::StrCat("DELETE FROM feed_items WHERE app_id = ", ann_.app.value()));
  EXPECT_THAT(Apply({Unlike("bob", 6), Unlike("dan", 7), Unlike("eve", 8)}), IsEmpty());
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM reaction_items WHERE app_id = ", ann_.app.value())), "0");
}

TEST_F(ReactionStoreTest, TellsAStreamOfAllRemovalsHoweverManyThereAre) {
  constexpr int kObjects = limits::kBacklogPage + 100;
  std::vector<Reaction> likes, unlikes;
  for (int i = 0; i < kObjects; ++i) {
    likes.push_back(Like("bob", i + 1));
    likes.back().object_id = absl::StrCat("post-", i);
    unlikes.push_back(likes.back());
    unlikes.back().active = false;
    unlikes.back().version += kObjects;
  }
  Apply(likes);
  FollowedFeed stream(feeds_, ann_);
  stream.CatchUp();
  EXPECT_THAT(stream.items(), SizeIs(kObjects));
  ASSERT_OK(feeds_.MarkReadUpTo(ann_, 10));
  Apply(unlikes);
  stream.CatchUp();
  EXPECT_THAT(stream.items(), IsEmpty());
  EXPECT_THAT(stream.removed(), SizeIs(kObjects));
  EXPECT_EQ(Head(ann_).unread, 0);
}

TEST_F(ReactionStoreTest, ForgetsRemovalsThatNoItemIsAsOldAs) {
  Apply({Like("bob", 1)});
  Apply({Unlike("bob", 2)});
  PostgresUpkeepStore upkeep(MakePool(1));
  const std::string left = absl::StrCat("SELECT count(*) FROM feed_removals WHERE app_id = ", ann_.app.value());
  ASSERT_OK(upkeep.ExpireKeys(absl::Now() + absl::Hours(24 * 399), 1000));
  EXPECT_EQ(Query(left), "1");
  ASSERT_OK(upkeep.ExpireKeys(absl::Now() + absl::Hours(24 * 401), 1000));
  EXPECT_EQ(Query(left), "0");
  EXPECT_EQ(Head(ann_).floor_seq, 2);
}

TEST_F(ReactionStoreTest, CountsFiftyWritersOfOneObjectToTheUnit) {
  std::atomic<int64_t> version = 0;
  RunThreads(50, [&](int writer) {
    const std::string actor = absl::StrCat("actor-", writer);
    for (int round = 0; round < 3; ++round) {
      ASSERT_OK(store_.Apply({Like(actor, ++version)}, Render));
      ASSERT_OK(store_.Apply({Unlike(actor, ++version)}, Render));
    }
    const bool stays = writer % 5 != 0;
    ASSERT_OK(store_.Apply({stays ? Like(actor, ++version) : Unlike(actor, ++version)}, Render));
  });
  EXPECT_EQ(Count(), 40);
  ASSERT_THAT(Items(ann_), SizeIs(1));
  EXPECT_EQ(Items(ann_)[0].actor_count, 40);
  EXPECT_EQ(Head(ann_).unread, 1);
  EXPECT_EQ(UnreadItems(ann_), 1);
}

// Groups that were accepted half an hour ago.
class ReactionGroupsTest : public ReactionStoreTest {
 protected:
  void SetUp() override {
    EmptyOutbox();
    Query("TRUNCATE reaction_groups");
  }

  Uuid Accept(const std::string& envelope = "envelope") {
    const Uuid id = NewUuid7(absl::Now() - absl::Minutes(30));
    EXPECT_OK(store_.Enqueue({{.message_id = id, .app = ann_.app, .type = "like", .envelope = envelope}}));
    return id;
  }
  Reaction Grouped(Reaction reaction, const Uuid& group) const {
    reaction.group = group;
    return reaction;
  }
  // Nothing has touched them for as long, and no queue holds them.
  static void LetTimePass() {
    Query("UPDATE reaction_groups SET touched_at = touched_at - interval '30 minutes'");
    EmptyOutbox();
  }
  RequeuedReactions RequeueIdle(int limit = 100) {
    absl::StatusOr<RequeuedReactions> requeued = store_.RequeueIdle(absl::Now() - absl::Minutes(10), limit);
    EXPECT_OK(requeued);
    return requeued.ok() ? *std::move(requeued) : RequeuedReactions();
  }
  static std::string Groups() {
    return Query("SELECT coalesce(string_agg(group_id::text, ' ' ORDER BY group_id), '') FROM reaction_groups");
  }
  static std::string Outbox() {
    return Query(
        "SELECT coalesce(string_agg(concat_ws(' ', message_id, app_id, lane, exchange, routing_key, type, "
        "convert_from(payload, 'UTF8')), E'\\n' ORDER BY message_id), '') FROM outbox");
  }
};

TEST_F(ReactionGroupsTest, StayFromAcceptanceUntilAllIsApplied) {
  const Uuid first = Accept(), second = Accept(), third = Accept();
  ASSERT_THAT(Apply({Grouped(Like("bob", 1), second), Grouped(Like("eve", 2), second)}), SizeIs(1));
  EXPECT_EQ(Groups(), absl::StrCat(std::min(first, third).ToString(), " ", std::max(first, third).ToString()));
  // What comes again, or from before there were groups, ends none.
  EXPECT_THAT(Apply({Grouped(Like("bob", 1), second), Like("eve", 2)}), IsEmpty());
  EXPECT_EQ(Query("SELECT count(*) FROM reaction_groups"), "2");
  // What changes nothing is applied all the same.
  EXPECT_THAT(Apply({Grouped(Like("bob", 1), third), Grouped(Like("eve", 1), first)}), IsEmpty());
  EXPECT_EQ(Groups(), "");
  EXPECT_EQ(Count(), 2);
}

TEST_F(ReactionGroupsTest, StayWhenApplyingFails) {
  const Uuid group = Accept();
  Reaction impossible = Grouped(Like("bob", 1), group);
  impossible.data_json = "not json";
  EXPECT_FALSE(store_.Apply({impossible}, Render).ok());
  EXPECT_EQ(Groups(), group.ToString());
}

TEST_F(ReactionGroupsTest, AreQueuedAgainAsTheyWereAndOnlyWhenIdle) {
  const Uuid lost = Accept("the lost one");
  EXPECT_EQ(RequeueIdle().queued, 0) << "touched a moment ago";
  const std::string accepted = Outbox();
  LetTimePass();
  EXPECT_EQ(RequeueIdle().queued, 1);
  EXPECT_EQ(Outbox(), accepted);
  EXPECT_EQ(RequeueIdle().queued, 0);
  EmptyOutbox();
  EXPECT_EQ(RequeueIdle().queued, 0) << "queued a moment ago";
  LetTimePass();
  EXPECT_EQ(RequeueIdle().queued, 1);
  Apply({Grouped(Like("bob", 1), lost)});
  LetTimePass();
  EXPECT_EQ(RequeueIdle().queued, 0) << "applied";
}

TEST_F(ReactionGroupsTest, AreLeftAloneWhileTheOutboxHasThem) {
  Accept();
  const Uuid deferred = Accept();
  Query("UPDATE reaction_groups SET touched_at = touched_at - interval '30 minutes'");
  Query("UPDATE outbox SET deferred = true WHERE message_id = '" + deferred.ToString() + "'");
  EXPECT_EQ(RequeueIdle().queued, 0);
  EXPECT_EQ(Query("SELECT count(*) FROM outbox"), "2");
}

TEST_F(ReactionGroupsTest, AreGivenUpAndNamedOnceWhenNothingHelps) {
  const Uuid group = Accept();
  for (int round = 0; round < ReactionStore::kMaxRequeues; ++round) {
    LetTimePass();
    const RequeuedReactions requeued = RequeueIdle();
    EXPECT_EQ(requeued.queued, 1);
    EXPECT_THAT(requeued.given_up, IsEmpty());
  }
  LetTimePass();
  const RequeuedReactions last = RequeueIdle();
  EXPECT_EQ(last.queued, 0);
  EXPECT_THAT(last.given_up, ElementsAre(group));
  EXPECT_EQ(Outbox(), "");
  LetTimePass();
  EXPECT_THAT(RequeueIdle().given_up, IsEmpty());
  EXPECT_EQ(Groups(), group.ToString());
}

TEST_F(ReactionGroupsTest, AreQueuedOnceWhenManyRelaysLook) {
  for (int i = 0; i < 100; ++i) Accept();
  LetTimePass();
  EXPECT_EQ(RequeueIdle(/*limit=*/20).queued, 20);
  std::atomic<int> queued = 0;
  RunThreads(4, [&](int) { queued += RequeueIdle().queued; });
  // Those that another one looked at just then were passed over.
  queued += RequeueIdle().queued;
  EXPECT_EQ(queued, 80);
  EXPECT_EQ(Query("SELECT count(*) || ' ' || max(requeues) FROM reaction_groups"), "100 1");
  EXPECT_EQ(Query("SELECT count(*) FROM outbox"), "100");
}

// What must be in the end: of each actor, object and kind the newest reaction.
class ReactionModel {
 public:
  void Add(const Reaction& reaction) {
    const Reaction*& newest = newest_[{reaction.object_id, reaction.kind, reaction.actor_id}];
    if (newest == nullptr || newest->version < reaction.version) newest = &reaction;
  }
  int64_t Count(const std::string& object, const std::string& kind) const {
    int64_t count = 0;
    for (const auto& [key, newest] : newest_) {
      count += newest->active && newest->object_id == object && newest->kind == kind ? 1 : 0;
    }
    return count;
  }
  // Who stands behind the items of a feed, by object.
  std::map<std::string, std::multiset<std::string>> Items(const std::string& recipient) const {
    std::map<std::string, std::multiset<std::string>> items;
    for (const auto& [key, newest] : newest_) {
      if (newest->active && newest->recipient == recipient) items[newest->object_id].insert(newest->actor_id);
    }
    return items;
  }

 private:
  std::map<std::tuple<std::string, std::string, std::string>, const Reaction*> newest_;
};

class ReactionModelTest : public ReactionStoreTest {
 protected:
  static constexpr int kReactions = 1200;

  // Likes, unlikes and what else may come of a few actors to a few objects.
  std::vector<Reaction> RandomReactions() {
    std::vector<Reaction> reactions;
    for (int64_t version = 1; version <= kReactions; ++version) {
      Reaction reaction = Like(absl::StrCat("actor-", Below(5)), version);
      reaction.object_id = absl::StrCat("post-", Below(4));
      reaction.kind = Below(4) == 0 ? "love" : "like";
      reaction.active = Below(5) < 2;
      reaction.recipient = recipients_[Below(4)];
      if (reaction.recipient.empty()) reaction.type = "";
      reactions.push_back(reaction);
    }
    return reactions;
  }
  // Out of order, some twice, in batches of 1 to 20.
  std::vector<std::vector<Reaction>> Disorder(std::vector<Reaction> reactions) {
    const size_t once = reactions.size();
    for (size_t i = 0; i < once / 4; ++i) reactions.push_back(reactions[Below(static_cast<int>(once))]);
    for (size_t i = 0; i < reactions.size(); ++i) {
      std::swap(reactions[i], reactions[std::min(reactions.size() - 1, i + Below(60))]);
    }
    std::vector<std::vector<Reaction>> batches;
    for (size_t begin = 0; begin < reactions.size();) {
      const size_t end = std::min(reactions.size(), begin + 1 + Below(20));
      batches.emplace_back(reactions.begin() + begin, reactions.begin() + end);
      begin = end;
    }
    return batches;
  }
  // Reads some of the feed, as its owner does.
  void MarkSome(const FeedKey& key, int round) {
    const std::vector<FeedItem> items = Items(key);
    if (items.empty()) return;
    const FeedItem& item = items[round % items.size()];
    ASSERT_OK(round % 2 == 0 ? feeds_.MarkReadItems(key, {item.id}).status()
                             : feeds_.MarkReadUpTo(key, item.seq).status());
  }
  void CheckFeed(const std::string& recipient, const ReactionModel& model, FollowedFeed& stream) {
    const FeedKey key{ann_.app, RecipientId(recipient)};
    auto expected = model.Items(recipient);
    const std::vector<FeedItem> items = Items(key);
    EXPECT_THAT(items, SizeIs(expected.size()));
    stream.CatchUp();
    EXPECT_THAT(stream.items(), SizeIs(items.size()));
    for (const FeedItem& item : items) {
      const auto& actors = expected[item.object_id];
      EXPECT_EQ(item.actor_count, actors.size()) << item.object_id;
      EXPECT_TRUE(actors.contains(item.actor_id)) << item.actor_id << " is shown but not there";
      const auto seen = stream.items().find(item.id);
      ASSERT_NE(seen, stream.items().end());
      EXPECT_EQ(seen->second.seq, item.seq);
      EXPECT_EQ(seen->second.actor_count, item.actor_count);
      EXPECT_EQ(seen->second.read, item.read) << "item " << item.seq;
    }
    EXPECT_EQ(Head(key).unread, UnreadItems(key));
  }

  int Below(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

  const std::vector<std::string> recipients_ = {"ann", "ann", "ben", ""};
  const unsigned seed_ = std::random_device{}();
  std::mt19937 random_{seed_};
};

TEST_F(ReactionModelTest, AgreesWithWhatWasSentWhateverHappensOnTheWay) {
  SCOPED_TRACE(seed_);
  const std::vector<Reaction> reactions = RandomReactions();
  ReactionModel model;
  for (const Reaction& reaction : reactions) model.Add(reaction);
  const std::vector<std::vector<Reaction>> batches = Disorder(reactions);
  FollowedFeed ann(feeds_, ann_), ben(feeds_, {ann_.app, RecipientId("ben")});
  std::atomic<size_t> next = 0;
  RunThreads(6, [&](int thread) {
    if (thread < 4) {
      for (size_t i = next++; i < batches.size(); i = next++) ASSERT_OK(store_.Apply(batches[i], Render));
    }
    for (int round = 0; thread == 4 && next < batches.size(); ++round) {
      MarkSome({ann_.app, RecipientId(recipients_[1 + round % 2])}, round / 2);
    }
    while (thread == 5 && next < batches.size()) ann.CatchUp();
  });
  for (int object = 0; object < 4; ++object) {
    for (const std::string kind : {"like", "love"}) {
      const std::string id = absl::StrCat("post-", object);
      EXPECT_EQ(Count(id, kind), model.Count(id, kind)) << id << " " << kind;
    }
  }
  CheckFeed("ann", model, ann);
  CheckFeed("ben", model, ben);
}

}  // namespace
}  // namespace carillon::testing
