// How people are reached: their contacts and devices. Thread-safe.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"

namespace carillon {

// Absent: stays as it is. Empty: cleared.
struct ContactChange {
  std::optional<std::string> email;
  std::optional<std::string> phone;
  std::optional<std::string> locale;
  std::optional<std::string> time_zone;
};

class RecipientStore {
 public:
  // Of each channel; the one registered longest ago gives way.
  static constexpr int kMaxDevicesPerChannel = 20;

  virtual ~RecipientStore() = default;

  // Makes the recipient if there is none. Returns what is kept now, with devices.
  virtual absl::StatusOr<Recipient> Update(const FeedKey& key, const ContactChange& change) = 0;
  // With devices, newest first. NOT_FOUND if nothing was ever said of them.
  virtual absl::StatusOr<Recipient> Get(const FeedKey& key) = 0;

  // Adds or renews the device with this id, and makes the recipient if there is
  // none. One that somebody else has becomes theirs. Returns the time of it.
  virtual absl::StatusOr<absl::Time> PutDevice(const FeedKey& key, const Device& device) = 0;
  // Forgets those of these devices that are the recipient's. Returns how many.
  virtual absl::StatusOr<int> RemoveDevices(const FeedKey& key, absl::Span<const std::string> device_ids) = 0;
};

}  // namespace carillon
