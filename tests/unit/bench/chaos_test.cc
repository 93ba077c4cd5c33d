#include "client/bench/chaos.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/kit/scratch_directory.h"
#include "tests/kit/status_matchers.h"

namespace carillon::bench {
namespace {

using ::carillon::testing::ScratchDirectory;
using ::carillon::testing::StatusIs;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::Field;
using ::testing::Ge;
using ::testing::Le;
using ::testing::SizeIs;

const std::vector<std::string> kAll = {"server", "relay", "worker", "rabbitmq", "redis", "postgres", "purge"};

std::string PlanOf(uint64_t seed) {
  std::string text;
  const auto plan = PlanFaults(kAll, seed, 20'000, absl::Seconds(60));
  for (const Fault& fault : *plan) {
    text += Describe(fault) + " " + std::to_string(fault.at_accepted) + " " + absl::FormatDuration(fault.away) + "\n";
  }
  return text;
}

TEST(PlanFaults, PlansTheSameFromTheSameSeed) {
  EXPECT_EQ(PlanOf(3), PlanOf(3));
  EXPECT_NE(PlanOf(3), PlanOf(4));
}

TEST(PlanFaults, LetsEveryFaultStrikeWhileTheLoadRunsInTheOrderOfThePlan) {
  ASSERT_OK_AND_ASSIGN(const auto plan, PlanFaults(kAll, 1, 1'000, absl::Seconds(60)));
  EXPECT_THAT(plan, SizeIs(kAll.size()));
  EXPECT_THAT(plan, Each(Field(&Fault::at_accepted, AllOf(Ge(50), Le(800)))));
  EXPECT_TRUE(std::is_sorted(plan.begin(), plan.end(),
                             [](const Fault& a, const Fault& b) { return a.at_accepted < b.at_accepted; }));
}

TEST(PlanFaults, KeepsPostgresAwayAsLongAsAsked) {
  ASSERT_OK_AND_ASSIGN(const auto plan, PlanFaults({"postgres"}, 1, 1'000, absl::Seconds(42)));
  EXPECT_EQ(plan[0].away, absl::Seconds(42));
}

TEST(PlanFaults, StrikesEachPartOnce) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    ASSERT_OK_AND_ASSIGN(const auto plan, PlanFaults(kAll, seed, 1'000, absl::Seconds(60)));
    std::set<std::string> parts;
    for (const Fault& fault : plan) parts.insert(fault.part);
    EXPECT_THAT(parts, SizeIs(plan.size())) << "seed " << seed;
  }
}

TEST(PlanFaults, RefusesANameThatItDoesNotKnow) {
  EXPECT_THAT(PlanFaults({"sever"}, 1, 1'000, absl::Seconds(60)), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(Chaos, ReportsAFaultThatDidNotStrikeBeforeTheLoadWasOver) {
  const ScratchDirectory directory;
  ASSERT_OK_AND_ASSIGN(const auto ledger, Ledger::Open(directory.Path("accepted")));
  const StackControl stack(directory.path(), "/bin/false");
  Chaos chaos({{FaultKind::kKill, "relay", 100}}, stack, *ledger);
  ledger->Close();
  const std::vector<StruckFault> struck = chaos.Wait();
  ASSERT_THAT(struck, SizeIs(1));
  EXPECT_FALSE(struck[0].under_load);
  EXPECT_FALSE(struck[0].status.ok());
}

TEST(StackControl, KillsOnlyWhatBelongsToTheStack) {
  const ScratchDirectory directory;
  const StackControl stack(directory.path(), "/bin/false");
  EXPECT_THAT(stack.Kill("relay"), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(StackControl, ReportsAPartThatDoesNotStart) {
  const StackControl stack("/tmp", "/bin/false");
  EXPECT_THAT(stack.Start("relay"), StatusIs(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace carillon::bench
