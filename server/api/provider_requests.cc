#include "server/api/provider_requests.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/channels/provider_settings.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "server/api/provider_validation.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using google::protobuf::util::MessageDifferencer;

const StoredProvider* FindByName(absl::Span<const StoredProvider> rows, absl::string_view name) {
  const auto found =
      std::find_if(rows.begin(), rows.end(), [&](const StoredProvider& row) { return row.name == name; });
  return found == rows.end() ? nullptr : &*found;
}

// Where a provider's secrets are sent, and whether others could read them on the way.
std::string HostOf(const v1::Provider& provider) {
  switch (provider.settings_case()) {
    case v1::Provider::kSmtp:
      return absl::StrCat(provider.smtp().host(), ":", provider.smtp().port(), ":",
                          static_cast<int>(provider.smtp().security()));
    case v1::Provider::kSendgrid:
      return provider.sendgrid().endpoint();
    case v1::Provider::kTwilio:
      return provider.twilio().endpoint();
    case v1::Provider::kVonage:
      return provider.vonage().endpoint();
    case v1::Provider::kApns:
      return provider.apns().endpoint();
    case v1::Provider::kFcm:
      return provider.fcm().endpoint();
    case v1::Provider::kWebhook:  // Its secret signs and is not sent.
    case v1::Provider::SETTINGS_NOT_SET:
      return "";
  }
  return "";
}

// With who vouches for it.
std::string AddressOf(const v1::Provider& provider) { return absl::StrCat(HostOf(provider), "\n", provider.ca_pem()); }

// Puts the stored secrets in the places that keep theirs. `stored` is null if there
// is nothing that can be read. Nobody who does not know a secret can have it sent
// somewhere else.
void FillMasked(v1::Provider& provider, v1::Provider* stored, Violations& violations) {
  std::vector<ProviderSecret> kept;
  if (stored != nullptr && stored->settings_case() == provider.settings_case()) kept = SecretsOf(*stored);
  const bool moves = !kept.empty() && AddressOf(*stored) != AddressOf(provider);
  size_t next = 0;
  for (const ProviderSecret& secret : SecretsOf(provider)) {
    if (*secret.value != kMaskedSecret) continue;
    if (moves) {
      violations.Add(secret.path, "must be given again where the provider's address, its TLS or ca_pem changes");
    } else if (next < kept.size() && !kept[next].value->empty()) {
      *secret.value = *kept[next++].value;
    } else {
      violations.Add(secret.path, "there is no stored one that *** could keep");
    }
  }
}

v1::Provider Masked(v1::Provider provider) {
  for (const ProviderSecret& secret : SecretsOf(provider)) {
    if (!secret.value->empty()) *secret.value = std::string(kMaskedSecret);
  }
  return provider;
}

}  // namespace

void ToProto(const ProviderHealth& health, v1::ProviderHealth* out) {
  out->set_lane(std::string(ToString(health.lane)));
  out->set_breaker(static_cast<v1::BreakerState>(health.breaker));
  *out->mutable_since() = ToTimestamp(health.since);
  if (health.retry_time.has_value()) *out->mutable_retry_time() = ToTimestamp(*health.retry_time);
  out->set_error(health.error);
  out->set_misconfigured(health.misconfigured);
}

absl::Status ProviderRequests::Set(AppId app, const v1::SetProvidersRequest& request,
                                   v1::SetProvidersResponse* response) {
  const std::optional<Channel> channel = ExternalChannelOf(request.channel());
  if (!channel.has_value()) return error::InvalidField("channel", "must be an external channel, like CHANNEL_SMS");
  Violations violations;
  CheckProviders(*channel, request, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const std::vector<StoredProvider> set,
                   deps_.store->Set(app, *channel, [&](absl::Span<const StoredProvider> stored) {
                     return Seal(app, *channel, request, stored);
                   }));
  if (!set.empty()) Release(app, *channel);
  ASSIGN_OR_RETURN(std::vector<v1::ProviderStatus> described, Describe(app, set));
  for (v1::ProviderStatus& status : described) *response->add_providers() = std::move(status);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredProvider>> ProviderRequests::Seal(AppId app, Channel channel,
                                                                   const v1::SetProvidersRequest& request,
                                                                   absl::Span<const StoredProvider> stored) const {
  std::vector<StoredProvider> rows;
  Violations violations;
  for (int i = 0; i < request.providers_size(); ++i) {
    v1::Provider provider = request.providers(i);
    const StoredProvider* const row = FindByName(stored, provider.name());
    absl::StatusOr<v1::Provider> before = absl::NotFoundError("not stored");
    if (row != nullptr) before = OpenProvider(deps_.key, *row);
    Violations own(absl::StrCat("providers[", i, "]."));
    FillMasked(provider, before.ok() ? &*before : nullptr, own);
    violations.Append(own);
    // The same bytes as before say that nothing has changed.
    const bool unchanged =
        before.ok() && MessageDifferencer::Equals(provider, *before) && IsSealedWithNewest(deps_.key, *row);
    rows.push_back(unchanged ? *row : SealProvider(deps_.key, app, channel, provider));
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return rows;
}

// What waits for a provider would be released when it is due; this only saves the
// wait, and what fails here does not undo what was set.
void ProviderRequests::Release(AppId app, Channel channel) {
  for (const Lane lane : kNotificationLanes) {
    for (int step = 0; step < limits::kMaxReleaseSteps; ++step) {
      const absl::StatusOr<int> released = deps_.deliveries->ReleaseHeld(app, channel, lane, limits::kReleaseStep);
      if (!released.ok()) {
        log::Warn("providers.not_released",
                  {{"app", app.value()}, {"channel", ToString(channel)}, {"error", released.status()}});
        return;
      }
      if (*released < limits::kReleaseStep) break;
    }
  }
}

absl::Status ProviderRequests::List(AppId app, const v1::ListProvidersRequest& request,
                                    v1::ListProvidersResponse* response) {
  const std::optional<Channel> channel = ExternalChannelOf(request.channel());
  if (!channel.has_value() && request.channel() != v1::CHANNEL_UNSPECIFIED) {
    return error::InvalidField("channel", "must be an external channel, or absent");
  }
  ASSIGN_OR_RETURN(const std::vector<StoredProvider> stored, deps_.store->List(app, channel));
  ASSIGN_OR_RETURN(std::vector<v1::ProviderStatus> described, Describe(app, stored));
  for (v1::ProviderStatus& status : described) *response->add_providers() = std::move(status);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::ProviderStatus>> ProviderRequests::Describe(AppId app,
                                                                           absl::Span<const StoredProvider> stored) {
  ASSIGN_OR_RETURN(const std::vector<ProviderHealth> health, deps_.store->ReadHealth(app));
  std::vector<v1::ProviderStatus> described;
  for (const StoredProvider& row : stored) {
    v1::ProviderStatus& status = described.emplace_back();
    status.set_channel(static_cast<v1::Channel>(row.channel));
    *status.mutable_update_time() = ToTimestamp(row.update_time);
    absl::StatusOr<v1::Provider> provider = OpenProvider(deps_.key, row);
    if (provider.ok()) {
      *status.mutable_provider() = Masked(*std::move(provider));
    } else {
      // No worker can use it either.
      status.mutable_provider()->set_name(row.name);
      v1::ProviderHealth* const unreadable = status.add_health();
      unreadable->set_misconfigured(true);
      unreadable->set_error(std::string(provider.status().message()));
    }
    for (const ProviderHealth& one : health) {
      if (one.channel == row.channel && one.name == row.name) ToProto(one, status.add_health());
    }
  }
  return described;
}

}  // namespace carillon
