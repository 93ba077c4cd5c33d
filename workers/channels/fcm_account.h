// A service account of Google's, and the access tokens that it gets.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "workers/channels/http_provider.h"
#include "workers/channels/token_source.h"

namespace carillon {

struct FcmAccount {
  std::string project_id;
  std::string client_email;
  std::string private_key;
  std::string token_uri;
};

// Where a service account's file sends its holder, if it says nothing else.
inline constexpr absl::string_view kGoogleTokenUri = "https://oauth2.googleapis.com/token";

// From the JSON file that Google hands out. INVALID_ARGUMENT names what is missing.
absl::StatusOr<FcmAccount> ParseFcmAccount(absl::string_view json);

// The form that asks for a token (RFC 7523).
absl::StatusOr<std::string> FcmTokenBody(const FcmAccount& account, absl::Time now);
// INVALID_ARGUMENT: the account is refused; UNAVAILABLE: try again.
absl::StatusOr<SharedToken> FcmTokenOf(const HttpResult& answer, absl::Time now);

// Tokens are shared by all workers until five minutes before they expire. `deps` is how
// they are asked for.
std::unique_ptr<TokenSource> MakeFcmTokens(const HttpProvider::Deps& deps, AppId app, TokenStore* store,
                                           Executor* executor, const FcmAccount& account);

}  // namespace carillon
