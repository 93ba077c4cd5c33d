// Consumes the queue of one lane's external channel on one thread: claims what has
// come, lets the dispatcher send it, records what came of it, acknowledges.
//
// - A message is acknowledged only when the store has what became of it, or a copy
//   of it is confirmed on its way to another queue.
// - Calls to providers are under way side by side: none waits for another, and what
//   is done is acknowledged while others still hang.
// - What comes a second time may be what killed a process: after a start or a lost
//   channel one message is taken at a time until those are settled.
// - While PostgreSQL or the broker is away it keeps what it holds and takes no more.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "carillon/domain/backoff.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/provider_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/runtime/metrics.h"
#include "carillon/runtime/queue_meters.h"
#include "workers/delivery/delivery_dispatcher.h"
#include "workers/lane/failure_router.h"

namespace carillon {

// Owner thread only, but for the shared parts of Deps.
class DeliveryConsumer {
 public:
  struct Options {
    std::string queue;
    Lane lane = Lane::kSocial;
    Channel channel = Channel::kEmail;
    Consumer::Window window;
    absl::Duration lease = absl::Seconds(60);
    // What calls under way are given when it stops.
    absl::Duration drain = absl::Seconds(12);
  };
  struct Deps {
    std::unique_ptr<Consumer> broker;
    std::shared_ptr<DeliveryStore> store;
    std::shared_ptr<ProviderStore> providers;
    MessageBuilder& builder;
    const LinkTokens& links;
    const ChannelDirectory& directory;
    ProviderSlots::Maker make_provider;
    FailureRouter& failures;
    const Clock& clock;
    Metrics& metrics;
    const StopSignal& stop;
    QueueMeter* meter = nullptr;                // Null: nobody asks how fast the queue moves.
    std::function<void()> on_opened = nullptr;  // Called once, when it first consumes the queue.
  };

  DeliveryConsumer(const Options& options, Deps deps);

  // Until stop; then what is under way is given some seconds.
  void Run();

 private:
  using JobPtr = std::unique_ptr<DeliveryJob>;
  // A message, and how many of its deliveries are not settled yet.
  struct Held {
    InboundMessage message;
    size_t open = 0;
  };

  absl::Status ConsumeCarefully();
  absl::Status ConsumeFreely();
  absl::Status Open(const Consumer::Window& window);
  // What is under way, and what the broker had sent before it was told to stop.
  absl::Status Drain();

  // Claims the deliveries of what was received and begins them.
  absl::Status Accept(std::vector<InboundMessage> messages);
  // Settles what is done. False if nothing was.
  absl::StatusOr<bool> Settle();
  absl::Status Record(const std::vector<JobPtr>& jobs);
  absl::Status RouteFailures(const std::vector<JobPtr>& jobs);
  absl::Status Release(const std::vector<JobPtr>& jobs);

  // Runs `work` until it is done, however long the store is away, answering heartbeats.
  absl::Status Persist(const std::function<absl::Status()>& work);
  absl::Status WaitWhileServicing(absl::Duration time);
  // False if it was stopped first.
  bool WaitForDirectory();
  bool WaitForBackends();
  void RecordAbandoned();

  // Breakers: tells the store, asks for probes, lets go what was held.
  void Attend();
  void EndDrain(ProviderSlot& slot);
  void LookForHeld(absl::Time now);
  void RestoreHealth();
  void WriteHealth();
  void ForgetEverything();

  const Options options_;
  const Deps deps_;
  ProviderSlots slots_;
  std::unique_ptr<DeliveryDispatcher> dispatcher_;
  const int window_messages_;
  std::map<size_t, Held> held_;
  size_t last_held_ = 0;
  bool begin_carefully_ = true;
  bool was_opened_ = false;
  bool restored_ = false;
  absl::Duration next_attendance_;
  absl::Duration next_look_for_held_;
  size_t next_slot_ = 0;
  std::map<std::pair<AppId, std::string>, ProviderHealth> unwritten_;
  Backoff backoff_;
  prometheus::Counter& consumed_;
  prometheus::Counter& redelivered_;
  prometheus::Gauge& in_flight_;
};

}  // namespace carillon
