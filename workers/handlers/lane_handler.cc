#include "workers/handlers/lane_handler.h"

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

// Together, or else message by message, so that only the one at fault goes on;
// what was applied before changes nothing.
template <typename Thing, typename Handle>
absl::Status HandleByMessage(const Batch& batch, absl::Span<const Thing> things, const std::vector<size_t>& sources,
                             std::vector<FailedItem>& failures, Handle handle) {
  if (things.empty()) return absl::OkStatus();
  absl::Status status = handle(things);
  if (status.ok() || IsInfrastructureFailure(status)) return status;
  for (size_t begin = 0, end = 0; begin < things.size(); begin = end) {
    const size_t source = sources[begin];
    while (end < things.size() && sources[end] == source) ++end;
    const bool alone = end - begin == things.size();
    if (!alone) status = handle(things.subspan(begin, end - begin));
    if (IsInfrastructureFailure(status)) return status;
    if (!status.ok()) failures.push_back({&batch.messages[source], nullptr, status});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<FailedItem>> LaneHandler::Handle(const Batch& batch) {
  std::vector<FailedItem> failures;
  for (const size_t source : batch.page_sources) {
    failures.push_back(
        {&batch.messages[source], nullptr, absl::InvalidArgumentError("an event's page belongs to the lane fanout")});
  }
  RETURN_IF_ERROR(HandleNotifications(batch, failures));
  RETURN_IF_ERROR(HandleReactions(batch, failures));
  RETURN_IF_ERROR(HandleAgain(batch, failures));
  RETURN_IF_ERROR(HandleDigests(batch, failures));
  RETURN_IF_ERROR(HandleWindows(batch, failures));
  return failures;
}

absl::Status LaneHandler::HandleNotifications(const Batch& batch, std::vector<FailedItem>& failures) {
  for (size_t begin = 0; begin < batch.items.size(); begin += kMaxBatchItems) {
    const auto slice = absl::MakeConstSpan(batch.items).subspan(begin, kMaxBatchItems);
    ASSIGN_OR_RETURN(const std::vector<absl::Status> statuses, parts_.gathering.Handle(slice));
    for (size_t i = 0; i < slice.size(); ++i) {
      if (!statuses[i].ok()) failures.push_back({&batch.SourceOf(begin + i), &slice[i], statuses[i]});
    }
  }
  return absl::OkStatus();
}

absl::Status LaneHandler::HandleReactions(const Batch& batch, std::vector<FailedItem>& failures) {
  return HandleByMessage(batch, absl::MakeConstSpan(batch.reactions), batch.reaction_sources, failures,
                         [this](absl::Span<const Reaction> reactions) { return parts_.reactions.Handle(reactions); });
}

absl::Status LaneHandler::HandleAgain(const Batch& batch, std::vector<FailedItem>& failures) {
  return HandleByMessage(batch, absl::MakeConstSpan(batch.again), batch.again_sources, failures,
                         [this](absl::Span<const Delivery> held) { return parts_.redecisions.Handle(held); });
}

absl::Status LaneHandler::HandleDigests(const Batch& batch, std::vector<FailedItem>& failures) {
  return HandleByMessage(batch, absl::MakeConstSpan(batch.digests), batch.digest_sources, failures,
                         [this](absl::Span<const DueDigest> due) { return parts_.digests.Handle(due); });
}

absl::Status LaneHandler::HandleWindows(const Batch& batch, std::vector<FailedItem>& failures) {
  return HandleByMessage(batch, absl::MakeConstSpan(batch.windows), batch.window_sources, failures,
                         [this](absl::Span<const DueWindow> due) { return parts_.windows.Handle(due); });
}

}  // namespace carillon
