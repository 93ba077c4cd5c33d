// Live feeds as Server-Sent Events.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "server/connect/feed_event_stream.h"
#include "server/feed/feed_events.h"
#include "tests/unit/server/connect_fixture.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using testing::ConnectTest;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using testing::HttpAnswer;
using testing::Key;
using ::testing::MatchesRegex;
using ::testing::Not;
using testing::ParseAnswer;
using testing::RawClient;
using ::testing::StartsWith;
using testing::WaitFor;

class FeedEventTest : public ConnectTest {
 protected:
  std::unique_ptr<RawClient> Listen(const std::string& query, std::vector<std::string> headers = Credentials()) {
    auto client = std::make_unique<RawClient>(port_);
    client->Send(Request("GET /v1/feed/events?" + query, std::move(headers), ""));
    return client;
  }
  HttpAnswer Refused(const std::string& query, const std::vector<std::string>& headers = Credentials()) {
    return Ask("GET /v1/feed/events?" + query, headers);
  }
};

TEST(FeedEventFrames, TellWhatTheyAre) {
  const MessageJson json;
  v1::SubscribeResponse item;
  item.set_seq(7);
  item.mutable_item()->set_title("one\ntwo");
  EXPECT_EQ(FeedEventFrame(item.SerializeAsString(), json),
            "id: 7\nevent: item\ndata: {\"seq\":\"7\",\"item\":{\"title\":\"one\\ntwo\"}}\n\n");
  v1::SubscribeResponse marker;
  marker.mutable_read_marker()->set_up_to_seq(3);
  EXPECT_THAT(FeedEventFrame(marker.SerializeAsString(), json), HasSubstr("event: read_marker\n"));
  v1::SubscribeResponse removed;
  removed.mutable_removed();
  EXPECT_THAT(FeedEventFrame(removed.SerializeAsString(), json), HasSubstr("event: removed\n"));
  EXPECT_EQ(FeedEventFrame(*EncodeHeartbeat(9).message, json),
            "id: 9\nevent: heartbeat\ndata: {\"seq\":\"9\",\"heartbeat\":{}}\n\n");
  // Whoever passes over it is told again, instead of going on behind a gap.
  EXPECT_THAT(FeedEventFrame(*EncodeResumeRequired(9, v1::ResumeRequired::CAUSE_RETENTION).message, json),
              AllOf(StartsWith("event: resume_required\n"), HasSubstr("CAUSE_RETENTION"), Not(HasSubstr("id:"))));
  EXPECT_THAT(EndFrame(error::Draining(), json),
              AllOf(StartsWith("event: end\ndata: {\"code\":\"unavailable\""), EndsWith("}\n\n")));
  EXPECT_THAT(RetryFrame("ada"), MatchesRegex("retry: [12][0-9]{3}\n\n"));
}

TEST_F(FeedEventTest, StreamsTheBacklogAndThenLiveEvents) {
  StartAll();
  store_.Append(Key("ada"));
  const auto client = Listen("user_id=ada");
  std::string text = client->Read("item 1");
  AppendAndAnnounce("ada");
  text += client->Read("item 2");
  hub_->Stop();
  text += client->Read();
  const HttpAnswer answer = ParseAnswer(text);
  EXPECT_THAT(answer.head, AllOf(StartsWith("HTTP/1.1 200 OK"), HasSubstr("Content-Type: text/event-stream\r\n"),
                                 HasSubstr("Cache-Control: no-store\r\n")));
  const std::vector<std::string> frames = absl::StrSplit(answer.body, "\n\n");
  ASSERT_EQ(frames.size(), 5u) << answer.body;
  EXPECT_THAT(frames[0], StartsWith("retry: "));
  EXPECT_THAT(frames[1], StartsWith("id: 1\nevent: item\n"));
  EXPECT_THAT(frames[2], StartsWith("id: 2\nevent: item\n"));
  EXPECT_THAT(frames[3], AllOf(StartsWith("event: end\n"), HasSubstr("DRAINING")));
}

