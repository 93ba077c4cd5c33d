#include "carillon/postgres/upkeep_store.h"

#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// These look at whole tables, so each begins with empty ones.
class UpkeepStoreTest : public PostgresTest {
 protected:
  void SetUp() override {
    Query(
        "DELETE FROM notifications; DELETE FROM feed_items; DELETE FROM feed_heads; DELETE FROM outbox;"
        "DELETE FROM idempotency_keys; DELETE FROM stragglers;"
        "UPDATE sweep_positions SET position = '00000000-0000-0000-0000-000000000000';"
        "SELECT ensure_slices(now() - interval '2 days', now() + interval '1 day')");
  }

  static std::string Count(const std::string& table) { return Query("SELECT count(*) FROM " + table); }

  void Accept(absl::Span<const NewNotification> items) { ASSERT_OK(notifications_.Accept(items, true)); }
  // Accepts it and takes its outbox row away, as the relay does.
  void AcceptAndPublish(const NewNotification& item) {
    Accept({&item, 1});
    Query("DELETE FROM outbox WHERE message_id = '" + item.notification.id.ToString() + "'");
  }
  std::vector<DeliveryOutcome> Deliver(const NewNotification& item) {
    const FeedDelivery delivery = DeliveryOf(item);
    const absl::StatusOr<std::vector<DeliveryOutcome>> outcomes = feeds_.Deliver({&delivery, 1});
    EXPECT_OK(outcomes);
    return outcomes.value_or(std::vector<DeliveryOutcome>(1));
  }
  FeedHead Head(const std::string& recipient = "ann") {
    const absl::StatusOr<std::vector<FeedHead>> heads = feeds_.ReadHeads({{app_, RecipientId(recipient)}});
    EXPECT_OK(heads);
    return heads.ok() ? heads->front() : FeedHead();
  }
  // Both passes: a slice is dropped only behind the late one.
  void SweepAll() {
    for (const UpkeepStore::Pass pass : {UpkeepStore::Pass::kEarly, UpkeepStore::Pass::kLate}) {
      absl::StatusOr<int> read = 1;
      while (*read > 0) {
        read = store_.SweepStep(pass, absl::Now() + absl::Minutes(1), 100);
        ASSERT_OK(read);
      }
    }
  }
  // Takes steps until there is nothing to do; returns how many there were.
  int Retire(absl::Time now, int recipients = 100) {
    for (int steps = 0;; ++steps) {
      const absl::StatusOr<bool> more = store_.RetireStep(now, recipients);
      EXPECT_OK(more);
      if (!more.value_or(false)) return steps;
    }
  }
  std::string Slice(const std::string& parent, absl::Time time, int retention_days = 7) {
    return absl::StrCat(parent, "_", retention_days, "_", absl::FormatTime("%Y%m%d", time, absl::UTCTimeZone()));
  }
  bool Exists(const std::string& table) { return Query("SELECT to_regclass('carillon." + table + "')") != ""; }
  std::vector<Notification> Due(absl::Time idle_since, Lane lane = Lane::kSocial) {
    const auto due = store_.DueStragglers(lane, idle_since, absl::ZeroDuration(), 100);
    EXPECT_OK(due);
    return due.value_or(std::vector<Notification>());
  }

  const std::shared_ptr<PgPool> pool_ = MakePool(4);
  const AppId app_ = NewApp();
  PostgresNotificationStore notifications_{pool_};
  PostgresFeedStore feeds_{pool_};
  PostgresUpkeepStore store_{pool_};
};

class Slices : public UpkeepStoreTest {};
class Retirement : public UpkeepStoreTest {};
class KeyExpiry : public UpkeepStoreTest {};
class Sweep : public UpkeepStoreTest {};
class OutboxStatistics : public UpkeepStoreTest {};

TEST_F(Slices, AreMadeOnceAndHoldWhatIsAccepted) {
  const absl::Time later = absl::Now() + absl::Hours(24 * 40);
  ASSERT_OK_AND_ASSIGN(const int made, store_.EnsureSlices(later, later + absl::Hours(48)));
  // Of 1 and 7 days three each, of 30 and 365 at least the one, for both tables.
  EXPECT_GE(made, 12);
  EXPECT_THAT(store_.EnsureSlices(later, later + absl::Hours(48)), IsOkAndHolds(0));
  for (const int retention_days : {1, 7, 30, 365}) {
    for (const int hours : {0, 24, 48}) {
      NewNotification item = At(MakeNew(app_), later + absl::Hours(hours));
      item.notification.retention_days = retention_days;
      Accept({&item, 1});
      FeedDelivery delivery = DeliveryOf(item);
      ASSERT_OK_AND_ASSIGN(const auto outcomes, feeds_.Deliver({delivery}));
      EXPECT_TRUE(outcomes[0].applied);
    }
  }
}

