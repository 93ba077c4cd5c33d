// How the database stands with what would end in an outage if nobody looked: partitions
// that are not made, an outbox that is full of dead rows. Thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/domain/lane.h"

namespace carillon {

struct StorageFigures {
  struct Outbox {
    Lane lane = Lane::kSocial;
    int64_t dead_tuples = 0;  // Of deleted rows, which vacuum has not taken yet; an estimate.
    int64_t bytes = 0;        // With indexes.
  };
  std::vector<Outbox> outbox;
  // For so long there is a partition of every table that has them, without a gap.
  absl::Duration partitions_ahead;
  // Vacuum leaves what was deleted since the oldest transaction began.
  absl::Duration oldest_transaction;
};

class StorageMonitor {
 public:
  virtual ~StorageMonitor() = default;
  // Cheap enough for every few seconds.
  virtual absl::StatusOr<StorageFigures> Measure() = 0;
};

}  // namespace carillon
