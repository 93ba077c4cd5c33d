// Tokens for end users, for apps that ask for them.
#pragma once

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/v1/recipient_service.pb.h"
#include "server/api/authenticator.h"

namespace carillon {

// Of the caller's app, and good as long as the secret that it came with is.
absl::StatusOr<v1::IssueUserTokenResponse> IssueUserToken(const UserTokens& tokens, const Caller& caller,
                                                          const v1::IssueUserTokenRequest& request, absl::Time now);

}  // namespace carillon
