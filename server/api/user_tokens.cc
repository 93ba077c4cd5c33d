#include "server/api/user_tokens.h"

#include <jwt.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/limits.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr const char* kIssuer = "carillon";
constexpr const char* kAudience = "carillon";
constexpr size_t kKeyIdBytes = 6;

struct JwtDeleter {
  void operator()(jwt_t* jwt) const { jwt_free(jwt); }
};
using Jwt = std::unique_ptr<jwt_t, JwtDeleter>;
struct JwtTextDeleter {
  void operator()(char* text) const { std::free(text); }
};

struct AlgorithmRow {
  TokenAlgorithm algorithm;
  absl::string_view name;
  jwt_alg_t libjwt;
  // As many as the hash has: RFC 7518, section 3.2.
  size_t key_bytes;
};
constexpr AlgorithmRow kAlgorithms[] = {{TokenAlgorithm::kHs256, "HS256", JWT_ALG_HS256, 32},
                                        {TokenAlgorithm::kHs384, "HS384", JWT_ALG_HS384, 48},
                                        {TokenAlgorithm::kHs512, "HS512", JWT_ALG_HS512, 64}};

const AlgorithmRow& RowOf(TokenAlgorithm algorithm) { return kAlgorithms[static_cast<size_t>(algorithm)]; }

// Null for what is no token. Without a key nothing is verified.
Jwt Decode(const std::string& token, const std::string* key) {
  jwt_t* decoded = nullptr;
  const unsigned char* const bytes = key == nullptr ? nullptr : reinterpret_cast<const unsigned char*>(key->data());
  if (jwt_decode(&decoded, token.c_str(), bytes, key == nullptr ? 0 : static_cast<int>(key->size())) != 0) return {};
  return Jwt(decoded);
}

std::string Header(const Jwt& jwt, const char* name) {
  const char* const text = jwt_get_header(jwt.get(), name);
  return text == nullptr ? "" : text;
}

std::string Text(const Jwt& jwt, const char* claim) {
  const char* const text = jwt_get_grant(jwt.get(), claim);
  return text == nullptr ? "" : text;
}

std::optional<absl::Time> TimeOf(const Jwt& jwt, const char* claim) {
  errno = 0;
  const long seconds = jwt_get_grant_int(jwt.get(), claim);
  if (errno != 0 || seconds <= 0 || seconds > limits::kLastTimestampSecond) return std::nullopt;
  return absl::FromUnixSeconds(seconds);
}

absl::StatusOr<UserToken> ClaimsOf(const Jwt& jwt, absl::Time now) {
  const std::optional<absl::Time> issued = TimeOf(jwt, "iat");
  const std::optional<absl::Time> expires = TimeOf(jwt, "exp");
  UserToken token{.app_key = Text(jwt, "app"),
                  .secret_id = Text(jwt, "sid"),
                  .user = Text(jwt, "sub"),
                  .issue_time = {},
                  .expire_time = {}};
  const bool for_us = Text(jwt, "iss") == kIssuer && Text(jwt, "aud") == kAudience;
  const bool complete = !token.app_key.empty() && !token.secret_id.empty() &&
                        Violations().CheckId("sub", token.user, /*required=*/true) && issued.has_value() &&
                        expires.has_value();
  if (!for_us || !complete) return error::InvalidToken();
  if (*issued > now + limits::kTokenLeeway || *expires - *issued > limits::kMaxTokenTtl) return error::InvalidToken();
  token.issue_time = *issued;
  token.expire_time = *expires;
  return token;
}

}  // namespace

std::optional<TokenAlgorithm> ParseTokenAlgorithm(absl::string_view name) {
  for (const AlgorithmRow& row : kAlgorithms) {
    if (row.name == name) return row.algorithm;
  }
  return std::nullopt;
}

UserTokens::UserTokens(const MasterKey& master_key, TokenAlgorithm algorithm) : algorithm_(algorithm) {
  // A key is of one algorithm: what one signed means nothing to another.
  const std::string purpose = absl::StrCat("user-token/", RowOf(algorithm).name);
  const std::vector<std::string> secrets = master_key.DeriveKeys(purpose, RowOf(algorithm).key_bytes);
  const std::vector<std::string> ids = master_key.DeriveKeys(absl::StrCat(purpose, "/id"), kKeyIdBytes);
  for (size_t i = 0; i < secrets.size(); ++i) {
    keys_.push_back({.id = absl::BytesToHexString(ids[i]), .secret = secrets[i]});
  }
}

absl::StatusOr<std::string> UserTokens::Issue(const UserToken& token) const {
  const Key& key = keys_.front();
  jwt_t* made = nullptr;
  if (jwt_new(&made) != 0) return error::Internal("libjwt makes no token");
  const Jwt jwt(made);
  const auto add = [&](const char* claim, const std::string& text) {
    return jwt_add_grant(jwt.get(), claim, text.c_str()) == 0;
  };
  const auto add_time = [&](const char* claim, absl::Time time) {
    return jwt_add_grant_int(jwt.get(), claim, absl::ToUnixSeconds(time)) == 0;
  };
  const bool ok =
      jwt_set_alg(jwt.get(), RowOf(algorithm_).libjwt, reinterpret_cast<const unsigned char*>(key.secret.data()),
                  static_cast<int>(key.secret.size())) == 0 &&
      jwt_add_header(jwt.get(), "kid", key.id.c_str()) == 0 && add("iss", kIssuer) && add("aud", kAudience) &&
      add("app", token.app_key) && add("sid", token.secret_id) && add("sub", token.user) &&
      add("jti", NewUuid7(token.issue_time).ToString()) && add_time("iat", token.issue_time) &&
      add_time("exp", token.expire_time);
  if (!ok) return error::Internal("libjwt takes no key or no claims");
  const std::unique_ptr<char, JwtTextDeleter> text(jwt_encode_str(jwt.get()));
  if (text == nullptr) return error::Internal("libjwt does not sign");
  return std::string(text.get());
}

absl::StatusOr<UserToken> UserTokens::Verify(absl::string_view token, absl::Time now) const {
  // A NUL would hide what follows it from a library in C.
  if (token.size() > limits::kMaxTokenBytes || absl::StrContains(token, '\0')) return error::InvalidToken();
  const std::string text(token);
  const Jwt unverified = Decode(text, nullptr);
  if (unverified == nullptr || Header(unverified, "alg") != RowOf(algorithm_).name) return error::InvalidToken();
  const Key* const key = FindKey(Header(unverified, "kid"));
  if (key == nullptr) return error::InvalidToken();
  const Jwt verified = Decode(text, &key->secret);
  if (verified == nullptr || jwt_get_alg(verified.get()) != RowOf(algorithm_).libjwt) return error::InvalidToken();
  return ClaimsOf(verified, now);
}

const UserTokens::Key* UserTokens::FindKey(absl::string_view id) const {
  for (const Key& key : keys_) {
    if (key.id == id) return &key;
  }
  return nullptr;
}

}  // namespace carillon
