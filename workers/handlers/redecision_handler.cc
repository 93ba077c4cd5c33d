#include "workers/handlers/redecision_handler.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/channels/in_app_template.h"
#include "carillon/domain/status_macros.h"
#include "carillon/wire/feed_event.h"

namespace carillon {

RedecisionHandler::RedecisionHandler(const Deps& deps)
    : deps_(deps),
      decided_(deps.metrics.Counter("carillon_decided_again_total", "Deliveries that were held and decided on again",
                                    {{"lane", std::string(ToString(deps.lane))}})) {}

absl::Status RedecisionHandler::Handle(absl::Span<const Delivery> deliveries) {
  std::vector<std::shared_ptr<const NotificationType>> types;
  std::vector<DecisionSubject> subjects;
  for (const Delivery& delivery : deliveries) {
    ASSIGN_OR_RETURN(types.emplace_back(), deps_.catalogue.Get(delivery.item.app, delivery.item.type));
    subjects.push_back({.item = &delivery.item,
                        .key = {delivery.item.app, delivery.item.recipient},
                        .type = types.back().get(),
                        .channels = {delivery.channel},
                        .not_before = delivery.decide_time.value_or(absl::InfinitePast())});
  }
  ASSIGN_OR_RETURN(const std::vector<Decision> decisions, deps_.decisions.Decide(subjects, CapStore::Mode::kTake));
  std::vector<Redecision> carried;
  for (size_t i = 0; i < deliveries.size(); ++i) {
    const ChannelDecision& channel = decisions[i].channels.front();
    if (channel.outcome == Outcome::kInAppOnly) RETURN_IF_ERROR(ShowInFeed(deliveries[i].item, *types[i]));
    DeliveryFate fate = FateOf(deliveries[i], decisions[i], channel, deps_.clock.Now());
    // When it went on is worth telling, even if nothing stood against it.
    if (!fate.trail.has_value()) fate.trail = TrailEntry{.time = decisions[i].time, .decision = channel};
    carried.push_back({.delivery = &deliveries[i],
                       .lane = deps_.lane,
                       .fate = std::move(fate),
                       .exchange = types[i]->exchange,
                       .routing_key = types[i]->routing_key});
  }
  ASSIGN_OR_RETURN(const int decided, deps_.deliveries->DecideAgain(carried));
  decided_.Increment(decided);
  deps_.waker.Wake(deps_.lane);
  return absl::OkStatus();
}

absl::Status RedecisionHandler::ShowInFeed(const Notification& item, const NotificationType& type) {
  if (absl::c_linear_search(item.channels, Channel::kInApp)) return absl::OkStatus();
  const FeedKey key{item.app, item.recipient};
  FeedItem shown = RenderFeedItem(item, type.in_app);
  ASSIGN_OR_RETURN(shown.seq, deps_.feeds->AddItem(key, item.retention_days, shown));
  if (shown.seq == 0) return absl::OkStatus();
  // After the commit, and only a hint: what fails here the streams' sweep finds.
  (void)deps_.live.Publish({key}, [&](size_t) { return EncodeLiveUpdate({shown}); });
  return absl::OkStatus();
}

}  // namespace carillon
