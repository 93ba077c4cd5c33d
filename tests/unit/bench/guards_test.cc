#include "client/bench/guards.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace carillon::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SafetySettings Safe() {
  return {.fsync = "on",
          .full_page_writes = "on",
          .synchronous_commit = "on",
          .wal_sync_method = "fdatasync",
          .role_settings = {},
          .queues = absl::OkStatus()};
}

TEST(Guards, LetSafeSettingsPass) {
  EXPECT_THAT(FaultsOf(Safe()), IsEmpty());
  SafetySettings replicated = Safe();
  replicated.synchronous_commit = "remote_apply";
  replicated.role_settings = {"synchronous_commit=remote_write", "work_mem=64MB", "fsync=on"};
  EXPECT_THAT(FaultsOf(replicated), IsEmpty());
}

TEST(Guards, RefuseEverythingThatTradesSafetyForSpeed) {
  const std::pair<std::function<void(SafetySettings&)>, const char*> faults[] = {
      {[](SafetySettings& s) { s.fsync = "off"; }, "fsync"},
      {[](SafetySettings& s) { s.full_page_writes = "off"; }, "full_page_writes"},
      {[](SafetySettings& s) { s.synchronous_commit = "off"; }, "synchronous_commit"},
      {[](SafetySettings& s) { s.synchronous_commit = "local"; }, "synchronous_commit"},
      {[](SafetySettings& s) { s.synchronous_commit = ""; }, "synchronous_commit"},
      {[](SafetySettings& s) { s.role_settings = {"synchronous_commit=off"}; }, "role or database"},
      {[](SafetySettings& s) {
         s.role_settings = {"work_mem=1MB", "synchronous_commit=local"};
       },
       "role or database"},
      {[](SafetySettings& s) { s.queues = absl::FailedPreconditionError("payment is a classic queue"); }, "classic"},
  };
  for (const auto& [spoil, word] : faults) {
    SafetySettings settings = Safe();
    spoil(settings);
    EXPECT_THAT(FaultsOf(settings), ElementsAre(HasSubstr(word)));
  }
}

TEST(Guards, WantTheLogSyncedAndTheMessagesConfirmed) {
  const SafetyCounts before{.wal_syncs = 10, .confirms = 100};
  EXPECT_THAT(FaultsOf(Safe(), before, {.wal_syncs = 11, .confirms = 150}, 50), IsEmpty());
  EXPECT_THAT(FaultsOf(Safe(), before, {.wal_syncs = 10, .confirms = 150}, 50), ElementsAre(HasSubstr("synced")));
  EXPECT_THAT(FaultsOf(Safe(), before, {.wal_syncs = 11, .confirms = 149}, 50), ElementsAre(HasSubstr("49")));
}

TEST(Guards, KnowThatOpenSyncIsNotCounted) {
  SafetySettings settings = Safe();
  settings.wal_sync_method = "open_datasync";
  EXPECT_THAT(FaultsOf(settings, {}, {.wal_syncs = 0, .confirms = 1}, 1), IsEmpty());
}

TEST(Guards, RefuseWhatCannotBeSeen) {
  unsetenv("CARILLON_METRICS_RELAY");
  EXPECT_EQ(Guards(BenchOptions{}).Check().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace carillon::bench
