// The items that stand in feeds and tell of reactions.
#pragma once

#include <compare>
#include <map>
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
  int64_t joined = 0;
  int64_t left = 0;
  int64_t newest_version = 0;
  absl::Time accept_time;  // Of that one.
};

using ReactionItemMoves = std::map<ReactionItemKey, ReactionItemMove>;

// Changes the items with their reactions, which the same transaction has written:
// the first one makes an item, later ones change it and move it up, the last one
// to leave takes it along. One that was read is unread again if somebody joined.
// Locks the items in the order of their keys, then the heads in the order of
// recipients. Throws as libpqxx does.
std::vector<ReactionChange> MoveReactionItems(PgSession& session, pqxx::work& transaction,
                                              const ReactionItemMoves& moves, ReactionStore::Render render);

}  // namespace carillon
