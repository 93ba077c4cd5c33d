#include "workers/channels/token_source.h"

#include <algorithm>
#include <utility>

#include "carillon/domain/errors.h"

namespace carillon {
namespace {

constexpr size_t kMaxWaiting = 1000;
constexpr absl::Duration kRetryDelay = absl::Seconds(1);

}  // namespace

void TokenSource::Get(Done done) {
  absl::StatusOr<SharedToken> known = error::Overloaded("calls that wait for a token", kRetryDelay);
  bool first = false;
  bool waits = false;
  {
    absl::MutexLock lock(&mutex_);
    if (known_.has_value() && clock_->Now() < known_->expire_time) {
      known = *known_;
    } else if (waiting_.size() < kMaxWaiting) {
      first = waiting_.empty();
      waits = true;
      waiting_.push_back(std::move(done));
    }
  }
  if (!waits) {
    done(std::move(known));
  } else if (first) {
    RunSoon([this] { Fetch(); });
  }
}

void TokenSource::Refuse(const SharedToken& token) {
  absl::MutexLock lock(&mutex_);
  replace_older_than_ = std::max(replace_older_than_, clock_->Now() - options_.min_age);
  if (known_.has_value() && known_->token == token.token) known_.reset();
}

void TokenSource::Fetch() {
  const absl::Time now = clock_->Now();
  absl::StatusOr<std::optional<SharedToken>> shared = store_->Find(options_.app, options_.token_key);
  if (!shared.ok()) {
    Settle(shared.status());
  } else if (shared->has_value() && now < (*shared)->expire_time && (*shared)->mint_time >= replace_older_than()) {
    Settle(**shared);
  } else {
    options_.mint(now, [this](absl::StatusOr<SharedToken> minted) {
      if (minted.ok()) {
        RunSoon([this, token = *std::move(minted)] { Share(token); });
      } else {
        Settle(minted);
      }
    });
  }
}

void TokenSource::Share(const SharedToken& minted) {
  Settle(store_->Put(options_.app, options_.token_key, minted, replace_older_than()));
}

// Nothing of this object is touched after the last waiting call was told.
void TokenSource::Settle(const absl::StatusOr<SharedToken>& token) {
  std::vector<Done> waiting;
  {
    absl::MutexLock lock(&mutex_);
    if (token.ok()) known_ = *token;
    waiting.swap(waiting_);
  }
  for (const Done& done : waiting) done(token);
}

void TokenSource::RunSoon(std::function<void()> step) {
  if (!executor_->Submit(std::move(step))) {
    Settle(absl::UnavailableError("no thread is free to get a token, or shutting down"));
  }
}

absl::Time TokenSource::replace_older_than() const {
  absl::MutexLock lock(&mutex_);
  return replace_older_than_;
}

}  // namespace carillon
