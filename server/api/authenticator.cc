#include "server/api/authenticator.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/secrets.h"

namespace carillon {
namespace {

// After the first an entry is refreshed behind the caller's back; after the
// second it is not used any more.
constexpr absl::Duration kFresh = absl::Seconds(5);
constexpr absl::Duration kUsable = absl::Seconds(10);
// A younger entry is taken at its word: wrong secrets cost a look per so long, not one per call.
constexpr absl::Duration kBeyondDoubt = absl::Milliseconds(50);
// Of a secret's hash: enough to tell one from another, and to guess nothing by.
constexpr size_t kSecretIdBytes = 6;

std::string Metadata(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : std::string(found->second.data(), found->second.size());
}

// nullopt: it is not for us, as what a proxy on the way may have asked for.
std::optional<absl::string_view> BearerToken(absl::string_view authorization) {
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) return std::nullopt;
  return absl::StripAsciiWhitespace(authorization.substr(kScheme.size()));
}

std::string SecretId(absl::string_view hash) { return absl::BytesToHexString(hash.substr(0, kSecretIdBytes)); }

// Whose hash it is, of the app's.
std::optional<std::string> MatchingSecret(const AppCredentials& credentials, absl::string_view secret) {
  const std::string hash = HashSecret(secret);
  bool matches = false;
  // All are compared, so that the time does not tell which one it was.
  for (const std::string& stored : credentials.secret_hashes) matches |= ConstantTimeEquals(stored, hash);
  return matches ? std::optional(SecretId(hash)) : std::nullopt;
}

bool HasSecret(const AppCredentials& credentials, absl::string_view secret_id) {
  return std::any_of(credentials.secret_hashes.begin(), credentials.secret_hashes.end(),
                     [&](const std::string& hash) { return SecretId(hash) == secret_id; });
}

absl::Status CheckScope(const AppCredentials& credentials, absl::string_view scope) {
  const std::vector<std::string>& scopes = credentials.app.scopes;
  const bool has = std::find(scopes.begin(), scopes.end(), scope) != scopes.end();
  return has ? absl::OkStatus() : error::MissingScope(scope);
}

absl::StatusOr<Caller> CheckApp(const AppCredentials* credentials, absl::string_view secret, absl::string_view scope) {
  if (credentials == nullptr) return error::InvalidCredentials();
  std::optional<std::string> secret_id = MatchingSecret(*credentials, secret);
  if (!secret_id.has_value()) return error::InvalidCredentials();
  RETURN_IF_ERROR(CheckScope(*credentials, scope));
  return Caller{.app = credentials->app.id,
                .scopes = credentials->app.scopes,
                .app_key = credentials->app.key,
                .secret_id = *std::move(secret_id)};
}

absl::StatusOr<Caller> CheckUser(const AppCredentials* credentials, const UserToken& token, Access access,
                                 absl::Time now) {
  if (credentials == nullptr || !HasSecret(*credentials, token.secret_id)) return error::InvalidToken();
  const absl::Time expires = token.expire_time + limits::kTokenLeeway;
  if (now >= expires) return error::TokenExpired();
  if (!access.users()) return error::NotYours();
  RETURN_IF_ERROR(CheckScope(*credentials, access.scope()));
  return Caller{.app = credentials->app.id,
                .scopes = {std::string(access.scope())},
                .app_key = token.app_key,
                .secret_id = token.secret_id,
                .user = token.user,
                .expires = expires};
}

// Refused by what is known now: the app or its secret may be new.
bool MayBeNew(const absl::Status& status) {
  return !status.ok() && (status == error::InvalidCredentials() || status == error::InvalidToken());
}

absl::Status QueueIsFull() { return error::Overloaded("the queue of this server", absl::Milliseconds(200)); }

// Keys are looked up in the store, which takes no others.
bool IsKey(absl::string_view key) {
  return !key.empty() && key.size() <= limits::kMaxIdBytes && std::all_of(key.begin(), key.end(), absl::ascii_isprint);
}

}  // namespace

void Authenticator::Authenticate(const grpc::CallbackServerContext& context, Access access, Done done) {
  Authenticate({.app_key = Metadata(context, "x-app-key"),
                .app_secret = Metadata(context, "x-app-secret"),
                .authorization = Metadata(context, "authorization")},
               access, std::move(done));
}

void Authenticator::Authenticate(Credentials credentials, Access access, Done done) {
  const std::optional<absl::string_view> token = BearerToken(credentials.authorization);
  if (!token.has_value()) {
    return Authenticate(std::move(credentials.app_key), std::move(credentials.app_secret), access.scope(),
                        std::move(done));
  }
  if (!credentials.app_key.empty() || !credentials.app_secret.empty()) return done(error::TwoCredentials());
  AuthenticateUser(*token, access, std::move(done));
}

void Authenticator::Authenticate(std::string key, std::string secret, absl::string_view scope, Done done) {
  if (!IsKey(key) || secret.empty() || secret.size() > limits::kMaxIdBytes) {
    return done(error::InvalidCredentials());
  }
  Check(
      key,
      [secret = std::move(secret), scope](const AppCredentials* credentials) {
        return CheckApp(credentials, secret, scope);
      },
      std::move(done));
}

