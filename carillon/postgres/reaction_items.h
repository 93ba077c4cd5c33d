// The items that stand in feeds and tell of reactions.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

struct ReactionItemKey {
  FeedKey feed;
  std::string type;
  std::string object_id;

  friend auto operator<=>(const ReactionItemKey&, const ReactionItemKey&) = default;
};

// What a transaction did to the reactions that an item counts.
struct ReactionItemMove {
  // Whether windows may have to do with it.
  bool MayHaveWindows() const { return window != nullptr || !left_windows.empty() || !repeated.empty(); }

  int64_t joined = 0;              // It did not count them before.
  int64_t left = 0;                // It counted them, and no window did.
  std::vector<Uuid> left_windows;  // It counted them in these windows.
  // It counted them before, and they are told of anew: in which window, if in one.
  std::vector<std::optional<Uuid>> repeated;
  std::vector<const Reaction*> members;          // Those that joined and those that are repeated.
  bool shown = false;                            // One of them is to be seen in the feed.
  std::shared_ptr<const ReactionWindow> window;  // How they are gathered; null: they are not.
  int64_t newest_version = 0;
  absl::Time accept_time;  // Of that one.
};

using ReactionItemMoves = std::map<ReactionItemKey, ReactionItemMove>;

// Changes the items with their reactions, which the same transaction has written:
// the first one makes an item, later ones change it and move it up, the last one
// to leave takes it along. One that was read is unread again if somebody joined.
// What is gathered in windows (ReactionWindow) has an item for each of them.
// Locks the items in the order of their keys, then the heads in the order of
// recipients. Throws as libpqxx does.
std::vector<ReactionChange> MoveReactionItems(PgSession& session, pqxx::work& transaction,
                                              const ReactionItemMoves& moves, ReactionStore::Render render);

}  // namespace carillon
