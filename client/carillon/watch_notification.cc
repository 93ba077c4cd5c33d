#include <chrono>
#include <memory>

#include "absl/time/clock.h"
#include "client/carillon/client.h"
#include "client/carillon/client_core.h"
#include "client/carillon/retry_policy.h"
#include "client/carillon/status.h"

namespace carillon {
namespace {

// One stream, to its end. True in `heard` if anything came.
absl::Status WatchOnce(ClientCore& core, const v1::WatchNotificationRequest& request,
                       absl::FunctionRef<bool(const v1::Notification&)> on_change, bool& heard) {
  grpc::ClientContext context;
  core.Authenticate(context);
  const auto stream = core.notifications->WatchNotification(&context, request);
  v1::WatchNotificationResponse response;
  bool goes_on = true;
  while (goes_on && stream->Read(&response)) {
    heard = true;
    goes_on = on_change(response.notification());
  }
  if (goes_on) return FromGrpcStatus(stream->Finish());
  context.TryCancel();
  // A stream must be read to its end before it is finished.
  while (stream->Read(&response)) {
  }
  stream->Finish();
  return absl::OkStatus();
}

}  // namespace

absl::Status Client::WatchNotification(const v1::WatchNotificationRequest& request,
                                       absl::FunctionRef<bool(const v1::Notification&)> on_change) {
  while (true) {
    RetryPolicy policy(core_->options.retry, /*repeatable=*/true);
    absl::Status status;
    bool heard = false;
    const absl::Time began = absl::Now();
    // Each answer is the whole: whoever comes back has missed nothing that still is.
    while (!heard) {
      status = WatchOnce(*core_, request, on_change, heard);
      if (status.ok()) return status;
      const std::optional<absl::Duration> delay = policy.DelayAfter(status, absl::Now() - began);
      if (!delay.has_value()) return status;
      absl::SleepFor(*delay);
    }
  }
}

}  // namespace carillon
