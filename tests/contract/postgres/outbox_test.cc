#include <gmock/gmock.h>

#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
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
  static void SettleAll(OutboxReader& reader, const Rows& rows) {
    std::vector<size_t> all(rows.size());
    for (size_t i = 0; i < all.size(); ++i) all[i] = i;
    ASSERT_OK(reader.Settle(all, {}));
  }
  static PgOptions Named(const std::string& name) {
    PgOptions options = Options();
    options.application_name = name;
    return options;
  }
  static void Terminate(const std::string& name) {
    Query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" + name + "'");
  }

  // True if a wake-up arrives. One may be lost with a connection; those after it are not.
  static bool Wakes(PostgresOutboxWaker& waker, PostgresOutboxReader& reader) {
    waker.Wake(Lane::kSocial);
    const absl::Time start = absl::Now();
    return reader.WaitForRows(absl::Seconds(1)).ok() && absl::Now() - start < absl::Milliseconds(900);
  }

  const AppId app_ = NewApp();
  PostgresOutboxReader reader_{Options(), Lane::kSocial};
};

TEST_F(OutboxTest, TakesTheOldestRowsWithEverythingTheyHold) {
  std::vector<NewNotification> items = AcceptMany(3);
  NewNotification traced = At(MakeNew(app_), absl::Now() - absl::Hours(1));
  traced.traceparent = "00-1-2-01";
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

TEST_F(OutboxTest, DeletesExactlyThePublishedRows) {
  const std::vector<NewNotification> items = AcceptMany(5);
  ASSERT_THAT(reader_.Take(4), IsOkAndHolds(SizeIs(4)));
  ASSERT_OK(reader_.Settle({0, 2}, {}));
  ASSERT_OK_AND_ASSIGN(const Rows rows, reader_.Take(10));
  ASSERT_THAT(rows, SizeIs(3));
  EXPECT_EQ(rows[0].message_id, items[1].notification.id);
  EXPECT_EQ(rows[1].message_id, items[3].notification.id);
  EXPECT_EQ(rows[2].message_id, items[4].notification.id);
  EXPECT_EQ(rows[0].attempts, 0);
  SettleAll(reader_, rows);
  EXPECT_EQ(CountRows(), "0");
}

TEST_F(OutboxTest, LetsRowsGoAsTheyWere) {
  AcceptMany(3);
  ASSERT_THAT(reader_.Take(3), IsOkAndHolds(SizeIs(3)));
  ASSERT_OK(reader_.Settle({}, {}));
  ASSERT_THAT(reader_.Take(3), IsOkAndHolds(SizeIs(3)));
  ASSERT_OK(reader_.Settle({}, {}));
  // Settling without having taken is nothing.
  ASSERT_OK(reader_.Settle({}, {}));
}

TEST_F(OutboxTest, PutsFailedRowsOffAndReleasesThemWhenDue) {
  const std::vector<NewNotification> items = AcceptMany(3);
  ASSERT_THAT(reader_.Take(3), IsOkAndHolds(SizeIs(3)));
  ASSERT_OK(reader_.Settle({1}, {Failure{0, "soon 'quoted' {\"", absl::ZeroDuration()},
                                 Failure{2, std::string(5000, 'x'), absl::Hours(1)}}));
  EXPECT_THAT(reader_.Take(3), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(Query("SELECT string_agg(attempts || ':' || length(last_error), ' ' ORDER BY message_id) FROM outbox WHERE "
                  "deferred"),
            "1:16 1:1000");
  EXPECT_THAT(reader_.ReleaseDue(100), IsOkAndHolds(1));
  EXPECT_THAT(reader_.ReleaseDue(100), IsOkAndHolds(0));
  ASSERT_OK_AND_ASSIGN(Rows rows, reader_.Take(3));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].message_id, items[0].notification.id);
  EXPECT_EQ(rows[0].attempts, 1);
  EXPECT_EQ(rows[0].payload, "envelope");
  ASSERT_OK(reader_.Settle({}, {Failure{0, "again", absl::ZeroDuration()}}));
  EXPECT_THAT(reader_.ReleaseDue(100), IsOkAndHolds(1));
  ASSERT_OK_AND_ASSIGN(rows, reader_.Take(3));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].attempts, 2);
}

// An error text may come from anywhere, and is cut at a byte.
TEST_F(OutboxTest, PutsRowsOffWhateverTheirErrorSays) {
  AcceptMany(2);
  ASSERT_THAT(reader_.Take(2), IsOkAndHolds(SizeIs(2)));
  ASSERT_OK(reader_.Settle({}, {Failure{0, std::string(999, 'x') + "ä", absl::Hours(1)},
                                Failure{1, std::string("\xff\0\x80", 3), absl::Hours(1)}}));
  EXPECT_EQ(Query("SELECT count(*) FROM outbox WHERE deferred"), "2");
}

