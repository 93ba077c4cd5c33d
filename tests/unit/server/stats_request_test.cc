#include "server/api/stats_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

class FakeStatsStore final : public StatsStore {
 public:
  absl::StatusOr<std::vector<DailyStats>> Read(const Query& query, int limit) override {
    asked = query;
    std::vector<DailyStats> found = rows;
    if (found.size() > static_cast<size_t>(limit)) found.resize(limit);
    return found;
  }

  Query asked;
  std::vector<DailyStats> rows;
};

class StatsRequestTest : public ::testing::Test {
 protected:
  static v1::GetStatsRequest Request(const std::string& from, const std::string& to) {
    v1::GetStatsRequest request;
    request.set_from_day(from);
    request.set_to_day(to);
    return request;
  }
  std::vector<std::string> FaultsOf(const v1::GetStatsRequest& request) {
    std::vector<std::string> fields;
    for (const FieldViolation& violation : DetailsOf(GetStats(store_, AppId(7), request, &response_)).violations) {
      fields.push_back(violation.field);
    }
    return fields;
  }

  FakeStatsStore store_;
  v1::GetStatsResponse response_;
};

TEST_F(StatsRequestTest, ReadsTheDaysTypeAndChannelThatWereAskedFor) {
  v1::GetStatsRequest request = Request("2026-11-01", "2026-11-26");
  request.set_type("otp.login");
  request.set_channel(v1::CHANNEL_SMS);
  store_.rows = {
      {.day = absl::CivilDay(2026, 11, 2), .type = "otp.login", .channel = Channel::kSms, .sent = 3, .dead = 1}};
  ASSERT_OK(GetStats(store_, AppId(7), request, &response_));
  EXPECT_EQ(store_.asked.app, AppId(7));
  EXPECT_EQ(store_.asked.from, absl::CivilDay(2026, 11, 1));
  EXPECT_EQ(store_.asked.to, absl::CivilDay(2026, 11, 26));
  EXPECT_EQ(store_.asked.type, "otp.login");
  EXPECT_EQ(store_.asked.channel, Channel::kSms);
  ASSERT_THAT(response_.rows(), SizeIs(1));
  EXPECT_EQ(response_.rows(0).day(), "2026-11-02");
  EXPECT_EQ(response_.rows(0).sent(), 3);
  EXPECT_EQ(response_.rows(0).dead(), 1);
  EXPECT_EQ(response_.rows(0).channel(), v1::CHANNEL_SMS);
}

TEST_F(StatsRequestTest, AsksForAllTypesAndChannelsOfOneDay) {
  ASSERT_OK(GetStats(store_, AppId(7), Request("2026-11-26", "2026-11-26"), &response_));
  EXPECT_EQ(store_.asked.type, "");
  EXPECT_EQ(store_.asked.channel, std::nullopt);
}

TEST_F(StatsRequestTest, RefusesWhatIsNoDay) {
  for (const char* day :
       {"", "26.11.2026", "2026-13-01", "2026-02-30", "2026-1-1", "2026-11-26 ", "2026-11-26T10:00"}) {
    EXPECT_THAT(FaultsOf(Request(day, "2026-11-26")), ElementsAre("from_day")) << day;
    EXPECT_THAT(FaultsOf(Request("2026-11-26", day)), ElementsAre("to_day")) << day;
  }
}

TEST_F(StatsRequestTest, TakesAtMost400DaysInTheirOrder) {
  EXPECT_OK(GetStats(store_, AppId(7), Request("2025-10-23", "2026-11-26"), &response_));
  EXPECT_THAT(FaultsOf(Request("2025-10-22", "2026-11-26")), ElementsAre("to_day"));
  EXPECT_THAT(FaultsOf(Request("2026-11-26", "2026-11-25")), ElementsAre("to_day"));
}

TEST_F(StatsRequestTest, NamesEveryFaultAtOnce) {
  v1::GetStatsRequest request = Request("", "");
  request.set_type("No Type");
  request.set_channel(static_cast<v1::Channel>(99));
  EXPECT_THAT(FaultsOf(request), ElementsAre("from_day", "to_day", "type", "channel"));
}

TEST_F(StatsRequestTest, RefusesMoreRowsThanOneAnswerCarries) {
  store_.rows.resize(limits::kMaxStatsRows);
  EXPECT_OK(GetStats(store_, AppId(7), Request("2026-11-01", "2026-11-26"), &response_));
  EXPECT_THAT(response_.rows(), SizeIs(limits::kMaxStatsRows));
  store_.rows.resize(limits::kMaxStatsRows + 1);
  EXPECT_THAT(FaultsOf(Request("2026-11-01", "2026-11-26")), ElementsAre("to_day"));
}

}  // namespace
}  // namespace carillon::testing
