#include "carillon/rabbitmq/error_mapping.h"

#include <amqp_framing.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/rabbitmq/handles.h"

namespace carillon {
namespace {

std::string Explain(absl::string_view what, uint16_t code, const amqp_bytes_t& text) {
  return absl::StrCat(what, ": ", FromAmqpBytes(text), " (", code, ")");
}

}  // namespace

absl::Status RabbitUnavailable(absl::string_view why) { return error::BackendUnavailable("rabbitmq", why); }

absl::Status StatusFromLibrary(int code, absl::string_view what) {
  const std::string text = absl::StrCat(what, ": ", amqp_error_string2(code));
  switch (code) {
    case AMQP_STATUS_OK:
      return absl::OkStatus();
    case AMQP_STATUS_BAD_URL:
      return absl::InvalidArgumentError(text);
    case AMQP_STATUS_INVALID_PARAMETER:
    case AMQP_STATUS_TABLE_TOO_BIG:
      return error::Internal(text);
    default:
      // A lost peer, or bytes that make no sense: either way another connection is the cure.
      return RabbitUnavailable(text);
  }
}

absl::Status StatusFromChannelClose(const amqp_channel_close_t& close, absl::string_view what) {
  const std::string text = Explain(what, close.reply_code, close.reply_text);
  switch (close.reply_code) {
    case AMQP_NOT_FOUND:
      return MakeError(absl::StatusCode::kNotFound, text, {.reason = "NOT_FOUND"});
    case AMQP_ACCESS_REFUSED:
      return absl::PermissionDeniedError(text);
    case AMQP_PRECONDITION_FAILED:
      return absl::FailedPreconditionError(text);
    default:
      return RabbitUnavailable(text);
  }
}

absl::Status StatusFromConnectionClose(const amqp_connection_close_t& close, absl::string_view what) {
  return RabbitUnavailable(Explain(what, close.reply_code, close.reply_text));
}

bool IsChannelClose(const amqp_rpc_reply_t& reply) {
  return reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD;
}

absl::Status StatusFromReply(const amqp_rpc_reply_t& reply, absl::string_view what) {
  switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL:
      return absl::OkStatus();
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
      return StatusFromLibrary(reply.library_error, what);
    case AMQP_RESPONSE_SERVER_EXCEPTION:
      if (IsChannelClose(reply)) {
        return StatusFromChannelClose(*static_cast<const amqp_channel_close_t*>(reply.reply.decoded), what);
      }
      if (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        return StatusFromConnectionClose(*static_cast<const amqp_connection_close_t*>(reply.reply.decoded), what);
      }
      break;
    case AMQP_RESPONSE_NONE:
      break;
  }
  return RabbitUnavailable(absl::StrCat(what, ": no reply"));
}

}  // namespace carillon
