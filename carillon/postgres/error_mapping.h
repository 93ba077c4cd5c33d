// libpqxx's exceptions and PostgreSQL's SQLSTATE codes as statuses.
#pragma once

#include <exception>

#include "absl/status/status.h"

namespace carillon {

struct PgFault {
  absl::Status status;
  // The connection can't be used any more.
  bool connection_lost = false;
};

// UNAVAILABLE: the server or the link is away, or refuses work for now (the
// outcome of what was under way may be unknown). ABORTED: deadlock or
// serialisation failure; run the whole transaction again. ALREADY_EXISTS: a
// unique constraint. RESOURCE_EXHAUSTED: disk, memory or connections.
// INTERNAL: everything that a correct program does not meet.
PgFault DescribePgException(std::exception_ptr exception);

}  // namespace carillon
