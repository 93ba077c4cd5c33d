// A circuit breaker: keeps calls away from a provider that is out, and lets one
// through now and then to see whether it is back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/domain/delivery.h"

namespace carillon {

// Closed: calls pass. Open: none does until retry_time. Half-open: one probe is
// under way; it closes the breaker, or opens it for twice as long. Owner thread only.
class Breaker {
 public:
  struct Options {
    // Opens after so many failures in a row,
    int failures_in_a_row = 5;
    // or when half of the last kWindow calls have failed.
    absl::Duration first_open = absl::Seconds(2);
    absl::Duration longest_open = absl::Seconds(60);
    // For what someone has to mend.
    absl::Duration misconfigured_open = absl::Seconds(30);
  };
  static constexpr int kWindow = 20;

  Breaker() : Breaker(Options()) {}
  explicit Breaker(const Options& options) : options_(options), open_for_(options.first_open) {}

  // True if a call may be made now. When it is open and retry_time has come, true
  // once: the caller's is the probe, and must be followed by one of the On... .
  bool Allow(absl::Time now);
  // True if Allow would say so; changes nothing.
  bool WouldAllow(absl::Time now) const;

  // All three return true if what should be known of the breaker has changed.
  bool OnSuccess(absl::Time now);
  bool OnFailure(absl::Time now, absl::string_view error);
  // The provider refuses the sender: no other message would fare better. Asked again
  // after `pause`, or the usual time.
  bool OnMisconfigured(absl::Time now, absl::string_view error, std::optional<absl::Duration> pause = std::nullopt);
  // The provider wants to be left alone.
  bool OnRetryAfter(absl::Time now, absl::Duration time, absl::string_view error);
  // As if enough calls had failed.
  bool Trip(absl::Time now, absl::string_view error);
  // A probe that told nothing of the provider: the next call is a probe again.
  void OnNothingLearned(absl::Time now);

  // As it was before this process began.
  void Restore(const ProviderHealth& health);

  BreakerState state() const { return state_; }
  std::optional<absl::Time> retry_time() const { return retry_time_; }
  bool misconfigured() const { return misconfigured_; }
  const std::string& error() const { return error_; }

 private:
  void Note(bool failed);
  bool Open(absl::Time until, absl::string_view error);

  Options options_;
  BreakerState state_ = BreakerState::kClosed;
  absl::Duration open_for_;
  std::optional<absl::Time> retry_time_;
  bool misconfigured_ = false;
  std::string error_;
  int in_a_row_ = 0;
  // The last calls, newest in the lowest bit; 1: failed.
  uint32_t recent_ = 0;
  int seen_ = 0;
};

}  // namespace carillon
