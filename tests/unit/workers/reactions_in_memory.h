// Reactions in memory, for the tests of a worker's handlers.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "carillon/ports/reaction_store.h"

namespace carillon::testing {

// Remembers what each transaction took; refuses the actor "refused".
class ReactionsInMemory final : public ReactionStore {
 public:
  absl::StatusOr<std::vector<ReactionChange>> Apply(absl::Span<const Reaction> reactions, Render render) override {
    if (!away.ok()) return away;
    for (const Reaction& reaction : reactions) {
      if (reaction.actor_id == "refused") return absl::InternalError("not this one");
    }
    transactions.push_back(reactions.size());
    for (const Reaction& reaction : reactions) applied.push_back(reaction.actor_id);
    windows.push_back(reactions.front().window);
    rendered.push_back(render(reactions.front()));
    return changes;
  }
  // All but those whose actor is "elsewhere".
  absl::StatusOr<GatherResult> Gather(absl::Span<const GatheredNotification> notifications, Render render) override {
    if (!away.ok()) return away;
    GatherResult result;
    for (const GatheredNotification& one : notifications) {
      if (one.reaction.actor_id == "refused") return absl::InternalError("not this one");
      const bool elsewhere = one.reaction.actor_id == "elsewhere";
      result.outcomes.push_back(elsewhere ? Gathered::kElsewhere : Gathered::kDone);
    }
    transactions.push_back(notifications.size());
    gathered.insert(gathered.end(), notifications.begin(), notifications.end());
    rendered.push_back(render(notifications.front().reaction));
    result.changes = changes;
    return result;
  }
  absl::StatusOr<std::vector<std::optional<GatheredWindow>>> ReadWindows(absl::Span<const DueWindow> due) override {
    if (!away.ok()) return away;
    return std::vector<std::optional<GatheredWindow>>(due.size(), open);
  }
  // One more has joined since they were read.
  absl::StatusOr<int> EndWindows(absl::Span<const WindowEnd> all, BeginDeliveries begin) override {
    for (size_t i = 0; i < all.size(); ++i) {
      GatheredWindow now = *open;
      now.newest.actor_id = "the last";
      if (!now.stands) now.id = all[i].id;
      ends.push_back(all[i]);
      if (all[i].shown != nullptr) added.push_back(all[i].shown->item);
      begun.push_back(begin(i, now));
    }
    return static_cast<int>(all.size());
  }
  absl::StatusOr<int64_t> TakeVersions() override { return std::exchange(next_version, next_version + kVersionBlock); }
  absl::Status Enqueue(absl::Span<const ReactionRow>) override { return absl::UnimplementedError("not a worker's"); }
  absl::StatusOr<std::vector<ReactionCounter>> Counters(AppId, absl::Span<const std::string>) override {
    return absl::UnimplementedError("not a worker's");
  }
  absl::StatusOr<RequeuedReactions> RequeueIdle(absl::Time, int) override {
    return absl::UnimplementedError("not a worker's");
  }

  absl::Status away;
  std::vector<ReactionChange> changes;  // Of every transaction.
  std::optional<GatheredWindow> open;   // What every window has gathered.
  int64_t next_version = 5000;
  std::vector<FeedItem> added;  // To feeds.
  std::vector<size_t> transactions;
  std::vector<std::string> applied;
  std::vector<std::shared_ptr<const ReactionWindow>> windows;  // Of each transaction's first.
  std::vector<GatheredNotification> gathered;
  std::vector<ReactionItem> rendered;
  std::vector<WindowEnd> ends;
  std::vector<std::vector<NewDelivery>> begun;
};

}  // namespace carillon::testing