void Authenticator::AuthenticateUser(absl::string_view text, Access access, Done done) {
  if (!tokens_.has_value()) return done(error::InvalidToken());
  absl::StatusOr<UserToken> token = tokens_->Verify(text, clock_.Now());
  if (!token.ok()) return done(token.status());
  const std::string key = token->app_key;
  Check(
      key,
      [this, token = *std::move(token), access](const AppCredentials* credentials) {
        return CheckUser(credentials, token, access, clock_.Now());
      },
      std::move(done));
}

StreamPermit Authenticator::PermitFor(const Caller& caller, absl::string_view scope) {
  return [this, key = caller.app_key, secret_id = caller.secret_id, scope, is_user = caller.user.has_value(),
          expires = caller.expires]() -> absl::Status {
    if (clock_.Now() >= expires) return error::TokenExpired();
    const std::optional<Entry> entry = FromCache(key, absl::InfiniteDuration());
    if (!entry.has_value()) return absl::OkStatus();
    if (entry->credentials == nullptr || !HasSecret(*entry->credentials, secret_id)) {
      return is_user ? error::InvalidToken() : error::InvalidCredentials();
    }
    return CheckScope(*entry->credentials, scope);
  };
}

void Authenticator::Check(const std::string& key, CheckCredentials check, Done done) {
  if (const std::optional<Entry> entry = FromCache(key, kUsable); entry.has_value()) {
    absl::StatusOr<Caller> caller = check(entry->credentials.get());
    const bool doubtful = MayBeNew(caller.status()) && clock_.Now() - entry->loaded >= kBeyondDoubt;
    if (!doubtful) return done(std::move(caller));
  }
  Look(key, [check = std::move(check), done = std::move(done)](const absl::StatusOr<Entry>& entry) mutable {
    done(entry.ok() ? check(entry->credentials.get()) : absl::StatusOr<Caller>(entry.status()));
  });
}

std::optional<Authenticator::Entry> Authenticator::FromCache(const std::string& key, absl::Duration usable) {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&mutex_);
  const auto found = cache_.find(key);
  const absl::Duration age = found == cache_.end() ? absl::InfiniteDuration() : now - found->second.loaded;
  const bool is_usable = found != cache_.end() && age <= usable;
  // Whoever finds nothing usable looks for himself, but streams wait.
  if (age > kFresh && (is_usable || usable == absl::InfiniteDuration()) && looks_.try_emplace(key).second) {
    (void)SubmitLookLocked(key);  // Nobody waits for it.
  }
  return is_usable ? std::optional(found->second) : std::nullopt;
}

void Authenticator::Look(const std::string& key, WhenLooked looked) {
  std::vector<WhenLooked> refused;
  {
    absl::MutexLock lock(&mutex_);
    const auto [look, is_new] = looks_.try_emplace(key);
    look->second.push_back(std::move(looked));
    if (is_new) refused = SubmitLookLocked(key);
  }
  for (WhenLooked& waiter : refused) waiter(QueueIsFull());
}

std::vector<Authenticator::WhenLooked> Authenticator::SubmitLookLocked(const std::string& key) {
  if (executor_.Submit([this, key] { RunLook(key); })) return {};
  return std::move(looks_.extract(key).mapped());
}

void Authenticator::RunLook(const std::string& key) {
  std::vector<WhenLooked> waiting;
  {
    absl::MutexLock lock(&mutex_);
    waiting.swap(looks_[key]);
  }
  const absl::StatusOr<Entry> entry = Load(key);
  std::vector<WhenLooked> refused;
  {
    absl::MutexLock lock(&mutex_);
    std::vector<WhenLooked>& next = looks_[key];
    // What is away is so for those as well who came meanwhile.
    if (!entry.ok()) std::move(next.begin(), next.end(), std::back_inserter(waiting));
    if (next.empty() || !entry.ok()) {
      looks_.erase(key);
    } else {
      refused = SubmitLookLocked(key);
    }
  }
  for (WhenLooked& waiter : waiting) waiter(entry);
  for (WhenLooked& waiter : refused) waiter(QueueIsFull());
}

absl::StatusOr<Authenticator::Entry> Authenticator::Load(const std::string& key) {
  // As old as the beginning of the look: what changes while it is under way may not be in it.
  const absl::Time looked = clock_.Now();
  absl::StatusOr<AppCredentials> found = store_->Find(key);
  absl::MutexLock lock(&mutex_);
  // The store is away: what is known stays known until it is too old.
  if (!found.ok() && !absl::IsNotFound(found.status())) return found.status();
  // A flood of made-up keys must not grow the cache: start over, the real ones are soon back.
  if (cache_.size() >= limits::kCredentialCacheEntries) cache_.clear();
  Entry entry{found.ok() ? std::make_shared<const AppCredentials>(*std::move(found)) : nullptr, looked};
  cache_[key] = entry;
  return entry;
}

}  // namespace carillon
