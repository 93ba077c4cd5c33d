// RecordInteraction: from the request to what the store takes. Free functions.
#pragma once

#include "absl/status/statusor.h"
#include "carillon/ports/interaction_store.h"
#include "carillon/v1/feed_service.pb.h"

namespace carillon {

// INVALID_ARGUMENT lists everything that is wrong.
absl::StatusOr<Interaction> PrepareInteraction(const v1::RecordInteractionRequest& request, AppId app);

// Records it. NOT_FOUND if the recipient has no such notification.
absl::StatusOr<v1::RecordInteractionResponse> RecordInteraction(InteractionStore& store,
                                                                const v1::RecordInteractionRequest& request, AppId app);

}  // namespace carillon
