#include "workers/handlers/redecision_handler.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/domain/status_macros.h"
#include "workers/handlers/feed_addition.h"

namespace carillon {
namespace {

// What a cap or quiet hours leave to the feed alone, if it was not meant for it anyway.
bool IsNewToFeed(const Notification& item, const ChannelDecision& decision) {
  return decision.outcome == Outcome::kInAppOnly && !absl::c_linear_search(item.channels, Channel::kInApp);
}

}  // namespace

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
  std::vector<FeedAddition> shown;
  // So that those who point into it stay right.
  shown.reserve(deliveries.size());
  for (size_t i = 0; i < deliveries.size(); ++i) {
    const ChannelDecision& channel = decisions[i].channels.front();
    DeliveryFate fate = FateOf(deliveries[i], decisions[i], channel, deps_.clock.Now());
    // When it went on is worth telling, even if nothing stood against it.
    if (!fate.trail.has_value()) fate.trail = TrailEntry{.time = decisions[i].time, .decision = channel};
    carried.push_back({.delivery = &deliveries[i],
                       .lane = deps_.lane,
                       .fate = std::move(fate),
                       .exchange = types[i]->exchange,
                       .routing_key = types[i]->routing_key});
    if (!IsNewToFeed(deliveries[i].item, channel)) continue;
    carried.back().shown = &shown.emplace_back(AdditionOf(deliveries[i].item, *types[i]));
  }
  ASSIGN_OR_RETURN(const int decided, deps_.deliveries->DecideAgain(carried));
  decided_.Increment(decided);
  deps_.waker.Wake(deps_.lane);
  Announce(deps_.live, shown);
  return absl::OkStatus();
}

}  // namespace carillon
