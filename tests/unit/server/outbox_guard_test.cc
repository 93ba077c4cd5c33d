#include "server/ingest/outbox_guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::carillon::testing::IsOk;
using ::carillon::testing::SimulatedClock;
using ::carillon::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr int64_t kBound = 1000;

// Of the store the guard asks for the outbox alone.
class OutboxInMemory final : public UpkeepStore {
 public:
  absl::StatusOr<int> EnsureSlices(absl::Time, absl::Time) override { return 0; }
  absl::StatusOr<bool> RetireStep(absl::Time, int) override { return false; }
  absl::StatusOr<int> ExpireKeys(absl::Time, int) override { return 0; }
  absl::StatusOr<int> ForgetDigests(absl::Time, int) override { return 0; }
  absl::StatusOr<int> SweepStep(Pass, absl::Time, int) override { return 0; }
  absl::StatusOr<std::vector<Notification>> DueStragglers(Lane, absl::Time, absl::Duration, int) override {
    return std::vector<Notification>();
  }
  absl::StatusOr<int> Reenqueue(absl::Span<const NewNotification>) override { return 0; }
  absl::StatusOr<std::vector<OutboxStats>> Outbox() override {
    if (!status.ok()) return status;
    std::vector<OutboxStats> stats;
    for (const auto& [lane, count] : rows) stats.push_back({.lane = lane, .rows = count, .oldest_age = {}});
    return stats;
  }

  std::map<Lane, int64_t> rows;
  absl::Status status;
};

class OutboxGuardTest : public ::testing::Test {
 protected:
  void Have(std::map<Lane, int64_t> rows) {
    store_->rows = std::move(rows);
    clock_.Advance(absl::Seconds(1));
    ASSERT_THAT(guard_.Check(), IsOk());
  }
  std::vector<Lane> Refused() const {
    std::vector<Lane> refused;
    for (const Lane lane : kAllLanes) {
      if (!guard_.is_open(lane)) refused.push_back(lane);
    }
    return refused;
  }
  absl::Duration RetryDelay(Lane lane) const { return *DetailsOf(guard_.Admit(lane)).retry_delay; }

  SimulatedClock clock_;
  Metrics metrics_;
  std::shared_ptr<OutboxInMemory> store_ = std::make_shared<OutboxInMemory>();
  OutboxGuard guard_{kBound, {.store = store_, .clock = clock_, .metrics = metrics_}};
};

TEST_F(OutboxGuardTest, RefusesMarketingFirstAndPaymentLast) {
  Have({{Lane::kMarketing, kBound - 1}});
  EXPECT_THAT(Refused(), ElementsAre());
  Have({{Lane::kMarketing, kBound}});
  EXPECT_THAT(Refused(), ElementsAre(Lane::kMarketing));
  Have({{Lane::kMarketing, kBound}, {Lane::kSocial, 499}});
  EXPECT_THAT(Refused(), ElementsAre(Lane::kMarketing));
  Have({{Lane::kMarketing, kBound}, {Lane::kSocial, 500}});
  EXPECT_THAT(Refused(), ElementsAre(Lane::kSocial, Lane::kMarketing, Lane::kFanout));
  Have({{Lane::kMarketing, kBound}, {Lane::kSocial, 500}, {Lane::kOtp, 500}});
  EXPECT_THAT(Refused(), ElementsAre(Lane::kOtp, Lane::kSocial, Lane::kMarketing, Lane::kFanout));
  EXPECT_THAT(guard_.Admit(Lane::kPayment), IsOk());
  Have({{Lane::kMarketing, kBound}, {Lane::kSocial, 500}, {Lane::kOtp, 500}, {Lane::kPayment, 500}});
  EXPECT_EQ(Refused().size(), kAllLanes.size());
}

