#include "carillon/postgres/recurrence_store.h"

#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/notification_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Turns = std::vector<RecurrenceTurn>;
using Due = absl::Span<const DueRecurrence>;

class RecurrenceStoreTest : public PostgresTest {
 protected:
  // What is due of any app is taken.
  RecurrenceStoreTest() {
    Query("TRUNCATE recurrences");
    Query(absl::StrCat("INSERT INTO apps (app_id, name, app_key, scopes, sandbox) OVERRIDING SYSTEM VALUE VALUES (",
                       app_.value(), ", 'recurring-", app_.value(), "', 'key-", app_.value(), "', '{}', true)"));
  }

  Recurrence Make(absl::Duration ago) {
    Recurrence recurrence;
    recurrence.id = NewUuid7(now_ + absl::Milliseconds(++made_));
    recurrence.app = app_;
    recurrence.create_time = now_;
    recurrence.next_time = now_ - ago;
    recurrence.cron = "* * * * *";
    recurrence.time_zone = "Europe/Berlin";
    recurrence.type = "like";
    recurrence.recipient = "ann";
    recurrence.request = std::string("\x01\0\xff'\\", 5);
    return recurrence;
  }
  Recurrence Create(absl::Duration ago) {
    const Recurrence recurrence = Make(ago);
    EXPECT_OK(store_.Create(recurrence));
    return recurrence;
  }
  std::vector<Recurrence> List() {
    const auto listed = store_.List({.app = app_, .after = {}, .limit = 1000});
    EXPECT_OK(listed);
    return listed.value_or(std::vector<Recurrence>());
  }
  // The ids that are due.
  std::vector<Uuid> RunDue(RecurrenceStore& store, absl::FunctionRef<Turns(Due)> carry_out) {
    std::vector<Uuid> ids;
    EXPECT_OK(store.RunDue({.now = now_, .after = {}, .limit = 100}, [&](Due due) {
      for (const DueRecurrence& one : due) ids.push_back(one.recurrence.id);
      return carry_out(due);
    }));
    return ids;
  }
  static Turns None(Due) { return {}; }
  static Turns TurnAll(Due due) {
    Turns turns;
    for (const DueRecurrence& one : due) {
      turns.push_back({one.recurrence.id, one.app_time + absl::Minutes(1), ""});
    }
    return turns;
  }
  // As a server does: accepts each under the key of its time.
  Turns AcceptEach(Due due) {
    std::vector<NewNotification> items;
    for (const DueRecurrence& one : due) {
      items.push_back(MakeKeyed(app_, absl::StrCat("cron:", one.recurrence.id.ToString(), ":",
                                                   absl::ToUnixSeconds(*one.recurrence.next_time))));
    }
    PostgresNotificationStore notifications(MakePool(1));
    const auto outcomes = notifications.Accept(items, /*all_or_nothing=*/false);
    EXPECT_OK(outcomes);
    return TurnAll(due);
  }
  std::string Sent() { return Query(absl::StrCat("SELECT count(*) FROM notifications WHERE app_id = ", app_.value())); }

  const AppId app_ = NewApp();
  const absl::Time now_ = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()));
  int made_ = 0;
  PostgresRecurrenceStore store_{MakePool(2)};
};

TEST_F(RecurrenceStoreTest, KeepsWhatItIsGiven) {
  const Recurrence made = Create(absl::ZeroDuration());
  ASSERT_THAT(List(), SizeIs(1));
  const Recurrence kept = List().front();
  EXPECT_EQ(kept.id, made.id);
  EXPECT_EQ(kept.app, app_);
  EXPECT_EQ(kept.create_time, made.create_time);
  EXPECT_EQ(kept.next_time, made.next_time);
  EXPECT_EQ(kept.cron, made.cron);
  EXPECT_EQ(kept.time_zone, made.time_zone);
  EXPECT_EQ(kept.type, made.type);
  EXPECT_EQ(kept.recipient, made.recipient);
  EXPECT_EQ(kept.last_error, "");
  RunDue(store_, [&](Due due) {
    EXPECT_EQ(due[0].recurrence.request, made.request);
    EXPECT_EQ(due[0].app_time, now_);
    return Turns();
  });
}

