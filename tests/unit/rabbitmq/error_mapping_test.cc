#include "carillon/rabbitmq/error_mapping.h"

#include <amqp_framing.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/rabbitmq/handles.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

amqp_rpc_reply_t ServerException(amqp_method_number_t method, void* arguments) {
  amqp_rpc_reply_t reply{};
  reply.reply_type = AMQP_RESPONSE_SERVER_EXCEPTION;
  reply.reply = {.id = method, .decoded = arguments};
  return reply;
}

amqp_channel_close_t ChannelClose(uint16_t code) {
  amqp_channel_close_t close{};
  close.reply_code = code;
  close.reply_text = amqp_cstring_bytes("why");
  return close;
}

TEST(RabbitErrorMapping, MapsEveryReturnCodeOfTheLibrary) {
  const struct {
    int library;
    absl::StatusCode expected;
  } kCases[] = {
      {AMQP_STATUS_OK, absl::StatusCode::kOk},
      {AMQP_STATUS_NO_MEMORY, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_BAD_AMQP_DATA, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_UNKNOWN_CLASS, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_UNKNOWN_METHOD, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_HOSTNAME_RESOLUTION_FAILED, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_INCOMPATIBLE_AMQP_VERSION, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_CONNECTION_CLOSED, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_BAD_URL, absl::StatusCode::kInvalidArgument},
      {AMQP_STATUS_SOCKET_ERROR, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_INVALID_PARAMETER, absl::StatusCode::kInternal},
      {AMQP_STATUS_TABLE_TOO_BIG, absl::StatusCode::kInternal},
      {AMQP_STATUS_WRONG_METHOD, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_TIMEOUT, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_TIMER_FAILURE, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_HEARTBEAT_TIMEOUT, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_UNEXPECTED_STATE, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_SOCKET_CLOSED, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_SOCKET_INUSE, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_BROKER_UNSUPPORTED_SASL_METHOD, absl::StatusCode::kUnavailable},
      {AMQP_STATUS_TCP_ERROR, absl::StatusCode::kUnavailable},
  };
  for (const auto& [library, expected] : kCases) {
    EXPECT_THAT(StatusFromLibrary(library, "x"), StatusIs(expected)) << amqp_error_string2(library);
  }
}

TEST(RabbitErrorMapping, MapsWhatTheBrokerRefusesAndGivesItsWords) {
  const struct {
    uint16_t broker;
    absl::StatusCode expected;
  } kCases[] = {
      {AMQP_NOT_FOUND, absl::StatusCode::kNotFound},
      {AMQP_ACCESS_REFUSED, absl::StatusCode::kPermissionDenied},
      {AMQP_PRECONDITION_FAILED, absl::StatusCode::kFailedPrecondition},
      {AMQP_RESOURCE_LOCKED, absl::StatusCode::kUnavailable},
      {AMQP_INTERNAL_ERROR, absl::StatusCode::kUnavailable},
  };
  for (const auto& [broker, expected] : kCases) {
    amqp_channel_close_t close = ChannelClose(broker);
    const amqp_rpc_reply_t reply = ServerException(AMQP_CHANNEL_CLOSE_METHOD, &close);
    EXPECT_TRUE(IsChannelClose(reply));
    EXPECT_THAT(StatusFromReply(reply, "doing"),
                StatusIs(expected, AllOf(HasSubstr("doing"), HasSubstr("why"), HasSubstr(absl::StrCat(broker)))));
  }
}

TEST(RabbitErrorMapping, TakesAClosedConnectionForAnAbsentBroker) {
  amqp_connection_close_t close{};
  close.reply_code = AMQP_NOT_FOUND;
  close.reply_text = amqp_cstring_bytes("why");
  const amqp_rpc_reply_t reply = ServerException(AMQP_CONNECTION_CLOSE_METHOD, &close);
  EXPECT_FALSE(IsChannelClose(reply));
  const absl::Status status = StatusFromReply(reply, "doing");
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("why")));
  EXPECT_EQ(DetailsOf(status).reason, "BACKEND_UNAVAILABLE");
  EXPECT_TRUE(IsInfrastructureFailure(status));
}

TEST(RabbitErrorMapping, TakesNoReplyForAnAbsentBroker) {
  amqp_rpc_reply_t reply{};
  EXPECT_THAT(StatusFromReply(reply, "doing"), StatusIs(absl::StatusCode::kUnavailable));
  reply.reply_type = AMQP_RESPONSE_NORMAL;
  EXPECT_OK(StatusFromReply(reply, "doing"));
}

}  // namespace
}  // namespace carillon::testing
