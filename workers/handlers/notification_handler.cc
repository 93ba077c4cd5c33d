#include "workers/handlers/notification_handler.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/channels/in_app_template.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/feed_event.h"
#include "workers/handlers/delivery_plan.h"

namespace carillon {
namespace {

// Without a word about channels it is for the feed.
bool WantsFeedItem(const Notification& item) {
  return item.channels.empty() || absl::c_linear_search(item.channels, Channel::kInApp);
}

// Of one that is for external channels only, and can go to none of them.
void SuppressIfNothingIsPending(FeedDelivery& decision) {
  const bool pending = absl::c_any_of(
      decision.deliveries, [](const NewDelivery& delivery) { return delivery.state == DeliveryState::kPending; });
  if (pending) return;
  decision.state = State::kSuppressed;
  decision.detail = decision.deliveries.empty() ? "it has no channel" : decision.deliveries.front().detail;
}

}  // namespace

NotificationHandler::NotificationHandler(const Deps& deps)
    : deps_(deps),
      delivered_(deps.metrics.Counter("carillon_delivered_total", "Notifications written to a feed",
                                      {{"lane", std::string(ToString(deps.lane))}})),
      expired_(deps.metrics.Counter("carillon_expired_total", "Notifications whose ttl ended first",
                                    {{"lane", std::string(ToString(deps.lane))}})),
      repeated_(deps.metrics.Counter("carillon_repeated_total", "Messages whose notification had ended before",
                                     {{"lane", std::string(ToString(deps.lane))}})),
      wake_failures_(deps.metrics.Counter("carillon_wake_failures_total",
                                          "Wake-ups that Redis did not take; the sweep finds the items",
                                          {{"lane", std::string(ToString(deps.lane))}})),
      end_to_end_(deps.metrics.Latency("carillon_accepted_to_delivered_seconds",
                                       "From acceptance at the door to the feed",
                                       {{"lane", std::string(ToString(deps.lane))}})) {}

absl::StatusOr<std::vector<absl::Status>> NotificationHandler::Handle(absl::Span<const Notification> items) {
  std::vector<absl::Status> statuses(items.size());
  std::vector<FeedDelivery> deliveries;
  std::vector<size_t> positions;
  for (size_t i = 0; i < items.size(); ++i) {
    absl::StatusOr<FeedDelivery> decision = Decide(items[i]);
    if (!decision.ok() && IsInfrastructureFailure(decision.status())) return decision.status();
    statuses[i] = decision.status();
    if (!decision.ok()) continue;
    deliveries.push_back(*std::move(decision));
    positions.push_back(i);
  }
  if (deliveries.empty()) return statuses;
  RETURN_IF_ERROR(BeginDeliveries(items, positions, deliveries));

  absl::StatusOr<std::vector<DeliveryOutcome>> outcomes = deps_.feeds->Deliver(deliveries);
  if (!outcomes.ok() && !IsInfrastructureFailure(outcomes.status())) {
    log::Warn("delivery.batch_failed", {{"error", outcomes.status()}, {"items", deliveries.size()}});
    std::vector<absl::Status> own(deliveries.size());
    outcomes = DeliverOneByOne(deliveries, own);
    for (size_t i = 0; i < own.size(); ++i) statuses[positions[i]] = own[i];
  }
  RETURN_IF_ERROR(outcomes.status());
  WakeRelay(deliveries);
  WakeStreams(deliveries, *outcomes);
  return statuses;
}

// Settings, quiet hours and caps will speak here; so far only the ttl does.
absl::StatusOr<FeedDelivery> NotificationHandler::Decide(const Notification& item) {
  std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(item.app, item.type);
  if (type == nullptr) {
    RETURN_IF_ERROR(deps_.catalogue.Refresh());
    type = deps_.catalogue.Find(item.app, item.type);
  }
  if (type == nullptr) return absl::NotFoundError(absl::StrCat("type ", item.type, " is not in the catalogue"));
  FeedDelivery delivery{.key = {item.app, item.recipient},
                        .retention_days = item.retention_days,
                        .lane = deps_.lane,
                        .detail = {},
                        .item = {},
                        .traceparent = item.traceparent,
                        .deliveries = {}};
  if (item.expire_time.has_value() && *item.expire_time <= deps_.clock.Now()) {
    delivery.state = State::kExpired;
    delivery.detail = "its ttl ended before it was delivered";
    delivery.item.id = item.id;
    return delivery;
  }
  delivery.item = RenderFeedItem(item, type->in_app);
  if (!WantsFeedItem(item)) delivery.state = State::kAccepted;
  return delivery;
}

// Nothing is read for what goes to the feed alone, which is nearly everything.
absl::Status NotificationHandler::BeginDeliveries(absl::Span<const Notification> items,
                                                  absl::Span<const size_t> positions,
                                                  std::vector<FeedDelivery>& decisions) {
  std::vector<FeedKey> keys;
  std::vector<size_t> outgoing;
  for (size_t i = 0; i < decisions.size(); ++i) {
    if (decisions[i].state == State::kExpired || !GoesOutside(items[positions[i]].channels)) continue;
    keys.push_back(decisions[i].key);
    outgoing.push_back(i);
  }
  if (keys.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<Contacts> contacts, deps_.deliveries->ReadContacts(keys));
  for (size_t i = 0; i < outgoing.size(); ++i) {
    FeedDelivery& decision = decisions[outgoing[i]];
    decision.deliveries = PlanDeliveries(items[positions[outgoing[i]]], contacts[i], deps_.clock.Now());
    if (decision.state == State::kAccepted) SuppressIfNothingIsPending(decision);
  }
  return absl::OkStatus();
}

void NotificationHandler::WakeRelay(absl::Span<const FeedDelivery> decisions) {
  const bool outgoing = absl::c_any_of(decisions, [](const FeedDelivery& one) { return !one.deliveries.empty(); });
  if (outgoing) deps_.waker.Wake(deps_.lane);
}

// One of a batch is at fault: alone, each shows whether it was the one.
absl::StatusOr<std::vector<DeliveryOutcome>> NotificationHandler::DeliverOneByOne(
    absl::Span<const FeedDelivery> deliveries, std::vector<absl::Status>& statuses) {
  std::vector<DeliveryOutcome> all(deliveries.size());
  for (size_t i = 0; i < deliveries.size(); ++i) {
    const absl::StatusOr<std::vector<DeliveryOutcome>> one = deps_.feeds->Deliver(deliveries.subspan(i, 1));
    if (one.ok()) {
      all[i] = one->front();
    } else if (IsInfrastructureFailure(one.status())) {
      return one.status();
    } else {
      statuses[i] = one.status();
    }
  }
  return all;
}

// After the commit, and only a hint: what fails here the streams' sweep finds.
void NotificationHandler::WakeStreams(std::vector<FeedDelivery>& deliveries,
                                      absl::Span<const DeliveryOutcome> outcomes) {
  std::map<FeedKey, std::vector<FeedItem>> changed;
  const absl::Time now = deps_.clock.Now();
  for (size_t i = 0; i < deliveries.size(); ++i) {
    FeedDelivery& delivery = deliveries[i];
    if (!outcomes[i].applied) {
      repeated_.Increment();
    } else if (delivery.state == State::kExpired) {
      expired_.Increment();
    } else if (delivery.state == State::kDelivered) {
      delivered_.Increment();
      end_to_end_.Observe(absl::ToDoubleSeconds(now - delivery.item.create_time));
      delivery.item.seq = outcomes[i].seq;
      changed[delivery.key].push_back(std::move(delivery.item));
    }
  }
  std::vector<FeedKey> keys;
  std::vector<std::vector<FeedItem>*> updates;
  for (auto& [key, items] : changed) {
    std::sort(items.begin(), items.end(), [](const FeedItem& a, const FeedItem& b) { return a.seq < b.seq; });
    keys.push_back(key);
    updates.push_back(&items);
  }
  const auto payload_of = [&](size_t i) { return EncodeLiveUpdate(*updates[i]); };
  if (!keys.empty() && !deps_.live.Publish(keys, payload_of).ok()) {
    wake_failures_.Increment(static_cast<double>(keys.size()));
  }
}

}  // namespace carillon
