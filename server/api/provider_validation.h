// What settings of providers have to look like. A worker finds nothing in them that
// it can't use, save what only the provider knows.
#pragma once

#include <string>
#include <vector>

#include "carillon/domain/lane.h"
#include "carillon/v1/admin_service.pb.h"
#include "server/api/validation.h"

namespace carillon {

// What a secret reads as; on write: it stays as it is.
inline constexpr absl::string_view kMaskedSecret = "***";

// A secret of a provider's settings, by its path in them (twilio.password).
struct ProviderSecret {
  std::string path;
  std::string* value;
};
// Of the kind that is set, in the order of their fields. Valid while `provider` is.
std::vector<ProviderSecret> SecretsOf(v1::Provider& provider);

// Collects every fault, as providers[0].twilio.password. Secrets that read "***"
// are not looked at.
void CheckProviders(Channel channel, const v1::SetProvidersRequest& request, Violations& violations);

// nullopt for the feed's own and for values that are no channel.
std::optional<Channel> ExternalChannelOf(v1::Channel channel);

}  // namespace carillon
