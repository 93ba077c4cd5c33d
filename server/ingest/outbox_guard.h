// Keeps the outbox bounded: while the broker is away, sends gather there, and a
// lane whose rows pass the bound takes no more until it has drained.
#pragma once

#include <atomic>
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

  // False while the rows of the fan-out pass the bound: no event is accepted. Thread-safe.
  bool fanout_is_open() const { return fanout_open_; }

 private:
  const int64_t bound_rows_;
  const std::shared_ptr<UpkeepStore> store_;
  IngestWriters& writers_;
  std::map<Lane, bool> closed_;
  std::atomic<bool> fanout_open_ = true;
};

}  // namespace carillon
