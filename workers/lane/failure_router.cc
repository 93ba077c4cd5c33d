#include "workers/lane/failure_router.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/domain/trace_context.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

constexpr absl::Duration kPublishTimeout = absl::Seconds(5);

bool IsDead(const FailedItem& failure) {
  return absl::IsInvalidArgument(failure.status) ||
         failure.message->retry_count >= static_cast<int>(std::size(kRetrySeconds));
}

// A message of its own for one item of `message`, without a destination.
OutboundMessage CopyOf(const InboundMessage& message, const Notification& item) {
  OutboundMessage copy;
  copy.message_id = item.id.ToString();
  copy.app = item.app;
  copy.type = item.type;
  copy.traceparent = item.traceparent.empty() ? message.traceparent : item.traceparent;
  copy.replay_count = message.replay_count;
  copy.body = EncodeEnvelope(item);
  return copy;
}

// The same for what could not be read: it goes unchanged.
OutboundMessage CopyOf(const InboundMessage& message) {
  OutboundMessage copy;
  copy.message_id = message.message_id;
  int64_t app = 0;
  if (absl::SimpleAtoi(message.app, &app)) copy.app = AppId(app);
  copy.type = message.type;
  copy.traceparent = message.traceparent;
  copy.replay_count = message.replay_count;
  copy.body = message.body;
  return copy;
}

}  // namespace

void FailureRouter::Register(const std::string& queue) {
  for (const bool dead : {false, true}) CounterOf(queue, dead);
}

prometheus::Counter& FailureRouter::CounterOf(const std::string& queue, bool dead) {
  return metrics_.Counter(dead ? "carillon_dead_total" : "carillon_retried_total",
                          dead ? "Messages given up" : "Messages put off for another attempt", {{"queue", queue}});
}

absl::Status FailureRouter::Route(absl::Span<const FailedItem> failures) {
  std::vector<NotificationStore::FailedAttempt> attempts;
  std::vector<OutboundMessage> copies;
  for (const FailedItem& failure : failures) {
    if (failure.item != nullptr) {
      attempts.push_back({failure.item->id,
                          failure.item->retention_days,
                          {clock_.Now(), failure.message->retry_count + 1,
                           std::string(failure.status.message().substr(0, limits::kMaxErrorBytes))}});
    }
    copies.push_back(NextHop(failure));
  }
  if (!attempts.empty()) {
    const absl::Status noted = store_->RecordAttempts(attempts);
    // What can't be noted still has to move on, unless the store is merely away.
    if (!noted.ok() && IsInfrastructureFailure(noted)) return noted;
  }
  RETURN_IF_ERROR(PublishAll(copies));
  CountPutOff(copies);
  return absl::OkStatus();
}

void FailureRouter::CountPutOff(absl::Span<const OutboundMessage> copies) {
  if (meters_ == nullptr) return;
  for (const OutboundMessage& copy : copies) {
    if (copy.exchange == kDeadLetterExchange) continue;
    meters_->Of(copy.routing_key).PutOff(1, absl::Seconds(kRetrySeconds[copy.retry_count - 1]));
  }
}

absl::Status FailureRouter::Split(const InboundMessage& pack, absl::Span<const Notification> items) {
  std::vector<OutboundMessage> singles;
  for (const Notification& item : items) {
    OutboundMessage& single = singles.emplace_back(CopyOf(pack, item));
    // The default exchange: to the queue of that name and no other.
    single.routing_key = pack.queue;
    single.retry_count = pack.retry_count;
  }
  RETURN_IF_ERROR(PublishAll(singles));
  metrics_.Counter("carillon_packs_split_total", "Packs that came a second time", {{"queue", pack.queue}}).Increment();
  return absl::OkStatus();
}

absl::Status FailureRouter::PublishAll(absl::Span<const OutboundMessage> copies) {
  absl::MutexLock lock(&mutex_);
  ASSIGN_OR_RETURN(const std::vector<PublishOutcome> outcomes, publisher_->Publish(copies, kPublishTimeout));
  const bool all_there = std::all_of(outcomes.begin(), outcomes.end(),
                                     [](PublishOutcome outcome) { return outcome == PublishOutcome::kConfirmed; });
  return all_there ? absl::OkStatus()
                   : error::BackendUnavailable("rabbitmq", "a message could not be handed to its next queue");
}

OutboundMessage FailureRouter::NextHop(const FailedItem& failure) {
  const InboundMessage& message = *failure.message;
  const bool dead = IsDead(failure);
  // An item leaves its pack.
  OutboundMessage copy = failure.item == nullptr ? CopyOf(message) : CopyOf(message, *failure.item);
  copy.retry_count = dead ? message.retry_count : message.retry_count + 1;
  copy.exchange = dead ? std::string(kDeadLetterExchange) : RetryExchange(kRetrySeconds[message.retry_count]);
  // Back to the queue it came from, by way of the retry queue's time.
  copy.routing_key = dead ? DeadLetterQueue(message.queue) : message.queue;
  copy.error = std::string(failure.status.message().substr(0, limits::kMaxErrorBytes));
  if (dead) copy.reason = absl::IsInvalidArgument(failure.status) ? "permanent" : "retries_exhausted";
  log::Warn(dead ? "delivery.dead" : "delivery.retry", {{"queue", message.queue},
                                                        {"notification_id", copy.message_id},
                                                        {"retry_count", copy.retry_count},
                                                        {"trace_id", TraceIdOf(copy.traceparent)},
                                                        {"error", failure.status}});
  CounterOf(message.queue, dead).Increment();
  return copy;
}

void FailureRouter::Service() {
  absl::MutexLock lock(&mutex_);
  // A lost connection is made again by the next Route.
  (void)publisher_->Service();
}

}  // namespace carillon
