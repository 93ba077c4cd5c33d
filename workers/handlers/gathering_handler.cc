#include "workers/handlers/gathering_handler.h"

#include "absl/algorithm/container.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/gathering.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

// What a cap or quiet hours stop may be open again when the window ends.
bool IsForGood(const ChannelDecision& channel) {
  if (channel.outcome != Outcome::kSuppress || channel.rules.empty()) return false;
  const Rule::Gate gate = channel.rules.back().gate;
  return gate == Rule::Gate::kMutedActor || gate == Rule::Gate::kMutedObject || gate == Rule::Gate::kPreference;
}

// The feed's own decision, or that of what stands for it.
const ChannelDecision& FirstWord(const Decision& decision) {
  const auto in_app = absl::c_find_if(
      decision.channels, [](const ChannelDecision& channel) { return channel.channel == Channel::kInApp; });
  return in_app == decision.channels.end() ? decision.channels.front() : *in_app;
}

GatheredNotification GatheredOf(const Notification& item, const Decision& decision) {
  const ChannelDecision& said = FirstWord(decision);
  GatheredNotification gathered{.id = item.id,
                                .retention_days = item.retention_days,
                                .detail = {},
                                .trail = {},
                                .reaction = {.app = item.app,
                                             .actor_id = item.actor_id,
                                             .object_id = item.object_id,
                                             .kind = item.type,
                                             .version = item.version,
                                             .recipient = item.recipient.value(),
                                             .type = item.type,
                                             .data_json = item.data_json,
                                             .accept_time = item.create_time}};
  if (said.outcome == Outcome::kExpire) {
    gathered.state = State::kExpired;
  } else if (absl::c_all_of(decision.channels, IsForGood)) {
    gathered.state = State::kSuppressed;
  }
  const bool ends_so = gathered.state != State::kDelivered;
  if (ends_so) gathered.detail = ReasonOf(decision, said);
  // What other channels met now is not what they meet when the window ends.
  if (ends_so || said.channel == Channel::kInApp) gathered.trail = TrailOf(decision, said);
  gathered.reaction.shown = said.channel == Channel::kInApp && said.outcome == Outcome::kSend;
  return gathered;
}

}  // namespace

GatheringHandler::GatheringHandler(const Deps& deps)
    : deps_(deps),
      gathered_(deps.metrics.Counter("carillon_gathered_total", "Notifications that became part of a group's item",
                                     {{"lane", std::string(ToString(deps.lane))}})),
      expired_(deps.metrics.Counter("carillon_expired_total", "Notifications whose ttl ended first",
                                    {{"lane", std::string(ToString(deps.lane))}})),
      suppressed_(deps.metrics.Counter("carillon_suppressed_total", "Notifications that rules kept from every channel",
                                       {{"lane", std::string(ToString(deps.lane))}})),
      repeated_(deps.metrics.Counter("carillon_repeated_total", "Messages whose notification had ended before",
                                     {{"lane", std::string(ToString(deps.lane))}})),
      end_to_end_(deps.metrics, deps.catalogue, deps.lane) {}

absl::StatusOr<std::vector<absl::Status>> GatheringHandler::Handle(absl::Span<const Notification> items) {
  ASSIGN_OR_RETURN(const std::vector<Work> works, FindGathered(items));
  if (works.empty()) return deps_.notifications.Handle(items);
  std::vector<absl::Status> statuses(items.size());
  ASSIGN_OR_RETURN(const std::vector<size_t> others, Gather(items, works, statuses));
  if (others.empty()) return statuses;
  std::vector<Notification> rest;
  for (const size_t position : others) rest.push_back(items[position]);
  ASSIGN_OR_RETURN(std::vector<absl::Status> own, deps_.notifications.Handle(rest));
  for (size_t i = 0; i < others.size(); ++i) statuses[others[i]] = std::move(own[i]);
  return statuses;
}

