#include <gmock/gmock.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/ports/wake_signal.h"
#include "carillon/postgres/outbox_listener.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/postgres/outbox_waker.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

using Rows = std::vector<OutboxRow>;
using Failure = OutboxReader::Failure;

class OutboxTest : public PostgresTest {
 protected:
  void SetUp() override { EmptyOutbox(); }

  std::vector<NewNotification> AcceptMany(int count) {
    std::vector<NewNotification> items;
    const absl::Time now = absl::Now();
    for (int i = 0; i < count; ++i) items.push_back(At(MakeNew(app_), now + absl::Milliseconds(i)));
    AcceptAll(items);
    return items;
  }
  static std::string CountRows() { return Query("SELECT count(*) FROM outbox"); }
  static Failure PutOff(const OutboxRow& row, std::string error, absl::Duration delay) {
    return {.row = &row, .error = std::move(error), .delay = delay};
  }
  static PgOptions Named(const std::string& name) {
    PgOptions options = Options();
    options.application_name = name;
    return options;
  }
  static void Terminate(const std::string& name) {
    Query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" + name + "'");
  }

  const AppId app_ = NewApp();
  PostgresOutboxReader reader_{Options(), Lane::kSocial};
};

TEST_F(OutboxTest, TakesTheOldestRowsWithEverythingTheyHold) {
  std::vector<NewNotification> items = AcceptMany(3);
  NewNotification traced = At(MakeNew(app_), absl::Now() - absl::Hours(1));
  traced.notification.traceparent = "00-1-2-01";
  traced.envelope = std::string("\0\xff\"\\x", 5);
  AcceptOne(traced);
  ASSERT_OK_AND_ASSIGN(const Rows rows, reader_.Take(2));
  ASSERT_THAT(rows, SizeIs(2));
  EXPECT_EQ(rows[0].message_id, traced.notification.id);
  EXPECT_EQ(rows[0].app, app_);
  EXPECT_EQ(rows[0].attempts, 0);
  EXPECT_EQ(rows[0].exchange, "carillon.direct");
  EXPECT_EQ(rows[0].routing_key, "social.like");
  EXPECT_EQ(rows[0].type, "like");
  EXPECT_EQ(rows[0].traceparent, "00-1-2-01");
  EXPECT_EQ(rows[0].payload, traced.envelope);
  EXPECT_EQ(rows[1].message_id, items[0].notification.id);
  EXPECT_EQ(rows[1].traceparent, "");
}

TEST_F(OutboxTest, TakesNothingOfAnotherLane) {
  AcceptMany(3);
  PostgresOutboxReader payment(Options(), Lane::kPayment);
  EXPECT_THAT(payment.Take(10), IsOkAndHolds(IsEmpty()));
}

TEST_F(OutboxTest, DeletesExactlyWhatWasTaken) {
  const std::vector<NewNotification> items = AcceptMany(5);
  ASSERT_THAT(reader_.Take(4), IsOkAndHolds(SizeIs(4)));
  // Until then nobody sees them gone.
  EXPECT_EQ(CountRows(), "5");
  ASSERT_OK(reader_.Settle({}));
  EXPECT_EQ(CountRows(), "1");
  ASSERT_OK_AND_ASSIGN(const Rows rows, reader_.Take(10));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].message_id, items[4].notification.id);
  ASSERT_OK(reader_.Settle({}));
  EXPECT_EQ(CountRows(), "0");
}

TEST_F(OutboxTest, LetsRowsGoAsTheyWere) {
  const std::vector<NewNotification> items = AcceptMany(3);
  ASSERT_THAT(reader_.Take(3), IsOkAndHolds(SizeIs(3)));
  ASSERT_OK(reader_.Release());
  ASSERT_OK_AND_ASSIGN(const Rows rows, reader_.Take(3));
  ASSERT_THAT(rows, SizeIs(3));
  EXPECT_EQ(rows[0].message_id, items[0].notification.id);
  EXPECT_EQ(rows[0].attempts, 0);
  ASSERT_OK(reader_.Release());
  // Without having taken both are nothing.
  ASSERT_OK(reader_.Release());
  ASSERT_OK(reader_.Settle({}));
  EXPECT_EQ(CountRows(), "3");
}

