// Where providers report what became of messages.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "carillon/channels/link_tokens.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/interaction_store.h"
#include "carillon/runtime/executor.h"
#include "carillon/runtime/metrics.h"
#include "server/api/authenticator.h"
#include "server/callbacks/provider_reports.h"
#include "server/callbacks/receipt_writer.h"
#include "server/http/router.h"

namespace carillon {

// Thread-safe. Outlives the HTTP server. A signed token is the provider's leave to
// speak of one delivery; the generic address takes an app's credentials instead.
class ReceiptRoutes {
 public:
  struct Deps {
    LinkTokens tokens;
    std::shared_ptr<InteractionStore> store;
    ReceiptWriter& writer;
    Executor& executor;
    Authenticator& authenticator;
    const Clock& clock;
    Metrics& metrics;
  };

  explicit ReceiptRoutes(Deps deps) : deps_(std::move(deps)) {}

  void AddTo(Router& router);

 private:
  void Twilio(const HttpRequest& request, const HttpRespond& respond);
  void Vonage(const HttpRequest& request, const HttpRespond& respond);
  void SendGrid(HttpRequest request, const HttpRespond& respond);
  // Protobuf JSON of carillon.v1.RecordReceiptsRequest.
  void Generic(HttpRequest request, HttpRespond respond);

  // Records what the report says of the token's delivery.
  void Record(absl::string_view token, const absl::StatusOr<ProviderReport>& report, const HttpRespond& respond);
  HttpResponse RecordSendGrid(const std::string& json);
  HttpResponse RecordGeneric(AppId app, const std::string& json);
  absl::Status Store(const std::vector<DeliveryReceipt>& receipts, const std::vector<Interaction>& interactions);
  // One that was recorded.
  void Count(const DeliveryReceipt& receipt) const;
  DeliveryReceipt ReceiptOf(const LinkTarget& target, const ProviderReport& report) const;

  const Deps deps_;
};

}  // namespace carillon
