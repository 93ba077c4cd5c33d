// Makes the provider that an app's admin has set.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "carillon/domain/delivery.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/token_store.h"
#include "carillon/runtime/executor.h"
#include "carillon/v1/provider.pb.h"
#include "workers/channels/provider.h"
#include "workers/channels/transport.h"

namespace carillon {

// What providers stand on. All of it outlives them.
struct ProviderDeps {
  AppId app;  // Whose provider it is.
  const Clock* clock = nullptr;
  CurlTransport* transport = nullptr;
  // APNs and FCM: tokens shared by all workers, and the threads that wait for
  // PostgreSQL. A few are enough, with a queue of hundreds.
  TokenStore* tokens = nullptr;
  Executor* executor = nullptr;
  // Webhooks, and other providers whose endpoint the app's admin has chosen, may be
  // at private addresses, and without TLS.
  bool allow_private_webhooks = false;
};

// INVALID_ARGUMENT naming the field for settings that can't work: a kind that is not
// of this channel, a key that is none, an endpoint without https.
absl::StatusOr<std::unique_ptr<Provider>> MakeProvider(const v1::Provider& settings, Channel channel,
                                                       const ProviderDeps& deps);

}  // namespace carillon
