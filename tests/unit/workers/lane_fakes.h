// A queue, a feed and a catalogue in memory, for the tests of a lane's consumer.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "carillon/ports/broker.h"
#include "carillon/ports/catalog_store.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/feed_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/notification_store.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/wire/envelope.h"

namespace carillon::testing {

inline constexpr char kTestQueue[] = "marketing";

inline Notification Item(const std::string& recipient, const std::string& traceparent = "") {
  static int count = 0;
  Notification item;
  item.id = NewUuid7(absl::FromUnixSeconds(1'800'000'000 + ++count));
  item.app = AppId(7);
  item.type = "marketing.discount";
  item.recipient = RecipientId(recipient);
  item.create_time = absl::FromUnixSeconds(1'800'000'000);
  item.traceparent = traceparent;
  return item;
}

inline std::vector<Notification> Items(int count) {
  std::vector<Notification> items;
  for (int i = 0; i < count; ++i) items.push_back(Item(absl::StrCat("user-", i)));
  return items;
}

// As the relay packs: the envelopes of all, one after the other.
inline InboundMessage Pack(const std::vector<Notification>& items) {
  InboundMessage message;
  message.queue = kTestQueue;
  message.message_id = items.front().id.ToString();
  message.app = "7";
  message.type = items.front().type;
  message.traceparent = "the message's";
  for (const Notification& item : items) message.body += EncodeEnvelope(item);
  return message;
}

inline InboundMessage Redelivered(InboundMessage message) {
  message.redelivered = true;
  return message;
}

// One queue of the broker and the consumer of it. Stops its owner once nothing
// is left in it.
class QueueInMemory final : public Consumer {
 public:
  explicit QueueInMemory(StopSignal& stop) : stop_(stop) {}

  void Push(InboundMessage message) { ready_.push_back(std::move(message)); }
  const std::vector<std::vector<std::string>>& acks() const { return acks_; }
  // How many Acks there had been at each Service.
  const std::vector<size_t>& services() const { return services_; }
  size_t unsettled() const { return unsettled_.size(); }
  int received() const { return received_; }

  // As if the broker did not have it; with the last of so many attempts its owner is stopped.
  void RefuseOpens(int count) { refusals_ = count; }

  absl::Status Open(const std::vector<std::string>&, const Window& window) override {
    if (refusals_ > 0) {
      if (--refusals_ == 0) stop_.Set();
      return absl::UnavailableError("no such queue");
    }
    while (!unsettled_.empty()) {
      ready_.push_front(Redelivered(std::move(unsettled_.back())));
      unsettled_.pop_back();
    }
    window_ = static_cast<size_t>(window.prefetch * window.channels);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<InboundMessage>> Receive(int max, absl::Duration) override {
    std::vector<InboundMessage> messages;
    while (!ready_.empty() && messages.size() < static_cast<size_t>(max) && unsettled_.size() < window_) {
      ready_.front().tag = static_cast<uint64_t>(++received_);
      unsettled_.push_back(ready_.front());
      messages.push_back(std::move(ready_.front()));
      ready_.pop_front();
    }
    if (messages.empty() && unsettled_.empty() && ready_.empty() && !stop_.is_set()) stop_.Set();
    return messages;
  }

  absl::Status Ack(absl::Span<const InboundMessage> messages) override {
    std::vector<std::string>& ids = acks_.emplace_back();
    for (const InboundMessage& message : messages) {
      ids.push_back(message.message_id);
      const auto at = std::find_if(unsettled_.begin(), unsettled_.end(),
                                   [&](const InboundMessage& held) { return held.tag == message.tag; });
      if (at == unsettled_.end()) return absl::UnavailableError("unknown delivery tag");
      unsettled_.erase(at);
    }
    return absl::OkStatus();
  }

  absl::Status Cancel() override {
    window_ = 0;
    return absl::OkStatus();
  }
  absl::Status Service() override {
    services_.push_back(acks_.size());
    return absl::OkStatus();
  }
  void Close() override {}

 private:
  StopSignal& stop_;
  std::deque<InboundMessage> ready_;
  std::deque<InboundMessage> unsettled_;
  size_t window_ = 0;
  int received_ = 0;
  int refusals_ = 0;
  std::vector<std::vector<std::string>> acks_;  // The messages of each call.
  std::vector<size_t> services_;
};

// What goes to a queue by its name arrives there.
class PublisherInMemory final : public Publisher {
 public:
  explicit PublisherInMemory(QueueInMemory& queue) : queue_(queue) {}

  // The last message of the next call is refused.
  void RefuseOnce() { refuse_ = true; }
  const std::vector<OutboundMessage>& published() const { return published_; }

  absl::StatusOr<std::vector<PublishOutcome>> Publish(absl::Span<const OutboundMessage> messages,
                                                      absl::Duration) override {
    std::vector<PublishOutcome> outcomes(messages.size(), PublishOutcome::kConfirmed);
    if (std::exchange(refuse_, false)) outcomes.back() = PublishOutcome::kRefused;
    for (size_t i = 0; i < messages.size(); ++i) {
      if (outcomes[i] != PublishOutcome::kConfirmed) continue;
      published_.push_back(messages[i]);
      if (messages[i].exchange.empty()) queue_.Push(Arrived(messages[i]));
    }
    return outcomes;
  }
  absl::Status EnsureBinding(const BindingSpec&) override { return absl::OkStatus(); }
  absl::Status Service() override { return absl::OkStatus(); }

 private:
  static InboundMessage Arrived(const OutboundMessage& sent) {
    InboundMessage message;
    message.queue = sent.routing_key;
    message.message_id = sent.message_id;
    message.body = sent.body;
    message.retry_count = sent.retry_count;
    message.traceparent = sent.traceparent;
    return message;
  }

  QueueInMemory& queue_;
  bool refuse_ = false;
  std::vector<OutboundMessage> published_;
};

// Takes everything but what is for the recipient "refused".
class FeedsInMemory final : public FeedStore {
 public:
  const std::vector<size_t>& transactions() const { return transactions_; }
  const std::vector<FeedDelivery>& decisions() const { return decisions_; }
  const std::set<NotificationId>& delivered() const { return delivered_; }

  absl::StatusOr<std::vector<DeliveryOutcome>> Deliver(absl::Span<const FeedDelivery> deliveries) override {
    for (const FeedDelivery& delivery : deliveries) {
      if (delivery.key.recipient.value() == "refused") return absl::InternalError("not this one");
    }
    transactions_.push_back(deliveries.size());
    std::vector<DeliveryOutcome> outcomes;
    for (const FeedDelivery& delivery : deliveries) {
      outcomes.push_back({.applied = delivered_.insert(delivery.item.id).second, .seq = 1});
      decisions_.push_back(delivery);
    }
    return outcomes;
  }

  absl::StatusOr<std::vector<Backlog>> ReadBacklogs(absl::Span<const BacklogRequest>) override { return NotHere(); }
  absl::StatusOr<FeedHead> Summarize(const FeedKey&) override { return NotHere(); }
  absl::StatusOr<std::vector<FeedHead>> ReadHeads(absl::Span<const FeedKey>) override { return NotHere(); }
  absl::StatusOr<std::vector<FeedItem>> List(const ListQuery&) override { return NotHere(); }
  absl::StatusOr<MarkReadResult> MarkReadUpTo(const FeedKey&, int64_t) override { return NotHere(); }
  absl::StatusOr<MarkReadResult> MarkReadItems(const FeedKey&, absl::Span<const NotificationId>) override {
    return NotHere();
  }

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }

  std::vector<size_t> transactions_;  // The items of each.
  std::vector<FeedDelivery> decisions_;
  std::set<NotificationId> delivered_;
};

class CatalogueOfOne final : public CatalogStore {
 public:
  CatalogueOfOne() {
    type.app = AppId(7);
    type.name = "marketing.discount";
    policy.app = AppId(7);
  }

  // To be changed before the catalogue is read.
  NotificationType type;
  AppPolicy policy;

  absl::StatusOr<int64_t> Version() override { return 1; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override { return std::vector<NotificationType>{type}; }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override { return std::vector<AppPolicy>{policy}; }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

// Everybody's contacts; nothing else of a delivery.
class ContactsInMemory final : public DeliveryStore {
 public:
  Contacts everybody;
  absl::Status away;
  std::vector<size_t> reads;  // How many were asked for, each time.

  absl::StatusOr<std::vector<Contacts>> ReadContacts(absl::Span<const FeedKey> keys) override {
    if (!away.ok()) return away;
    reads.push_back(keys.size());
    return std::vector<Contacts>(keys.size(), everybody);
  }
  absl::StatusOr<int> DecideAgain(absl::Span<const Redecision> decisions) override {
    again.insert(again.end(), decisions.begin(), decisions.end());
    for (const Redecision& decision : decisions) {
      if (decision.shown == nullptr) continue;
      decision.shown->item.seq = static_cast<int64_t>(added.size()) + 1;
      added.push_back(decision.shown->item);
    }
    return static_cast<int>(decisions.size());
  }
  std::vector<Redecision> again;  // Of deliveries that may be gone by now.
  std::vector<FeedItem> added;    // To feeds.
  absl::StatusOr<std::vector<ClaimResult>> Claim(absl::Span<const ClaimRequest>, absl::Duration) override {
    return NotHere();
  }
  absl::Status Record(absl::Span<const DeliveryUpdate>) override { return NotHere(); }
  absl::StatusOr<int> ReleaseHeld(AppId, Channel, Lane, int) override { return NotHere(); }
  absl::StatusOr<std::vector<DeliveryRecord>> List(AppId, const NotificationId&) override { return NotHere(); }
  absl::StatusOr<int> RequeueIdle(Lane, Channel, absl::Time, int) override { return NotHere(); }
  absl::StatusOr<std::vector<AppId>> AppsWithHeld(Channel, Lane) override { return NotHere(); }
  absl::StatusOr<int> ForgetKept(absl::Time, int) override { return NotHere(); }

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }
};

class WokenLanes final : public OutboxWaker {
 public:
  std::vector<Lane> lanes;
  void Wake(Lane lane) override { lanes.push_back(lane); }
};

class NobodyOnline final : public LivePublisher {
 public:
  absl::Status Publish(absl::Span<const FeedKey>, absl::FunctionRef<std::string(size_t)>) override {
    return absl::OkStatus();
  }
  absl::Status PublishSharedEvent(AppId) override { return absl::OkStatus(); }
};

// Only what the consumer writes of failures.
class HistoryInMemory final : public NotificationStore {
 public:
  const std::vector<FailedAttempt>& attempts() const { return attempts_; }

  absl::Status RecordAttempts(absl::Span<const FailedAttempt> attempts) override {
    attempts_.insert(attempts_.end(), attempts.begin(), attempts.end());
    return absl::OkStatus();
  }
  absl::Status Cancel(AppId, const NotificationId&) override { return absl::UnimplementedError("not in these tests"); }
  absl::StatusOr<std::vector<AcceptOutcome>> Accept(absl::Span<const NewNotification>, bool) override {
    return absl::UnimplementedError("not in these tests");
  }
  absl::StatusOr<NotificationRecord> Get(AppId, const NotificationId&) override {
    return absl::UnimplementedError("not in these tests");
  }
  absl::StatusOr<std::vector<NotificationRecord>> List(const ListQuery&) override {
    return absl::UnimplementedError("not in these tests");
  }

 private:
  std::vector<FailedAttempt> attempts_;
};

}  // namespace carillon::testing
