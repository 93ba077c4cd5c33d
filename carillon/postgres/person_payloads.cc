// A person in messages that are kept: dead letters, deliveries that wait or may be sent
// again, and requests that are made again and again.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/person_erase.h"
#include "carillon/postgres/person_walk.h"
#include "carillon/v1/notification_service.pb.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

constexpr PlaceType kUuid = PlaceType::kUuid, kNumber = PlaceType::kNumber;

// Messages read at once: each may have some 16 KiB.
constexpr int kPayloads = 100;

// Whether a message may name the person at all; the envelope says whether it does.
constexpr const char* kMayName =
    "app_id = $1 AND payload IS NOT NULL AND position(convert_to($2, 'UTF8') IN payload) > 0";

struct Nameless {
  bool changed = false;
  std::string payload;  // Empty: nothing is left of it.
};

Nameless WithoutPerson(const std::string& payload, const std::string& person);
Nameless RequestWithoutPerson(const std::string& request, const std::string& person);

struct Kept {
  Walk walk;
  const char* update;  // $1: the new payload, $2...: the keys.
  const char* remove;  // $1...: the keys. Null: what is only the person's is gone already.
  const char* column = "payload";
  Nameless (*without)(const std::string&, const std::string&) = WithoutPerson;
};

Kept DeadLetters() {
  return {{"dead_letters", "app_id = $1", kMayName, {{"dead_letter_id", kNumber}}},
          "UPDATE dead_letters SET payload = ($1::bytea[])[1] WHERE dead_letter_id = ($2::text[])[1]::bigint",
          "DELETE FROM dead_letters WHERE dead_letter_id = ($1::text[])[1]::bigint"};
}

Kept Schedules() {
  return {{"schedules", "true", kMayName, {{"schedule_id", kUuid}}},
          "UPDATE schedules SET payload = ($1::bytea[])[1] WHERE schedule_id = ($2::text[])[1]::uuid",
          "DELETE FROM schedules WHERE schedule_id = ($1::text[])[1]::uuid"};
}

Kept Deliveries() {
  return {{"deliveries",
           "true",
           kMayName,
           {{"notification_id", kUuid}, {"delivery_id", kUuid}, {"retention_days", kNumber}}},
          "UPDATE deliveries SET payload = ($1::bytea[])[1] WHERE notification_id = ($2::text[])[1]::uuid"
          " AND delivery_id = ($2::text[])[2]::uuid AND retention_days = ($2::text[])[3]::smallint",
          "UPDATE deliveries SET payload = NULL WHERE notification_id = ($1::text[])[1]::uuid"
          " AND delivery_id = ($1::text[])[2]::uuid AND retention_days = ($1::text[])[3]::smallint"};
}

// Those to the person are gone already.
Kept Recurrences() {
  return {{"recurrences", "app_id = $1", "position(convert_to($2, 'UTF8') IN request) > 0", {{"recurrence_id", kUuid}}},
          "UPDATE recurrences SET request = ($1::bytea[])[1] WHERE recurrence_id = ($2::text[])[1]::uuid",
          "DELETE FROM recurrences WHERE recurrence_id = ($1::text[])[1]::uuid",
          "request",
          RequestWithoutPerson};
}

// False if it is the person's own. Otherwise they are not its actor any more.
bool MakeNameless(const std::string& person, Notification& item, bool& named) {
  if (item.recipient.value() == person) return false;
  if (item.actor_id != person) return true;
  named = true;
  item.actor_id.clear();
  item.data_json.clear();
  return true;
}

// The message without the person. Two envelopes one behind the other are one.
Nameless WithoutPerson(const std::string& payload, const std::string& person) {
  absl::StatusOr<EnvelopeContents> contents = DecodeContents(payload);
  Nameless result;
  if (!contents.ok()) return result;
  const auto keep = [&result](bool kept, const std::string& envelope) {
    kept ? absl::StrAppend(&result.payload, envelope) : void(result.changed = true);
  };
  for (Notification& item : contents->items) {
    const bool kept = MakeNameless(person, item, result.changed);
    keep(kept, EncodeEnvelope(item));
  }
  for (Delivery& delivery : contents->deliveries) {
    const bool kept = MakeNameless(person, delivery.item, result.changed);
    keep(kept, EncodeEnvelope(delivery));
  }
  for (const Reaction& reaction : contents->reactions) {
    keep(reaction.actor_id != person && reaction.recipient != person, EncodeEnvelope(reaction));
  }
  for (const FanoutPage& page : contents->pages) keep(true, EncodeEnvelope(page));
  for (const DueDigest& digest : contents->digests) keep(digest.recipient.value() != person, EncodeEnvelope(digest));
  for (const DueWindow& window : contents->windows) keep(window.recipient.value() != person, EncodeEnvelope(window));
  return result;
}

