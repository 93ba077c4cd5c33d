// Providers report message by message; what gathers is written in one statement.
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "carillon/ports/interaction_store.h"
#include "carillon/runtime/metrics.h"
#include "server/ingest/group_queue.h"

namespace carillon {

// Thread-safe.
class ReceiptWriter {
 public:
  // Whether the receipt names a delivery. Runs once, on the writer's thread or, if the
  // receipt is refused, on the caller's; must not block.
  using Done = absl::AnyInvocable<void(const absl::StatusOr<bool>& matched)>;

  ReceiptWriter(std::shared_ptr<InteractionStore> store, Metrics& metrics);
  ~ReceiptWriter() { Stop(); }

  // Takes the receipt, or completes it at once with OVERLOADED or DRAINING.
  void Submit(DeliveryReceipt receipt, Done done);

  // Refuses what comes, writes what waits, returns when all are completed. Idempotent.
  void Stop();

 private:
  struct Request {
    DeliveryReceipt receipt;
    Done done;
  };

  void Run();
  void Write(std::vector<Request> group);

  const std::shared_ptr<InteractionStore> store_;
  prometheus::Histogram& commit_seconds_;
  GroupQueue<Request> queue_;
  std::thread thread_;
};

}  // namespace carillon
