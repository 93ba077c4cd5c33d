#include "client/ctl/pressure_text.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace carillon::ctl {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

v1::ListQueuesResponse Example() {
  v1::ListQueuesResponse response;
  EXPECT_TRUE(
      google::protobuf::TextFormat::ParseFromString(R"pb(
                                                      queues { name: "otp" lane: "otp" declared: true consumers: 1 }
                                                      queues {
                                                        name: "social"
                                                        lane: "social"
                                                        declared: true
                                                        messages: 1204
                                                        consumers: 0
                                                        out_rate: 0
                                                        oldest_age { seconds: 42 }
                                                      }
                                                      queues {
                                                        name: "marketing"
                                                        lane: "marketing"
                                                        declared: true
                                                        messages: 41203
                                                        consumers: 1
                                                        in_rate: 12.34
                                                        out_rate: 150.6
                                                        oldest_age { seconds: 724 }
                                                        retrying: 3
                                                        dead: 2
                                                        history { messages: 0 }
                                                        history { messages: 10000 }
                                                        history { messages: 41203 }
                                                        history { messages: 20000 }
                                                      }
                                                      queues { name: "marketing.sms" lane: "marketing" declared: false }
                                                      outbox {
                                                        lane: "marketing"
                                                        rows: 900
                                                        deferred: 100
                                                        oldest_age { seconds: 3 }
                                                        bound: 1000
                                                      }
                                                      lanes {
                                                        lane: "otp"
                                                        objective { seconds: 5 }
                                                        out_rate: 3.21
                                                      }
                                                      lanes {
                                                        lane: "marketing"
                                                        objective { seconds: 600 }
                                                        oldest_age { seconds: 724 }
                                                        delayed: true
                                                        estimated_wait { seconds: 1500 }
                                                        in_rate: 1500
                                                        out_rate: 1200
                                                        backlog: 4120300
                                                        retrying: 3
                                                        dead: 2
                                                        refused: true
                                                      }
                                                      breakers {
                                                        app_key: "ck_1"
                                                        channel: CHANNEL_SMS
                                                        provider: "twilio"
                                                        health {
                                                          lane: "otp"
                                                          breaker: BREAKER_STATE_OPEN
                                                          since { seconds: 1700000000 }
                                                          error: "503"
                                                        }
                                                      }
                                                      sample_time { seconds: 1700000090 }
                                                    )pb",
                                                    &response));
  return response;
}

TEST(PressureText, SaysAgesInTwoUnitsAtMost) {
  EXPECT_EQ(AgeText(absl::Milliseconds(420)), "0.4 s");
  EXPECT_EQ(AgeText(absl::Seconds(42)), "42 s");
  EXPECT_EQ(AgeText(absl::Seconds(185)), "3 min 5 s");
  EXPECT_EQ(AgeText(absl::Minutes(12)), "12 min");
  EXPECT_EQ(AgeText(absl::Minutes(130)), "2 h 10 min");
  EXPECT_EQ(AgeText(absl::Hours(76)), "3 d 4 h");
  EXPECT_EQ(AgeText(-absl::Seconds(1)), "0.0 s");
}

TEST(PressureText, SetsPointsInCounts) {
  EXPECT_EQ(CountText(0), "0");
  EXPECT_EQ(CountText(999), "999");
  EXPECT_EQ(CountText(1000), "1,000");
  EXPECT_EQ(CountText(1'234'567), "1,234,567");
  EXPECT_EQ(CountText(-1000), "-1,000");
  EXPECT_EQ(CountText(-100), "-100");
}

