// SetProviders and ListProviders: from requests to sealed rows and back.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/ports/provider_store.h"
#include "carillon/runtime/master_key.h"
#include "carillon/v1/admin_service.pb.h"

namespace carillon {

void ToProto(const ProviderHealth& health, v1::ProviderHealth* out);

// Thread-safe. Both block for a few round trips.
class ProviderRequests {
 public:
  struct Deps {
    std::shared_ptr<ProviderStore> store;
    std::shared_ptr<DeliveryStore> deliveries;
    MasterKey key;
  };

  explicit ProviderRequests(Deps deps) : deps_(std::move(deps)) {}

  // Checks, seals and sets them, and releases what waited for them. A secret that
  // reads "***" stays as it is: the first one given so is the first one stored.
  absl::Status Set(AppId app, const v1::SetProvidersRequest& request, v1::SetProvidersResponse* response);
  // Without secrets, with what the workers say of them.
  absl::Status List(AppId app, const v1::ListProvidersRequest& request, v1::ListProvidersResponse* response);

 private:
  absl::StatusOr<std::vector<StoredProvider>> Seal(AppId app, Channel channel, const v1::SetProvidersRequest& request,
                                                   absl::Span<const StoredProvider> stored) const;
  void Release(AppId app, Channel channel);
  absl::StatusOr<std::vector<v1::ProviderStatus>> Describe(AppId app, absl::Span<const StoredProvider> stored);

  const Deps deps_;
};

}  // namespace carillon
