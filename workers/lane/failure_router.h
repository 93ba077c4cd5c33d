// Where a message goes that could not be handled: to the next retry step, or,
// when it can never succeed or its steps are used up, to the dead-letter queue.
// And a pack that came a second time: apart, back to its queue.
#pragma once

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/notification_store.h"
#include "carillon/runtime/metrics.h"
#include "carillon/runtime/queue_meters.h"
#include "workers/lane/batch.h"

namespace carillon {

// Thread-safe; its publisher is used by one call at a time.
class FailureRouter {
 public:
  // Without `meters` nobody asks how much waits for another attempt.
  FailureRouter(std::unique_ptr<Publisher> publisher, std::shared_ptr<NotificationStore> store, const Clock& clock,
                Metrics& metrics, QueueMeters* meters = nullptr)
      : publisher_(std::move(publisher)), store_(std::move(store)), clock_(clock), metrics_(metrics), meters_(meters) {}

  // So that what is counted of this queue is there before the first failure.
  void Register(const std::string& queue);

  // Notes each failed attempt in its notification's history, then publishes a
  // copy of each item to where it goes next. OK: all copies are confirmed and
  // the originals may be acknowledged. UNAVAILABLE: keep them; repeating is safe.
  absl::Status Route(absl::Span<const FailedItem> failures);

  // Publishes each item of a pack to the pack's queue as a message of its own,
  // as tried as the pack was. OK: all are confirmed and the pack may be
  // acknowledged. UNAVAILABLE: keep it; repeating is safe.
  absl::Status Split(const InboundMessage& pack, absl::Span<const Notification> items);

  // Answers the broker's heartbeats. Call every few seconds.
  void Service();

 private:
  OutboundMessage NextHop(const FailedItem& failure);
  prometheus::Counter& CounterOf(const std::string& queue, bool dead);
  absl::Status PublishAll(absl::Span<const OutboundMessage> copies);
  // Tells the meters of those that come back.
  void CountPutOff(absl::Span<const OutboundMessage> copies);

  absl::Mutex mutex_;
  const std::unique_ptr<Publisher> publisher_ ABSL_PT_GUARDED_BY(mutex_);
  const std::shared_ptr<NotificationStore> store_;
  const Clock& clock_;
  Metrics& metrics_;
  QueueMeters* const meters_;
};

}  // namespace carillon