TEST_F(RecurrenceStoreTest, ListsAnAppsOwnByIdAfterThePageBefore) {
  const Uuid a = Create(absl::ZeroDuration()).id;
  const Uuid b = Create(absl::Hours(1)).id;
  const Uuid c = Create(-absl::Hours(1)).id;
  ASSERT_OK_AND_ASSIGN(const auto first, store_.List({.app = app_, .after = {}, .limit = 2}));
  ASSERT_THAT(first, SizeIs(2));
  EXPECT_EQ(first[0].id, a);
  EXPECT_EQ(first[1].id, b);
  ASSERT_OK_AND_ASSIGN(const auto second, store_.List({.app = app_, .after = b, .limit = 2}));
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].id, c);
  ASSERT_OK_AND_ASSIGN(const auto others, store_.List({.app = NewApp(), .after = {}, .limit = 2}));
  EXPECT_THAT(others, IsEmpty());
}

TEST_F(RecurrenceStoreTest, DeletesAnAppsOwnOnce) {
  const Uuid id = Create(absl::ZeroDuration()).id;
  EXPECT_EQ(store_.Delete(NewApp(), id).value(), false);
  EXPECT_EQ(store_.Delete(app_, id).value(), true);
  EXPECT_EQ(store_.Delete(app_, id).value(), false);
  EXPECT_THAT(List(), IsEmpty());
}

TEST_F(RecurrenceStoreTest, AnAppHasAtMostAThousandHoweverManyComeAtOnce) {
  Query(absl::StrCat(
      "INSERT INTO recurrences (recurrence_id, app_id, cron, time_zone, type, request) SELECT new_uuid7(), ",
      app_.value(), ", '@daily', '', 'like', '' FROM generate_series(1, 995)"));
  std::vector<Recurrence> more;
  for (int i = 0; i < 10; ++i) more.push_back(Make(absl::ZeroDuration()));
  PostgresRecurrenceStore store(MakePool(10));
  std::atomic<int> created = 0;
  RunThreads(10, [&](int i) { created += store.Create(more[i]).ok() ? 1 : 0; });
  EXPECT_EQ(created, 5);
  EXPECT_THAT(store_.Create(Make(absl::ZeroDuration())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("recurrence: would be more than the 1000")));
  EXPECT_THAT(List(), SizeIs(1000));
}

TEST_F(RecurrenceStoreTest, RunsWhatIsDueEarliestFirst) {
  const Uuid late = Create(absl::Minutes(1)).id;
  const Uuid now = Create(absl::ZeroDuration()).id;
  const Uuid early = Create(absl::Hours(1)).id;
  Create(-absl::Seconds(1));
  EXPECT_THAT(RunDue(store_, None), ElementsAre(early, late, now));
}

TEST_F(RecurrenceStoreTest, WritesTurnsAndLeavesTheOthersDue) {
  const Uuid refused = Create(absl::Seconds(3)).id;
  const Uuid ended = Create(absl::Seconds(2)).id;
  const Uuid left = Create(absl::Seconds(1)).id;
  RunDue(store_, [&](Due) {
    return Turns{{refused, now_ + absl::Hours(1), "no such type"}, {ended, std::nullopt, ""}};
  });
  const std::vector<Recurrence> after = List();
  ASSERT_THAT(after, SizeIs(3));
  EXPECT_EQ(after[0].next_time, now_ + absl::Hours(1));
  EXPECT_EQ(after[0].last_error, "no such type");
  EXPECT_EQ(after[1].next_time, std::nullopt);
  EXPECT_EQ(after[1].last_error, "");
  EXPECT_THAT(RunDue(store_, TurnAll), ElementsAre(left));
  EXPECT_THAT(RunDue(store_, None), IsEmpty());
}

