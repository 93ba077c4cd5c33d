// What streams are told of items that have left their feeds.
#pragma once

#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/ports/feed_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Adds to each backlog the removals after its request's number and up to where it
// is complete; if they are more than a page, it is complete up to the last of them
// only. Removals and the heads that were read before agree: both are written by
// one transaction. A stream from 0 needs none. Throws as libpqxx does.
void ReadRemovals(PgSession& session, pqxx::transaction_base& transaction, absl::Span<const BacklogRequest> requests,
                  std::vector<Backlog>& backlogs);

// Forgets up to `limit` removals that are older than any item; streams can't be
// resumed from below them any more. Returns how many. Throws as libpqxx does.
int ExpireRemovals(PgSession& session, pqxx::transaction_base& transaction, absl::Time now, int limit);

}  // namespace carillon