// True if without the person there is nobody to tell.
bool LosesAudience(const std::string& person, v1::Audience& audience, bool& changed) {
  if (audience.has_followers_of()) return audience.followers_of() == person;
  if (!audience.has_users()) return false;
  auto& users = *audience.mutable_users()->mutable_user_ids();
  const auto kept = std::remove(users.begin(), users.end(), person);
  changed = kept != users.end();
  users.erase(kept, users.end());
  return users.empty();
}

// Nothing is left of what the person does, or what is sent to nobody else.
Nameless RequestWithoutPerson(const std::string& request, const std::string& person) {
  Nameless result;
  v1::CreateRecurrenceRequest parsed;
  if (!parsed.ParseFromString(request)) return result;
  const bool sends = parsed.has_send();
  const std::string& actor = sends ? parsed.send().actor_id() : parsed.event().actor_id();
  const bool ends = actor == person || (sends && parsed.send().user_id() == person) ||
                    (!sends && LosesAudience(person, *parsed.mutable_event()->mutable_audience(), result.changed));
  if (ends) return {.changed = true, .payload = ""};
  if (result.changed) result.payload = parsed.SerializeAsString();
  return result;
}

struct Statements {
  explicit Statements(const Kept& kept)
      : names{absl::StrCat("read_payloads_", kept.walk.table), absl::StrCat("update_payload_", kept.walk.table),
              absl::StrCat("remove_payload_", kept.walk.table)},
        sql(absl::StrCat("WITH ", WalkSql(kept.walk, "$4", kept.column), ", listed AS (SELECT n, shown, ",
                         kept.walk.key_names(), " FROM found UNION ALL SELECT NULL, NULL, ", kept.walk.key_names(),
                         " FROM last) SELECT shown, ", kept.walk.key_names(), " FROM listed ORDER BY n NULLS LAST")),
        update(kept.update),
        remove(kept.remove),
        without(kept.without) {}

  PgStatement read_one() const { return {names[0].c_str(), sql.c_str()}; }
  PgStatement update_one() const { return {names[1].c_str(), update}; }
  PgStatement remove_one() const { return {names[2].c_str(), remove}; }

  const std::string names[3];
  const std::string sql;
  const char* const update;
  const char* const remove;
  Nameless (*const without)(const std::string&, const std::string&);
};

Place PlaceOf(const pqxx::row& row, size_t keys) {
  Place place;
  for (size_t i = 0; i < keys; ++i) place.push_back(OwnedText(row[static_cast<int>(i) + 1]));
  return place;
}

std::string Literal(const Place& place) {
  PgArray array;
  for (const std::string& part : place) array.Add(part);
  return array.str();
}

template <Kept (*kKept)()>
StageStep ErasePayloads(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place) {
  static const auto* const statements = new Statements(kKept());
  const pqxx::result rows = session.Execute(transaction, statements->read_one(), key.app.value(), key.recipient.value(),
                                            Literal(place), kPayloads);
  if (rows.empty()) return {.rows = 0, .next = std::nullopt};
  StageStep step{.rows = 0, .next = PlaceOf(rows.back(), place.size())};
  for (const auto& row : rows) {
    if (row[0].is_null()) continue;
    const Nameless nameless = statements->without(BytesOf(row[0]), key.recipient.value());
    if (!nameless.changed) continue;
    ++step.rows;
    const std::string keys = Literal(PlaceOf(row, place.size()));
    if (nameless.payload.empty()) {
      session.Execute(transaction, statements->remove_one(), keys);
    } else {
      session.Execute(transaction, statements->update_one(), BytesLiteral(nameless.payload), keys);
    }
  }
  return step;
}

template <Kept (*kKept)()>
EraseStage Stage() {
  return {kKept().walk.place_types(), ErasePayloads<kKept>};
}

}  // namespace

// What waits is copied from its delivery: those come first.
std::vector<EraseStage> PayloadStages() {
  return {Stage<DeadLetters>(), Stage<Deliveries>(), Stage<Schedules>(), Stage<Recurrences>()};
}

}  // namespace carillon
