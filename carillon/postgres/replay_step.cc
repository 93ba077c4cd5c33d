// How dead letters are put back: PostgresReplayStore::Step.
#include <algorithm>
#include <set>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "carillon/domain/status_macros.h"
#include "carillon/domain/topology.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/dead_letter_filter.h"
#include "carillon/postgres/event_store.h"
#include "carillon/postgres/replay_store.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

constexpr PgStatement kPageIsDead = {"page_is_dead", R"sql(
  SELECT e.app_id FROM events e JOIN event_shards s USING (event_id)
  WHERE e.event_id = $1 AND e.state = 'paused' AND e.detail IS NOT NULL AND s.shard = $2 AND s.cursor = $3 AND NOT s.done
)sql"};

// What becomes of each letter, and all of it that is to be written: letters that were put
// back; their deliveries and notifications as they were before they died, deliveries before
// notifications and these in the order of ids, as everywhere; the messages. A death that
// is taken back is not counted any more, on the day that it was counted. A notification is
// watched again: the sweep may have passed its id. What was being decided on waits again
// by a row, and what housekeeping had kept of reactions it keeps again.
// $12 to $15: the run, replays at most, whether it is a rehearsal, and what its history says.
constexpr PgStatement kPutBack = {"put_back", R"sql(
  WITH input AS MATERIALIZED (
    SELECT rows.*, l.app_id, l.type, l.traceparent, l.replay_count, l.payload,
           CASE WHEN rows.kind = 'foreign' AND EXISTS (SELECT FROM outbox o WHERE o.message_id = rows.message_id)
                THEN new_uuid7() ELSE coalesce(rows.message_id, new_uuid7()) END AS message
    FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::uuid[], $5::smallint[], $6::bigint[], $7::text[], $8::text[], $9::uuid[],
                $10::uuid[], $11::text[])
      AS rows (dead_letter_id, kind, notification_id, delivery_id, retention_days, expires_us, queue, lane, message_id, group_id,
               verdict)
    JOIN dead_letters l USING (dead_letter_id)
  ), judged AS MATERIALIZED (
    -- Receipts lock deliveries in this order too.
    SELECT i.*, d.state AS was_state, d.finished_at AS was_finished_at,
           CASE WHEN i.verdict IS NOT NULL THEN i.verdict
                WHEN i.kind IN ('delivery', 'decision') AND d.delivery_id IS NULL THEN 'ended'
                WHEN i.kind = 'notification'
                     AND NOT EXISTS (SELECT FROM notifications n
                                     WHERE n.notification_id = i.notification_id AND n.retention_days = i.retention_days
                                       AND n.state = 'dead' AND n.open_deliveries IS NULL) THEN 'ended'
                WHEN i.expires_us <= (extract(epoch FROM now()) * 1e6)::bigint
                                     + coalesce((SELECT a.clock_offset FROM apps a WHERE a.app_id = i.app_id), 0) THEN 'expired'
                WHEN i.replay_count >= $13 THEN 'poison'
                WHEN i.queue IS NULL THEN 'unroutable'
                ELSE 'replayed' END AS judgement
    FROM input i LEFT JOIN deliveries d
      ON d.notification_id = i.notification_id AND d.delivery_id = i.delivery_id AND d.retention_days = i.retention_days
         AND (d.state = 'dead' OR d.resent AND d.state = 'undelivered')
    ORDER BY i.notification_id, i.delivery_id
  ), revived AS MATERIALIZED (
    UPDATE deliveries d
    SET state = CASE j.kind WHEN 'decision' THEN 'held' ELSE 'pending' END, finished_at = NULL, detail = NULL, claim = d.claim + 1,
        claimed_until = NULL, touched_at = clock_timestamp(), payload = j.payload,
        attempts = (SELECT jsonb_agg(call || '{"before_replay": true}' ORDER BY place)
                    FROM jsonb_array_elements(d.attempts) WITH ORDINALITY AS earlier (call, place))
    FROM judged j
    WHERE NOT $14::boolean AND j.judgement = 'replayed' AND j.kind IN ('delivery', 'decision')
      AND d.notification_id = j.notification_id AND d.delivery_id = j.delivery_id AND d.retention_days = j.retention_days
      AND (d.state = 'dead' OR d.resent AND d.state = 'undelivered')
    RETURNING j.dead_letter_id, d.notification_id, d.delivery_id, d.retention_days, d.app_id, d.type, d.channel, d.resent,
              d.lane, d.recipient_id, j.was_state, (j.was_finished_at AT TIME ZONE 'UTC')::date AS day
  ), wanted AS MATERIALIZED (
    SELECT notification_id, retention_days, 0 AS deliveries FROM judged
    WHERE NOT $14::boolean AND judgement = 'replayed' AND kind = 'notification'
    UNION
    SELECT notification_id, retention_days, count(*)::int FROM revived WHERE NOT resent GROUP BY notification_id, retention_days
    ORDER BY notification_id
  ), reopened AS MATERIALIZED (
    UPDATE notifications n
    SET state = CASE WHEN n.finished_at IS NULL THEN n.state ELSE 'accepted' END, finished_at = NULL, detail = NULL,
        open_deliveries = CASE WHEN w.deliveries > 0 THEN coalesce(n.open_deliveries, 0) + w.deliveries END,
        outcome = CASE WHEN w.deliveries = 0 OR n.outcome = 'delivered' THEN n.outcome
                       ELSE (SELECT outcome_of_rank(min(CASE d.state WHEN 'dead' THEN 2 WHEN 'expired' THEN 3 ELSE 4 END))
                             FROM deliveries d
                             WHERE d.notification_id = w.notification_id AND d.retention_days = w.retention_days
                               AND d.finished_at IS NOT NULL
                               AND NOT EXISTS (SELECT FROM revived r WHERE r.delivery_id = d.delivery_id)) END,
        history = coalesce(n.history, '[]'::jsonb) || jsonb_build_object(
          'time_us', (extract(epoch FROM clock_timestamp()) * 1e6)::bigint, 'detail', $15::text)
    FROM wanted w
    WHERE n.notification_id = w.notification_id AND n.retention_days = w.retention_days
      AND (w.deliveries > 0 OR n.state = 'dead' AND n.open_deliveries IS NULL)
    RETURNING n.notification_id, n.retention_days, n.lane, w.deliveries
  ), done AS MATERIALIZED (
    SELECT j.*,
           CASE WHEN $14::boolean OR j.judgement <> 'replayed' THEN j.judgement
                WHEN j.kind = 'notification' AND j.notification_id NOT IN (SELECT notification_id FROM reopened) THEN 'ended'
                WHEN j.kind IN ('delivery', 'decision') AND j.dead_letter_id NOT IN (SELECT dead_letter_id FROM revived) THEN 'ended'
                ELSE 'replayed' END AS outcome
    FROM judged j
  ), marked AS (
    UPDATE dead_letters l
    SET state = CASE d.outcome WHEN 'replayed' THEN 'replayed' WHEN 'expired' THEN 'expired' ELSE 'moot' END,
        replay_id = $12, replayed_at = CASE WHEN d.outcome = 'replayed' THEN clock_timestamp() END,
        message_id = CASE WHEN d.outcome = 'replayed' AND d.kind <> 'page' THEN d.message::text ELSE l.message_id END,
        delivery_id = d.delivery_id, retention_days = d.retention_days
    FROM done d
    WHERE NOT $14::boolean AND l.dead_letter_id = d.dead_letter_id AND d.outcome IN ('replayed', 'expired', 'ended')
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload, replay_count)
    SELECT message, coalesce(app_id, 0), lane, '', queue, coalesce(type, ''), traceparent, payload, replay_count + 1
    FROM done WHERE NOT $14::boolean AND outcome = 'replayed' AND kind <> 'page'
    ON CONFLICT DO NOTHING
  ), watched AS (
    INSERT INTO stragglers (notification_id, retention_days, lane, due_at)
    SELECT notification_id, retention_days, lane, now() FROM reopened WHERE deliveries = 0
    ON CONFLICT DO NOTHING
  ), waiting AS (
    INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                           exchange, routing_key, type, traceparent, payload)
    SELECT r.app_id, now() + interval '15 minutes', r.notification_id, r.delivery_id, r.retention_days, r.lane, 'hold', r.channel,
           r.recipient_id, '', d.queue, r.type, d.traceparent, d.payload
    FROM done d JOIN revived r USING (dead_letter_id) WHERE d.kind = 'decision'
    ON CONFLICT (message_id) DO UPDATE SET due_at = EXCLUDED.due_at
  ), kept AS (
    INSERT INTO reaction_groups (group_id, app_id, type, payload)
    SELECT group_id, app_id, type, payload FROM done
    WHERE NOT $14::boolean AND outcome = 'replayed' AND group_id IS NOT NULL AND app_id IS NOT NULL AND type IS NOT NULL
    ON CONFLICT DO NOTHING
  ), uncounted AS (
    INSERT INTO daily_stats AS stats (app_id, count, day, part, type, channel, kind)
    SELECT app_id, -count(*), day, pg_backend_pid() % 8, type, channel, was_state
    FROM revived GROUP BY app_id, day, type, channel, was_state ORDER BY app_id, day, type, channel, was_state
    ON CONFLICT (app_id, day, type, channel, kind, part) DO UPDATE SET count = stats.count + EXCLUDED.count
  )
  SELECT outcome, lane, count(*) FROM done GROUP BY outcome, lane
)sql"};

