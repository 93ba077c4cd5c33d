#include "server/api/authenticator.h"

#include <algorithm>
#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/runtime/secrets.h"

namespace carillon {
namespace {

// After the first an entry is refreshed behind the caller's back; after the
// second it is not used any more.
constexpr absl::Duration kFresh = absl::Seconds(5);
constexpr absl::Duration kUsable = absl::Seconds(10);

std::string Metadata(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(key);
  return found == metadata.end() ? std::string() : std::string(found->second.data(), found->second.size());
}

bool SecretMatches(const AppCredentials& credentials, absl::string_view secret) {
  const std::string hash = HashSecret(secret);
  bool matches = false;
  // All are compared, so that the time does not tell which one it was.
  for (const std::string& stored : credentials.secret_hashes) matches |= ConstantTimeEquals(stored, hash);
  return matches;
}

absl::StatusOr<Caller> Check(const AppCredentials* credentials, absl::string_view secret, absl::string_view scope) {
  if (credentials == nullptr || !SecretMatches(*credentials, secret)) return error::InvalidCredentials();
  const std::vector<std::string>& scopes = credentials->app.scopes;
  if (std::find(scopes.begin(), scopes.end(), scope) == scopes.end()) return error::MissingScope(scope);
  return Caller{credentials->app.id, scopes};
}

}  // namespace

void Authenticator::Authenticate(const grpc::CallbackServerContext& context, absl::string_view scope, Done done) {
  Authenticate(Metadata(context, "x-app-key"), Metadata(context, "x-app-secret"), scope, std::move(done));
}

void Authenticator::Authenticate(std::string key, std::string secret, absl::string_view scope, Done done) {
  if (key.empty() || secret.empty() || key.size() > limits::kMaxIdBytes || secret.size() > limits::kMaxIdBytes) {
    return done(error::InvalidCredentials());
  }
  if (const std::optional<Entry> entry = FromCache(key); entry.has_value()) {
    return done(Check(entry->credentials.get(), secret, scope));
  }
  // Shared: the task is destroyed with what it holds when the executor refuses it.
  auto shared_done = std::make_shared<Done>(std::move(done));
  const bool taken = executor_.Submit(
      [this, key = std::move(key), secret = std::move(secret), scope = std::string(scope), shared_done] {
        const absl::StatusOr<Entry> entry = Load(key);
        (*shared_done)(entry.ok() ? Check(entry->credentials.get(), secret, scope)
                                  : absl::StatusOr<Caller>(entry.status()));
      });
  if (!taken) (*shared_done)(error::Overloaded("the queue of this server", absl::Milliseconds(200)));
}

std::optional<Authenticator::Entry> Authenticator::FromCache(const std::string& key) {
  const absl::Time now = clock_.Now();
  absl::MutexLock lock(&mutex_);
  const auto found = cache_.find(key);
  if (found == cache_.end() || now - found->second.loaded > kUsable) return std::nullopt;
  if (now - found->second.loaded > kFresh && !found->second.refreshing) {
    found->second.refreshing = executor_.Submit([this, key] { (void)Load(key); });
  }
  return found->second;
}

absl::StatusOr<Authenticator::Entry> Authenticator::Load(const std::string& key) {
  absl::StatusOr<AppCredentials> found = store_->Find(key);
  absl::MutexLock lock(&mutex_);
  if (!found.ok() && !absl::IsNotFound(found.status())) {
    // The store is away: what is known stays known until it is too old.
    if (const auto entry = cache_.find(key); entry != cache_.end()) entry->second.refreshing = false;
    return found.status();
  }
  // A flood of made-up keys must not grow the cache: start over, the real ones are soon back.
  if (cache_.size() >= limits::kCredentialCacheEntries) cache_.clear();
  Entry entry{found.ok() ? std::make_shared<const AppCredentials>(*std::move(found)) : nullptr, clock_.Now()};
  cache_[key] = entry;
  return entry;
}

}  // namespace carillon
