// Notifications that are sent later: accepted, released, watched, and forgotten.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/upkeep_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

// As the door makes it: its id says when it is due.
NewNotification MakeDue(AppId app, absl::Time due, int retention_days = 7) {
  NewNotification item = MakeKeyed(app, absl::StrCat("at-", absl::ToUnixNanos(due)));
  item.due_time = absl::FromUnixMicros(absl::ToUnixMicros(due));
  item.notification.send_time = item.due_time;
  item.notification.id = NewUuid7(due);
  item.notification.retention_days = retention_days;
  return item;
}

// These look at whole tables, so each begins with empty ones.
class Scheduled : public PostgresTest {
 protected:
  void SetUp() override {
    Query(
        "DELETE FROM notifications; DELETE FROM feed_items; DELETE FROM feed_heads; DELETE FROM outbox;"
        "DELETE FROM schedules; DELETE FROM stragglers; DELETE FROM idempotency_keys;"
        "UPDATE sweep_positions SET position = '00000000-0000-0000-0000-000000000000';"
        "SELECT ensure_slices(now() - interval '2 days', now() + interval '1 day')");
  }

  NotificationRecord Get(const NewNotification& item) {
    const absl::StatusOr<NotificationRecord> record = store_.Get(app_, item.notification.id);
    EXPECT_OK(record);
    return record.value_or(NotificationRecord());
  }
  static int ReleaseAll() {
    return std::stoi(
        Query("SELECT release_scheduled(ARRAY(SELECT schedule_id FROM schedules WHERE cause = 'send_time'))"));
  }
  static void SweepAll() {
    PostgresUpkeepStore upkeep(MakePool(1));
    for (const UpkeepStore::Pass pass : {UpkeepStore::Pass::kEarly, UpkeepStore::Pass::kLate}) {
      absl::StatusOr<int> read = 1;
      while (read.ok() && *read > 0) read = upkeep.SweepStep(pass, absl::Now() + absl::Minutes(1), 100);
      ASSERT_OK(read);
    }
  }
  std::vector<Notification> Idle(absl::Time since) {
    const auto due = upkeep_.DueStragglers(Lane::kSocial, since, absl::ZeroDuration(), 100);
    EXPECT_OK(due);
    return due.value_or(std::vector<Notification>());
  }
  static std::string Count(const std::string& table) { return Query("SELECT count(*) FROM " + table); }

  const AppId app_ = NewApp();
  PostgresNotificationStore store_{MakePool(2)};
  PostgresUpkeepStore upkeep_{MakePool(1)};
};

TEST_F(Scheduled, WaitsWithItsWholeMessageAndTakesItsKey) {
  const NewNotification item = MakeDue(app_, absl::Now() + absl::Hours(24 * 300), 1);
  AcceptOne(item);
  EXPECT_EQ(Count("outbox"), "0");
  EXPECT_EQ(
      Query("SELECT lane || ' ' || exchange || ' ' || routing_key || ' ' || type || ' ' || retention_days || ' ' ||"
            " channel || recipient_id || ' ' || encode(payload, 'escape') FROM schedules"
            " WHERE cause = 'send_time' AND message_id = notification_id"),
      "social carillon.direct social.like like 1 ann envelope");
  EXPECT_EQ(Query("SELECT (extract(epoch FROM due_at) * 1e6)::bigint FROM schedules"),
            absl::StrCat(absl::ToUnixMicros(*item.due_time)));
  const NotificationRecord record = Get(item);
  EXPECT_EQ(record.state, State::kScheduled);
  EXPECT_EQ(record.notification.send_time, item.notification.send_time);
  EXPECT_EQ(record.notification.create_time, item.notification.create_time);
  EXPECT_THAT(store_.List({.app = app_, .recipient = "ann", .state = State::kScheduled, .older_than = {}, .limit = 5}),
              IsOkAndHolds(SizeIs(1)));
}

TEST_F(Scheduled, AnswersARepeatWithTheFirstAndWaitsOnce) {
  const NewNotification item = MakeDue(app_, absl::Now() + absl::Hours(1));
  AcceptOne(item);
  NewNotification again = item;
  again.notification.id = NewUuid7(*item.due_time);
  ASSERT_OK_AND_ASSIGN(const std::vector<AcceptOutcome> outcomes, store_.Accept({item, again, MakeNew(app_)}, false));
  EXPECT_EQ(outcomes[1].id, item.notification.id);
  EXPECT_TRUE(outcomes[1].duplicate);
  EXPECT_EQ(Count("schedules"), "1");
  EXPECT_EQ(Count("outbox"), "1");
  EXPECT_EQ(Count("notifications"), "2");
}

TEST_F(Scheduled, IsReleasedIntoTheOutboxAndTheClassOfItsType) {
  const NewNotification item = MakeDue(app_, absl::Now());
  AcceptOne(item);
  EXPECT_EQ(ReleaseAll(), 1);
  EXPECT_EQ(ReleaseAll(), 0);
  EXPECT_EQ(Count("schedules"), "0");
  EXPECT_EQ(Query("SELECT encode(payload, 'escape') FROM outbox WHERE message_id = '" +
                  item.notification.id.ToString() + "'"),
            "envelope");
  EXPECT_EQ(Query("SELECT retention_days || state FROM notifications"), "7accepted");
  const NotificationRecord record = Get(item);
  EXPECT_EQ(record.state, State::kAccepted);
  EXPECT_EQ(record.idempotency_key, item.idempotency_key);
  ASSERT_TRUE(record.release_time.has_value());
  // The sweep comes by its id: nobody has to watch it.
  EXPECT_EQ(Count("stragglers"), "0");
  PostgresFeedStore feeds(MakePool(1));
  const FeedDelivery delivery = DeliveryOf(item);
  ASSERT_OK(feeds.Deliver({&delivery, 1}));
  EXPECT_EQ(Get(item).state, State::kDelivered);
}

