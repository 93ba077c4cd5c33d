// Addresses that nothing is sent to. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "carillon/domain/delivery.h"

namespace carillon {

struct SuppressionQuery {
  AppId app;
  std::optional<Channel> channel;  // Absent: all.
  std::string address;             // Empty: all.
  std::string after;               // A page's `last`; empty: from the beginning.
  int limit = 0;
};

struct SuppressionPage {
  std::vector<Suppression> suppressions;
  std::string last;  // The place of the last one.
};

// Addresses are compared in lower case.
class SuppressionStore {
 public:
  virtual ~SuppressionStore() = default;

  // False if the address was suppressed before for this channel and type; then
  // nothing changes.
  virtual absl::StatusOr<bool> Add(const Suppression& suppression) = 0;
  // False if there was none.
  virtual absl::StatusOr<bool> Remove(const Suppression& suppression) = 0;
  // By channel, then in an order without meaning. INVALID_ARGUMENT naming
  // page_token if `after` is no place.
  virtual absl::StatusOr<SuppressionPage> List(const SuppressionQuery& query) = 0;
};

}  // namespace carillon
