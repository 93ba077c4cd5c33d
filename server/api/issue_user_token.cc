#include "server/api/issue_user_token.h"

#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/timestamps.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

absl::Duration TtlOf(const v1::IssueUserTokenRequest& request) {
  if (!request.has_ttl()) return limits::kDefaultTokenTtl;
  return absl::Seconds(request.ttl().seconds()) + absl::Nanoseconds(request.ttl().nanos());
}

}  // namespace

absl::StatusOr<v1::IssueUserTokenResponse> IssueUserToken(const UserTokens& tokens, const Caller& caller,
                                                          const v1::IssueUserTokenRequest& request, absl::Time now) {
  const absl::Duration ttl = TtlOf(request);
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  if (ttl < limits::kMinTokenTtl || ttl > limits::kMaxTokenTtl) violations.Add("ttl", "must be 1 min to 24 h");
  RETURN_IF_ERROR(violations.ToStatus());
  // A token tells whole seconds.
  const absl::Time issue_time = absl::FromUnixSeconds(absl::ToUnixSeconds(now));
  const absl::Time expire_time = issue_time + absl::Trunc(ttl, absl::Seconds(1));
  v1::IssueUserTokenResponse response;
  ASSIGN_OR_RETURN(*response.mutable_token(), tokens.Issue({.app_key = caller.app_key,
                                                            .secret_id = caller.secret_id,
                                                            .user = request.user_id(),
                                                            .issue_time = issue_time,
                                                            .expire_time = expire_time}));
  *response.mutable_expire_time() = ToTimestamp(expire_time);
  return response;
}

}  // namespace carillon
