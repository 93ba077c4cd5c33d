#include "workers/handlers/lane_handler.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

namespace carillon {

absl::StatusOr<std::vector<FailedItem>> LaneHandler::Handle(const Batch& batch) {
  std::vector<FailedItem> failures;
  for (const size_t source : batch.page_sources) {
    failures.push_back(
        {&batch.messages[source], nullptr, absl::InvalidArgumentError("an event's page belongs to the lane fanout")});
  }
  RETURN_IF_ERROR(HandleNotifications(batch, failures));
  RETURN_IF_ERROR(HandleReactions(batch, failures));
  return failures;
}

absl::Status LaneHandler::HandleNotifications(const Batch& batch, std::vector<FailedItem>& failures) {
  for (size_t begin = 0; begin < batch.items.size(); begin += kMaxBatchItems) {
    const auto slice = absl::MakeConstSpan(batch.items).subspan(begin, kMaxBatchItems);
    ASSIGN_OR_RETURN(const std::vector<absl::Status> statuses, notifications_.Handle(slice));
    for (size_t i = 0; i < slice.size(); ++i) {
      if (!statuses[i].ok()) failures.push_back({&batch.SourceOf(begin + i), &slice[i], statuses[i]});
    }
  }
  return absl::OkStatus();
}

// Together, or else message by message, so that only the one at fault goes on;
// what was applied before changes nothing.
absl::Status LaneHandler::HandleReactions(const Batch& batch, std::vector<FailedItem>& failures) {
  if (batch.reactions.empty()) return absl::OkStatus();
  absl::Status status = reactions_.Handle(batch.reactions);
  if (status.ok() || IsInfrastructureFailure(status)) return status;
  const auto reactions = absl::MakeConstSpan(batch.reactions);
  for (size_t begin = 0, end = 0; begin < reactions.size(); begin = end) {
    const size_t source = batch.reaction_sources[begin];
    while (end < reactions.size() && batch.reaction_sources[end] == source) ++end;
    const bool alone = end - begin == reactions.size();
    if (!alone) status = reactions_.Handle(reactions.subspan(begin, end - begin));
    if (IsInfrastructureFailure(status)) return status;
    if (!status.ok()) failures.push_back({&batch.messages[source], nullptr, status});
  }
  return absl::OkStatus();
}

}  // namespace carillon
