// A ProviderStore without a database, for tests of what stands on it.
#pragma once

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "carillon/domain/status_macros.h"
#include "carillon/ports/provider_store.h"

namespace carillon::testing {

// Not thread-safe.
class InMemoryProviderStore final : public ProviderStore {
 public:
  absl::StatusOr<std::vector<StoredProvider>> Set(AppId app, Channel channel, Decide decide) override {
    const std::vector<StoredProvider> now = *List(app, channel);
    ASSIGN_OR_RETURN(std::vector<StoredProvider> wanted, decide(now));
    std::erase_if(providers, [&](const StoredProvider& row) { return row.app == app && row.channel == channel; });
    for (size_t i = 0; i < wanted.size(); ++i) {
      const int position = static_cast<int>(i) + 1;
      const auto kept = std::find_if(now.begin(), now.end(), [&](const StoredProvider& row) {
        return row.name == wanted[i].name && row.sealed == wanted[i].sealed && row.position == position;
      });
      wanted[i].position = position;
      wanted[i].update_time = kept == now.end() ? absl::FromUnixSeconds(++changes) : kept->update_time;
      providers.push_back(wanted[i]);
    }
    ++changes;
    return wanted;
  }

  absl::StatusOr<std::vector<StoredProvider>> List(AppId app, std::optional<Channel> channel) override {
    std::vector<StoredProvider> found = providers;
    std::erase_if(found, [&](const StoredProvider& row) {
      return row.app != app || (channel.has_value() && row.channel != *channel);
    });
    return found;
  }

  absl::StatusOr<std::vector<StoredProvider>> LoadAll() override { return providers; }
  absl::StatusOr<std::vector<ProviderHealth>> ReadHealth(AppId) override { return health; }
  absl::StatusOr<std::vector<ProviderHealth>> ReadOpen(Lane lane, Channel channel) override {
    std::vector<ProviderHealth> found = health;
    std::erase_if(found, [&](const ProviderHealth& one) {
      return one.lane != lane || one.channel != channel || one.breaker == BreakerState::kClosed;
    });
    return found;
  }
  absl::Status WriteHealth(absl::Span<const ProviderHealth> written) override {
    health.assign(written.begin(), written.end());
    return absl::OkStatus();
  }

  std::vector<StoredProvider> providers;
  std::vector<ProviderHealth> health;
  int64_t changes = 0;
};

}  // namespace carillon::testing
