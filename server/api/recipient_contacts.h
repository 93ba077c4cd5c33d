// Contacts and devices: from requests to the store and back.
#pragma once

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "carillon/ports/recipient_store.h"
#include "carillon/v1/recipient_service.pb.h"
#include "server/api/validation.h"

namespace carillon {

// What a request changes: what update_mask names, without one what is not empty.
// What is wrong is added to `violations`, and then the result means nothing.
ContactChange PrepareContacts(const v1::UpdateRecipientRequest& request, Violations& violations);

// Thread-safe. Each call blocks for a round trip or two.
class RecipientContacts {
 public:
  explicit RecipientContacts(std::shared_ptr<RecipientStore> store) : store_(std::move(store)) {}

  absl::Status Update(AppId app, const v1::UpdateRecipientRequest& request, v1::UpdateRecipientResponse* response);
  absl::Status Get(AppId app, const v1::GetRecipientRequest& request, v1::GetRecipientResponse* response);
  absl::Status Register(AppId app, const v1::RegisterDeviceRequest& request, v1::RegisterDeviceResponse* response);
  absl::Status Remove(AppId app, const v1::RemoveDeviceRequest& request, v1::RemoveDeviceResponse* response);

 private:
  const std::shared_ptr<RecipientStore> store_;
};

}  // namespace carillon