TEST_F(OutboxTest, PutsFailedRowsOffAndReleasesThemWhenDue) {
  NewNotification traced = MakeNew(app_);
  traced.notification.traceparent = "00-1-2-01";
  traced.envelope = std::string("\0\xff\"\\x", 5);
  AcceptOne(traced);
  AcceptMany(2);
  ASSERT_OK_AND_ASSIGN(Rows rows, reader_.Take(3));
  ASSERT_THAT(rows, SizeIs(3));
  const OutboxRow first = rows[0];
  ASSERT_OK(reader_.Settle({PutOff(rows[0], "soon 'quoted' {\"", absl::ZeroDuration()),
                            PutOff(rows[2], std::string(5000, 'x'), absl::Hours(1))}));
  EXPECT_THAT(reader_.Take(3), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(
      Query("SELECT string_agg(attempts || ':' || length(last_error), ' ' ORDER BY length(last_error)) FROM outbox "
            "WHERE deferred"),
      "1:16 1:1000");
  EXPECT_THAT(reader_.ReleaseDue(100), IsOkAndHolds(1));
  EXPECT_THAT(reader_.ReleaseDue(100), IsOkAndHolds(0));
  ASSERT_OK_AND_ASSIGN(rows, reader_.Take(3));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].message_id, first.message_id);
  EXPECT_EQ(rows[0].app, app_);
  EXPECT_EQ(rows[0].attempts, 1);
  EXPECT_EQ(rows[0].exchange, first.exchange);
  EXPECT_EQ(rows[0].routing_key, first.routing_key);
  EXPECT_EQ(rows[0].type, first.type);
  EXPECT_EQ(rows[0].traceparent, first.traceparent);
  EXPECT_EQ(rows[0].payload, first.payload);
  ASSERT_OK(reader_.Settle({PutOff(rows[0], "again", absl::ZeroDuration())}));
  EXPECT_THAT(reader_.ReleaseDue(100), IsOkAndHolds(1));
  ASSERT_OK_AND_ASSIGN(rows, reader_.Take(3));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].attempts, 2);
}

// An error text may come from anywhere, and is cut at a byte.
TEST_F(OutboxTest, PutsRowsOffWhateverTheirErrorSays) {
  AcceptMany(2);
  ASSERT_OK_AND_ASSIGN(const Rows rows, reader_.Take(2));
  ASSERT_THAT(rows, SizeIs(2));
  ASSERT_OK(reader_.Settle({PutOff(rows[0], std::string(999, 'x') + "ä", absl::Hours(1)),
                            PutOff(rows[1], std::string("\xff\0\x80", 3), absl::Hours(1))}));
  EXPECT_EQ(Query("SELECT count(*) FROM outbox WHERE deferred"), "2");
}

TEST_F(OutboxTest, ReleasesTheLongestDueFirstAndNoMoreThanAsked) {
  AcceptMany(4);
  ASSERT_OK_AND_ASSIGN(const Rows rows, reader_.Take(4));
  ASSERT_THAT(rows, SizeIs(4));
  ASSERT_OK(reader_.Settle({PutOff(rows[0], "", -absl::Minutes(1)), PutOff(rows[1], "", -absl::Minutes(3)),
                            PutOff(rows[2], "", -absl::Minutes(2)), PutOff(rows[3], "", absl::Hours(1))}));
  EXPECT_THAT(reader_.ReleaseDue(2), IsOkAndHolds(2));
  EXPECT_EQ(Query("SELECT count(*) FROM outbox WHERE deferred AND available_at <= now() - interval '2 minutes'"), "0");
  EXPECT_THAT(reader_.ReleaseDue(2), IsOkAndHolds(1));
}

TEST_F(OutboxTest, NeverGivesARowToTwoReaders) {
  constexpr int kRows = 2000;
  constexpr int kReaders = 4;
  AcceptMany(kRows);
  std::vector<std::vector<Uuid>> published(kReaders);
  RunThreads(kReaders, [&](int thread) {
    PostgresOutboxReader reader(Options(), Lane::kSocial);
    while (true) {
      const absl::StatusOr<int> released = reader.ReleaseDue(100);
      ASSERT_OK(released);
      const absl::StatusOr<Rows> rows = reader.Take(37);
      ASSERT_OK(rows);
      if (rows->empty() && CountRows() == "0") return;
      std::vector<Failure> failures;
      for (size_t i = 0; i < rows->size(); ++i) {
        if (i % 5 == 0 && (*rows)[i].attempts == 0) {
          failures.push_back(PutOff((*rows)[i], "failed once", absl::ZeroDuration()));
        } else {
          published[thread].push_back((*rows)[i].message_id);
        }
      }
      ASSERT_OK(reader.Settle(failures));
    }
  });
  std::set<Uuid> all;
  size_t count = 0;
  for (const auto& own : published) {
    all.insert(own.begin(), own.end());
    count += own.size();
  }
  EXPECT_EQ(count, kRows);
  EXPECT_THAT(all, SizeIs(kRows));
}

