#include "workers/channels/fcm_account.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "workers/channels/account_digest.h"
#include "workers/channels/form.h"
#include "workers/channels/json_text.h"
#include "workers/channels/jwt_signer.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "https://www.googleapis.com/auth/firebase.messaging";
constexpr absl::string_view kGrantType = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr absl::Duration kAssertionLife = absl::Hours(1);
constexpr absl::Duration kFetchTimeout = absl::Seconds(5);
// Calls that carry a token have to arrive before it expires.
constexpr absl::Duration kSpare = absl::Minutes(5);
// Google does not mind new ones; this only keeps a wrong clock from asking all the time.
constexpr absl::Duration kMinTokenAge = absl::Minutes(1);

}  // namespace

absl::StatusOr<FcmAccount> ParseFcmAccount(absl::string_view json_text) {
  const nlohmann::json json = ReadJson(json_text);
  if (!json.is_object()) return absl::InvalidArgumentError("must be a JSON object");
  FcmAccount account{.project_id = TextAt(json, "/project_id"),
                     .client_email = TextAt(json, "/client_email"),
                     .private_key = TextAt(json, "/private_key"),
                     .token_uri = TextAt(json, "/token_uri")};
  if (account.token_uri.empty()) account.token_uri = std::string(kGoogleTokenUri);
  // It becomes a part of a path.
  const auto in_project = [](char c) { return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == ':'; };
  if (account.project_id.empty() || !std::all_of(account.project_id.begin(), account.project_id.end(), in_project)) {
    return absl::InvalidArgumentError("must have a project_id of letters, digits, '-', '.' and ':'");
  }
  if (account.client_email.empty()) return absl::InvalidArgumentError("must have a client_email");
  const absl::Status key = CheckJwtKey(JwtAlgorithm::kRs256, account.private_key);
  if (!key.ok()) return absl::InvalidArgumentError(absl::StrCat("private_key: ", key.message()));
  return account;
}

absl::StatusOr<std::string> FcmTokenBody(const FcmAccount& account, absl::Time now) {
  const nlohmann::json claims = {{"iss", account.client_email},
                                 {"scope", std::string(kScope)},
                                 {"aud", account.token_uri},
                                 {"iat", absl::ToUnixSeconds(now)},
                                 {"exp", absl::ToUnixSeconds(now + kAssertionLife)}};
  ASSIGN_OR_RETURN(const std::string assertion,
                   SignJwt(JwtAlgorithm::kRs256, account.private_key, /*key_id=*/"", WriteJson(claims)));
  FormWriter form;
  form.Add("grant_type", kGrantType).Add("assertion", assertion);
  return std::move(form).Take();
}

absl::StatusOr<SharedToken> FcmTokenOf(const HttpResult& answer, absl::Time now) {
  if (answer.end != CallEnd::kAnswered) {
    const std::string words = absl::StrCat("no access token: ", answer.error);
    return answer.forbidden_address ? absl::InvalidArgumentError(words) : absl::UnavailableError(words);
  }
  const nlohmann::json json = ReadJson(answer.body);
  if (answer.status != 200) {
    const std::string words = absl::StrCat("no access token: ", answer.status, " ", TextAt(json, "/error"), " ",
                                           TextAt(json, "/error_description"));
    const bool refused = answer.status == 400 || answer.status == 401 || answer.status == 403;
    return refused ? absl::InvalidArgumentError(words) : absl::UnavailableError(words);
  }
  SharedToken token{.token = TextAt(json, "/access_token"), .mint_time = now};
  int64_t seconds = 0;
  if (token.token.empty() || !IsSafeHeaderText(token.token) ||
      !absl::SimpleAtoi(TextAt(json, "/expires_in"), &seconds) || seconds <= 0) {
    return absl::UnavailableError("no access token: the answer has none");
  }
  const absl::Duration life = std::min(absl::Seconds(seconds), absl::Hours(24));
  token.expire_time = now + (life > 2 * kSpare ? life - kSpare : life / 2);
  return token;
}

std::unique_ptr<TokenSource> MakeFcmTokens(const HttpProvider::Deps& deps, AppId app, TokenStore* store,
                                           Executor* executor, const FcmAccount& account) {
  auto mint = [deps, account](absl::Time now, TokenSource::Done done) {
    absl::StatusOr<std::string> body = FcmTokenBody(account, now);
    if (!body.ok()) return done(absl::InvalidArgumentError(body.status().message()));
    HttpRequest request{.url = account.token_uri,
                        .headers = {{"content-type", std::string(kFormType)}},
                        .body = *std::move(body),
                        .options = {.timeout = kFetchTimeout,
                                    .ca_pem = deps.ca_pem,
                                    .forbid_private_addresses = deps.forbid_private_addresses}};
    deps.transport->Send(std::move(request),
                         [now, done = std::move(done)](HttpResult answer) { done(FcmTokenOf(answer, now)); });
  };
  return std::make_unique<TokenSource>(
      store, executor, deps.clock,
      TokenSource::Options{
          .app = app,
          .token_key = AccountDigest("fcm", {account.client_email, account.private_key, account.token_uri}),
          .min_age = kMinTokenAge,
          .mint = std::move(mint)});
}

}  // namespace carillon
