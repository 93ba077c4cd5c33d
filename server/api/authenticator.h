// Who calls: the app behind x-app-key and x-app-secret, and what it may do.
#pragma once

#include <grpcpp/server_context.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/catalog_store.h"
#include "carillon/ports/clock.h"
#include "carillon/runtime/executor.h"

namespace carillon {

struct Caller {
  AppId app;
  std::vector<std::string> scopes;
};

// Keeps credentials for a few seconds (unknown keys too), so that a call costs one
// hash and a revoked secret soon stops. Thread-safe.
class Authenticator {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<Caller>)>;

  Authenticator(std::shared_ptr<AppStore> store, Executor& executor, const Clock& clock)
      : store_(std::move(store)), executor_(executor), clock_(clock) {}

  // Checks the caller of a call for a scope. `done` runs once: on this thread if
  // the app is known, else on a thread of the executor after a look at the store.
  // One answer for unknown, wrong and revoked credentials; the scope is checked after.
  void Authenticate(const grpc::CallbackServerContext& context, absl::string_view scope, Done done);
  // The same for credentials that came another way; empty ones are missing.
  void Authenticate(std::string key, std::string secret, absl::string_view scope, Done done);

 private:
  // Null credentials: no app has this key.
  struct Entry {
    std::shared_ptr<const AppCredentials> credentials;
    absl::Time loaded;
    bool refreshing = false;
  };

  // The entry if it is fresh enough to use; starts a refresh when it ages.
  std::optional<Entry> FromCache(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<Entry> Load(const std::string& key) ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<AppStore> store_;
  Executor& executor_;
  const Clock& clock_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> cache_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
