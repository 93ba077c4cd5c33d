// How reactions are applied. For use in a session's body.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "carillon/ports/reaction_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

enum class OfOthers {
  kTaken,  // Whoever an actor's reaction was told to before, it is told to the newest's recipient.
  kKept,   // As long as it is told to somebody else it stays so.
};

// As ReactionStore::Apply. Locks reactions, counters, items and heads, each in the order of
// their keys. Throws as libpqxx does.
std::vector<ReactionChange> ApplyReactions(PgSession& session, pqxx::work& transaction,
                                           absl::Span<const Reaction> reactions, OfOthers of_others,
                                           ReactionStore::Render render);

}  // namespace carillon
