#include "client/bench/workload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace carillon::bench {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

Workload::Options OptionsOf(uint64_t seed) {
  return {.seed = seed, .run_name = "run", .count = 10, .user_ids = {"a", "b", "c"}, .types = {"like", "otp.login"}};
}

std::string Draws(uint64_t seed, int batch) {
  Workload workload(OptionsOf(seed));
  std::string draws;
  for (auto requests = workload.Next(batch); !requests.empty(); requests = workload.Next(batch)) {
    for (const v1::SendNotificationRequest& request : requests) draws += request.ShortDebugString() + "\n";
  }
  return draws;
}

TEST(Workload, DrawsTheSameFromTheSameSeedInBatchesOfAnySize) {
  EXPECT_EQ(Draws(7, 1), Draws(7, 4));
  EXPECT_NE(Draws(7, 1), Draws(8, 1));
}

TEST(Workload, EndsAfterItsCount) {
  Workload workload(OptionsOf(1));
  EXPECT_THAT(workload.Next(8), SizeIs(8));
  EXPECT_THAT(workload.Next(8), SizeIs(2));
  EXPECT_THAT(workload.Next(8), IsEmpty());
}

TEST(Workload, GivesEachSendAnIdempotencyKeyOfItsOwn) {
  Workload workload(OptionsOf(1));
  std::set<std::string> keys;
  for (const v1::SendNotificationRequest& request : workload.Next(10)) keys.insert(request.idempotency_key());
  EXPECT_THAT(keys, SizeIs(10));
}

}  // namespace
}  // namespace carillon::bench
