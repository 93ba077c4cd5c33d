// Notifications that are reactions: PostgresReactionStore::Gather.
#include <map>
#include <set>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/reaction_apply.h"
#include "carillon/postgres/reaction_store.h"
#include "carillon/postgres/trail_json.h"

namespace carillon {
namespace {

constexpr absl::string_view kTakenBack = "its actor has taken it back";

// In the order of their ids, as all lock them; before reactions.
constexpr PgStatement kLockOpen = {"lock_open_notifications", R"sql(
  SELECT n.notification_id FROM notifications n
  JOIN unnest($1::uuid[], $2::smallint[], $3::bigint[]) AS asked (notification_id, retention_days, app_id)
    ON n.notification_id = asked.notification_id AND n.retention_days = asked.retention_days AND n.app_id = asked.app_id
  WHERE n.finished_at IS NULL AND n.open_deliveries IS NULL
  ORDER BY n.notification_id FOR UPDATE OF n
)sql"};

// Where what each of them says of its actor is counted. An item is gone where retention took it.
constexpr PgStatement kReadPlaces = {"read_reaction_places", R"sql(
  SELECT asked.position, r.active, (r.recipient_id, r.type) = (asked.recipient_id, asked.type) AS here, r.window_id,
         i.notification_id
  FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])
       WITH ORDINALITY AS asked (app_id, object_id, kind, actor_id, recipient_id, type, position)
  JOIN reactions r ON r.app_id = asked.app_id AND r.object_id = asked.object_id AND r.kind = asked.kind
                  AND r.actor_id = asked.actor_id
  LEFT JOIN reaction_items i ON i.app_id = r.app_id AND i.recipient_id = r.recipient_id AND i.type = r.type
                            AND i.object_id = r.object_id AND i.window_id = r.window_id
)sql"};

constexpr PgStatement kFinish = {"finish_gathered", R"sql(
  UPDATE notifications n
  SET state = done.state, detail = done.detail, finished_at = clock_timestamp(), trail = done.trail
  FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::jsonb[])
       AS done (notification_id, retention_days, state, detail, trail)
  WHERE n.notification_id = done.notification_id AND n.retention_days = done.retention_days
)sql"};

// The steps of one transaction, in the order in which they are called.
class Gatherer {
 public:
  Gatherer(PgSession& session, pqxx::work& transaction, absl::Span<const GatheredNotification> all)
      : session_(session), transaction_(transaction), all_(all), ends_(all.size()) {
    result_.outcomes.assign(all.size(), Gathered::kNotOpen);
  }

  void LockOpen();
  void Apply(ReactionStore::Render render);
  void ReadPlaces();
  GatherResult Finish();

 private:
  struct End {
    State state = State::kDelivered;
    std::string detail;
  };

  bool IsApplied(size_t i) const {
    return result_.outcomes[i] == Gathered::kDone && all_[i].state == State::kDelivered;
  }

  PgSession& session_;
  pqxx::work& transaction_;
  const absl::Span<const GatheredNotification> all_;
  GatherResult result_;
  std::vector<End> ends_;
};

void Gatherer::LockOpen() {
  PgArray ids, retentions, apps;
  for (const GatheredNotification& one : all_) {
    ids.Add(one.id);
    retentions.Add(one.retention_days);
    apps.Add(one.reaction.app.value());
  }
  std::set<NotificationId> open;
  for (const auto& row : session_.Execute(transaction_, kLockOpen, ids.str(), retentions.str(), apps.str())) {
    open.insert(UuidOf(row[0]));
  }
  // One that is named twice is open once.
  for (size_t i = 0; i < all_.size(); ++i) {
    if (open.erase(all_[i].id) == 0) continue;
    result_.outcomes[i] = Gathered::kDone;
    ends_[i] = {.state = all_[i].state, .detail = all_[i].detail};
  }
}

// Of the same actor, object and kind for one recipient at a time: it is told to whoever it
// was told to first, and the others are seen to be elsewhere.
void Gatherer::Apply(ReactionStore::Render render) {
  using Key = std::tuple<AppId, absl::string_view, absl::string_view, absl::string_view>;
  std::vector<const Reaction*> waiting;
  for (size_t i = 0; i < all_.size(); ++i) {
    if (IsApplied(i)) waiting.push_back(&all_[i].reaction);
  }
  while (!waiting.empty()) {
    std::map<Key, absl::string_view> recipients;
    std::vector<Reaction> now;
    std::vector<const Reaction*> later;
    for (const Reaction* const one : waiting) {
      const auto place = recipients.try_emplace({one->app, one->object_id, one->kind, one->actor_id}, one->recipient);
      place.first->second == one->recipient ? now.push_back(*one) : later.push_back(one);
    }
    for (ReactionChange& change : ApplyReactions(session_, transaction_, now, OfOthers::kKept, render)) {
      result_.changes.push_back(std::move(change));
    }
    waiting = std::move(later);
  }
}

void Gatherer::ReadPlaces() {
  PgArray apps, objects, kinds, actors, recipients, types;
  std::vector<size_t> asked;
  for (size_t i = 0; i < all_.size(); ++i) {
    if (!IsApplied(i)) continue;
    const Reaction& reaction = all_[i].reaction;
    apps.Add(reaction.app.value());
    objects.Add(reaction.object_id);
    kinds.Add(reaction.kind);
    actors.Add(reaction.actor_id);
    recipients.Add(reaction.recipient);
    types.Add(reaction.type);
    asked.push_back(i);
  }
  if (asked.empty()) return;
  for (const auto& row : session_.Execute(transaction_, kReadPlaces, apps.str(), objects.str(), kinds.str(),
                                          actors.str(), recipients.str(), types.str())) {
    const size_t i = asked[row["position"].as<size_t>() - 1];
    if (!row["active"].as<bool>()) {
      ends_[i] = {.state = State::kSuppressed, .detail = std::string(kTakenBack)};
    } else if (row["here"].is_null() || !row["here"].as<bool>()) {
      result_.outcomes[i] = Gathered::kElsewhere;
    } else if (!row["notification_id"].is_null()) {
      ends_[i].detail = absl::StrCat("in item ", UuidOf(row["notification_id"]).ToString());
    } else if (!row["window_id"].is_null()) {
      ends_[i].detail = absl::StrCat("in window ", UuidOf(row["window_id"]).ToString());
    }
  }
}

GatherResult Gatherer::Finish() {
  PgArray ids, retentions, states, details, trails;
  bool any = false;
  for (size_t i = 0; i < all_.size(); ++i) {
    if (result_.outcomes[i] != Gathered::kDone) continue;
    any = true;
    ids.Add(all_[i].id);
    retentions.Add(all_[i].retention_days);
    states.Add(ToString(ends_[i].state));
    details.AddOrNull(ends_[i].detail);
    all_[i].trail.has_value() ? trails.Add(EncodeTrail(*all_[i].trail)) : trails.AddNull();
  }
  if (any) {
    session_.Execute(transaction_, kFinish, ids.str(), retentions.str(), states.str(), details.str(), trails.str());
  }
  return std::move(result_);
}

}  // namespace

absl::StatusOr<GatherResult> PostgresReactionStore::Gather(absl::Span<const GatheredNotification> notifications,
                                                           Render render) {
  GatherResult result;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    Gatherer gatherer(session, transaction, notifications);
    gatherer.LockOpen();
    gatherer.Apply(render);
    gatherer.ReadPlaces();
    result = gatherer.Finish();
    return absl::OkStatus();
  }));
  return result;
}

}  // namespace carillon