// One of a type that is not known is left to those who say so.
absl::StatusOr<std::vector<GatheringHandler::Work>> GatheringHandler::FindGathered(
    absl::Span<const Notification> items) {
  std::vector<Work> works;
  for (size_t i = 0; i < items.size(); ++i) {
    absl::StatusOr<std::shared_ptr<const NotificationType>> type = deps_.catalogue.Get(items[i].app, items[i].type);
    if (!type.ok() && IsInfrastructureFailure(type.status())) return type.status();
    if (!type.ok() || !IsGathered(**type, items[i])) continue;
    works.push_back({.item = &items[i], .type = *std::move(type), .position = i});
  }
  return works;
}

absl::StatusOr<std::vector<size_t>> GatheringHandler::Gather(absl::Span<const Notification> items,
                                                             absl::Span<const Work> works,
                                                             std::vector<absl::Status>& statuses) {
  ASSIGN_OR_RETURN(std::vector<GatheredNotification> notifications, Decide(works));
  std::vector<absl::Status> own(works.size());
  absl::StatusOr<std::vector<Gathered>> outcomes = deps_.reactions.Gather(absl::MakeSpan(notifications));
  if (!outcomes.ok() && !IsInfrastructureFailure(outcomes.status())) {
    log::Warn("gathering.batch_failed", {{"error", outcomes.status()}, {"items", works.size()}});
    outcomes = GatherOneByOne(absl::MakeSpan(notifications), own);
  }
  RETURN_IF_ERROR(outcomes.status());
  Count(notifications, *outcomes, own);
  std::vector<bool> done(items.size());
  for (size_t i = 0; i < works.size(); ++i) {
    done[works[i].position] = (*outcomes)[i] != Gathered::kElsewhere;
    statuses[works[i].position] = std::move(own[i]);
  }
  std::vector<size_t> others;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!done[i]) others.push_back(i);
  }
  return others;
}

// Nothing is used up of caps: what is sent in the end is one message.
absl::StatusOr<std::vector<GatheredNotification>> GatheringHandler::Decide(absl::Span<const Work> works) {
  std::vector<DecisionSubject> subjects;
  for (const Work& work : works) {
    subjects.push_back({.item = work.item,
                        .key = {work.item->app, work.item->recipient},
                        .type = work.type.get(),
                        .channels = work.type->channels});
  }
  ASSIGN_OR_RETURN(const std::vector<Decision> decisions, deps_.decisions.Decide(subjects, CapStore::Mode::kPeek));
  std::vector<GatheredNotification> gathered;
  for (size_t i = 0; i < works.size(); ++i) gathered.push_back(GatheredOf(*works[i].item, decisions[i]));
  return gathered;
}

absl::StatusOr<std::vector<Gathered>> GatheringHandler::GatherOneByOne(absl::Span<GatheredNotification> notifications,
                                                                       std::vector<absl::Status>& statuses) {
  std::vector<Gathered> all(notifications.size(), Gathered::kNotOpen);
  for (size_t i = 0; i < notifications.size(); ++i) {
    const absl::StatusOr<std::vector<Gathered>> one = deps_.reactions.Gather(notifications.subspan(i, 1));
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

void GatheringHandler::Count(absl::Span<const GatheredNotification> notifications, absl::Span<const Gathered> outcomes,
                             absl::Span<const absl::Status> statuses) {
  const absl::Time now = deps_.clock.Now();
  for (size_t i = 0; i < notifications.size(); ++i) {
    if (outcomes[i] == Gathered::kElsewhere || !statuses[i].ok()) continue;
    if (outcomes[i] == Gathered::kNotOpen) {
      repeated_.Increment();
    } else if (notifications[i].state == State::kExpired) {
      expired_.Increment();
    } else if (notifications[i].state == State::kSuppressed) {
      suppressed_.Increment();
    } else {
      gathered_.Increment();
      const Reaction& told = notifications[i].reaction;
      if (told.shown) end_to_end_.Observe(told.app, told.accept_time, now);
    }
  }
}

}  // namespace carillon