TEST_F(Slices, MayBeAskedForByManyAtOnce) {
  const absl::Time later = absl::Now() + absl::Hours(24 * 80);
  const int before = std::stoi(Count("slices"));
  std::atomic<int> made = 0;
  RunThreads(4, [&](int) {
    const absl::StatusOr<int> own = store_.EnsureSlices(later, later + absl::Hours(24));
    ASSERT_OK(own);
    made += *own;
  });
  EXPECT_GE(made, 10);
  EXPECT_EQ(Count("slices"), absl::StrCat(before + made));
}

TEST_F(Slices, BeginAtMidnightUtcWhateverTheTimeZone) {
  Query("SET TimeZone = 'America/New_York'; SELECT ensure_slices('2030-03-08 12:00+00', '2030-03-12 12:00+00')");
  EXPECT_EQ(
      Query("SELECT count(*) FROM slices WHERE starts_at >= '2030-03-08 00:00+00' AND retention_days = 7 AND "
            "(extract(hour FROM starts_at AT TIME ZONE 'UTC') <> 0 OR ends_at - starts_at <> interval '24 hours')"),
      "0");
  EXPECT_THAT(store_.EnsureSlices(absl::FromUnixSeconds(1'899'201'600), absl::FromUnixSeconds(1'899'547'200)),
              IsOkAndHolds(0));
}

TEST_F(Retirement, DropsASliceAndCorrectsUnreadAndFloor) {
  const absl::Time now = absl::Now();
  const absl::Time old = now - absl::Hours(24);
  // Ann: 1 and 2 old and unread, 3 old and marked, 4 new. Ben: old, all read. Cid: new only.
  const std::vector<NewNotification> items = {At(MakeNew(app_, "ann"), old),
                                              At(MakeNew(app_, "ann"), old + absl::Milliseconds(1)),
                                              At(MakeNew(app_, "ann"), old + absl::Milliseconds(2)),
                                              At(MakeNew(app_, "ann"), now),
                                              At(MakeNew(app_, "ben"), old),
                                              At(MakeNew(app_, "cid"), now)};
  for (const NewNotification& item : items) {
    AcceptAndPublish(item);
    Deliver(item);
  }
  ASSERT_OK(feeds_.MarkReadItems({app_, RecipientId("ann")}, {items[2].notification.id}));
  ASSERT_OK(feeds_.MarkReadUpTo({app_, RecipientId("ben")}, 1));
  SweepAll();

  Retire(now);
  EXPECT_EQ(Count("feed_items"), "6");
  EXPECT_GT(Retire(now + absl::Hours(24 * 7), /*recipients=*/1), 2);
  EXPECT_FALSE(Exists(Slice("feed_items", old)));
  EXPECT_FALSE(Exists(Slice("notifications", old)));
  EXPECT_TRUE(Exists(Slice("feed_items", now)));
  EXPECT_EQ(Query("SELECT count(*) FROM slices WHERE slice_name = '" + Slice("feed_items", old) + "'"), "0");
  EXPECT_EQ(Head("ann").unread, 1);
  EXPECT_EQ(Head("ann").floor_seq, 3);
  EXPECT_EQ(Head("ben").unread, 0);
  EXPECT_EQ(Head("ben").floor_seq, 1);
  EXPECT_EQ(Head("cid").unread, 1);
  EXPECT_EQ(Head("cid").floor_seq, 0);
  EXPECT_EQ(Count("feed_items"), "2");
  EXPECT_EQ(Count("notifications"), "2");
  EXPECT_EQ(Retire(now + absl::Hours(24 * 7)), 0);
}

TEST_F(Retirement, CorrectsSoManyFeedsAStep) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  for (int i = 0; i < 5; ++i) {
    const NewNotification item = At(MakeNew(app_, absl::StrCat("recipient-", i)), old);
    AcceptAndPublish(item);
    Deliver(item);
  }
  SweepAll();
  const absl::Time later = absl::Now() + absl::Hours(24 * 7);
  while (Count("feed_items") == "5") ASSERT_THAT(store_.RetireStep(later, 2), IsOkAndHolds(true));
  EXPECT_EQ(Count("feed_items"), "3");
  EXPECT_EQ(Query("SELECT sum(unread) FROM feed_heads"), "3");
  EXPECT_TRUE(Exists(Slice("feed_items", old)));
}

