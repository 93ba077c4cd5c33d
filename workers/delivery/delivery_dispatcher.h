// Sends claimed deliveries: chooses the provider, begins the call, and decides by
// what came of it whether the delivery has ended, is tried elsewhere, later, or waits.
//
// - Providers are asked in the app's order; one whose breaker is open is passed over.
// - A call whose outcome is not known is followed by no other while a receipt may
//   still come.
// - Failures of a provider never use up a delivery: while every provider is out it
//   waits in the store. Only what fails while others get through is its own failure.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/delivery_store.h"
#include "workers/delivery/message_builder.h"
#include "workers/delivery/provider_slots.h"

namespace carillon {

// A claimed delivery on its way through the dispatcher.
struct DeliveryJob {
  Delivery delivery;
  ClaimResult claim;
  size_t message = 0;  // The owner's affair: which message it came in.
  int retry_count = 0;
  bool redelivered = false;
  absl::Duration claimed_at;  // On the monotonic clock.

  // What became of it, for the store. `update.delivery` is the one above.
  DeliveryUpdate update;
  // OK: the message may go. Else where the message goes next, as FailedItem's status.
  absl::Status route;

  // The dispatcher's own.
  std::shared_ptr<const NotificationType> type;
  std::optional<ProviderMessage> content;
  std::vector<std::string> tried;
  absl::Status last_failure;
  // What a provider refused for good, where another might take it.
  absl::Status permanent;
  // Since when it waits for room, on the monotonic clock; zero: it does not.
  absl::Duration waiting_since;
  // A provider failed that has served others since this delivery's first attempt.
  bool others_get_through = false;
  bool provider_failed = false;
  // A provider had it before, and a receipt brought it back. The claim's attempts are
  // those since then, and since it was last put back from the dead letters.
  bool was_accepted = false;
  bool may_have_been_sent = false;
};

// Owner thread only; the providers' callbacks come on any.
class DeliveryDispatcher {
 public:
  struct Deps {
    MessageBuilder& builder;
    ProviderSlots& slots;
    const LinkTokens& links;
    const Clock& clock;
    Metrics& metrics;
    Lane lane = Lane::kSocial;
    Channel channel = Channel::kEmail;
    // How long a claim lasts: no call begins that could end after it.
    absl::Duration lease = absl::Seconds(60);
  };

  explicit DeliveryDispatcher(const Deps& deps);
  // Calls under way go on without it; what comes of them is not heard any more.
  ~DeliveryDispatcher();

  void Begin(std::unique_ptr<DeliveryJob> job);
  // Hears what came of calls and returns the jobs that are through.
  std::vector<std::unique_ptr<DeliveryJob>> TakeFinished();
  // Those that wait for room are finished as put off; for a stop.
  void PutOffWaiting();
  // Calls under way.
  size_t in_flight() const { return in_flight_.size(); }

 private:
  struct CallEnd {
    uint64_t call = 0;
    SendResult result;
  };
  // Outlives the dispatcher while calls are under way. Thread-safe.
  struct Mailbox {
    absl::Mutex mutex;
    std::vector<CallEnd> ends ABSL_GUARDED_BY(mutex);
  };
  struct Call {
    std::unique_ptr<DeliveryJob> job;
    std::shared_ptr<ProviderSlot> slot;
    absl::Time begin_time;
    absl::Duration began;
  };
  using JobPtr = std::unique_ptr<DeliveryJob>;

  // Each takes the job on: to a call, or to finished_.
  void Continue(JobPtr job);
  void StartCall(JobPtr job, const std::shared_ptr<ProviderSlot>& slot);
  void OnCallEnd(CallEnd end);
  void OnFailure(JobPtr job, ProviderSlot& slot, const SendResult& result);
  void OnUnconfirmed(JobPtr job, ProviderSlot& slot, const SendResult& result);
  void Resolve(JobPtr job, bool all_out);
  void TripTried(const DeliveryJob& job);
  void Finish(JobPtr job, DeliveryState state, std::string detail);
  void Hold(JobPtr job, HoldCause cause, absl::Time until, std::string detail);
  // The message goes to a retry queue, or is given up.
  void Route(JobPtr job, absl::Status status);

  // False if there was a reason to end it before any call.
  bool Prepare(JobPtr& job);
  static void ForgetEarlierLife(DeliveryJob& job);
  // By our clock. Nothing is sent from then on: its ttl, or what is kept of it, has ended.
  absl::Time EndOf(const Delivery& delivery) const;
  void NoteAcceptedToSent(const DeliveryJob& job);
  // True if its time is over; then it is finished.
  bool ExpireIfDue(JobPtr& job, absl::Time now);
  bool MayWaitFor(const DeliveryJob& job, const ProviderSlot& slot) const;
  void LookAtWaiting();
  void NoteWhetherOthersGetThrough(DeliveryJob& job, const ProviderSlot& slot) const;
  // A receipt may still bring it back.
  bool MayResend(const DeliveryJob& job, const ProviderSlot& slot) const;
  // Where to begin in the list: behind the provider whose receipt never came.
  size_t FirstProvider(const DeliveryJob& job, const std::vector<std::shared_ptr<ProviderSlot>>& slots) const;
  void NoteHealth(ProviderSlot& slot, const SendResult& result);
  absl::Time ProviderHoldTime();

  const Deps deps_;
  const std::shared_ptr<Mailbox> mailbox_ = std::make_shared<Mailbox>();
  absl::flat_hash_map<uint64_t, Call> in_flight_;
  uint64_t last_call_ = 0;
  struct Waiting {
    JobPtr job;
    std::shared_ptr<ProviderSlot> slot;
  };
  // For a provider that is quick and has no room at this moment: of each no more than
  // it may have calls, and for a short time.
  std::vector<Waiting> waiting_;
  absl::Duration next_look_;  // At them, on the monotonic clock.
  std::vector<JobPtr> finished_;
  std::mt19937_64 random_;
  prometheus::Histogram& accepted_to_sent_;
};

}  // namespace carillon
