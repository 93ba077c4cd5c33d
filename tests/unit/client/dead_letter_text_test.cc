#include "client/ctl/dead_letter_text.h"

#include <gtest/gtest.h>

#include "client/carillon/status.h"
#include "client/ctl/error_text.h"
#include "tests/unit/client/fake_server.h"

namespace carillon::ctl {
namespace {

TEST(DeadLetterFilter, AnAppAloneDoesNotSayWhich) {
  v1::DeadLetterFilter filter;
  EXPECT_FALSE(SaysWhich(filter));
  for (const char* app : {"*", "ck_shop"}) {
    filter.set_app_key(app);
    EXPECT_FALSE(SaysWhich(filter));
  }
  filter.set_lane("social");
  EXPECT_TRUE(SaysWhich(filter));
  filter.clear_lane();
  filter.mutable_older_than()->set_seconds(0);
  EXPECT_TRUE(SaysWhich(filter));
}

TEST(DeadLetterTotal, TellsOfOtherAppsWhereThisOneHasNone) {
  EXPECT_EQ(TotalText(0, 0), "0 dead letters");
  EXPECT_EQ(TotalText(3, 0), "3 dead letters");
  EXPECT_EQ(TotalText(0, 12), "0 dead letters of this app; 12 of all apps: --all-apps");
}

TEST(ReplayProgress, IsALineWithWhatIsDoneAndWhatDiedAgain) {
  v1::ReplayDeadLettersResponse response;
  response.mutable_replay()->set_matched(60);
  response.mutable_replay()->set_replayed(10);
  response.mutable_replay()->set_skipped_expired(5);
  response.mutable_replay()->set_skipped_taken(15);
  response.mutable_replay()->set_died_again(2);
  response.set_rate(100);
  response.mutable_remaining_time()->set_seconds(1);
  EXPECT_EQ(ProgressLine(response), "[############------------] 30/60  50%  100/s  2 s left  2 died again");
  EXPECT_EQ(LeftText(response.replay()), "; left: 5 expired, 15 taken by others");
}

TEST(ReplayProgress, TellsHowToGoOnAsFastAsBefore) {
  EXPECT_EQ(ResumeCommand("a-b", 0, 0), "carillonctl dlq replay --resume a-b");
  EXPECT_EQ(ResumeCommand("a-b", 20, 5), "carillonctl dlq replay --resume a-b --rate 20 --stop-after 5");
}

TEST(ErrorText, SaysWhenToTryAgain) {
  const auto of = [](const grpc::Status& status) { return ErrorText(FromGrpcStatus(status)); };
  using testing::RichError;
  const auto full = grpc::StatusCode::RESOURCE_EXHAUSTED;
  EXPECT_EQ(of(RichError(full, "it is full; try again", "OVERLOADED", absl::Milliseconds(900))),
            "RESOURCE_EXHAUSTED: it is full; try again in 1 s [OVERLOADED request_id=r1]");
  EXPECT_EQ(of(RichError(full, "it is full; try again", "OVERLOADED")),
            "RESOURCE_EXHAUSTED: it is full; try again [OVERLOADED request_id=r1]");
  EXPECT_EQ(of(RichError(grpc::StatusCode::FAILED_PRECONDITION, "it is running", "REPLAY_STATE", absl::Seconds(1.5))),
            "FAILED_PRECONDITION: it is running [REPLAY_STATE request_id=r1]; try again in 2 s");
  EXPECT_EQ(of(RichError(full, "too much", "RATE_LIMITED", absl::Minutes(2.5))),
            "RESOURCE_EXHAUSTED: too much [RATE_LIMITED request_id=r1]; try again in 3 min");
}

}  // namespace
}  // namespace carillon::ctl
