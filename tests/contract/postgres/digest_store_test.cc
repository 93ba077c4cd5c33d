#include "carillon/postgres/digest_store.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "carillon/postgres/upkeep_store.h"
#include "tests/contract/postgres/waiting_fixture.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// How digests begin.
class DigestBeginTest : public WaitingTest {
 protected:
  static std::string Entries() {
    return Query(
        "SELECT string_agg(entries::text, ' ' ORDER BY entries) FROM (SELECT count(*) AS entries FROM digest_entries"
        " GROUP BY digest_id) AS one");
  }
};

// How they end.
class DigestStoreTest : public WaitingTest {
 protected:
  std::vector<Delivery> BeginMany(int count) {
    std::vector<Delivery> members;
    for (int i = 0; i < count; ++i) members.push_back(BeginInDigest());
    return members;
  }
  DigestContents Read(const DueDigest& digest, int limit = 100) {
    absl::StatusOr<DigestContents> contents = digests_.Read(digest, limit);
    EXPECT_OK(contents);
    return contents.ok() ? *std::move(contents) : DigestContents();
  }
  NewNotification Told() const {
    NewNotification told = At(MakeNew(app_), absl::Now());
    told.notification.type = std::string(kDigestType);
    told.notification.lane = Lane::kMarketing;
    told.notification.channels = {Channel::kEmail};
    told.notification.data_json = R"({"count": 3})";
    told.exchange = "carillon.topic";
    told.routing_key = "marketing.digest";
    return told;
  }
  // All are told.
  DigestClosing ClosingOf(const DueDigest& digest, const std::vector<Delivery>& members) const {
    DigestClosing closing{.digest_id = digest.id, .members = {}, .notification = Told()};
    for (const Delivery& member : members) {
      closing.members.push_back({&member, {.state = DeliveryState::kSent, .detail = "in digest"}});
    }
    return closing;
  }
  DigestResult Close(const DigestClosing& closing) {
    const absl::StatusOr<DigestResult> result = digests_.Close(closing);
    EXPECT_OK(result);
    return result.value_or(DigestResult::kGone);
  }
  std::string DigestsSent() const {
    return Query(
        absl::StrCat("SELECT count(*) FROM notifications WHERE type = 'marketing.digest' AND app_id = ", app_.value()));
  }
  static bool WaitForLockWaiters(int count) {
    return WaitFor([&] {
      return Query(
                 "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = "
                 "'Lock'") == absl::StrCat(count);
    });
  }

  PostgresDigestStore digests_{MakePool(4)};
};

TEST_F(DigestBeginTest, TheFirstEntryOpensOneAndTheOthersJoinIt) {
  const absl::Time due = InAnHour();
  const Delivery first = BeginInDigest("ann", due);
  BeginInDigest("ann", due + absl::Hours(1));
  BeginInDigest("ann", due + absl::Hours(2));
  EXPECT_EQ(Entries(), "3");
  const DueDigest digest = OpenDigest();
  EXPECT_EQ(CountRows("schedules"), "1");
  EXPECT_EQ(InSchedules("concat_ws(' ', app_id, notification_id, lane, cause, channel, recipient_id, exchange, "
                        "routing_key, type, (extract(epoch FROM due_at) * 1e6)::bigint)",
                        digest.id),
            absl::StrCat(app_.value(), " ", digest.id.ToString(),
                         " marketing digest email ann carillon.topic marketing.digest marketing.digest ",
                         absl::ToUnixMicros(due)));
  EXPECT_EQ(Kept(first).state, DeliveryState::kHeld);
  EXPECT_EQ(StateOf(first.item.id), "accepted 1 - - open");
  EXPECT_EQ(CountRows("outbox"), "0");
}

TEST_F(DigestBeginTest, EachRecipientAndChannelHasOneOfItsOwn) {
  BeginInDigest("ann");
  BeginInDigest("ann", InAnHour(), Channel::kSms);
  BeginInDigest("bob");
  BeginInDigest("bob");
  EXPECT_EQ(Entries(), "1 1 2");
  EXPECT_EQ(CountRows("schedules"), "3");
}