TEST_F(OutboxGuardTest, NoLaneIsRefusedWhileALighterOneIsTaken) {
  // By weight, from the lightest; events are told as what they are.
  constexpr Lane kByWeight[] = {Lane::kMarketing, Lane::kSocial, Lane::kOtp, Lane::kPayment};
  for (const Lane grows : kAllLanes) {
    for (int64_t rows = 0; rows < 3 * kBound; rows += 50) {
      Have({{grows, rows}});
      for (size_t i = 1; i < std::size(kByWeight); ++i) {
        EXPECT_TRUE(guard_.is_open(kByWeight[i]) || !guard_.is_open(kByWeight[i - 1])) << ToString(grows) << rows;
      }
    }
    Have({});
  }
}

TEST_F(OutboxGuardTest, OpensAgainAtNinetyPercent) {
  Have({{Lane::kMarketing, kBound}});
  Have({{Lane::kMarketing, 901}});
  EXPECT_FALSE(guard_.is_open(Lane::kMarketing));
  Have({{Lane::kMarketing, 900}});
  EXPECT_TRUE(guard_.is_open(Lane::kMarketing));
  Have({{Lane::kMarketing, 999}});
  EXPECT_TRUE(guard_.is_open(Lane::kMarketing));
}

TEST_F(OutboxGuardTest, SaysWhichLaneAndCountsIt) {
  Have({{Lane::kMarketing, kBound}});
  const absl::Status status = guard_.Admit(Lane::kMarketing);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(DetailsOf(status).reason, "OVERLOADED");
  EXPECT_THAT(DetailsOf(status).metadata, UnorderedElementsAre(Pair("lane", "marketing"), Pair("what", "the outbox")));
  const Metrics::Labels labels = {{"reason", "overload"}, {"lane", "marketing"}};
  EXPECT_EQ(
      metrics_.Counter("carillon_door_refused_total", "Calls that the limits of apps and senders have refused", labels)
          .Value(),
      1);
}

TEST_F(OutboxGuardTest, AsksToComeBackWhenItOpensByHowFastItDrains) {
  Have({{Lane::kMarketing, 10'000}});
  EXPECT_EQ(RetryDelay(Lane::kMarketing), absl::Seconds(5));  // Not known yet.
  Have({{Lane::kMarketing, 9900}});
  // 9000 too many, 100 a second.
  EXPECT_EQ(RetryDelay(Lane::kMarketing), absl::Seconds(60));
  Have({{Lane::kMarketing, 4000}});
  // 3100 too many, 3000 a second.
  EXPECT_EQ(RetryDelay(Lane::kMarketing), absl::Seconds(2));
}

TEST_F(OutboxGuardTest, WhileNothingDrainsItAsksForAMinute) {
  for (int i = 0; i < 3; ++i) Have({{Lane::kMarketing, 5000}});
  EXPECT_EQ(RetryDelay(Lane::kMarketing), absl::Minutes(1));
}

TEST_F(OutboxGuardTest, EventsAreRefusedByTheirWeightAndByTheFanOut) {
  Have({{Lane::kMarketing, kBound}});
  EXPECT_THAT(guard_.AdmitEvent(Lane::kMarketing), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(guard_.AdmitEvent(Lane::kSocial), IsOk());
  Have({{Lane::kFanout, kBound}});
  const absl::Status status = guard_.AdmitEvent(Lane::kSocial);
  EXPECT_EQ(DetailsOf(status).metadata["lane"], "fanout");
  EXPECT_THAT(guard_.Admit(Lane::kSocial), IsOk());
}

TEST_F(OutboxGuardTest, StaysAsItIsWhileNothingCanBeLookedAt) {
  Have({{Lane::kMarketing, kBound}});
  store_->status = absl::UnavailableError("away");
  EXPECT_THAT(guard_.Check(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Refused(), ElementsAre(Lane::kMarketing));
}

TEST_F(OutboxGuardTest, TellsTheBoundThatClosesALaneByItself) {
  EXPECT_EQ(guard_.bound(Lane::kMarketing), kBound);
  EXPECT_EQ(guard_.bound(Lane::kFanout), kBound);
  EXPECT_EQ(guard_.bound(Lane::kOtp), 2 * kBound);
  EXPECT_EQ(guard_.bound(Lane::kPayment), 2.5 * kBound);
}

}  // namespace
}  // namespace carillon
