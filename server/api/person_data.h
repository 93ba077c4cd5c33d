// ExportRecipient and EraseRecipient: step by step through everything that is kept.
#pragma once

#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "carillon/ports/person_store.h"
#include "carillon/v1/recipient_service.pb.h"

namespace carillon {

// Thread-safe. Both block for seconds.
class PersonData {
 public:
  explicit PersonData(std::shared_ptr<PersonStore> store) : store_(std::move(store)) {}

  absl::Status Export(AppId app, const v1::ExportRecipientRequest& request, v1::ExportRecipientResponse* response);
  // Asks before each step whether it may go on. DEADLINE_EXCEEDED if it may not:
  // what is erased is erased, and the next call goes on from there.
  absl::Status Erase(AppId app, const v1::EraseRecipientRequest& request, absl::FunctionRef<bool()> may_go_on,
                     v1::EraseRecipientResponse* response);

 private:
  const std::shared_ptr<PersonStore> store_;
};

}  // namespace carillon
