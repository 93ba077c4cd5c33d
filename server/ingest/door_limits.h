// How much apps and their senders may send, and the guard that shuts a sender out that
// has run away.
//
// - An app without limits does not come here (see Concern), and costs nothing.
// - What all servers let in counts together, in the store that they share. While that is
//   away, or takes longer than its bound, the limits of this process stand in: then each
//   server lets in what the app may send in all.
// - Payment and otp are refused for a rate only when the shared store itself has said
//   so: never because it is away or slow, or because too much waits for it.
// - The guard is for every weight, payment and otp too, and a count of this process is
//   enough for it: whoever passes the limit here has passed it. A sender that it has
//   tripped is refused from then on, here at once, on all servers when they have read
//   it, and until it is lifted.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/event.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/settings.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/notification_store.h"
#include "carillon/ports/rate_limiter.h"
#include "carillon/ports/trip_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/executor.h"
#include "carillon/runtime/local_rates.h"
#include "carillon/runtime/metrics.h"
#include "server/ingest/group_queue.h"

namespace carillon {

// Who sends these, each once, and how many.
std::vector<RateRequest::Sender> SendersOf(absl::Span<const NewNotification> notifications);
// Those that tell nobody count as none.
std::vector<RateRequest::Sender> SendersOf(absl::Span<const Reaction> reactions);

// Thread-safe.
class DoorLimits {
 public:
  struct Options {
    // Notifications that wait to be let in: of payment and otp, and of the others.
    size_t queue_items = limits::kLimiterQueueItems;
    size_t batch_items = limits::kLimiterBatchItems;
  };
  struct Deps {
    RateLimiter& shared;
    std::shared_ptr<TripStore> trips;
    Catalogue& catalogue;
    // Writes down who was tripped.
    Executor& executor;
    const Clock& clock;
    Metrics& metrics;
  };
  // What a caller wants to send; all of it is let in, or none.
  struct Call {
    // At least one, each once. Of one without places is asked only whether it is shut out.
    std::vector<RateRequest::Sender> senders;
    bool urgent = false;  // All of it is of payment or otp.
    absl::Time deadline = absl::InfiniteFuture();
    // Runs once, at once or on a thread of the limits; must not block. OK: let in.
    absl::AnyInvocable<void(const absl::Status&)> done;
  };

  DoorLimits(const Options& options, Deps deps);
  ~DoorLimits() { Stop(); }

  // True if there is anything to ask about calls of the app.
  static bool Concern(const AppPolicy& policy);

  // Does not block. Refuses with RATE_LIMITED, SENDER_TRIPPED, OVERLOADED, DRAINING or
  // DEADLINE_EXCEEDED.
  void Admit(const AppPolicy& policy, Call call);
  // The same on the caller's thread, for those who may block: for as long as the shared
  // store may take. Without the call's `done`.
  absl::Status AdmitNow(const AppPolicy& policy, Call call);

  // Tries again to write down what could not be. Call it every second or so.
  void Attend();
  // Refuses what comes, decides about what waits, returns when all are told and nothing
  // is being written. Stop it before its executor. Idempotent.
  void Stop();

 private:
  using TripKey = std::pair<AppId, std::string>;
  struct Waiting {
    RateRequest request;
    absl::Time deadline;
    absl::AnyInvocable<void(const absl::Status&)> done;
  };
  using Queue = GroupQueue<Waiting>;

  void Run(Queue& queue, bool urgent);
  void Decide(std::vector<Waiting> group, bool urgent);
  // In order.
  std::vector<absl::Status> Judge(absl::Span<const RateRequest> requests, bool urgent);
  absl::Status StatusOf(const RateRequest& request, const RateAnswer& answer, bool may_refuse);
  absl::Status CheckTripped(const AppPolicy& policy, absl::Span<const RateRequest::Sender> senders);
  void Trip(const RateRequest& request, const RateRequest::Sender& sender, int64_t count);
  void WriteTripsSoon() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteTrips();

  const Deps deps_;
  LocalRates local_;
  prometheus::Counter& refused_by_app_;
  prometheus::Counter& refused_by_sender_;
  prometheus::Counter& refused_as_tripped_;
  prometheus::Counter& judged_locally_;
  prometheus::Gauge& tripped_;
  Queue urgent_;
  Queue others_;

  absl::Mutex mutex_;
  // Those that are not written down yet.
  absl::flat_hash_map<TripKey, TrippedSender> unwritten_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  bool store_fails_ ABSL_GUARDED_BY(mutex_) = false;
  bool shared_fails_ ABSL_GUARDED_BY(mutex_) = false;

  // Last: they use all of it.
  std::thread urgent_thread_;
  std::thread other_thread_;
};

}  // namespace carillon