TEST_F(OutboxTest, ReleasesTheLongestDueFirstAndNoMoreThanAsked) {
  AcceptMany(4);
  ASSERT_THAT(reader_.Take(4), IsOkAndHolds(SizeIs(4)));
  ASSERT_OK(reader_.Settle({}, {Failure{0, "", -absl::Seconds(1)}, Failure{1, "", -absl::Seconds(3)},
                                Failure{2, "", -absl::Seconds(2)}, Failure{3, "", absl::Hours(1)}}));
  EXPECT_THAT(reader_.ReleaseDue(2), IsOkAndHolds(2));
  EXPECT_EQ(Query("SELECT count(*) FROM outbox WHERE deferred AND available_at <= now() - interval '2 seconds'"), "0");
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
      std::vector<size_t> confirmed;
      std::vector<Failure> failures;
      for (size_t i = 0; i < rows->size(); ++i) {
        if (i % 5 == 0 && (*rows)[i].attempts == 0) {
          failures.push_back({i, "failed once", absl::ZeroDuration()});
        } else {
          confirmed.push_back(i);
          published[thread].push_back((*rows)[i].message_id);
        }
      }
      ASSERT_OK(reader.Settle(confirmed, failures));
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
  ASSERT_OK(reader_.Settle({}, {}));
  Terminate("dying_reader");
  EXPECT_TRUE(WaitFor([&] {
    const absl::StatusOr<Rows> rows = reader_.Take(3);
    EXPECT_OK(rows);
    EXPECT_OK(reader_.Settle({}, {}));
    return rows.ok() && rows->size() == 3;
  }));
  EXPECT_THAT(dying.Settle({0, 1}, {}), StatusIs(absl::StatusCode::kUnavailable));
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
    EXPECT_OK(reader_.Settle({}, {}));
    return rows.ok() && rows->size() == 2;
  }));
}

TEST_F(OutboxTest, StopsWaitingWhenItsConnectionDiesAndMakesAnother) {
  PostgresOutboxReader waiting(Named("waiting_reader"), Lane::kSocial);
  absl::Notification over;
  std::thread terminator([&] {
    while (!over.WaitForNotificationWithTimeout(absl::Milliseconds(50))) Terminate("waiting_reader");
  });
  const absl::Time start = absl::Now();
  const absl::Status waited = waiting.WaitForRows(absl::Seconds(60));
  EXPECT_TRUE(waited.ok() || absl::IsUnavailable(waited)) << waited;
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));
  over.Notify();
  terminator.join();
  PostgresOutboxWaker waker(Options());
  EXPECT_TRUE(WaitFor([&] { return Wakes(waker, waiting); }));
}

TEST_F(OutboxTest, IsWokenByTheWakerOfItsLane) {
  ASSERT_OK(reader_.WaitForRows(absl::ZeroDuration()));  // Listens from here on.
  PostgresOutboxWaker waker(Options());
  for (int round = 0; round < 3; ++round) {
    const absl::Time start = absl::Now();
    waker.Wake(Lane::kSocial);
    waker.Wake(Lane::kSocial);
    waker.Wake(Lane::kPayment);
    ASSERT_OK(reader_.WaitForRows(absl::Seconds(30)));
    EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  }
}

TEST_F(OutboxTest, IsNotWokenForOtherLanes) {
  PostgresOutboxReader payment(Options(), Lane::kPayment);
  ASSERT_OK(payment.WaitForRows(absl::ZeroDuration()));
  ASSERT_OK(reader_.WaitForRows(absl::ZeroDuration()));
  PostgresOutboxWaker waker(Options());
  waker.Wake(Lane::kSocial);
  ASSERT_OK(reader_.WaitForRows(absl::Seconds(30)));
  const absl::Time start = absl::Now();
  ASSERT_OK(payment.WaitForRows(absl::Milliseconds(50)));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(50));
}

TEST_F(OutboxTest, WakerSendsWhatIsPendingBeforeItEnds) {
  ASSERT_OK(reader_.WaitForRows(absl::ZeroDuration()));
  const absl::Time start = absl::Now();
  { PostgresOutboxWaker(Options()).Wake(Lane::kSocial); }
  ASSERT_OK(reader_.WaitForRows(absl::Seconds(30)));
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
}

TEST_F(OutboxTest, WakerSurvivesALostConnection) {
  ASSERT_OK(reader_.WaitForRows(absl::ZeroDuration()));
  PostgresOutboxWaker waker(Named("waker"));
  waker.Wake(Lane::kSocial);
  ASSERT_OK(reader_.WaitForRows(absl::Seconds(30)));
  Terminate("waker");
  EXPECT_TRUE(WaitFor([&] { return Wakes(waker, reader_); }));
}

}  // namespace
}  // namespace carillon::testing