TEST(PressureText, SaysADelayInWords) {
  v1::Delay delay;
  delay.set_queue("marketing");
  delay.mutable_oldest_age()->set_seconds(720);
  EXPECT_EQ(DelayText(delay), "delayed: marketing is 12 min behind, and nothing moves at the moment");
  delay.mutable_estimated_time()->set_seconds(1'700'000'000);
  EXPECT_EQ(DelayText(delay), "delayed: marketing is 12 min behind; about 22:13:20 UTC");
}

TEST(PressureText, DrawsDepthsByTheMostThatWaited) {
  v1::Queue queue;
  EXPECT_EQ(Sparkline(queue, 10, true), "");
  for (const int64_t depth : {0, 1, 50, 100}) queue.add_history()->set_messages(depth);
  EXPECT_EQ(Sparkline(queue, 10, true), " ▁▄█");
  EXPECT_EQ(Sparkline(queue, 10, false), " .=#");
  // Of each column the most.
  EXPECT_EQ(Sparkline(queue, 2, false), ".#");
}

TEST(PressureText, ShowsLanesBusyQueuesOutboxAndBreakers) {
  const std::vector<std::string> lines = RenderQueues(Example(), {.width = 120, .title = "carillon", .notice = ""});
  EXPECT_THAT(lines,
              ElementsAre("carillon", "", "LANE       OBJECTIVE  OLDEST   IN/S  OUT/S    BACKLOG  RETRY  DEAD  STATE",
                          "otp            5.0 s   0.0 s    0.0    3.2          0      0     0  ok",
                          "marketing     10 min  12 min  1,500  1,200  4,120,300      3     2  delayed, waits about 25 "
                          "min; refused at the door",
                          "", "QUEUE          MESSAGES  CONSUMERS  OLDEST  IN/S  OUT/S  RETRY  DEAD",
                          "marketing        41,203          1  12 min  12.3    151      3     2",
                          "social            1,204          0    42 s   0.0    0.0      0     0  no consumer",
                          "marketing.sms   missing          0       -   0.0    0.0      0     0",
                          "(1 idle queues are left out)", "", "OUTBOX     ROWS  DEFERRED  OLDEST  BOUND",
                          "marketing   900       100   3.0 s  1,000  100 % full", "",
                          "PROVIDER OUT   APP  CHANNEL  LANE  BREAKER       SINCE  ERROR",
                          "twilio        ck_1      sms   otp     open  1 min 30 s  503"));
}

TEST(PressureText, FitsTheWindow) {
  v1::ListQueuesResponse response = Example();
  for (int i = 0; i < 60; ++i) {
    v1::Queue* queue = response.add_queues();
    queue->set_name(absl::StrCat("queue.", i));
    queue->set_declared(true);
    queue->set_messages(i);
    queue->add_history()->set_messages(1);
  }
  for (const int height : {5, 10, 24, 40}) {
    for (const int width : {20, 60, 200}) {
      const auto lines = RenderQueues(
          response, {.width = width, .height = height, .sparklines = true, .title = "title", .notice = "no answer"});
      EXPECT_LE(lines.size(), height);
      for (const std::string& line : lines) EXPECT_LE(line.size(), width * 3) << line;
    }
  }
  const auto lines = RenderQueues(response, {.width = 80, .height = 30, .title = "title", .notice = "no answer"});
  EXPECT_EQ(lines.back(), "no answer");
  // Those with most are kept, and it is said that others are not.
  EXPECT_THAT(lines, Contains(StartsWith("marketing ")));
  EXPECT_THAT(absl::StrJoin(lines, "\n"), HasSubstr("for lack of room"));
}

TEST(PressureText, HasColoursOnlyWhereTheyAreAskedFor) {
  EXPECT_THAT(RenderQueues(Example(), {.title = "", .notice = ""}), Each(Not(HasSubstr("\x1b"))));
  const auto lines = RenderQueues(Example(), {.color = true, .title = "", .notice = ""});
  EXPECT_THAT(lines, Contains(HasSubstr("\x1b[31mmarketing")));
}

TEST(PressureText, AnEmptyAnswerIsAFrameToo) { EXPECT_THAT(RenderQueues({}, {.title = "", .notice = ""}), SizeIs(6)); }

}  // namespace
}  // namespace carillon::ctl
