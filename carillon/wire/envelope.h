// The body of broker messages (carillon.internal.v1.Envelope). Free functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "carillon/domain/notification.h"

namespace carillon {

// An envelope with one item.
std::string EncodeEnvelope(const Notification& notification);

// The items; `lane` is not in an envelope and stays unset. INVALID_ARGUMENT for
// what is no envelope, or holds no item, or one that could not have been accepted.
absl::StatusOr<std::vector<Notification>> DecodeEnvelope(absl::string_view body);

}  // namespace carillon