TEST_F(Retirement, KeepsASliceWithAnUnfinishedNotificationForItsDelivery) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  const NewNotification item = At(MakeNew(app_), old);
  AcceptAndPublish(item);
  SweepAll();
  const absl::Time later = absl::Now() + absl::Hours(24 * 7);
  Retire(later);
  EXPECT_TRUE(Exists(Slice("notifications", old)));
  EXPECT_TRUE(Exists(Slice("feed_items", old)));
  EXPECT_TRUE(Deliver(item).front().applied);
  // Its straggler is forgotten when it is looked at again.
  EXPECT_THAT(Due(absl::Now() + absl::Hours(1)), IsEmpty());
  Retire(later);
  EXPECT_FALSE(Exists(Slice("notifications", old)));
}

TEST_F(Retirement, KeepsASliceThatWasNotSwept) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  AcceptAndPublish(At(MakeNew(app_), old));
  Retire(absl::Now() + absl::Hours(24 * 7));
  EXPECT_TRUE(Exists(Slice("notifications", old)));
  EXPECT_EQ(Count("notifications"), "1");
}

TEST_F(Retirement, TakesUpADropThatWasInterrupted) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  const std::string slice = Slice("feed_items", old);
  Query("ALTER TABLE feed_items_7 DETACH PARTITION " + slice);
  Retire(absl::Now() + absl::Hours(24 * 7));
  EXPECT_FALSE(Exists(slice));
  EXPECT_EQ(Query("SELECT count(*) FROM slices WHERE slice_name = '" + slice + "'"), "0");
}

TEST_F(Retirement, TakesUpADetachThatWasInterrupted) {
  const absl::Time now = absl::Now();
  const NewNotification item = At(MakeNew(app_), now - absl::Hours(24));
  AcceptAndPublish(item);
  Deliver(item);
  SweepAll();
  const std::string slice = Slice("feed_items", now - absl::Hours(24));
  // A reader with an open transaction holds the detaching up until its lock times out.
  pqxx::connection reader(database().url());
  pqxx::work reading(reader);
  reading.exec("SELECT count(*) FROM feed_items_7");
  const absl::Time later = now + absl::Hours(24 * 7);
  PgOptions impatient = Options();
  impatient.lock_timeout = absl::Seconds(1);
  PostgresUpkeepStore held_up(std::make_shared<PgPool>(impatient, 1));
  absl::StatusOr<bool> more = true;
  while (more.ok() && *more) more = held_up.RetireStep(later, 100);
  EXPECT_THAT(more, StatusIs(absl::StatusCode::kUnavailable));
  reading.commit();
  Retire(later);
  EXPECT_FALSE(Exists(slice));
  EXPECT_EQ(Head().floor_seq, 1);
}

TEST_F(Retirement, MayBeDoneByManyAtOnce) {
  const absl::Time old = absl::Now() - absl::Hours(24);
  for (int i = 0; i < 20; ++i) {
    const NewNotification item = At(MakeNew(app_, absl::StrCat("recipient-", i)), old);
    AcceptAndPublish(item);
    Deliver(item);
  }
  SweepAll();
  const absl::Time later = absl::Now() + absl::Hours(24 * 7);
  RunThreads(3, [&](int) { Retire(later, 3); });
  EXPECT_EQ(Count("feed_items"), "0");
  EXPECT_EQ(Query("SELECT sum(unread) FROM feed_heads"), "0");
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM slices WHERE ends_at + make_interval(days => retention_days)"
                               " <= to_timestamp(",
                               absl::ToUnixSeconds(later), ")")),
            "0");
}

TEST_F(KeyExpiry, DeletesTheExpiredOnesInBatches) {
  std::vector<NewNotification> items;
  for (int i = 0; i < 30; ++i) {
    const absl::Time time = absl::Now() - (i < 25 ? absl::Hours(25) : absl::ZeroDuration());
    items.push_back(At(MakeKeyed(app_, absl::StrCat("key-", i)), time));
  }
  Accept(items);
  EXPECT_THAT(store_.ExpireKeys(absl::Now(), 20), IsOkAndHolds(20));
  EXPECT_THAT(store_.ExpireKeys(absl::Now(), 20), IsOkAndHolds(5));
  EXPECT_THAT(store_.ExpireKeys(absl::Now(), 20), IsOkAndHolds(0));
  EXPECT_EQ(Query("SELECT count(*) FROM idempotency_keys WHERE expires_at > now()"), "5");
}

