// Where an adapter gets its bearer token: from what this process knows, from what all
// workers share, or made anew.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/token_store.h"
#include "carillon/runtime/executor.h"

namespace carillon {

// One token at a time. Thread-safe. Outlives the calls of Get that have not ended.
class TokenSource {
 public:
  using Done = std::function<void(absl::StatusOr<SharedToken>)>;

  struct Options {
    AppId app;
    std::string token_key;  // What it is made with; see TokenStore.
    // A token that the provider refused is still used if it is younger: the provider
    // minds when tokens change too often.
    absl::Duration min_age;
    // Makes one and says so, on any thread and within seconds. INVALID_ARGUMENT or
    // PERMISSION_DENIED: the account is not set up for it.
    std::function<void(absl::Time now, Done done)> mint;
  };

  // `store`, `executor` and `clock` outlive it.
  TokenSource(TokenStore* store, Executor* executor, const Clock* clock, Options options)
      : store_(store), executor_(executor), clock_(clock), options_(std::move(options)) {}

  // Calls `done` once: at once if this process has a token, else when it has come.
  // Those who ask meanwhile wait for the same one; more than a thousand are turned
  // away (RESOURCE_EXHAUSTED).
  void Get(Done done);
  // The provider refuses this one: it is replaced, unless it has been or is too young.
  void Refuse(const SharedToken& token);

 private:
  // The steps of getting one; each but Settle on the executor.
  void Fetch();
  void Share(const SharedToken& minted);
  void Settle(const absl::StatusOr<SharedToken>& token);
  // Settles with UNAVAILABLE if the executor is busy.
  void RunSoon(std::function<void()> step);
  absl::Time replace_older_than() const;

  TokenStore* const store_;
  Executor* const executor_;
  const Clock* const clock_;
  const Options options_;
  mutable absl::Mutex mutex_;
  std::optional<SharedToken> known_ ABSL_GUARDED_BY(mutex_);
  absl::Time replace_older_than_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::vector<Done> waiting_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