// A letter that was taken, and what is to be known to put it back.
struct Taken {
  int64_t id = 0;
  std::string kind;
  std::optional<Uuid> notification_id, delivery_id, group_id;
  int retention_days = 0;
  std::optional<absl::Time> expire_time;
  std::string queue;               // Empty: nobody knows.
  std::optional<Uuid> message_id;  // None: a new one.
  int replay_count = 0;
  std::optional<FanoutPage> page;
  std::string verdict;  // Empty: the statement decides.
};

bool IsWorkQueue(absl::string_view name) {
  return absl::c_any_of(CarillonTopology().queues,
                        [&](const QueueSpec& queue) { return queue.role == QueueRole::kWork && queue.name == name; });
}

// Where it died, or was on its way to. Empty if that is no queue that anybody consumes.
std::string DestinationOf(const std::string& queue, const std::string& routing_key) {
  const std::string name(queue == kUnroutedQueue ? absl::StripSuffix(routing_key, ".dlq") : queue);
  return IsWorkQueue(name) ? name : "";
}

// The letters that have a destination, as DestinationOf has it.
std::string HasDestination(const pqxx::transaction_base& transaction) {
  std::vector<std::string> names;
  for (const QueueSpec& queue : CarillonTopology().queues) {
    if (queue.role == QueueRole::kWork) names.push_back(transaction.quote(queue.name));
  }
  return absl::StrCat("CASE d.queue WHEN ", transaction.quote(std::string(kUnroutedQueue)),
                      R"( THEN regexp_replace(d.routing_key, '\.dlq$', '') ELSE d.queue END IN ()",
                      absl::StrJoin(names, ","), ")");
}

