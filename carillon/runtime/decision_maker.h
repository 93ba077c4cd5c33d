// Brings together all that a decision needs: one read of settings and one of caps for a
// whole batch. Workers and dry runs decide by it.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/decider.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/cap_store.h"
#include "carillon/ports/clock.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/settings_cache.h"

namespace carillon {

// Something that is to be decided on. What it points to must outlive the call.
struct DecisionSubject {
  const Notification* item = nullptr;
  // Whom it is for; what the item says of that does not count.
  FeedKey key;
  const NotificationType* type = nullptr;
  std::vector<Channel> channels;
  // By the app's clock: it is at least so late. What is decided on again after a
  // wait knows this better than a process that has not heard of a moved clock.
  absl::Time not_before = absl::InfinitePast();
  bool in_digest = false;  // A member of one that is due: it is kept for as long as that.
};

struct Decision {
  std::vector<ChannelDecision> channels;  // In the order of the subject's.
  // By the app's clock, as every time of a decision.
  absl::Time time;
  absl::Duration clock_offset;  // How far that is ahead of our clock.
  absl::Time next_digest;       // Of this recipient; only if a channel's outcome is kDigest.
  absl::TimeZone zone;          // The recipient's.

  absl::Time ToOurClock(absl::Time app_time) const { return app_time - clock_offset; }
};

// Thread-safe.
class DecisionMaker {
 public:
  struct Deps {
    Catalogue& catalogue;
    SettingsCache& settings;
    CapStore& caps;
    const Clock& clock;
  };

  explicit DecisionMaker(const Deps& deps) : deps_(deps) {}

  // In order. kTake counts what is to be sent in its caps, each notification once
  // however often it comes; kPeek counts nothing. Fails only as the settings' store does.
  absl::StatusOr<std::vector<Decision>> Decide(absl::Span<const DecisionSubject> subjects, CapStore::Mode mode);

 private:
  const Deps deps_;
};

}  // namespace carillon
