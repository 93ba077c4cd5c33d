// Suppressed addresses: from requests to the store and back.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "carillon/ports/suppression_store.h"
#include "carillon/v1/recipient_service.pb.h"

namespace carillon {

// Thread-safe. Each call blocks for a round trip or two.
class Suppressions {
 public:
  explicit Suppressions(std::shared_ptr<SuppressionStore> store) : store_(std::move(store)) {}

  absl::Status List(AppId app, const v1::ListSuppressionsRequest& request, v1::ListSuppressionsResponse* response);
  absl::Status Add(AppId app, const v1::AddSuppressionRequest& request, v1::AddSuppressionResponse* response);
  absl::Status Remove(AppId app, const v1::RemoveSuppressionRequest& request, v1::RemoveSuppressionResponse* response);

 private:
  const std::shared_ptr<SuppressionStore> store_;
};

}  // namespace carillon