TEST_F(DigestBeginTest, ManyOfOneBatchEnterTheSame) {
  std::vector<FeedDelivery> decisions;
  for (int i = 0; i < 5; ++i) {
    decisions.push_back(Waiting(Accepted(i < 3 ? "ann" : "bob"), Channel::kEmail,
                                [](const Delivery& delivery) { return InDigest(delivery, InAnHour()); }));
  }
  ASSERT_OK(feeds_.Deliver(decisions));
  EXPECT_EQ(Entries(), "2 3");
  EXPECT_EQ(CountRows("schedules"), "2");
  ASSERT_OK(feeds_.Deliver(decisions));
  EXPECT_EQ(Entries(), "2 3") << "a repeat enters nothing";
}

TEST_F(DigestBeginTest, ManyAtOnceOpenOne) {
  RunThreads(4, [&](int) {
    for (int i = 0; i < 10; ++i) {
      const NewNotification item = MakeNew(app_);
      AcceptOne(item);
      const FeedDelivery decision =
          Waiting(item, Channel::kEmail, [](const Delivery& delivery) { return InDigest(delivery, InAnHour()); });
      EXPECT_OK(PostgresFeedStore(MakePool(1)).Deliver({decision}));
    }
  });
  EXPECT_EQ(Entries(), "40");
  EXPECT_EQ(CountRows("schedules"), "1");
}

TEST_F(DigestBeginTest, ComesWhenItIsDueAndAgainUntilSomebodyHasDoneIt) {
  BeginInDigest("ann", InAnHour());
  const DueDigest digest = OpenDigest();
  EXPECT_EQ(ReleaseDue(Lane::kMarketing), 0);
  for (int round = 0; round < 2; ++round) {
    MakeDue();
    EXPECT_EQ(ReleaseDue(Lane::kSocial), 0);
    EXPECT_EQ(ReleaseDue(Lane::kMarketing), 1);
    EXPECT_EQ(ReleaseDue(Lane::kMarketing), 0);
    EXPECT_EQ(Query("SELECT concat_ws(' ', message_id, lane, exchange, routing_key, type) FROM outbox"),
              digest.id.ToString() + " marketing carillon.topic marketing.digest marketing.digest");
    EmptyOutbox();
  }
}

TEST_F(DigestStoreTest, ReadsWhatWaitsNewestFirst) {
  const std::vector<Delivery> members = BeginMany(3);
  const DueDigest digest = OpenDigest();
  const DigestContents all = Read(digest);
  ASSERT_THAT(all.members, SizeIs(3));
  EXPECT_FALSE(all.more);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(all.members[i].id, members[2 - i].id);
    EXPECT_EQ(all.members[i].item.id, members[2 - i].item.id);
    EXPECT_EQ(all.members[i].channel, Channel::kEmail);
  }
  const DigestContents some = Read(digest, 2);
  EXPECT_THAT(some.members, SizeIs(2));
  EXPECT_TRUE(some.more);
  EXPECT_FALSE(Read(digest, 3).more);
  DueDigest of_another = digest;
  of_another.app = NewApp();
  EXPECT_THAT(Read(of_another).members, IsEmpty());
}

TEST_F(DigestStoreTest, OneNotificationIsAcceptedAndItsMembersEnd) {
  const std::vector<Delivery> members = BeginMany(3);
  const DueDigest digest = OpenDigest();
  const DigestClosing closing = ClosingOf(digest, members);
  EXPECT_EQ(Close(closing), DigestResult::kDone);
  for (const Delivery& member : members) {
    EXPECT_EQ(Kept(member).state, DeliveryState::kSent);
    EXPECT_EQ(Kept(member).detail, "in digest");
    EXPECT_TRUE(Kept(member).finish_time.has_value());
    EXPECT_EQ(InDeliveries("payload IS NULL", member), "t");
    EXPECT_EQ(StateOf(member.item.id), "delivered 0 delivered - ended");
  }
  const Notification& told = closing.notification->notification;
  EXPECT_EQ(Query("SELECT concat_ws(' ', closed_at IS NOT NULL, notification_id) FROM digests"),
            "t " + told.id.ToString());
  EXPECT_EQ(CountRows("digest_entries"), "0");
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(Query("SELECT concat_ws(' ', app_id, lane, state, type, recipient_id, channels, data, retention_days,"
                  " (extract(epoch FROM created_at) * 1e6)::bigint) FROM notifications WHERE notification_id = '" +
                  told.id.ToString() + "'"),
            absl::StrCat(app_.value(), " marketing accepted marketing.digest ann {email} {\"count\": 3} 7 ",
                         absl::ToUnixMicros(told.create_time)));
  EXPECT_EQ(Query("SELECT string_agg(concat_ws(' ', message_id, lane, exchange, routing_key, type, "
                  "convert_from(payload, 'UTF8')), ', ') FROM outbox"),
            told.id.ToString() + " marketing carillon.topic marketing.digest marketing.digest envelope");
  EXPECT_EQ(Stats(), "") << "what is sent, and counted, is the digest";
}

