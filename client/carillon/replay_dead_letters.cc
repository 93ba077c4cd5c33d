#include "client/carillon/call_canceller.h"
#include "client/carillon/client.h"
#include "client/carillon/client_core.h"
#include "client/carillon/status.h"

namespace carillon {

absl::Status Client::ReplayDeadLetters(const v1::ReplayDeadLettersRequest& request,
                                       absl::FunctionRef<bool(const v1::ReplayDeadLettersResponse&)> on_progress,
                                       CallCanceller* canceller) {
  grpc::ClientContext context;
  core_->Authenticate(context);
  const CallCanceller::Attachment attachment(canceller, [&context] { context.TryCancel(); });
  const auto stream = core_->admin->ReplayDeadLetters(&context, request);
  v1::ReplayDeadLettersResponse response;
  bool goes_on = true;
  while (goes_on && stream->Read(&response)) goes_on = on_progress(response);
  if (goes_on) {
    const absl::Status status = FromGrpcStatus(stream->Finish());
    const bool was_wanted = canceller != nullptr && canceller->is_cancelled() && absl::IsCancelled(status);
    return was_wanted ? absl::OkStatus() : status;
  }
  context.TryCancel();
  // A stream must be read to its end before it is finished.
  while (stream->Read(&response)) {
  }
  stream->Finish();
  return absl::OkStatus();
}

}  // namespace carillon
