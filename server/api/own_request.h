// What an end user asks for: their own things only.
#pragma once

#include "absl/status/status.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "server/api/authenticator.h"
#include "server/api/unary_call.h"

namespace carillon {

// Puts the token's user into a request that names none; error::NotYours if it names
// another. Requests of apps stay as they are.
template <typename Request>
absl::Status MakeOwn(const Caller& caller, Request& request) {
  if (!caller.user.has_value()) return absl::OkStatus();
  if (request.user_id().empty()) request.set_user_id(*caller.user);
  return request.user_id() == *caller.user ? absl::OkStatus() : error::NotYours();
}

// What `work` makes of the request, after MakeOwn.
template <typename Request, typename Work>
absl::Status WithOwn(const Caller& caller, const Request& request, Work work) {
  if (!caller.user.has_value() || request.user_id() == *caller.user) return work(request);
  Request own = request;
  RETURN_IF_ERROR(MakeOwn(caller, own));
  return work(own);
}

// As RunUnary, of a method that users call too.
template <typename Request, typename Work>
grpc::ServerUnaryReactor* RunOwn(ServerCalls& calls, grpc::CallbackServerContext* context, absl::string_view method,
                                 absl::string_view scope, const Request* request, Work work) {
  return RunUnary(calls, context, method, Access::WithUsers(scope), [request, work](const Caller& caller) {
    return WithOwn(caller, *request, [&](const Request& own) { return work(caller.app, own); });
  });
}

}  // namespace carillon