void NameItem(const Notification& item, Taken& taken) {
  taken.notification_id = item.id;
  taken.retention_days = item.retention_days;
  taken.expire_time = item.expire_time;
  taken.message_id = item.id;
}

// The group that all of them are of.
std::optional<Uuid> GroupOf(const std::vector<Reaction>& reactions) {
  const std::optional<Uuid> group = reactions.front().group;
  const bool is_one = absl::c_all_of(reactions, [&](const Reaction& reaction) { return reaction.group == group; });
  return is_one ? group : std::nullopt;
}

void Classify(const EnvelopeContents& contents, Taken& taken) {
  const size_t things = contents.items.size() + contents.deliveries.size() + contents.pages.size() +
                        contents.reactions.size() + contents.digests.size() + contents.windows.size();
  taken.kind = "other";
  if (things == contents.reactions.size()) {
    taken.group_id = GroupOf(contents.reactions);
    if (taken.group_id != taken.message_id) taken.group_id.reset();
  }
  if (things != 1) return;
  if (!contents.items.empty()) {
    taken.kind = "notification";
    NameItem(contents.items.front(), taken);
  } else if (!contents.deliveries.empty()) {
    const Delivery& delivery = contents.deliveries.front();
    const bool to_channel = ChannelOfQueue(taken.queue).has_value();
    taken.kind = delivery.decide_time.has_value() && !to_channel ? "decision" : "delivery";
    NameItem(delivery.item, taken);
    taken.delivery_id = taken.message_id = delivery.id;
  } else if (!contents.pages.empty()) {
    taken.kind = "page";
    taken.page = contents.pages.front();
  }
}

Taken ToTaken(const pqxx::row& row, std::set<Uuid>& used) {
  Taken taken{.id = row["dead_letter_id"].as<int64_t>(),
              .queue = DestinationOf(OwnedText(row["queue"]), OwnedText(row["routing_key"])),
              .message_id = Uuid::Parse(Text(row["message_id"])),
              .replay_count = row["replay_count"].as<int>()};
  const absl::StatusOr<EnvelopeContents> contents = DecodeContents(BytesOf(row["payload"]));
  taken.kind = "foreign";
  if (contents.ok()) Classify(*contents, taken);
  // What others made may be named as something else is.
  const bool is_new = !taken.message_id.has_value() || used.insert(*taken.message_id).second;
  if (!is_new && taken.kind == "foreign") taken.message_id.reset();
  return taken;
}

// Letters of pages let their event go on, once: all its open pages are queued.
void JudgePage(PgSession& session, pqxx::transaction_base& transaction, const ReplayRun& run, Taken& taken,
               std::set<Uuid>& resumed) {
  const FanoutPage& page = *taken.page;
  if (resumed.contains(page.event_id)) {
    taken.verdict = "replayed";
    return;
  }
  const pqxx::result rows =
      session.Execute(transaction, kPageIsDead, page.event_id.ToString(), page.shard, page.cursor);
  taken.verdict = rows.empty() ? "ended" : taken.replay_count >= run.replay.order.max_replays ? "poison" : "replayed";
  if (taken.verdict != "replayed") return;
  resumed.insert(page.event_id);
  if (run.is_rehearsal) return;
  ResumeEventRows(session, transaction, AppId(rows[0][0].as<int64_t>()), page.event_id, taken.replay_count + 1);
}