TEST_F(DigestStoreTest, WhatLeavesItEndsAsItselfAndIsCounted) {
  const std::vector<Delivery> members = BeginMany(3);
  DigestClosing closing = ClosingOf(OpenDigest(), members);
  closing.members[1].fate = {.state = DeliveryState::kSuppressed, .detail = "actor is muted"};
  closing.members[1].fate.trail = TrailOf(Outcome::kSuppress);
  closing.members[2].fate = {.state = DeliveryState::kExpired, .detail = "too late"};
  EXPECT_EQ(Close(closing), DigestResult::kDone);
  EXPECT_EQ(Kept(members[1]).state, DeliveryState::kSuppressed);
  EXPECT_EQ(InDeliveries("concat_ws(' ', trail -> 0 ->> 'outcome', trail -> 1 ->> 'outcome')", members[1]),
            "digest suppress");
  EXPECT_EQ(StateOf(members[1].item.id), "suppressed 0 suppressed actor is muted ended");
  EXPECT_EQ(StateOf(members[2].item.id), "expired 0 expired too late ended");
  EXPECT_EQ(Stats(), "email expired 1, email suppressed 1");
  EXPECT_EQ(Events(), "expired.social.email suppressed.social.email");
}

TEST_F(DigestStoreTest, OneWithNothingLeftIsClosedWithoutANotification) {
  const std::vector<Delivery> members = BeginMany(1);
  DigestClosing closing = ClosingOf(OpenDigest(), members);
  closing.notification.reset();
  closing.members[0].fate = {.state = DeliveryState::kExpired, .detail = "too late"};
  EXPECT_EQ(Close(closing), DigestResult::kDone);
  EXPECT_EQ(Query("SELECT concat_ws(' ', closed_at IS NOT NULL, coalesce(notification_id::text, '-')) FROM digests"),
            "t -");
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_EQ(DigestsSent(), "0");
}

TEST_F(DigestStoreTest, ARepeatIsGoneAndChangesNothing) {
  const std::vector<Delivery> members = BeginMany(2);
  const DueDigest digest = OpenDigest();
  EXPECT_EQ(Close(ClosingOf(digest, members)), DigestResult::kDone);
  EXPECT_THAT(Read(digest).members, IsEmpty());
  EXPECT_EQ(Close(ClosingOf(digest, members)), DigestResult::kGone);
  EXPECT_EQ(Close(ClosingOf(digest, {})), DigestResult::kGone);
  EXPECT_EQ(DigestsSent(), "1");
  EXPECT_EQ(CountRows("outbox"), "1");
}

TEST_F(DigestStoreTest, ManyAtOnceSendOne) {
  const std::vector<Delivery> members = BeginMany(5);
  const DueDigest digest = OpenDigest();
  std::atomic<int> done = 0, gone = 0;
  RunThreads(4, [&](int) {
    const DigestResult result = Close(ClosingOf(digest, members));
    done += result == DigestResult::kDone;
    gone += result == DigestResult::kGone;
  });
  EXPECT_EQ(done, 1);
  EXPECT_EQ(gone, 3);
  EXPECT_EQ(DigestsSent(), "1");
}

