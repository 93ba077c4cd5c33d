#include "server/api/record_reactions.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

// The type of the item that tells of it. Empty: its name is the kind's.
void CheckType(const v1::Reaction& in, AppId app, const Catalogue& catalogue, Violations& violations) {
  const bool named = !in.type().empty();
  if (named && !violations.CheckName("type", in.type(), limits::kMaxTypeNameBytes)) return;
  const std::string& name = named ? in.type() : in.kind();
  const std::shared_ptr<const NotificationType> type = catalogue.Find(app, name);
  if (type == nullptr) {
    violations.AddUnknownType(named ? "type" : "kind", name);
  } else if (type->lane != Lane::kSocial) {
    violations.Add(named ? "type" : "kind", "must be a type of weight social");
  }
}

void CheckNoItem(const v1::Reaction& in, Violations& violations) {
  if (!in.type().empty()) violations.Add("type", "must be empty without user_id");
  if (in.has_data()) violations.Add("data", "must be absent without user_id");
}

Reaction Prepare(const v1::Reaction& in, const SendOrigin& origin, const Catalogue& catalogue, Violations& violations) {
  violations.CheckId("actor_id", in.actor_id(), /*required=*/true);
  violations.CheckId("object_id", in.object_id(), /*required=*/true);
  const bool kind_is_fine = violations.CheckName("kind", in.kind(), limits::kMaxTypeNameBytes);
  violations.CheckId("user_id", in.user_id(), /*required=*/false);
  Reaction reaction{.app = origin.app,
                    .actor_id = in.actor_id(),
                    .object_id = in.object_id(),
                    .kind = in.kind(),
                    .active = !in.retracted(),
                    .recipient = in.user_id(),
                    .type = "",
                    .data_json = "",
                    .accept_time = origin.time};
  if (in.user_id().empty()) {
    CheckNoItem(in, violations);
    return reaction;
  }
  if (kind_is_fine || !in.type().empty()) CheckType(in, origin.app, catalogue, violations);
  reaction.type = in.type().empty() ? in.kind() : in.type();
  reaction.data_json = CheckData(in.data(), violations);
  // What is taken back shows nothing.
  if (in.retracted()) reaction.data_json.clear();
  return reaction;
}

}  // namespace

std::vector<Reaction> PrepareReactions(const v1::RecordReactionsRequest& request, const SendOrigin& origin,
                                       const Catalogue& catalogue, Violations& violations) {
  if (request.reactions_size() < 1 || request.reactions_size() > limits::kMaxBatchSize) {
    violations.Add("reactions", absl::StrCat("must be 1 to ", limits::kMaxBatchSize));
    return {};
  }
  std::vector<Reaction> reactions;
  reactions.reserve(request.reactions_size());
  for (int i = 0; i < request.reactions_size(); ++i) {
    Violations own(absl::StrCat("reactions[", i, "]."));
    reactions.push_back(Prepare(request.reactions(i), origin, catalogue, own));
    violations.Append(own);
  }
  return reactions;
}

}  // namespace carillon
