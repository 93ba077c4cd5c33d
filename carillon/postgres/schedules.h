// Rows that wait in schedules, on their way back into the outbox. For use in a
// session's body; they throw as libpqxx does.
#pragma once

#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Those that are due, the longest due first. Returns how many there were.
int ReleaseDueRows(PgSession& session, pqxx::transaction_base& transaction, Lane lane, int limit);

// Those that wait for the providers of an app's channel, due or not.
int ReleaseHeldRows(PgSession& session, pqxx::transaction_base& transaction, AppId app, Channel channel, Lane lane,
                    int limit);

}  // namespace carillon
