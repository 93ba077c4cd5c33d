#include "client/bench/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "tests/kit/scratch_directory.h"
#include "tests/kit/status_matchers.h"

namespace carillon::bench {
namespace {

using ::carillon::testing::ScratchDirectory;
using ::carillon::testing::StatusIs;

AcceptedSend SendOf(const std::string& notification_id) {
  return {.notification_id = notification_id, .user_id = "alice", .type = "like", .idempotency_key = "key"};
}

std::string Contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Ledger, HasWrittenEachIdWhenItCounts) {
  const ScratchDirectory directory;
  const std::string path = directory.Path("accepted");
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Ledger> ledger, Ledger::Open(path));
  const std::vector<AcceptedSend> sends = {SendOf("a"), SendOf("b")};
  ASSERT_OK(ledger->Record(sends));
  EXPECT_EQ(ledger->size(), 2);
  EXPECT_EQ(Contents(path), "a alice like key\nb alice like key\n");
}

TEST(Ledger, DoesNotCountWhatItCouldNotWrite) {
  // Every write to it fails for want of space.
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Ledger> ledger, Ledger::Open("/dev/full"));
  const std::vector<AcceptedSend> sends = {SendOf("a")};
  EXPECT_THAT(ledger->Record(sends), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(ledger->size(), 0);
}

TEST(Ledger, RefusesAFileThatCanNotBeOpened) {
  EXPECT_THAT(Ledger::Open("/no/such/directory/accepted"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(Ledger, WakesThoseWhoWaitForASize) {
  const ScratchDirectory directory;
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Ledger> ledger, Ledger::Open(directory.Path("accepted")));
  bool reached = false;
  std::thread waiting([&] { reached = ledger->WaitForSize(2); });
  for (const char* id : {"a", "b"}) {
    const std::vector<AcceptedSend> sends = {SendOf(id)};
    ASSERT_OK(ledger->Record(sends));
  }
  waiting.join();
  EXPECT_TRUE(reached);
}

TEST(Ledger, EndsTheWaitForASizeThatDoesNotCome) {
  const ScratchDirectory directory;
  ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Ledger> ledger, Ledger::Open(directory.Path("accepted")));
  bool reached = true;
  std::thread waiting([&] { reached = ledger->WaitForSize(1); });
  ledger->Close();
  waiting.join();
  EXPECT_FALSE(reached);
  EXPECT_TRUE(ledger->is_closed());
}

}  // namespace
}  // namespace carillon::bench
