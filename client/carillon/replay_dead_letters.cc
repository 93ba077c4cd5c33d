#include "client/carillon/client.h"
#include "client/carillon/client_core.h"
#include "client/carillon/status.h"

namespace carillon {

absl::Status Client::ReplayDeadLetters(const v1::ReplayDeadLettersRequest& request,
                                       absl::FunctionRef<bool(const v1::ReplayDeadLettersResponse&)> on_progress) {
  grpc::ClientContext context;
  core_->Authenticate(context);
  const auto stream = core_->admin->ReplayDeadLetters(&context, request);
  v1::ReplayDeadLettersResponse response;
  bool goes_on = true;
  while (goes_on && stream->Read(&response)) goes_on = on_progress(response);
  if (goes_on) return FromGrpcStatus(stream->Finish());
  context.TryCancel();
  // A stream must be read to its end before it is finished.
  while (stream->Read(&response)) {
  }
  stream->Finish();
  return absl::OkStatus();
}

}  // namespace carillon
