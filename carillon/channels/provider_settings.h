// Settings of providers as they are stored: sealed, bound to their place.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "carillon/domain/delivery.h"
#include "carillon/runtime/master_key.h"
#include "carillon/v1/provider.pb.h"

namespace carillon {

// The row of a provider; the store sets its position and time.
StoredProvider SealProvider(const MasterKey& key, AppId app, Channel channel, const v1::Provider& settings);
// FAILED_PRECONDITION if another key sealed it, or it was another row's.
absl::StatusOr<v1::Provider> OpenProvider(const MasterKey& key, const StoredProvider& stored);
// False if it has to be sealed again before the older of two keys can be dropped.
bool IsSealedWithNewest(const MasterKey& key, const StoredProvider& stored);

}  // namespace carillon