TEST_F(Sweep, ReadsEachNotificationOnceAndRemembersTheUnfinished) {
  const absl::Time old = absl::Now() - absl::Minutes(5);
  std::vector<NewNotification> items;
  for (int i = 0; i < 10; ++i) items.push_back(At(MakeNew(app_), old + absl::Milliseconds(i)));
  items.push_back(MakeNew(app_));
  NewNotification of_another_class = At(MakeNew(app_), old);
  of_another_class.notification.retention_days = 365;
  items.push_back(of_another_class);
  Accept(items);
  for (int i = 0; i < 8; ++i) Deliver(items[i]);
  const absl::Time bound = absl::Now() - absl::Minutes(1);
  EXPECT_THAT(store_.SweepStep(UpkeepStore::Pass::kEarly, bound, 7), IsOkAndHolds(8));
  EXPECT_THAT(store_.SweepStep(UpkeepStore::Pass::kEarly, bound, 7), IsOkAndHolds(3));
  EXPECT_THAT(store_.SweepStep(UpkeepStore::Pass::kEarly, bound, 7), IsOkAndHolds(0));
  EXPECT_EQ(
      Query("SELECT string_agg(notification_id::text, ' ' ORDER BY retention_days, notification_id) FROM stragglers"),
      absl::StrCat(items[8].notification.id.ToString(), " ", items[9].notification.id.ToString(), " ",
                   of_another_class.notification.id.ToString()));
  EXPECT_THAT(store_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now() + absl::Minutes(1), 7), IsOkAndHolds(1));
}

TEST_F(Sweep, FindsWhatIsIdleAndPutsItIntoTheOutboxAgainOnce) {
  NewNotification item = At(MakeNew(app_), absl::Now() - absl::Minutes(5));
  item.notification.actor_id = "actor";
  item.notification.object_id = "object";
  item.notification.data_json = R"({"a":1})";
  item.notification.expire_time = item.notification.create_time + absl::Hours(1);
  AcceptAndPublish(item);
  SweepAll();
  const std::vector<Notification> due = Due(absl::Now() - absl::Minutes(1));
  ASSERT_THAT(due, SizeIs(1));
  EXPECT_EQ(due[0].id, item.notification.id);
  EXPECT_EQ(due[0].app, app_);
  EXPECT_EQ(due[0].lane, Lane::kSocial);
  EXPECT_EQ(due[0].type, "like");
  EXPECT_EQ(due[0].recipient, RecipientId("ann"));
  EXPECT_EQ(due[0].actor_id, "actor");
  EXPECT_EQ(due[0].object_id, "object");
  EXPECT_EQ(due[0].data_json, item.notification.data_json);
  EXPECT_EQ(due[0].channels, item.notification.channels);
  EXPECT_EQ(due[0].retention_days, 7);
  EXPECT_EQ(due[0].create_time, item.notification.create_time);
  EXPECT_EQ(due[0].expire_time, item.notification.expire_time);

  EXPECT_THAT(store_.Reenqueue({item}), IsOkAndHolds(1));
  EXPECT_THAT(store_.Reenqueue({item}), IsOkAndHolds(0));
  PostgresOutboxReader reader(Options(), Lane::kSocial);
  ASSERT_OK_AND_ASSIGN(const std::vector<OutboxRow> rows, reader.Take(10));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].message_id, item.notification.id);
  EXPECT_EQ(rows[0].payload, "envelope");
  EXPECT_EQ(rows[0].routing_key, "social.like");
  ASSERT_OK_AND_ASSIGN(const NotificationRecord record, notifications_.Get(app_, item.notification.id));
  EXPECT_THAT(record.history, SizeIs(1));
}

TEST_F(Sweep, LeavesAloneWhatIsInTheOutbox) {
  const NewNotification item = At(MakeNew(app_), absl::Now() - absl::Minutes(5));
  Accept({&item, 1});
  SweepAll();
  EXPECT_THAT(Due(absl::Now()), IsEmpty());
  Query("UPDATE outbox SET deferred = true");
  EXPECT_THAT(Due(absl::Now()), IsEmpty());
  EXPECT_THAT(store_.Reenqueue({item}), IsOkAndHolds(0));
  ASSERT_OK_AND_ASSIGN(const NotificationRecord record, notifications_.Get(app_, item.notification.id));
  EXPECT_THAT(record.history, IsEmpty());
  Query("DELETE FROM outbox");
  EXPECT_THAT(Due(absl::Now()), SizeIs(1));
}

