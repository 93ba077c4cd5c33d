#include "carillon/runtime/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

class Policies final : public CatalogStore {
 public:
  absl::StatusOr<int64_t> Version() override { return version; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override { return std::vector<NotificationType>(); }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override { return policies; }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::UnimplementedError(""); }

  int64_t version = 1;
  std::vector<AppPolicy> policies;
};

class CatalogueTest : public ::testing::Test {
 protected:
  void Set(std::vector<AppPolicy> policies) {
    store_->policies = std::move(policies);
    ++store_->version;
    ASSERT_OK(catalogue_.Refresh());
  }

  testing::SimulatedClock clock_;
  const std::shared_ptr<Policies> store_ = std::make_shared<Policies>();
  Catalogue catalogue_{store_};
};

TEST_F(CatalogueTest, TellsTheTimeOfEveryApp) {
  EXPECT_EQ(catalogue_.NowOf(AppId(7), clock_), clock_.Now());
  Set({{.app = AppId(7), .sandbox = true, .clock_offset = absl::Hours(8)}});
  EXPECT_EQ(catalogue_.NowOf(AppId(7), clock_), clock_.Now() + absl::Hours(8));
  EXPECT_EQ(catalogue_.NowOf(AppId(8), clock_), clock_.Now());
}

TEST_F(CatalogueTest, NeverTakesAnItemForEarlierThanItWas) {
  Set({{.app = AppId(7), .sandbox = true, .clock_offset = absl::Hours(8)}});
  const absl::Time now = clock_.Now() + absl::Hours(8);
  Notification item{.app = AppId(7), .create_time = now - absl::Hours(1)};
  EXPECT_EQ(catalogue_.NowOf(item, std::nullopt, clock_.Now()), now);
  EXPECT_EQ(catalogue_.NowOf(item, now - absl::Minutes(1), clock_.Now()), now);
  // Its time was moved, which is not known here yet.
  EXPECT_EQ(catalogue_.NowOf(item, now + absl::Hours(3), clock_.Now()), now + absl::Hours(3));
  item.create_time = now + absl::Hours(5);
  EXPECT_EQ(catalogue_.NowOf(item, std::nullopt, clock_.Now()), now + absl::Hours(5));
}

TEST_F(CatalogueTest, LooksAtAnItemThatComesEarlyByTheTimeOfNow) {
  const absl::Time now = clock_.Now();
  const Notification item{.app = AppId(7), .create_time = now - absl::Hours(1)};
  EXPECT_EQ(catalogue_.NowOf(item, now + absl::Hours(3), now), now);
  EXPECT_EQ(catalogue_.NowOf(item, now + absl::Milliseconds(5), now), now + absl::Milliseconds(5));
}

TEST_F(CatalogueTest, CountsWhoIsShutOut) {
  EXPECT_EQ(catalogue_.CountTrippedSenders(), 0);
  Set({{.app = AppId(7), .tripped = {"", "ann"}}, {.app = AppId(8), .tripped = {"ann"}}});
  EXPECT_EQ(catalogue_.CountTrippedSenders(), 3);
}

}  // namespace
}  // namespace carillon
