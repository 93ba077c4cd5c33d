#include "server/callbacks/receipt_writer.h"

#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"

namespace carillon {

ReceiptWriter::ReceiptWriter(std::shared_ptr<InteractionStore> store, Metrics& metrics)
    : store_(std::move(store)),
      commit_seconds_(metrics.Latency("carillon_receipts_commit_seconds", "Time of one group commit", {})),
      queue_({.name = "the queue of receipts",
              .most_queued = limits::kWriterQueueItems,
              .most_grouped = limits::kMaxBatchSize},
             metrics.Gauge("carillon_receipts_queue_items", "Receipts that wait for a commit", {})),
      thread_([this] { Run(); }) {}

void ReceiptWriter::Submit(DeliveryReceipt receipt, Done done) {
  Request request{std::move(receipt), std::move(done)};
  const absl::Status taken = queue_.Push(request, /*items=*/1);
  if (!taken.ok()) request.done(taken);
}

void ReceiptWriter::Stop() {
  queue_.Stop();
  if (thread_.joinable()) thread_.join();
}

void ReceiptWriter::Run() {
  for (std::vector<Request> group = queue_.Take(); !group.empty(); group = queue_.Take()) Write(std::move(group));
}

void ReceiptWriter::Write(std::vector<Request> group) {
  std::vector<DeliveryReceipt> receipts;
  receipts.reserve(group.size());
  for (Request& request : group) receipts.push_back(std::move(request.receipt));
  const absl::Duration began = Monotonic();
  absl::StatusOr<std::vector<bool>> matched = store_->RecordReceipts(receipts);
  // Once more at once: it may have been one row that was locked, and of an error few
  // providers try again.
  if (!matched.ok() && IsInfrastructureFailure(matched.status())) matched = store_->RecordReceipts(receipts);
  commit_seconds_.Observe(absl::ToDoubleSeconds(Monotonic() - began));
  if (matched.ok()) {
    for (size_t i = 0; i < group.size(); ++i) group[i].done((*matched)[i]);
    return;
  }
  // Something in one of them: each is written by itself, so that it fails alone.
  const bool apart = !IsInfrastructureFailure(matched.status()) && group.size() > 1;
  if (apart) log::Error("receipts.group_failed", {{"error", matched.status()}, {"receipts", group.size()}});
  for (size_t i = 0; i < group.size(); ++i) {
    if (!apart) {
      group[i].done(matched.status());
      continue;
    }
    const absl::StatusOr<std::vector<bool>> alone = store_->RecordReceipts({receipts[i]});
    group[i].done(alone.ok() ? absl::StatusOr<bool>(alone->front()) : alone.status());
  }
}

}  // namespace carillon