TEST_F(DigestStoreTest, OneOfWhichAMemberHasGoneIsLeftAsItIs) {
  const std::vector<Delivery> members = BeginMany(2);
  const DueDigest digest = OpenDigest();
  const std::string id = "'" + members[0].id.ToString() + "'";
  // As a cancellation does.
  Query("DELETE FROM digest_entries WHERE delivery_id = " + id +
        "; UPDATE deliveries SET state = 'suppressed', finished_at = now() WHERE delivery_id = " + id);
  EXPECT_EQ(Close(ClosingOf(digest, members)), DigestResult::kChanged);
  EXPECT_EQ(Kept(members[1]).state, DeliveryState::kHeld);
  EXPECT_EQ(DigestsSent(), "0");
  EXPECT_EQ(Close(ClosingOf(digest, Read(digest).members)), DigestResult::kDone);
  EXPECT_EQ(Kept(members[1]).state, DeliveryState::kSent);
}

TEST_F(DigestStoreTest, AnEntryWhoseDeliveryHasEndedByItselfHoldsNothingUp) {
  const std::vector<Delivery> members = BeginMany(2);
  const DueDigest digest = OpenDigest();
  Query("UPDATE deliveries SET state = 'suppressed', finished_at = now() WHERE delivery_id = '" +
        members[0].id.ToString() + "'");
  const DigestContents left = Read(digest);
  ASSERT_THAT(left.members, SizeIs(1));
  EXPECT_EQ(Close(ClosingOf(digest, left.members)), DigestResult::kDone);
  EXPECT_EQ(CountRows("digest_entries"), "0");
}

TEST_F(DigestStoreTest, MoreThanIsTakenAtOnceStaysInItAndIsDueAtOnce) {
  BeginMany(5);
  const DueDigest digest = OpenDigest();
  DigestContents first = Read(digest, 3);
  DigestClosing closing = ClosingOf(digest, first.members);
  EXPECT_EQ(Close(closing), DigestResult::kChanged) << "they were not expected";
  closing.more = true;
  EXPECT_EQ(Close(closing), DigestResult::kDone);
  EXPECT_EQ(Query("SELECT count(*) FROM digests WHERE closed_at IS NULL"), "1");
  EXPECT_EQ(Close(closing), DigestResult::kChanged) << "a repeat sends nothing";
  EXPECT_EQ(DigestsSent(), "1");
  EmptyOutbox();
  EXPECT_EQ(ReleaseDue(Lane::kMarketing), 1);
  const DigestContents rest = Read(digest, 3);
  EXPECT_THAT(rest.members, SizeIs(2));
  closing = ClosingOf(digest, rest.members);
  closing.more = true;
  EXPECT_EQ(Close(closing), DigestResult::kDone);
  EXPECT_EQ(Query("SELECT count(*) FROM digests WHERE closed_at IS NULL"), "0");
  EXPECT_EQ(DigestsSent(), "2");
}

TEST_F(DigestStoreTest, WhatComesWhileOneIsClosedBeginsTheNext) {
  const std::vector<Delivery> members = BeginMany(2);
  const DueDigest digest = OpenDigest();
  const NewNotification late = Accepted();
  const FeedDelivery decision =
      Waiting(late, Channel::kEmail, [](const Delivery& delivery) { return InDigest(delivery, InAnHour()); });
  // Who closes it stands still in the middle: it has the digest, and waits for a member.
  pqxx::connection holder(database().url());
  pqxx::work holding(holder);
  holding.exec("SELECT FROM deliveries WHERE delivery_id = '" + members[0].id.ToString() + "' FOR UPDATE");
  std::thread closer([&] { EXPECT_EQ(Close(ClosingOf(digest, members)), DigestResult::kDone); });
  EXPECT_TRUE(WaitForLockWaiters(1));
  std::thread adder([&] { Decide(decision); });
  EXPECT_TRUE(WaitForLockWaiters(2));
  holding.commit();
  closer.join();
  adder.join();
  const DueDigest next = OpenDigest();
  EXPECT_NE(next.id, digest.id);
  EXPECT_EQ(InSchedules("cause", next.id), "digest");
  const DigestContents contents = Read(next);
  ASSERT_THAT(contents.members, SizeIs(1));
  EXPECT_EQ(contents.members[0].item.id, late.notification.id);
  EXPECT_EQ(StateOf(late.notification.id), "accepted 1 - - open");
}

