#include "server/api/record_interaction.h"

#include <optional>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "server/api/validation.h"

namespace carillon {

absl::StatusOr<Interaction> PrepareInteraction(const v1::RecordInteractionRequest& request, AppId app) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  const std::optional<Uuid> id = Uuid::Parse(request.notification_id());
  if (!id.has_value()) violations.Add("notification_id", "must be a UUID");
  if (request.kind() != v1::INTERACTION_KIND_OPENED && request.kind() != v1::INTERACTION_KIND_CLICKED) {
    violations.Add("kind", "must be OPENED or CLICKED");
  }
  if (!v1::Channel_IsValid(request.channel())) violations.Add("channel", "must be a channel");
  RETURN_IF_ERROR(violations.ToStatus());
  const bool in_app = request.channel() == v1::CHANNEL_UNSPECIFIED;
  return Interaction{.app = app,
                     .notification = *id,
                     .delivery = {},
                     .recipient = request.user_id(),
                     .channel = in_app ? Channel::kInApp : static_cast<Channel>(request.channel()),
                     .kind = static_cast<InteractionKind>(request.kind())};
}

absl::StatusOr<v1::RecordInteractionResponse> RecordInteraction(InteractionStore& store,
                                                                const v1::RecordInteractionRequest& request,
                                                                AppId app) {
  ASSIGN_OR_RETURN(const Interaction interaction, PrepareInteraction(request, app));
  ASSIGN_OR_RETURN(const std::vector<InteractionOutcome> outcomes, store.RecordInteractions({interaction}));
  if (outcomes.front() == InteractionOutcome::kNotFound) {
    return error::NotFound("notification", request.notification_id());
  }
  v1::RecordInteractionResponse response;
  response.set_recorded(outcomes.front() == InteractionOutcome::kRecorded);
  return response;
}

}  // namespace carillon
