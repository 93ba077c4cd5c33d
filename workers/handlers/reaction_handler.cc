#include "workers/handlers/reaction_handler.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/channels/in_app_template.h"
#include "carillon/domain/status_macros.h"
#include "carillon/wire/feed_event.h"
#include "workers/lane/batch.h"

namespace carillon {
namespace {

// What one transaction takes: others that count the same object wait for it.
constexpr size_t kMaxReactions = 1000;

// Where the group of the reaction at `begin` ends; without one it is alone.
size_t EndOfGroup(absl::Span<const Reaction> reactions, size_t begin) {
  size_t end = begin + 1;
  if (!reactions[begin].group.has_value()) return end;
  while (end < reactions.size() && reactions[end].group == reactions[begin].group) ++end;
  return end;
}

// The first of `reactions` that may share a transaction: heads of so many feeds.
// Whole groups, for a transaction ends its groups; the door makes none too large.
absl::Span<const Reaction> FirstSlice(absl::Span<const Reaction> reactions) {
  std::set<absl::string_view> recipients;
  size_t end = 0;
  while (end < reactions.size()) {
    const size_t next = EndOfGroup(reactions, end);
    for (const Reaction& reaction : reactions.subspan(end, next - end)) recipients.insert(reaction.recipient);
    if (end > 0 && (next > kMaxReactions || recipients.size() > kMaxBatchItems)) break;
    end = next;
  }
  return reactions.first(end);
}

FeedEvent Encode(const ReactionChange& change) {
  return change.removed ? EncodeFeedEvent(FeedRemoval{.seq = change.item.seq, .id = change.item.id})
                        : EncodeFeedEvent(change.item);
}

}  // namespace

ReactionHandler::ReactionHandler(const Deps& deps)
    : deps_(deps),
      applied_(deps.metrics.Counter("carillon_reactions_applied_total", "Reactions applied", {})),
      wake_failures_(deps.metrics.Counter("carillon_reaction_wake_failures_total",
                                          "Feeds whose wake-up Redis did not take; the sweep finds the items", {})),
      end_to_end_(deps.metrics.Latency("carillon_reaction_accepted_to_applied_seconds",
                                       "From acceptance at the door to the counter", {})) {}

absl::Status ReactionHandler::Handle(absl::Span<const Reaction> reactions) {
  ASSIGN_OR_RETURN(const Windows windows, CheckTypes(reactions));
  if (windows.empty()) return Apply(reactions);
  std::vector<Reaction> gathered(reactions.begin(), reactions.end());
  for (Reaction& reaction : gathered) {
    const auto found = windows.find({reaction.app, reaction.type});
    if (found != windows.end()) reaction.window = found->second;
  }
  return Apply(gathered);
}

absl::Status ReactionHandler::Apply(absl::Span<const Reaction> reactions) {
  while (!reactions.empty()) {
    const absl::Span<const Reaction> slice = FirstSlice(reactions);
    ASSIGN_OR_RETURN(const std::vector<ReactionChange> changes,
                     deps_.store->Apply(slice, [this](const Reaction& newest) { return Render(newest); }));
    applied_.Increment(static_cast<double>(slice.size()));
    const absl::Time now = deps_.clock.Now();
    for (const Reaction& reaction : slice) end_to_end_.Observe(absl::ToDoubleSeconds(now - reaction.accept_time));
    WakeStreams(changes);
    reactions.remove_prefix(slice.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Gathered>> ReactionHandler::Gather(absl::Span<GatheredNotification> notifications) {
  int64_t version = 0, left = 0;
  for (GatheredNotification& one : notifications) {
    const std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(one.reaction.app, one.reaction.type);
    if (type != nullptr) one.reaction.window = WindowOf(one.reaction.app, *type);
    if (one.reaction.version != 0) continue;
    if (left == 0) {
      ASSIGN_OR_RETURN(version, deps_.store->TakeVersions());
      left = ReactionStore::kVersionBlock;
    }
    one.reaction.version = version++;
    --left;
  }
  ASSIGN_OR_RETURN(GatherResult result,
                   deps_.store->Gather(notifications, [this](const Reaction& newest) { return Render(newest); }));
  WakeStreams(result.changes);
  return std::move(result.outcomes);
}

std::shared_ptr<const ReactionWindow> ReactionHandler::WindowOf(AppId app, const NotificationType& type) const {
  if (!type.policy.aggregation.has_value() || type.critical) return nullptr;
  return std::make_shared<const ReactionWindow>(
      ReactionWindow{.aggregation = *type.policy.aggregation,
                     .now = deps_.catalogue.NowOf(app, deps_.clock),
                     .clock_offset = deps_.catalogue.PolicyOf(app)->clock_offset,
                     .tells = GoesOutside(type.channels),
                     .lane = type.lane,
                     .exchange = type.exchange,
                     .routing_key = type.routing_key,
                     .retention_days = type.retention_days});
}

absl::StatusOr<ReactionHandler::Windows> ReactionHandler::CheckTypes(absl::Span<const Reaction> reactions) {
  Windows windows;
  for (const Reaction& reaction : reactions) {
    if (reaction.recipient.empty()) continue;
    std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(reaction.app, reaction.type);
    if (type == nullptr) RETURN_IF_ERROR(deps_.catalogue.Refresh());
    if (type == nullptr) type = deps_.catalogue.Find(reaction.app, reaction.type);
    if (type == nullptr) return absl::NotFoundError(absl::StrCat("type ", reaction.type, " is not in the catalogue"));
    std::shared_ptr<const ReactionWindow> window = WindowOf(reaction.app, *type);
    if (window != nullptr) windows.try_emplace({reaction.app, reaction.type}, std::move(window));
  }
  return windows;
}

// A type that is gone shows an item without texts: what it counts is still true.
ReactionItem ReactionHandler::Render(const Reaction& reaction) const {
  const std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(reaction.app, reaction.type);
  Notification notification;
  notification.id = NewUuid7(deps_.clock.Now());
  notification.app = reaction.app;
  notification.type = reaction.type;
  notification.recipient = RecipientId(reaction.recipient);
  notification.actor_id = reaction.actor_id;
  notification.object_id = reaction.object_id;
  notification.data_json = reaction.data_json;
  notification.create_time = reaction.accept_time;
  ReactionItem rendered{.item = RenderFeedItem(notification, type == nullptr ? InAppTemplate() : type->in_app)};
  if (type != nullptr) rendered.retention_days = type->retention_days;
  return rendered;
}

// After the commit, and only a hint: what fails here the streams' sweep finds.
void ReactionHandler::WakeStreams(absl::Span<const ReactionChange> changes) {
  std::map<FeedKey, std::vector<const ReactionChange*>> changed;
  for (const ReactionChange& change : changes) changed[change.key].push_back(&change);
  std::vector<FeedKey> keys;
  std::vector<const std::vector<const ReactionChange*>*> updates;
  for (const auto& [key, of_key] : changed) {
    keys.push_back(key);
    updates.push_back(&of_key);
  }
  const auto payload_of = [&](size_t i) {
    std::vector<FeedEvent> events;
    for (const ReactionChange* const change : *updates[i]) events.push_back(Encode(*change));
    return EncodeLiveUpdate(events);
  };
  if (!keys.empty() && !deps_.live.Publish(keys, payload_of).ok()) {
    wake_failures_.Increment(static_cast<double>(keys.size()));
  }
}

}  // namespace carillon