TEST_F(RecurrenceStoreTest, GoesOnAfterAFullStepWithoutWhatWasLeft) {
  std::vector<Uuid> all;
  for (int i = 0; i < 5; ++i) all.push_back(Create(absl::ZeroDuration()).id);
  std::vector<Uuid> seen;
  const auto look = [&](Due due) {
    for (const DueRecurrence& one : due) seen.push_back(one.recurrence.id);
    return Turns();
  };
  RecurrenceStore::DueQuery query{.now = now_, .after = {}, .limit = 2};
  int steps = 0;
  do {
    ASSERT_OK_AND_ASSIGN(query.after, store_.RunDue(query, look));
    ++steps;
  } while (query.after.has_value());
  EXPECT_EQ(seen, all);
  EXPECT_EQ(steps, 3);
}

TEST_F(RecurrenceStoreTest, IsDueByTheClockOfItsApp) {
  const Uuid now = Create(absl::ZeroDuration()).id;
  const Uuid tomorrow = Create(-absl::Hours(24)).id;
  Create(-absl::Hours(25));
  const auto set_clock = [this](absl::Duration offset) {
    Query(absl::StrCat("UPDATE apps SET clock_offset = ", absl::ToInt64Microseconds(offset),
                       " WHERE app_id = ", app_.value()));
  };
  set_clock(absl::Hours(24) - absl::Microseconds(1));
  EXPECT_THAT(RunDue(store_, None), ElementsAre(now));
  set_clock(absl::Hours(24));
  EXPECT_THAT(RunDue(store_,
                     [&](Due due) {
                       for (const DueRecurrence& one : due) EXPECT_EQ(one.app_time, now_ + absl::Hours(24));
                       return TurnAll(due);
                     }),
              ElementsAre(now, tomorrow));
  EXPECT_THAT(RunDue(store_, None), IsEmpty());
}

TEST_F(RecurrenceStoreTest, WhatOneHoldsNobodyElseGets) {
  const Uuid due = Create(absl::ZeroDuration()).id;
  Query(absl::StrCat("UPDATE apps SET clock_offset = 3600000000 WHERE app_id = ", app_.value()));
  const Uuid ahead = Create(-absl::Minutes(30)).id;
  PostgresRecurrenceStore other(MakePool(1));
  EXPECT_THAT(RunDue(store_,
                     [&](Due held) {
                       EXPECT_THAT(RunDue(other, TurnAll), IsEmpty());
                       return TurnAll(held);
                     }),
              ElementsAre(due, ahead));
  EXPECT_THAT(RunDue(other, TurnAll), IsEmpty());
}

TEST_F(RecurrenceStoreTest, AnOccurrenceIsSentOnceByManyServers) {
  constexpr int kRecurrences = 60;
  for (int i = 0; i < kRecurrences; ++i) Create(absl::ZeroDuration());
  RunThreads(4, [&](int) {
    PostgresRecurrenceStore store(MakePool(1));
    while (!RunDue(store, [&](Due due) { return AcceptEach(due.subspan(0, 7)); }).empty()) {
    }
  });
  EXPECT_EQ(Sent(), absl::StrCat(kRecurrences));
}

TEST_F(RecurrenceStoreTest, AnOccurrenceIsSentOnceThoughAServerDiesBeforeItSaysSo) {
  const Uuid id = Create(absl::ZeroDuration()).id;
  PgOptions options = Options();
  options.application_name = "doomed_ticker";
  PostgresRecurrenceStore doomed(std::make_shared<PgPool>(options, 1));
  const auto died = doomed.RunDue({.now = now_, .after = {}, .limit = 100}, [&](Due due) {
    const Turns turns = AcceptEach(due);
    Query("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = 'doomed_ticker'");
    return turns;
  });
  EXPECT_THAT(died, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Sent(), "1");
  // It is due as before, and sent by the next one under the same key.
  EXPECT_THAT(RunDue(store_, [&](Due due) { return AcceptEach(due); }), ElementsAre(id));
  EXPECT_EQ(Sent(), "1");
  EXPECT_EQ(List().front().next_time, now_ + absl::Minutes(1));
}

}  // namespace
}  // namespace carillon::testing