TEST_F(FeedEventTest, GoesOnAfterTheLastEventIdRatherThanAfterSeq) {
  StartAll();
  for (int i = 0; i < 3; ++i) store_.Append(Key("ada"));
  EXPECT_THAT(Listen("user_id=ada&after_seq=1")->Read("item 3"), HasSubstr("item 2"));
  std::vector<std::string> headers = Credentials();
  headers.emplace_back("Last-Event-ID: 2");
  EXPECT_THAT(Listen("user_id=ada&after_seq=0", headers)->Read("item 3"), Not(HasSubstr("item 2")));
}

TEST_F(FeedEventTest, SendsALargeBacklogWhole) {
  StartAll();
  for (int i = 0; i < 1200; ++i) store_.Append(Key("ada"));
  const auto client = Listen("user_id=ada");
  std::string text = client->Read("item 1200\"");
  hub_->Stop();
  text += client->Read();
  const std::string body = ParseAnswer(text).body;
  size_t begin = 0;
  for (int seq = 1; seq <= 1200; ++seq) {
    begin = body.find(absl::StrCat("id: ", seq, "\n"), begin);
    ASSERT_NE(begin, std::string::npos) << seq;
  }
}

TEST_F(FeedEventTest, TakesAUserTokenInTheHeaderOrTheQuery) {
  StartAll();
  store_.Append(Key("ada"));
  EXPECT_THAT(Listen("", {"Authorization: Bearer " + TokenOf("ada")})->Read("item 1"), HasSubstr("id: 1\n"));
  EXPECT_THAT(Listen("access_token=" + TokenOf("ada"), {})->Read("item 1"), HasSubstr("id: 1\n"));
  EXPECT_EQ(Refused("user_id=ada&access_token=" + TokenOf("bob"), {}).status, 403);
}

TEST_F(FeedEventTest, RefusesBeforeTheStreamBegins) {
  LiveHub::Options options;
  options.max_streams_per_recipient = 1;
  StartAll(options);
  EXPECT_EQ(Refused("user_id=ada", {}).json()["code"], "unauthenticated");
  EXPECT_EQ(Refused("user_id=ada", Credentials("sender")).status, 403);
  EXPECT_EQ(Refused("user_id=ada&access_token=nonsense", {}).status, 401);
  EXPECT_EQ(Refused("").status, 400);
  EXPECT_EQ(Refused("user_id=ada&after_seq=-1").status, 400);
  EXPECT_EQ(Refused("user_id=ada&after_seq=x").status, 400);
  EXPECT_EQ(Refused("user_id=%zz").status, 400);
  std::vector<std::string> headers = Credentials();
  headers.emplace_back("Last-Event-ID: x");
  EXPECT_THAT(Refused("user_id=ada", headers).body, HasSubstr("last-event-id"));
  const auto first = Listen("user_id=ada");
  (void)first->Read("retry");
  const HttpAnswer second = Refused("user_id=ada");
  EXPECT_EQ(second.status, 429);
  EXPECT_THAT(second.head, HasSubstr("Retry-After: 5\r\n"));
}

TEST_F(FeedEventTest, EndsAfterResumeRequired) {
  StartAll();
  const std::string text = Listen("user_id=ada&after_seq=5")->Read();
  EXPECT_THAT(text, AllOf(HasSubstr("event: resume_required\n"), HasSubstr("CAUSE_UNKNOWN_SEQ"),
                          Not(HasSubstr("event: end")), EndsWith("0\r\n\r\n")));
  ASSERT_TRUE(WaitFor([&] { return hub_->stream_count() == 0; }));
}

TEST_F(FeedEventTest, EndsWithTheToken) {
  LiveHub::Options options;
  options.permit_interval = absl::Milliseconds(20);
  StartAll(options);
  const auto client = Listen("access_token=" + TokenOf("ada", absl::Minutes(5)), {});
  std::string text = client->Read("retry");
  clock_.Advance(absl::Minutes(6));
  text += client->Read();
  EXPECT_THAT(text, AllOf(HasSubstr("event: end\n"), HasSubstr("\"unauthenticated\""), HasSubstr("TOKEN_EXPIRED")));
}

TEST_F(FeedEventTest, LetsGoOfAStreamWhoseClientIsGone) {
  StartAll();
  auto client = Listen("user_id=ada");
  (void)client->Read("retry");
  EXPECT_EQ(hub_->stream_count(), 1u);
  client.reset();
  EXPECT_TRUE(WaitFor([&] { return hub_->stream_count() == 0; }));
}

}  // namespace
}  // namespace carillon
