// The body of broker messages (carillon.internal.v1.Envelope). Free functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "carillon/domain/delivery.h"
#include "carillon/domain/event.h"
#include "carillon/domain/notification.h"

namespace carillon {

// An envelope with one thing in it.
std::string EncodeEnvelope(const Notification& notification);
std::string EncodeEnvelope(const Reaction& reaction);
std::string EncodeEnvelope(const FanoutPage& page);
std::string EncodeEnvelope(const Delivery& delivery);
std::string EncodeEnvelope(const DueDigest& digest);
std::string EncodeEnvelope(const DueWindow& window);

// What a message carries.
struct EnvelopeContents {
  std::vector<Notification> items;
  std::vector<Reaction> reactions;
  std::vector<FanoutPage> pages;
  std::vector<Delivery> deliveries;
  std::vector<DueDigest> digests;
  std::vector<DueWindow> windows;
};
// INVALID_ARGUMENT for what is no envelope, holds nothing, or something that could
// not have been accepted. `lane` of notifications is not in an envelope and stays unset.
absl::StatusOr<EnvelopeContents> DecodeContents(absl::string_view body);

// The notifications only; INVALID_ARGUMENT also if there are none.
absl::StatusOr<std::vector<Notification>> DecodeEnvelope(absl::string_view body);

}  // namespace carillon
