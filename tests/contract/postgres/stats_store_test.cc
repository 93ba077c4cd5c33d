#include "carillon/postgres/stats_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class StatsStoreTest : public PostgresTest {
 protected:
  void Count(const std::string& day, const std::string& type, const std::string& channel, const std::string& kind,
             int count, int part = 0) {
    Query(absl::StrCat("INSERT INTO daily_stats (app_id, day, type, channel, kind, part, count) VALUES (", app_.value(),
                       ", '", day, "', '", type, "', '", channel, "', '", kind, "', ", part, ", ", count, ")"));
  }
  StatsStore::Query Days(int from, int to) const {
    return {.app = app_,
            .from = absl::CivilDay(2026, 11, from),
            .to = absl::CivilDay(2026, 11, to),
            .type = "",
            .channel = {}};
  }

  const AppId app_ = NewApp();
  PostgresStatsStore store_{MakePool(1)};
};

TEST_F(StatsStoreTest, AddsUpPartsAndTellsKindsApart) {
  int count = 0;
  for (const char* kind : {"sent", "delivered", "undelivered", "opened", "clicked", "suppressed", "expired", "dead"}) {
    Count("2026-11-26", "otp.login", "sms", kind, ++count, 0);
    Count("2026-11-26", "otp.login", "sms", kind, 10, 1);
  }
  EXPECT_THAT(store_.Read(Days(26, 26), 10), IsOkAndHolds(ElementsAre(DailyStats{.day = absl::CivilDay(2026, 11, 26),
                                                                                 .type = "otp.login",
                                                                                 .channel = Channel::kSms,
                                                                                 .sent = 11,
                                                                                 .delivered = 12,
                                                                                 .undelivered = 13,
                                                                                 .opened = 14,
                                                                                 .clicked = 15,
                                                                                 .suppressed = 16,
                                                                                 .expired = 17,
                                                                                 .dead = 18})));
}

TEST_F(StatsStoreTest, OrdersByDayTypeAndChannel) {
  Count("2026-11-26", "b", "sms", "sent", 1);
  Count("2026-11-26", "a", "sms", "sent", 2);
  Count("2026-11-26", "a", "in_app", "sent", 3);
  Count("2026-11-25", "z", "email", "sent", 4);
  ASSERT_OK_AND_ASSIGN(const std::vector<DailyStats> rows, store_.Read(Days(1, 30), 10));
  std::vector<int64_t> sent;
  for (const DailyStats& row : rows) sent.push_back(row.sent);
  EXPECT_THAT(sent, ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(store_.Read(Days(1, 30), 2), IsOkAndHolds(SizeIs(2)));
}

TEST_F(StatsStoreTest, ReadsOnlyWhatIsAskedFor) {
  Count("2026-11-24", "a", "sms", "sent", 1);
  Count("2026-11-25", "a", "sms", "sent", 2);
  Count("2026-11-25", "b", "email", "sent", 3);
  Count("2026-11-26", "a", "sms", "sent", 4);
  EXPECT_THAT(store_.Read(Days(25, 25), 10), IsOkAndHolds(SizeIs(2)));
  StatsStore::Query query = Days(1, 30);
  query.type = "b";
  EXPECT_THAT(store_.Read(query, 10), IsOkAndHolds(SizeIs(1)));
  query = Days(1, 30);
  query.channel = Channel::kSms;
  EXPECT_THAT(store_.Read(query, 10), IsOkAndHolds(SizeIs(3)));
  query.app = NewApp();
  EXPECT_THAT(store_.Read(query, 10), IsOkAndHolds(IsEmpty()));
}

TEST_F(StatsStoreTest, LeavesOutRowsOfNothing) {
  Count("2026-11-26", "a", "sms", "sent", 0);
  EXPECT_THAT(store_.Read(Days(1, 30), 10), IsOkAndHolds(IsEmpty()));
}

}  // namespace
}  // namespace carillon::testing