TEST_F(Scheduled, HasASliceWheneverItIsReleased) {
  const NewNotification long_ago = MakeDue(app_, absl::Now() - absl::Hours(24 * 40), 1);
  const NewNotification ahead = MakeDue(app_, absl::Now() + absl::Hours(24 * 200), 365);
  AcceptAll({long_ago, ahead});
  EXPECT_EQ(ReleaseAll(), 2);
  EXPECT_EQ(Get(long_ago).state, State::kAccepted);
  EXPECT_EQ(Get(ahead).state, State::kAccepted);
  PostgresFeedStore feeds(MakePool(1));
  for (const NewNotification& item : {long_ago, ahead}) {
    const FeedDelivery delivery = DeliveryOf(item);
    ASSERT_OK(feeds.Deliver({&delivery, 1}));
    EXPECT_EQ(Get(item).state, State::kDelivered);
  }
}

TEST_F(Scheduled, LeavesWhatMayBeDroppedAlongWithItsSliceForTheNextCall) {
  AcceptAll({MakeDue(app_, absl::Now() - absl::Hours(24 * 40), 1), MakeDue(app_, absl::Now(), 1)});
  PgSession retiring(Options());
  ASSERT_OK(retiring.Run(
      [](pqxx::transaction_base& transaction) { transaction.exec("SELECT pg_advisory_lock(7205410634)"); }));
  EXPECT_EQ(ReleaseAll(), 1);
  EXPECT_EQ(Count("schedules"), "1");
  retiring.Disconnect();
  // The server ends a session a moment after its client has gone.
  int released = 0;
  ASSERT_TRUE(WaitFor([&] { return (released = ReleaseAll()) > 0; }));
  EXPECT_EQ(released, 1);
}

TEST_F(Scheduled, ReleasesNothingOfWhatWasErased) {
  AcceptOne(MakeDue(app_, absl::Now()));
  Query("DELETE FROM notifications");
  EXPECT_EQ(ReleaseAll(), 0);
  EXPECT_EQ(Count("schedules"), "0");
  EXPECT_EQ(Count("outbox"), "0");
}

TEST_F(Scheduled, IsNeitherSweptNorDroppedBeforeItsTime) {
  AcceptAll({MakeDue(app_, absl::Now() - absl::Hours(1)), MakeDue(app_, absl::Now() + absl::Hours(24 * 30), 1)});
  SweepAll();
  EXPECT_THAT(Idle(absl::Now() + absl::Hours(1)), IsEmpty());
  absl::StatusOr<bool> more = true;
  while (more.ok() && *more) more = upkeep_.RetireStep(absl::Now() + absl::Hours(24 * 29), 100);
  ASSERT_OK(more);
  EXPECT_EQ(Query("SELECT count(*) FROM notifications WHERE state = 'scheduled'"), "2");
  EXPECT_EQ(ReleaseAll(), 2);
}

// Its row must not hold what others' retention ends.
TEST_F(Scheduled, KeepsNoSliceAlive) {
  NewNotification item = MakeDue(app_, absl::Now() + absl::Hours(24 * 30));
  item.notification.id = NewUuid7(absl::Now());  // As in a sandbox.
  AcceptOne(item);
  SweepAll();
  absl::StatusOr<bool> more = true;
  while (more.ok() && *more) more = upkeep_.RetireStep(absl::Now() + absl::Hours(24 * 9), 100);
  ASSERT_OK(more);
  EXPECT_EQ(Query("SELECT count(*) FROM slices WHERE retention_days = 7 AND starts_at <= now()"), "0");
  EXPECT_EQ(ReleaseAll(), 1);
  EXPECT_EQ(Get(item).state, State::kAccepted);
}

TEST_F(Scheduled, IsIdleFromItsReleaseOnHoweverLateThatWas) {
  NewNotification item = MakeDue(app_, absl::Now() - absl::Hours(2));
  item.notification.create_time = absl::Now() - absl::Hours(24);
  AcceptOne(item);
  SweepAll();
  const absl::Time before = absl::Now();
  ASSERT_EQ(ReleaseAll(), 1);
  Query("DELETE FROM outbox");
  EXPECT_THAT(Idle(before - absl::Seconds(1)), IsEmpty());
  const std::vector<Notification> lost = Idle(absl::Now() + absl::Seconds(1));
  ASSERT_THAT(lost, SizeIs(1));
  EXPECT_EQ(lost[0].id, item.notification.id);
  EXPECT_EQ(lost[0].retention_days, 7);
  // What readers see of it is the time when it was due.
  EXPECT_EQ(lost[0].create_time, *item.notification.send_time);
}

TEST_F(Scheduled, IsForgottenAWeekAfterItWasCancelled) {
  const NewNotification item = MakeDue(app_, absl::Now() + absl::Hours(24));
  AcceptAll({item, MakeDue(app_, absl::Now() + absl::Hours(48))});
  ASSERT_OK(store_.Cancel(app_, item.notification.id));
  ASSERT_OK(upkeep_.ExpireKeys(absl::Now() + absl::Hours(24 * 7) - absl::Minutes(1), 100));
  EXPECT_EQ(Get(item).state, State::kCancelled);
  ASSERT_OK(upkeep_.ExpireKeys(absl::Now() + absl::Hours(24 * 7) + absl::Minutes(1), 100));
  EXPECT_THAT(store_.Get(app_, item.notification.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Count("notifications"), "1");
}

}  // namespace
}  // namespace carillon::testing
