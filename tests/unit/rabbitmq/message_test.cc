#include "carillon/rabbitmq/message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "carillon/rabbitmq/handles.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kFrameMax = 4096;

amqp_table_entry_t Text(const char* key, const char* value) {
  amqp_table_entry_t entry{.key = amqp_cstring_bytes(key), .value = {}};
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = amqp_cstring_bytes(value);
  return entry;
}

amqp_table_entry_t Number(const char* key, int64_t value) {
  amqp_table_entry_t entry{.key = amqp_cstring_bytes(key), .value = {}};
  entry.value.kind = AMQP_FIELD_KIND_I64;
  entry.value.value.i64 = value;
  return entry;
}

// Feeds the frames of a delivery to an assembler.
class DeliveryAssemblerTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::optional<InboundMessage>> Deliver() {
    deliver_.delivery_tag = 7;
    deliver_.consumer_tag = amqp_cstring_bytes("queue");
    deliver_.redelivered = 1;
    amqp_frame_t frame{};
    frame.frame_type = AMQP_FRAME_METHOD;
    frame.payload.method = {.id = AMQP_BASIC_DELIVER_METHOD, .decoded = &deliver_};
    return assembler_.Take(frame);
  }
  absl::StatusOr<std::optional<InboundMessage>> Header(uint64_t body_size,
                                                       std::vector<amqp_table_entry_t> headers = {}) {
    properties_._flags = AMQP_BASIC_HEADERS_FLAG;
    properties_.headers = {static_cast<int>(headers.size()), headers.data()};
    amqp_frame_t frame{};
    frame.frame_type = AMQP_FRAME_HEADER;
    frame.payload.properties.body_size = body_size;
    frame.payload.properties.decoded = &properties_;
    return assembler_.Take(frame);
  }
  absl::StatusOr<std::optional<InboundMessage>> Body(absl::string_view part) {
    amqp_frame_t frame{};
    frame.frame_type = AMQP_FRAME_BODY;
    frame.payload.body_fragment = ToAmqpBytes(part);
    return assembler_.Take(frame);
  }
  InboundMessage MessageWith(std::vector<amqp_table_entry_t> headers) {
    EXPECT_OK(Deliver());
    return **Header(0, std::move(headers));
  }

  DeliveryAssembler assembler_;
  amqp_basic_deliver_t deliver_{};
  amqp_basic_properties_t properties_{};
};

TEST_F(DeliveryAssemblerTest, GivesAMessageWithItsLastFrame) {
  ASSERT_OK_AND_ASSIGN(auto nothing, Deliver());
  EXPECT_FALSE(nothing.has_value());
  ASSERT_OK_AND_ASSIGN(nothing, Header(5));
  EXPECT_FALSE(nothing.has_value());
  ASSERT_OK_AND_ASSIGN(nothing, Body("abc"));
  EXPECT_FALSE(nothing.has_value());
  ASSERT_OK_AND_ASSIGN(const auto message, Body("de"));
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->body, "abcde");
  EXPECT_EQ(message->tag, 7u);
  EXPECT_EQ(message->queue, "queue");
  EXPECT_TRUE(message->redelivered);
}

