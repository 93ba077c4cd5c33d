#include "workers/handlers/digest_handler.h"

#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/domain/status_macros.h"
#include "carillon/wire/envelope.h"
#include "workers/handlers/digest_content.h"

namespace carillon {
namespace {

// Then whoever comes meanwhile waits for the next.
constexpr int kTries = 3;

// Caps and quiet hours are asked for the digest itself.
bool Leaves(const ChannelDecision& decision) {
  if (decision.outcome == Outcome::kExpire) return true;
  if (decision.outcome != Outcome::kSuppress || decision.rules.empty()) return false;
  const Rule::Gate gate = decision.rules.back().gate;
  return gate == Rule::Gate::kMutedActor || gate == Rule::Gate::kMutedObject || gate == Rule::Gate::kPreference;
}

NewNotification MakeNotification(const DueDigest& digest, const NotificationType& type, const NotificationId& id,
                                 absl::Time app_now, std::string data_json) {
  NewNotification made{.notification = {},
                       .exchange = type.exchange,
                       .routing_key = type.routing_key,
                       .idempotency_key = {},
                       .payload_hash = {},
                       .envelope = {}};
  Notification& n = made.notification;
  n.id = id;
  n.app = digest.app;
  n.lane = type.lane;
  n.type = type.name;
  n.recipient = digest.recipient;
  n.data_json = std::move(data_json);
  n.channels = {digest.channel};
  n.retention_days = type.retention_days;
  n.create_time = absl::FromUnixMicros(absl::ToUnixMicros(app_now));
  if (type.ttl.has_value()) n.expire_time = n.create_time + *type.ttl;
  made.envelope = EncodeEnvelope(n);
  return made;
}

}  // namespace

DigestHandler::DigestHandler(const Deps& deps)
    : deps_(deps),
      sent_(deps.metrics.Counter("carillon_digests_total", "Digests that were due", {{"outcome", "sent"}})),
      empty_(deps.metrics.Counter("carillon_digests_total", "Digests that were due", {{"outcome", "empty"}})),
      members_(deps.metrics.Counter("carillon_digest_members_total", "Messages that were told in digests")) {}

absl::Status DigestHandler::Handle(absl::Span<const DueDigest> digests) {
  for (const DueDigest& digest : digests) RETURN_IF_ERROR(HandleOne(digest));
  return absl::OkStatus();
}

absl::Status DigestHandler::HandleOne(const DueDigest& digest) {
  for (int attempt = 1; attempt <= kTries; ++attempt) {
    ASSIGN_OR_RETURN(const DigestResult result, Try(digest, /*last=*/attempt == kTries));
    if (result != DigestResult::kChanged) return absl::OkStatus();
  }
  return absl::AbortedError("a digest changes whenever it is read");
}

absl::StatusOr<DigestResult> DigestHandler::Try(const DueDigest& digest, bool last) {
  ASSIGN_OR_RETURN(const DigestContents contents, deps_.store->Read(digest, kMaxMembers));
  ASSIGN_OR_RETURN(const Types types, TypesOf(contents.members));
  const absl::Time now = deps_.clock.Now();
  const NotificationId id = NewUuid7(now);
  ASSIGN_OR_RETURN(std::vector<DeliveryFate> fates, Decide(digest, contents.members, types, id));
  DigestClosing closing{.digest_id = digest.id, .members = {}, .notification = {}, .more = contents.more || last};
  std::vector<DigestItem> told;
  std::set<NotificationId> ids;
  for (size_t i = 0; i < contents.members.size(); ++i) {
    // Once, though it may have been meant for several devices.
    const Notification& item = contents.members[i].item;
    if (fates[i].state == DeliveryState::kSent && ids.insert(item.id).second) told.push_back({&item, types[i].get()});
    closing.members.push_back({&contents.members[i], std::move(fates[i])});
  }
  Lane lane = Lane::kMarketing;
  if (!told.empty()) {
    ASSIGN_OR_RETURN(const auto type, deps_.catalogue.Get(digest.app, kDigestType));
    lane = type->lane;
    closing.notification =
        MakeNotification(digest, *type, id, deps_.catalogue.NowOf(digest.app, deps_.clock), DigestData(told));
  }
  ASSIGN_OR_RETURN(const DigestResult result, deps_.store->Close(closing));
  if (result != DigestResult::kDone) return result;
  deps_.waker.Wake(lane);
  (told.empty() ? empty_ : sent_).Increment();
  members_.Increment(static_cast<double>(told.size()));
  return result;
}

absl::StatusOr<DigestHandler::Types> DigestHandler::TypesOf(absl::Span<const Delivery> members) {
  Types types;
  types.reserve(members.size());
  for (const Delivery& member : members) {
    ASSIGN_OR_RETURN(types.emplace_back(), deps_.catalogue.Get(member.item.app, member.item.type));
  }
  return types;
}

absl::StatusOr<std::vector<DeliveryFate>> DigestHandler::Decide(const DueDigest& digest,
                                                                absl::Span<const Delivery> members, const Types& types,
                                                                const NotificationId& told_in) {
  std::vector<DecisionSubject> subjects;
  subjects.reserve(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    subjects.push_back({.item = &members[i].item,
                        .key = {digest.app, digest.recipient},
                        .type = types[i].get(),
                        .channels = {digest.channel},
                        .not_before = digest.due_time,
                        .in_digest = true});
  }
  ASSIGN_OR_RETURN(const std::vector<Decision> decisions, deps_.decisions.Decide(subjects, CapStore::Mode::kPeek));
  const std::string detail = absl::StrCat("in digest ", told_in.ToString());
  std::vector<DeliveryFate> fates;
  fates.reserve(members.size());
  for (size_t i = 0; i < members.size(); ++i) {
    const ChannelDecision& channel = decisions[i].channels.front();
    fates.push_back(Leaves(channel) ? FateOf(members[i], decisions[i], channel, deps_.clock.Now())
                                    : DeliveryFate{.state = DeliveryState::kSent, .detail = detail});
  }
  return fates;
}

}  // namespace carillon
