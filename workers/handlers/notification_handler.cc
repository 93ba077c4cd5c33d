#include "workers/handlers/notification_handler.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/algorithm/container.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/channels/in_app_template.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/feed_event.h"

namespace carillon {
namespace {

// Without a word about channels it is for the feed.
std::vector<Channel> ChannelsOf(const Notification& item) {
  return item.channels.empty() ? std::vector<Channel>{Channel::kInApp} : item.channels;
}

// The feed's own decision; null if it was not asked for.
const ChannelDecision* InApp(const Decision& decision) {
  const auto found = absl::c_find_if(decision.channels,
                                     [](const ChannelDecision& channel) { return channel.channel == Channel::kInApp; });
  return found == decision.channels.end() ? nullptr : &*found;
}

bool IsExpired(const Decision& decision) {
  return absl::c_any_of(decision.channels,
                        [](const ChannelDecision& channel) { return channel.outcome == Outcome::kExpire; });
}

// Of one that no feed shows, and that can go to no external channel.
void SuppressIfNothingIsOpen(FeedDelivery& delivery) {
  if (delivery.state != State::kAccepted) return;
  const bool open =
      absl::c_any_of(delivery.deliveries, [](const NewDelivery& one) { return !IsTerminal(one.fate.state); });
  if (open) return;
  delivery.state = State::kSuppressed;
  if (!delivery.detail.empty()) return;
  delivery.detail = delivery.deliveries.empty() ? "it has no channel" : delivery.deliveries.front().fate.detail;
}

}  // namespace

NotificationHandler::NotificationHandler(const Deps& deps)
    : deps_(deps),
      delivered_(deps.metrics.Counter("carillon_delivered_total", "Notifications written to a feed",
                                      {{"lane", std::string(ToString(deps.lane))}})),
      expired_(deps.metrics.Counter("carillon_expired_total", "Notifications whose ttl ended first",
                                    {{"lane", std::string(ToString(deps.lane))}})),
      suppressed_(deps.metrics.Counter("carillon_suppressed_total", "Notifications that rules kept from every channel",
                                       {{"lane", std::string(ToString(deps.lane))}})),
      repeated_(deps.metrics.Counter("carillon_repeated_total", "Messages whose notification had ended before",
                                     {{"lane", std::string(ToString(deps.lane))}})),
      wake_failures_(deps.metrics.Counter("carillon_wake_failures_total",
                                          "Wake-ups that Redis did not take; the sweep finds the items",
                                          {{"lane", std::string(ToString(deps.lane))}})),
      end_to_end_(deps.metrics, deps.catalogue, deps.lane) {}

absl::StatusOr<std::vector<absl::Status>> NotificationHandler::Handle(absl::Span<const Notification> items) {
  std::vector<absl::Status> statuses(items.size());
  std::vector<Work> works;
  works.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    absl::StatusOr<std::shared_ptr<const NotificationType>> type = deps_.catalogue.Get(items[i].app, items[i].type);
    if (!type.ok() && IsInfrastructureFailure(type.status())) return type.status();
    statuses[i] = type.status();
    if (!type.ok()) continue;
    works.push_back({.item = &items[i], .type = *std::move(type), .position = i, .decision = {}, .delivery = {}});
  }
  if (works.empty()) return statuses;
  RETURN_IF_ERROR(Decide(works));
  RETURN_IF_ERROR(BeginDeliveries(works));
  std::vector<FeedDelivery> deliveries;
  deliveries.reserve(works.size());
  for (Work& work : works) deliveries.push_back(std::move(work.delivery));

  absl::StatusOr<std::vector<DeliveryOutcome>> outcomes = deps_.feeds->Deliver(deliveries);
  if (!outcomes.ok() && !IsInfrastructureFailure(outcomes.status())) {
    log::Warn("delivery.batch_failed", {{"error", outcomes.status()}, {"items", deliveries.size()}});
    std::vector<absl::Status> own(deliveries.size());
    outcomes = DeliverOneByOne(deliveries, own);
    for (size_t i = 0; i < own.size(); ++i) statuses[works[i].position] = own[i];
  }
  RETURN_IF_ERROR(outcomes.status());
  WakeRelay(deliveries);
  WakeStreams(deliveries, *outcomes);
  return statuses;
}

absl::Status NotificationHandler::Decide(std::vector<Work>& works) {
  std::vector<DecisionSubject> subjects;
  subjects.reserve(works.size());
  for (const Work& work : works) {
    subjects.push_back({.item = work.item,
                        .key = {work.item->app, work.item->recipient},
                        .type = work.type.get(),
                        .channels = ChannelsOf(*work.item)});
  }
  ASSIGN_OR_RETURN(std::vector<Decision> decisions, deps_.decisions.Decide(subjects, CapStore::Mode::kTake));
  for (size_t i = 0; i < works.size(); ++i) {
    works[i].decision = std::move(decisions[i]);
    works[i].delivery = Show(works[i]);
  }
  return absl::OkStatus();
}

FeedDelivery NotificationHandler::Show(const Work& work) const {
  const Notification& item = *work.item;
  FeedDelivery delivery{.key = {item.app, item.recipient},
                        .retention_days = item.retention_days,
                        .lane = deps_.lane,
                        .detail = {},
                        .item = {},
                        .traceparent = item.traceparent,
                        .deliveries = {},
                        .exchange = work.type->exchange,
                        .routing_key = work.type->routing_key,
                        .trail = {}};
  const ChannelDecision* const in_app = InApp(work.decision);
  if (in_app != nullptr) delivery.trail = TrailOf(work.decision, *in_app);
  if (IsExpired(work.decision)) {
    delivery.state = State::kExpired;
    delivery.detail = ReasonOf(work.decision, work.decision.channels.front());
    delivery.item.id = item.id;
    return delivery;
  }
  delivery.item = RenderFeedItem(item, work.type->in_app);
  if (IsShown(work.decision)) return delivery;
  delivery.state = State::kAccepted;
  if (in_app != nullptr) delivery.detail = ReasonOf(work.decision, *in_app);
  return delivery;
}

// Nothing is read for what goes to the feed alone, which is nearly everything.
absl::Status NotificationHandler::BeginDeliveries(std::vector<Work>& works) {
  std::vector<FeedKey> keys;
  std::vector<Work*> outgoing;
  for (Work& work : works) {
    if (work.delivery.state == State::kExpired) continue;
    if (!GoesOutside(work.item->channels)) {
      SuppressIfNothingIsOpen(work.delivery);
      continue;
    }
    keys.push_back(work.delivery.key);
    outgoing.push_back(&work);
  }
  if (keys.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<Contacts> contacts, deps_.deliveries->ReadContacts(keys));
  for (size_t i = 0; i < outgoing.size(); ++i) {
    Work& work = *outgoing[i];
    work.delivery.deliveries = PlanDeliveries(*work.item, contacts[i], work.decision, deps_.clock.Now());
    SuppressIfNothingIsOpen(work.delivery);
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
    } else if (delivery.state == State::kSuppressed) {
      suppressed_.Increment();
    } else if (delivery.state == State::kDelivered) {
      delivered_.Increment();
      end_to_end_.Observe(delivery.key.app, delivery.item.create_time, now);
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
