// What a person has said about being told, and what gathers for them or is sent to them
// again and again.
#include "absl/strings/str_cat.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/person_erase.h"

namespace carillon {
namespace {

constexpr PgStatement kEraseRecurrences = {"erase_own_recurrences", R"sql(
  WITH gone AS (
    DELETE FROM recurrences WHERE recurrence_id IN (
      SELECT recurrence_id FROM recurrences WHERE app_id = $1 AND recipient_id = $2 LIMIT $3 FOR UPDATE)
    RETURNING 1
  )
  SELECT count(*) FROM gone
)sql"};

constexpr PgStatement kEraseSettings = {"erase_settings", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT kind, muted_id FROM mutes WHERE app_id = $1 AND recipient_id = $2 ORDER BY kind, muted_id LIMIT $3 FOR UPDATE
  ), unmuted AS (
    DELETE FROM mutes m USING doomed
    WHERE m.app_id = $1 AND m.recipient_id = $2 AND m.kind = doomed.kind AND m.muted_id = doomed.muted_id
    RETURNING 1
  ), said AS (
    DELETE FROM recipient_settings WHERE app_id = $1 AND recipient_id = $2 RETURNING 1
  ), tripped AS (
    DELETE FROM tripped_senders WHERE app_id = $1 AND sender_id = $2 RETURNING 1
  )
  SELECT (SELECT count(*) FROM unmuted) + (SELECT count(*) FROM said) + (SELECT count(*) FROM tripped)
)sql"};

constexpr PgStatement kTellErased = {"tell_erased_settings", "SELECT pg_notify('carillon_settings', $1)"};

// Others who had muted the person are told of, each: a new life of the id is not muted.
// Nothing but the rows picked leads to those deleted: another index would, past all others.
constexpr PgStatement kUnmute = {"unmute_person", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT app_id, recipient_id, kind, muted_id FROM mutes
    WHERE app_id = $1 AND kind = 'actor' AND muted_id = $2 ORDER BY recipient_id LIMIT $3 FOR UPDATE
  ), unmuted AS (
    DELETE FROM mutes m USING doomed
    WHERE m.app_id = doomed.app_id AND m.recipient_id = doomed.recipient_id AND m.kind = doomed.kind
      AND m.muted_id = doomed.muted_id
    RETURNING m.app_id, m.recipient_id
  )
  SELECT count(pg_notify('carillon_settings', app_id || ':' || recipient_id)) FROM unmuted
)sql"};

constexpr PgStatement kEraseEntries = {"erase_digest_entries", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT e.digest_id, e.delivery_id FROM digests d JOIN digest_entries e ON e.digest_id = d.digest_id
    WHERE d.app_id = $1 AND d.recipient_id = $2 ORDER BY e.digest_id, e.delivery_id LIMIT $3 FOR UPDATE OF e
  ), gone AS (
    DELETE FROM digest_entries e USING doomed
    WHERE e.digest_id = doomed.digest_id AND e.delivery_id = doomed.delivery_id
    RETURNING 1
  )
  SELECT count(*) FROM gone
)sql"};

constexpr PgStatement kEraseDigests = {"erase_digests", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT digest_id FROM digests WHERE app_id = $1 AND recipient_id = $2 ORDER BY digest_id LIMIT $3 FOR UPDATE
  ), gone AS (
    DELETE FROM digests d USING doomed WHERE d.digest_id = doomed.digest_id RETURNING 1
  )
  SELECT count(*) FROM gone
)sql"};

// Statements that answer with how many rows they have changed, up to $3 of each kind.
template <const PgStatement& kStatement>
StageStep EraseSome(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place&) {
  const auto rows =
      session.Execute(transaction, kStatement, key.app.value(), key.recipient.value(), kEraseRows)[0][0].as<int64_t>();
  return {.rows = rows, .next = rows < kEraseRows ? std::nullopt : std::make_optional(Place())};
}

// Their zone is gone as well: whoever keeps what decisions go by is told, whatever there was.
StageStep EraseSettings(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place) {
  session.Execute(transaction, kTellErased, absl::StrCat(key.app.value(), ":", key.recipient.value()));
  return EraseSome<kEraseSettings>(session, transaction, key, place);
}

}  // namespace

std::vector<EraseStage> SettingStages() {
  return {{{}, EraseSome<kEraseRecurrences>}, {{}, EraseSettings}, {{}, EraseSome<kUnmute>}};
}

std::vector<EraseStage> DigestStages() { return {{{}, EraseSome<kEraseEntries>}, {{}, EraseSome<kEraseDigests>}}; }

}  // namespace carillon
