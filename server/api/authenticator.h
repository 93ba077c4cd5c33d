// Who calls: the app behind x-app-key and x-app-secret, or one of its end users behind
// a token, and what they may do.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/ports/catalog_store.h"
#include "carillon/ports/clock.h"
#include "carillon/runtime/executor.h"
#include "server/api/user_tokens.h"
#include "server/feed/live_stream.h"

namespace carillon {

// Who may call a method: apps that have the scope, and end users only where it is said.
class Access {
 public:
  constexpr Access(absl::string_view scope) : scope_(scope) {}  // NOLINT: a scope is an access for apps alone.
  constexpr Access(const char* scope) : scope_(scope) {}        // NOLINT
  static constexpr Access WithUsers(absl::string_view scope) {
    Access access(scope);
    access.users_ = true;
    return access;
  }

  constexpr absl::string_view scope() const { return scope_; }
  constexpr bool users() const { return users_; }

 private:
  absl::string_view scope_;  // A literal.
  bool users_ = false;
};

// As they came with a call; empty: none.
struct Credentials {
  std::string app_key;
  std::string app_secret;
  std::string authorization;  // The header's value: Bearer TOKEN. Other schemes are not for us.
};

struct Caller {
  AppId app;
  std::vector<std::string> scopes;
  std::string app_key;
  // Which of the app's secrets it is let in by, or its token was issued by.
  std::string secret_id;
  // An end user, who reaches their own things only; none: the app itself.
  std::optional<std::string> user;
  // What it is let in by ends then.
  absl::Time expires = absl::InfiniteFuture();
};

// Keeps credentials for a few seconds (unknown keys too), so that a call costs one
// hash and a revoked secret soon stops. A new secret works at once: what is not known is looked
// for again before it is refused. Thread-safe.
class Authenticator {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<Caller>)>;

  // Without tokens all are refused.
  Authenticator(std::shared_ptr<AppStore> store, Executor& executor, const Clock& clock,
                std::optional<UserTokens> tokens = std::nullopt)
      : store_(std::move(store)), executor_(executor), clock_(clock), tokens_(std::move(tokens)) {}

  // Checks the caller of a call. `done` runs once: on this thread if the app is known,
  // else on a thread of the executor after a look at the store. One answer for unknown,
  // wrong and revoked credentials; what they give access to is checked after.
  void Authenticate(const grpc::CallbackServerContext& context, Access access, Done done);
  // The same for credentials that came another way.
  void Authenticate(Credentials credentials, Access access, Done done);
  // The same for an app's.
  void Authenticate(std::string key, std::string secret, absl::string_view scope, Done done);

  // For what lasts longer than a call (`scope` is a literal): fails once the caller's token has ended, or its
  // secret or scope was taken away, which it notices within 10 s. While the store is
  // away nothing was. The authenticator must outlive it.
  StreamPermit PermitFor(const Caller& caller, absl::string_view scope);

 private:
  // Null credentials: no app has this key.
  struct Entry {
    std::shared_ptr<const AppCredentials> credentials;
    absl::Time loaded;
  };
  using WhenLooked = absl::AnyInvocable<void(const absl::StatusOr<Entry>&)>;
  // Null credentials: no app has the key. Runs up to twice.
  using CheckCredentials = absl::AnyInvocable<absl::StatusOr<Caller>(const AppCredentials*)>;

  void AuthenticateUser(absl::string_view token, Access access, Done done);
  // By the cache, on this thread, or by the store, on one of the executor's.
  void Check(const std::string& key, CheckCredentials check, Done done) ABSL_LOCKS_EXCLUDED(mutex_);
  // The entry if it is younger than `usable`; starts a refresh when it ages.
  std::optional<Entry> FromCache(const std::string& key, absl::Duration usable) ABSL_LOCKS_EXCLUDED(mutex_);
  // `looked` hears of a look that begins after this call.
  void Look(const std::string& key, WhenLooked looked) ABSL_LOCKS_EXCLUDED(mutex_);
  // Lets the executor look for those who wait in looks_; returns them if it takes no more.
  std::vector<WhenLooked> SubmitLookLocked(const std::string& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // One look, for those who wait when it begins.
  void RunLook(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Entry> Load(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<AppStore> store_;
  Executor& executor_;
  const Clock& clock_;
  const std::optional<UserTokens> tokens_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> cache_ ABSL_GUARDED_BY(mutex_);
  // The keys that are being looked up, one look at a time, and who waits for the next look. Nobody: a refresh.
  absl::flat_hash_map<std::string, std::vector<WhenLooked>> looks_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