TEST_F(DeliveryAssemblerTest, RefusesFramesThatDoNotFitTogether) {
  EXPECT_THAT(Header(1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Body("a"), StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_OK(Deliver());
  EXPECT_THAT(Body("a"), StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_OK(Header(1));
  EXPECT_THAT(Header(1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Body("too long"), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(DeliveryAssemblerTest, ReadsNumbersAndTextsAlike) {
  EXPECT_EQ(MessageWith({Number("x-app", 5), Number("x-retry-count", 2)}).app, "5");
  EXPECT_EQ(MessageWith({Text("x-app", "5")}).app, "5");
  EXPECT_EQ(MessageWith({Number("x-retry-count", 2)}).retry_count, 2);
  EXPECT_EQ(MessageWith({Text("x-retry-count", "2")}).retry_count, 2);
  EXPECT_EQ(MessageWith({Text("x-retry-count", "many")}).retry_count, 0);
  EXPECT_EQ(MessageWith({Number("x-retry-count", -1)}).retry_count, 0);
  EXPECT_EQ(MessageWith({Number("x-retry-count", int64_t{1} << 40)}).retry_count, 0);
  EXPECT_EQ(MessageWith({}).retry_count, 0);
  EXPECT_EQ(MessageWith({Number("x-replay-count", 3)}).replay_count, 3);
  EXPECT_EQ(MessageWith({Text("x-replay-count", "often")}).replay_count, 0);
}

TEST_F(DeliveryAssemblerTest, PrefersOurReasonToTheNewestOfTheBrokers) {
  std::array newest = {Text("reason", "delivery_limit"), Text("queue", "q")};
  std::array oldest = {Text("reason", "expired")};
  std::array<amqp_field_value_t, 2> deaths{};
  deaths[0].kind = deaths[1].kind = AMQP_FIELD_KIND_TABLE;
  deaths[0].value.table = {static_cast<int>(newest.size()), newest.data()};
  deaths[1].value.table = {static_cast<int>(oldest.size()), oldest.data()};
  amqp_table_entry_t death{.key = amqp_cstring_bytes("x-death"), .value = {}};
  death.value.kind = AMQP_FIELD_KIND_ARRAY;
  death.value.value.array = {static_cast<int>(deaths.size()), deaths.data()};
  EXPECT_EQ(MessageWith({death}).reason, "delivery_limit");
  EXPECT_EQ(MessageWith({death, Text("x-death-cause", "exhausted")}).reason, "exhausted");
}

TEST(PublishFrames, LeaveTheBufferAsItWasIfAMessageCannotBeCarried) {
  std::string buffer = "before";
  OutboundMessage message = {.routing_key = std::string(256, 'k')};
  EXPECT_THAT(AppendPublishFrames(1, kFrameMax, message, &buffer), StatusIs(absl::StatusCode::kInvalidArgument));
  message = {.routing_key = "k", .error = std::string(kFrameMax, 'e')};
  EXPECT_THAT(AppendPublishFrames(1, kFrameMax, message, &buffer), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(buffer, "before");
}

// The broker takes a message for one that goes in circles by what it has written into it.
TEST(PublishFrames, CarryNothingOfWhatTheBrokerAddsToDeadLetters) {
  const OutboundMessage message = {.routing_key = "otp",
                                   .message_id = "m",
                                   .app = AppId(7),
                                   .type = "otp.login",
                                   .traceparent = "t",
                                   .retry_count = 1,
                                   .replay_count = 2,
                                   .reason = "permanent",
                                   .error = "no"};
  std::string frames;
  ASSERT_OK(AppendPublishFrames(1, kFrameMax, message, &frames));
  EXPECT_THAT(frames, HasSubstr("x-replay-count"));
  for (const char* header : {"x-first-death", "x-delivery-count"}) {
    EXPECT_THAT(frames, Not(HasSubstr(header))) << header;
  }
  std::string::size_type at = frames.find("x-death");
  ASSERT_NE(at, std::string::npos);
  EXPECT_EQ(frames.substr(at, 13), "x-death-cause");
  EXPECT_EQ(frames.find("x-death", at + 1), std::string::npos);
}

TEST(PublishFrames, SplitABodyAtTheLargestFrame) {
  std::string whole, one_more;
  ASSERT_OK(AppendPublishFrames(1, kFrameMax, {.body = std::string(kFrameMax - 8, 'x')}, &whole));
  ASSERT_OK(AppendPublishFrames(1, kFrameMax, {.body = std::string(kFrameMax - 7, 'x')}, &one_more));
  EXPECT_EQ(one_more.size(), whole.size() + 8 + 1);
}

}  // namespace
}  // namespace carillon::testing