TEST_F(Sweep, ForgetsWhatHasEnded) {
  const NewNotification item = At(MakeNew(app_), absl::Now() - absl::Minutes(5));
  AcceptAndPublish(item);
  SweepAll();
  Deliver(item);
  EXPECT_EQ(Count("stragglers"), "1");
  EXPECT_THAT(Due(absl::Now()), IsEmpty());
  EXPECT_EQ(Count("stragglers"), "0");
  EXPECT_THAT(store_.Reenqueue({item}), IsOkAndHolds(0));
  EXPECT_EQ(Count("outbox"), "0");
}

TEST_F(Sweep, LeavesAloneWhatWasTouchedRecently) {
  const NewNotification item = At(MakeNew(app_), absl::Now() - absl::Minutes(5));
  AcceptAndPublish(item);
  SweepAll();
  const absl::Time touched = absl::Now() - absl::Seconds(20);
  ASSERT_OK(notifications_.RecordAttempts({{item.notification.id, 7, {touched, 1, "failed"}}}));
  EXPECT_THAT(Due(touched - absl::Seconds(1)), IsEmpty());
  EXPECT_THAT(Due(touched + absl::Seconds(1)), SizeIs(1));
}

TEST_F(Sweep, LooksAtOneLaneAndAgainOnlyWhenItIsDue) {
  AcceptAndPublish(At(MakeNew(app_), absl::Now() - absl::Minutes(5)));
  SweepAll();
  EXPECT_THAT(Due(absl::Now(), Lane::kPayment), IsEmpty());
  EXPECT_THAT(store_.DueStragglers(Lane::kSocial, absl::Now(), absl::Hours(1), 100), IsOkAndHolds(SizeIs(1)));
  EXPECT_THAT(store_.DueStragglers(Lane::kSocial, absl::Now(), absl::Hours(1), 100), IsOkAndHolds(IsEmpty()));
}

TEST_F(Sweep, GivesAStragglerToOneOfManyAtOnce) {
  std::vector<NewNotification> items;
  for (int i = 0; i < 200; ++i) items.push_back(At(MakeNew(app_), absl::Now() - absl::Minutes(5)));
  Accept(items);
  Query("DELETE FROM outbox");
  std::atomic<int> found = 0;
  std::atomic<int> written = 0;
  RunThreads(3, [&](int) {
    absl::StatusOr<int> read = 1;
    while (*read > 0) {
      read = store_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now(), 20);
      ASSERT_OK(read);
    }
  });
  SweepAll();
  EXPECT_EQ(Count("stragglers"), "200");
  RunThreads(3, [&](int) {
    const auto due = store_.DueStragglers(Lane::kSocial, absl::Now(), absl::Hours(1), 200);
    ASSERT_OK(due);
    found += static_cast<int>(due->size());
    const absl::StatusOr<int> own = store_.Reenqueue(items);
    ASSERT_OK(own);
    written += *own;
  });
  EXPECT_EQ(found, 200);
  EXPECT_EQ(written, 200);
  EXPECT_EQ(Count("outbox"), "200");
}

TEST_F(OutboxStatistics, CountRowsAndTellTheAgeOfTheOldest) {
  std::vector<NewNotification> items = {At(MakeNew(app_), absl::Now() - absl::Minutes(10)), MakeNew(app_),
                                        MakeNew(app_)};
  Accept(items);
  Query("UPDATE outbox SET available_at = uuid_time(message_id)");
  Query("UPDATE outbox SET deferred = true WHERE message_id = '" + items[2].notification.id.ToString() + "'");
  ASSERT_OK_AND_ASSIGN(const std::vector<OutboxStats> stats, store_.Outbox());
  ASSERT_THAT(stats, SizeIs(kAllLanes.size()));
  for (const OutboxStats& one : stats) {
    const bool social = one.lane == Lane::kSocial;
    EXPECT_EQ(one.rows, social ? 2 : 0);
    EXPECT_EQ(one.deferred, social ? 1 : 0);
    EXPECT_GE(one.oldest_age, social ? absl::Minutes(9) : absl::ZeroDuration());
    EXPECT_LE(one.oldest_age, social ? absl::Minutes(11) : absl::ZeroDuration());
  }
}

TEST_F(OutboxStatistics, WhatWasHeldForATimeIsAsOldAsItsWaitSinceThen) {
  Accept({At(MakeNew(app_), absl::Now() - absl::Hours(3))});
  Query("UPDATE outbox SET available_at = now() - interval '5 minutes'");
  ASSERT_OK_AND_ASSIGN(const std::vector<OutboxStats> stats, store_.Outbox());
  const absl::Duration age = stats[static_cast<size_t>(Lane::kSocial)].oldest_age;
  EXPECT_GE(age, absl::Minutes(5));
  EXPECT_LE(age, absl::Minutes(6));
}

}  // namespace
}  // namespace carillon::testing
