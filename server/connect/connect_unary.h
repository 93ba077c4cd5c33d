// A unary call of the Connect protocol.
#pragma once

#include <google/protobuf/descriptor.h>

#include "server/connect/connect_calls.h"
#include "server/http/http_message.h"

namespace carillon {

// Answers the request with what the RPC answers. The RPC itself is called, on the
// in-process channel: authentication, validation, limits and errors are its own. Does
// not block.
void AnswerUnary(ConnectCalls& calls, const google::protobuf::MethodDescriptor& method, HttpRequest request,
                 HttpRespond respond);

}  // namespace carillon
