// The one place where librabbitmq's return codes and the broker's refusals
// become statuses. `what` says what was being done.
//
// UNAVAILABLE: the broker is away, or the connection is unusable; try again.
// NOT_FOUND (404), PERMISSION_DENIED (403), FAILED_PRECONDITION (406): the
// broker refused a call and closed its channel; the connection is sound.
#pragma once

#include <amqp.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace carillon {

// OK for AMQP_STATUS_OK.
absl::Status StatusFromLibrary(int code, absl::string_view what);
absl::Status StatusFromChannelClose(const amqp_channel_close_t& close, absl::string_view what);
absl::Status StatusFromConnectionClose(const amqp_connection_close_t& close, absl::string_view what);
// OK for a normal reply.
absl::Status StatusFromReply(const amqp_rpc_reply_t& reply, absl::string_view what);

// True if the broker closed a channel only.
bool IsChannelClose(const amqp_rpc_reply_t& reply);

absl::Status RabbitUnavailable(absl::string_view why);

}  // namespace carillon
