// What the worker of the lane fanout does: plans events, then tells their
// audiences page by page.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/event_store.h"
#include "carillon/ports/live_bus.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/metrics.h"
#include "workers/handlers/end_to_end.h"
#include "workers/lane/batch.h"

namespace carillon {

// A page is one transaction, which also moves the cursor and writes the next page
// into the outbox: a redelivered page finds the cursor elsewhere and does nothing,
// and two events take turns.
//
// Thread-safe: each call uses a connection of the store for as long as it runs.
class FanoutHandler final : public BatchHandler {
 public:
  struct Deps {
    std::shared_ptr<EventStore> events;
    std::shared_ptr<DeliveryStore> deliveries;
    Catalogue& catalogue;
    DecisionMaker& decisions;
    LivePublisher& live;
    OutboxWaker& waker;
    const Clock& clock;
    Metrics& metrics;
    int page = limits::kFanoutPage;  // Recipients per transaction.
  };

  explicit FanoutHandler(const Deps& deps);

  absl::StatusOr<std::vector<FailedItem>> Handle(const Batch& batch) override;
  absl::Status CheckHealth() override { return deps_.catalogue.Refresh(); }

 private:
  absl::Status HandlePage(const FanoutPage& page);
  // Decides how an accepted event is told. The range to go on with; nullopt if
  // there is nothing left to do.
  absl::StatusOr<std::optional<EventRange>> Plan(const OpenPage& open, const PageItems& items,
                                                 const NotificationType& type);
  // False: an event before it holds its type's window, and it is suppressed.
  absl::StatusOr<bool> TakeWindow(const Event& event, const NotificationType& type);
  absl::Status ShowInTopicFeed(const Event& event, const PageItems& items);
  // Puts each member where it belongs: into `items`, or what the page counts or tells
  // elsewhere.
  absl::Status Decide(const Event& event, const NotificationType& type, std::vector<std::string> members,
                      PageItems& items, EventStore::PageWrite& write);
  absl::Status WriteNext(const Event& event, const EventRange& range, const NotificationType& type, PageItems items);
  // After the commit, and only a hint: what fails here the streams' sweep finds.
  void WakeStreams(const Event& event, const PageItems& items, absl::Span<const WrittenItem> written);

  const Deps deps_;
  prometheus::Counter& pages_;
  prometheus::Counter& repeated_;
  prometheus::Counter& items_;
  prometheus::Counter& shared_;
  prometheus::Counter& suppressed_;
  prometheus::Counter& wake_failures_;
  const EndToEnd end_to_end_;
};

// Cuts an audience, of which every so many-th member is known, into at most
// `max_ranges` of about the same size that cover all of it.
std::vector<EventRange> CutIntoRanges(absl::Span<const std::string> cuts, int max_ranges);

}  // namespace carillon