std::vector<Taken> Take(PgSession& session, pqxx::transaction_base& transaction, const ReplayRun& run, int limit) {
  const pqxx::result rows = transaction.exec_params(
      absl::StrCat("SELECT d.dead_letter_id, d.queue, d.routing_key, d.message_id, d.replay_count, d.payload"
                   " FROM dead_letters d WHERE ",
                   RunCondition(transaction, run), " AND d.dead_letter_id > $1 ORDER BY d.dead_letter_id LIMIT $2",
                   run.is_rehearsal ? "" : " FOR UPDATE SKIP LOCKED"),
      run.position, limit);
  std::vector<Taken> letters;
  std::set<Uuid> used, resumed;
  for (const auto& row : rows) {
    letters.push_back(ToTaken(row, used));
    if (letters.back().page.has_value()) JudgePage(session, transaction, run, letters.back(), resumed);
  }
  return letters;
}

void AddOrNull(PgArray& array, const std::optional<Uuid>& id) { id.has_value() ? array.Add(*id) : array.AddNull(); }

// What became of them.
pqxx::result PutBack(PgSession& session, pqxx::transaction_base& transaction, const ReplayRun& run,
                     const std::vector<Taken>& letters) {
  PgArray ids, kinds, notifications, deliveries, retentions, expiries, queues, lanes, messages, groups, verdicts;
  for (const Taken& taken : letters) {
    const std::optional<Lane> lane = LaneOfQueue(taken.queue);
    ids.Add(taken.id);
    kinds.Add(taken.kind);
    AddOrNull(notifications, taken.notification_id);
    AddOrNull(deliveries, taken.delivery_id);
    taken.retention_days > 0 ? retentions.Add(taken.retention_days) : retentions.AddNull();
    taken.expire_time.has_value() ? expiries.Add(*taken.expire_time) : expiries.AddNull();
    queues.AddOrNull(taken.queue);
    lanes.AddOrNull(lane.has_value() ? ToString(*lane) : "");
    AddOrNull(messages, taken.message_id);
    AddOrNull(groups, taken.group_id);
    verdicts.AddOrNull(taken.verdict);
  }
  const std::string id = run.replay.id.ToString();
  return session.Execute(transaction, kPutBack, ids.str(), kinds.str(), notifications.str(), deliveries.str(),
                         retentions.str(), expiries.str(), queues.str(), lanes.str(), messages.str(), groups.str(),
                         verdicts.str(), run.is_rehearsal ? nullptr : id.c_str(), run.replay.order.max_replays,
                         run.is_rehearsal, absl::StrCat("put back into its queue by an admin (replay ", id, ")"));
}

void CountOutcome(const pqxx::row& row, ReplayCounts& counts) {
  const absl::string_view outcome = Text(row[0]);
  int64_t& count = outcome == "replayed"  ? counts.replayed
                   : outcome == "expired" ? counts.expired
                   : outcome == "ended"   ? counts.ended
                   : outcome == "poison"  ? counts.poison
                                          : counts.unroutable;
  count += row[2].as<int64_t>();
}

}  // namespace

std::string RunCondition(const pqxx::transaction_base& transaction, const ReplayRun& run) {
  std::string sql =
      absl::StrCat(FilterCondition(transaction, run.replay.order.filter), " AND d.dead_letter_id <= ", run.up_to);
  if (run.looks_again) {
    absl::StrAppend(&sql, " AND d.replay_count < ", run.replay.order.max_replays, " AND ", HasDestination(transaction));
  }
  return sql;
}

absl::StatusOr<std::vector<Lane>> PostgresReplayStore::Step(ReplayRun& run, int limit) {
  ReplayRun next;
  std::set<Lane> lanes;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    next = run;
    lanes.clear();
    const std::vector<Taken> letters = Take(session, transaction, next, limit);
    if (!letters.empty()) {
      next.position = letters.back().id;
      for (const auto& row : PutBack(session, transaction, next, letters)) {
        CountOutcome(row, next.replay.counts);
        const std::optional<Lane> lane = ParseLane(Text(row[1]));
        if (lane.has_value() && Text(row[0]) == "replayed") lanes.insert(*lane);
      }
    }
    return next.is_rehearsal ? absl::OkStatus() : KeepProgress(session, transaction, next);
  }));
  run = std::move(next);
  return std::vector<Lane>(lanes.begin(), lanes.end());
}

}  // namespace carillon