TEST_F(DigestStoreTest, WhatCameBeforeItWasClosedIsInIt) {
  const std::vector<Delivery> members = BeginMany(1);
  const DueDigest digest = OpenDigest();
  const Delivery late = BeginOne();
  const std::string id = "'" + digest.id.ToString() + "'";
  // Who adds to it stands still before the commit.
  pqxx::connection adder(database().url());
  pqxx::work adding(adder);
  adding.exec("UPDATE digests SET touched_at = clock_timestamp() WHERE digest_id = " + id);
  adding.exec("UPDATE deliveries SET state = 'held' WHERE delivery_id = '" + late.id.ToString() + "'");
  adding.exec(
      absl::StrCat("INSERT INTO digest_entries (digest_id, notification_id, delivery_id, retention_days) VALUES (", id,
                   ", '", late.item.id.ToString(), "', '", late.id.ToString(), "', 7)"));
  std::thread closer([&] { EXPECT_EQ(Close(ClosingOf(digest, members)), DigestResult::kChanged); });
  EXPECT_TRUE(WaitForLockWaiters(1));
  adding.commit();
  closer.join();
  EXPECT_EQ(Kept(members[0]).state, DeliveryState::kHeld);
  const DigestContents contents = Read(digest);
  EXPECT_THAT(contents.members, SizeIs(2));
  EXPECT_EQ(Close(ClosingOf(digest, contents.members)), DigestResult::kDone);
  EXPECT_EQ(Kept(late).state, DeliveryState::kSent);
}

TEST_F(DigestStoreTest, EachOfManyThatComeWhileOthersCloseIsInOneDigest) {
  constexpr int kEach = 15;
  std::atomic<int> adding = 2, told = 0;
  RunThreads(4, [&](int thread) {
    PostgresFeedStore feeds(MakePool(1));
    if (thread < 2) {
      for (int i = 0; i < kEach; ++i) {
        const NewNotification item = MakeNew(app_);
        AcceptOne(item);
        EXPECT_OK(feeds.Deliver(
            {Waiting(item, Channel::kEmail, [](const Delivery& delivery) { return InDigest(delivery, InAnHour()); })}));
      }
      --adding;
      return;
    }
    // Until nothing is open, and nobody adds any more.
    for (bool last = false; !last;) {
      last = adding == 0;
      const std::string open =
          Query(absl::StrCat("SELECT digest_id FROM digests WHERE closed_at IS NULL AND app_id = ", app_.value()));
      if (open.empty()) continue;
      const DueDigest digest{.app = app_,
                             .id = *Uuid::Parse(open),
                             .recipient = RecipientId("ann"),
                             .channel = Channel::kEmail,
                             .due_time = absl::Now()};
      const DigestContents contents = Read(digest);
      DigestClosing closing = ClosingOf(digest, contents.members);
      closing.more = true;
      if (contents.members.empty()) closing.notification.reset();
      const DigestResult result = Close(closing);
      if (result == DigestResult::kDone) told += static_cast<int>(contents.members.size());
      if (result != DigestResult::kGone) last = false;
    }
  });
  EXPECT_EQ(told, 2 * kEach);
  EXPECT_EQ(Query(absl::StrCat("SELECT string_agg(DISTINCT state, ' ') FROM deliveries WHERE app_id = ", app_.value())),
            "sent");
}

TEST_F(DigestStoreTest, ClosedOnesAreForgottenSoManyAtATime) {
  PostgresUpkeepStore upkeep(MakePool(1));
  BeginMany(1);
  Query(absl::StrCat("INSERT INTO digests (digest_id, app_id, closed_at, channel, recipient_id) SELECT new_uuid7(), ",
                     app_.value(), ", now() - n * interval '1 day', 'email', 'ann' FROM generate_series(1, 5) AS n"));
  const absl::Time before = absl::Now() - absl::Hours(36);
  EXPECT_THAT(upkeep.ForgetDigests(before, 3), IsOkAndHolds(3));
  EXPECT_EQ(Query("SELECT extract(day FROM now() - min(closed_at)) FROM digests"), "2") << "the oldest went first";
  EXPECT_THAT(upkeep.ForgetDigests(before, 3), IsOkAndHolds(1));
  EXPECT_THAT(upkeep.ForgetDigests(before, 3), IsOkAndHolds(0));
  EXPECT_EQ(CountRows("digests"), "2");
  EXPECT_EQ(CountRows("digest_entries"), "1");
}

}  // namespace
}  // namespace carillon::testing