TEST_F(OutboxTest, FreesItsRowsWhenItsConnectionDies) {
  AcceptMany(3);
  PostgresOutboxReader dying(Named("dying_reader"), Lane::kSocial);
  ASSERT_THAT(dying.Take(2), IsOkAndHolds(SizeIs(2)));
  ASSERT_THAT(reader_.Take(3), IsOkAndHolds(SizeIs(1)));
  ASSERT_OK(reader_.Release());
  Terminate("dying_reader");
  EXPECT_TRUE(WaitFor([&] {
    const absl::StatusOr<Rows> rows = reader_.Take(3);
    EXPECT_OK(rows);
    EXPECT_OK(reader_.Release());
    return rows.ok() && rows->size() == 3;
  }));
  EXPECT_THAT(dying.Settle({}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(CountRows(), "3");
  // It connects again by itself.
  EXPECT_THAT(dying.Take(3), IsOkAndHolds(SizeIs(3)));
}

TEST_F(OutboxTest, FreesItsRowsWhenItIsDestroyed) {
  AcceptMany(2);
  {
    PostgresOutboxReader other(Options(), Lane::kSocial);
    ASSERT_THAT(other.Take(2), IsOkAndHolds(SizeIs(2)));
  }
  EXPECT_TRUE(WaitFor([&] {
    const absl::StatusOr<Rows> rows = reader_.Take(2);
    EXPECT_OK(reader_.Release());
    return rows.ok() && rows->size() == 2;
  }));
}

// What a relay does with wake-ups.
class WakeTest : public OutboxTest {
 protected:
  // Until the listener has connected: its first signals tell.
  void WaitUntilListening() {
    for (const Lane lane : kAllLanes) ASSERT_TRUE(wakes_[lane].WaitFor(absl::Seconds(30)));
  }

  std::map<Lane, WakeSignal> wakes_ = [] {
    std::map<Lane, WakeSignal> wakes;
    for (const Lane lane : kAllLanes) wakes[lane];
    return wakes;
  }();
  std::atomic<int> losses_ = 0;
  PostgresOutboxListener listener_{Named("listener"), [this](Lane lane) { wakes_.at(lane).Set(); },
                                   [this](const absl::Status&) { ++losses_; }};
};

TEST_F(WakeTest, HearsTheWakerOfEachLane) {
  WaitUntilListening();
  PostgresOutboxWaker waker(Options());
  for (int round = 0; round < 3; ++round) {
    waker.Wake(Lane::kSocial);
    waker.Wake(Lane::kSocial);
    waker.Wake(Lane::kPayment);
    EXPECT_TRUE(wakes_[Lane::kSocial].WaitFor(absl::Seconds(30)));
    EXPECT_TRUE(wakes_[Lane::kPayment].WaitFor(absl::Seconds(30)));
  }
  EXPECT_FALSE(wakes_[Lane::kMarketing].WaitFor(absl::ZeroDuration()));
}

TEST_F(WakeTest, WakesEveryLaneWhenItsConnectionWasLost) {
  WaitUntilListening();
  EXPECT_EQ(losses_, 0);
  Terminate("listener");
  WaitUntilListening();
  EXPECT_GE(losses_, 1);
  PostgresOutboxWaker waker(Options());
  waker.Wake(Lane::kOtp);
  EXPECT_TRUE(wakes_[Lane::kOtp].WaitFor(absl::Seconds(30)));
}

TEST_F(WakeTest, WakerSendsWhatIsPendingBeforeItEnds) {
  WaitUntilListening();
  { PostgresOutboxWaker(Options()).Wake(Lane::kSocial); }
  EXPECT_TRUE(wakes_[Lane::kSocial].WaitFor(absl::Seconds(30)));
}

TEST_F(WakeTest, WakerSurvivesALostConnection) {
  WaitUntilListening();
  PostgresOutboxWaker waker(Named("waker"));
  waker.Wake(Lane::kSocial);
  EXPECT_TRUE(wakes_[Lane::kSocial].WaitFor(absl::Seconds(30)));
  Terminate("waker");
  // One may be lost with a connection; those after it are not.
  EXPECT_TRUE(testing::WaitFor([&] {
    waker.Wake(Lane::kSocial);
    return wakes_[Lane::kSocial].WaitFor(absl::Seconds(1));
  }));
}

}  // namespace
}  // namespace carillon::testing
