// Brings feeds up to date with the events that are stored once for all.
#pragma once

#include "absl/types/span.h"
#include "carillon/domain/notification.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Appends to each feed that has a head the shared events of its app that concern
// it and that it does not hold yet, in the order of their positions, and moves the
// head's event position. Locks the heads that are behind, in the order of
// recipients, until the transaction ends. Throws as libpqxx does.
void TouchFeeds(PgSession& session, pqxx::work& transaction, absl::Span<const FeedKey> keys);

}  // namespace carillon
