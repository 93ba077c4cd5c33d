// Keeps the outbox bounded: while the broker is away, sends gather there, and a
// lane whose rows pass the bound takes no more until it has drained.
#pragma once

#include <map>
#include <memory>

#include "absl/status/status.h"
#include "carillon/ports/upkeep_store.h"
#include "carillon/runtime/metrics.h"
#include "server/ingest/ingest_writer.h"

namespace carillon {

// Owner thread only.
class OutboxGuard {
 public:
  OutboxGuard(int64_t bound_rows, std::shared_ptr<UpkeepStore> store, IngestWriters& writers)
      : bound_rows_(bound_rows), store_(std::move(store)), writers_(writers) {}

  // Looks at every lane and opens or closes its writer. Call every second or two:
  // what comes in between is the overshoot. On an error nothing changes.
  absl::Status Check();

 private:
  const int64_t bound_rows_;
  const std::shared_ptr<UpkeepStore> store_;
  IngestWriters& writers_;
  std::map<Lane, bool> closed_;
};

}  // namespace carillon
