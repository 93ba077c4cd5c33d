// The providers of apps' channels, and what the workers think of them. Thread-safe.
#pragma once

#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/delivery.h"

namespace carillon {

class ProviderStore {
 public:
  virtual ~ProviderStore() = default;

  // What an app's channel has now -> what it is to have. Names differ; positions and
  // times are not read: the order counts.
  using Decide = absl::FunctionRef<absl::StatusOr<std::vector<StoredProvider>>(absl::Span<const StoredProvider> now)>;
  // Replaces the list, in one transaction that no other change of providers runs
  // beside, and moves the catalogue's version on. A provider with the same sealed
  // bytes in the same place is left as it is, unless a lane's workers found it
  // misconfigured, or out and have not asked it since they may; of the others what the
  // workers thought is forgotten. Returns the new list, or what `decide` refused with.
  // `decide` may run more than once.
  virtual absl::StatusOr<std::vector<StoredProvider>> Set(AppId app, Channel channel, Decide decide) = 0;
  // By channel and in order. No channel: all of them.
  virtual absl::StatusOr<std::vector<StoredProvider>> List(AppId app, std::optional<Channel> channel) = 0;
  // Of all apps, by app, channel and in order.
  virtual absl::StatusOr<std::vector<StoredProvider>> LoadAll() = 0;

  // By channel, name and lane.
  virtual absl::StatusOr<std::vector<ProviderHealth>> ReadHealth(AppId app) = 0;
  // Those of a lane's channel, of all apps, whose breaker is not closed.
  virtual absl::StatusOr<std::vector<ProviderHealth>> ReadOpen(Lane lane, Channel channel) = 0;
  // Adds or replaces, each provider and lane once. `since` is not read: the store moves it on when the breaker
  // changes. Providers that are not set any more are passed over.
  virtual absl::Status WriteHealth(absl::Span<const ProviderHealth> health) = 0;
};

}  // namespace carillon
