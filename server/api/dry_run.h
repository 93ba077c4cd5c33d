// DryRun: what the workers would decide, counted, with nothing written.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/event_store.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/v1/notification_service.pb.h"
#include "server/api/send_request.h"

namespace carillon {

// Thread-safe.
class DryRunner {
 public:
  struct Deps {
    const Catalogue& catalogue;
    DecisionMaker& decisions;
    std::shared_ptr<EventStore> events;
    std::shared_ptr<DeliveryStore> deliveries;
  };
  // Not OK once the answer comes too late: asked before each read.
  using GoesOn = std::function<absl::Status()>;

  explicit DryRunner(Deps deps) : deps_(std::move(deps)) {}

  // INVALID_ARGUMENT as SendNotification and PublishEvent; RESOURCE_EXHAUSTED while
  // limits::kMaxDryRuns of events are under way. Blocks; of an event for seconds.
  absl::Status Run(const v1::DryRunRequest& request, const SendOrigin& origin, const GoesOn& goes_on,
                   v1::DryRunResponse* response);

 private:
  class Tally;
  class AudienceReader;

  absl::Status RunSend(const v1::SendNotificationRequest& request, const SendOrigin& origin,
                       v1::DryRunResponse* response);
  absl::Status RunEvent(const v1::PublishEventRequest& request, const SendOrigin& origin, const GoesOn& goes_on,
                        v1::DryRunResponse* response);

  // The dedupe window that another event holds; empty: none.
  absl::StatusOr<std::string> FindHeldWindow(const Event& event, const NotificationType& type);
  // Returns for how many.
  absl::StatusOr<int64_t> DecideForAudience(const Event& event, const NotificationType& type, const GoesOn& goes_on,
                                            AudienceReader& audience, Tally& tally);
  // `sent_how`: what there is to say of what would be sent.
  absl::Status Decide(const Notification& item, const NotificationType& type, const std::vector<FeedKey>& keys,
                      const std::string& sent_how, Tally& tally);

  const Deps deps_;
  std::atomic<int> events_under_way_ = 0;
};

}  // namespace carillon
