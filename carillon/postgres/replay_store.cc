#include "carillon/postgres/replay_store.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/dead_letter_filter.h"

namespace carillon {
namespace {

// $1: how long nobody may have been there.
constexpr absl::string_view kColumns = R"sql(
  r.replay_id, r.app_id, r.kind, r.operator, r.reason, r.filter, r.most, r.max_replays, r.matched, r.replayed, r.expired,
  r.ended, r.poison, r.unroutable, r.taken, r.detail, r.up_to, r.position, r.epoch,
  CASE WHEN r.state = 'running' AND r.heartbeat_at < now() - $1::bigint * interval '1 microsecond' THEN 'interrupted'
       ELSE r.state END AS state,
  (SELECT count(*) FROM dead_letters l WHERE l.replay_id = r.replay_id AND l.died_again_at IS NOT NULL) AS died_again,
  (SELECT a.app_key FROM apps a WHERE a.app_id = r.app_id) AS app_key,
  (extract(epoch FROM r.started_at) * 1e6)::bigint AS started_us,
  (extract(epoch FROM r.finished_at) * 1e6)::bigint AS finished_us
)sql";

constexpr PgStatement kBegin = {"begin_replay", R"sql(
  INSERT INTO replays (app_id, up_to, most, matched, max_replays, kind, operator, reason, filter)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::jsonb)
  RETURNING replay_id, epoch, (extract(epoch FROM started_at) * 1e6)::bigint AS started_us
)sql"};

constexpr PgStatement kTakeOver = {"take_over_replay", R"sql(
  UPDATE replays
  SET state = 'running', epoch = epoch + 1, heartbeat_at = clock_timestamp(), taken_over_at = clock_timestamp(),
      finished_at = NULL, detail = NULL,
      operator = CASE WHEN $3 = ANY (string_to_array(operator, ', ')) OR $3 = '' THEN operator
                      ELSE left(concat_ws(', ', nullif(operator, ''), $3::text), 1000) END
  WHERE replay_id = $1 AND kind = 'replay'
    AND (state IN ('interrupted', 'failing')
         OR state = 'running' AND heartbeat_at < now() - $2::bigint * interval '1 microsecond')
)sql"};

constexpr PgStatement kKeepProgress = {"keep_replay_progress", R"sql(
  UPDATE replays
  SET heartbeat_at = clock_timestamp(), position = greatest(position, $3), replayed = $4, expired = $5, ended = $6, poison = $7, unroutable = $8
  WHERE replay_id = $1 AND epoch = $2 AND state = 'running'
)sql"};

// Also the truth about a step whose outcome was not known.
constexpr PgStatement kAttend = {"attend_replay", R"sql(
  UPDATE replays SET heartbeat_at = clock_timestamp() WHERE replay_id = $1 AND epoch = $2 AND state = 'running'
  RETURNING position, replayed, expired, ended, poison, unroutable,
            (SELECT count(*) FROM dead_letters l WHERE l.replay_id = $1 AND l.died_again_at IS NOT NULL) AS died_again
)sql"};

// Whether nothing got through since the first of the newest $2 deaths. Where nobody can
// tell what became of one it counts as through when it has not died for a while. Only the
// newest are asked: what died with them was put back with them. What was put back before
// the run was taken over says nothing any more: that is when somebody has mended the cause.
constexpr PgStatement kStreak = {"replay_streak", R"sql(
  WITH deaths AS MATERIALIZED (
    SELECT died_again_at FROM dead_letters
    WHERE replay_id = $1 AND died_again_at IS NOT NULL
      AND replayed_at >= (SELECT taken_over_at FROM replays WHERE replay_id = $1)
    ORDER BY died_again_at DESC LIMIT $2
  ), since AS MATERIALIZED (
    SELECT count(*) AS deaths, min(died_again_at) AS moment FROM deaths
  ), newest AS MATERIALIZED (
    SELECT notification_id, delivery_id, retention_days, replayed_at FROM dead_letters
    WHERE replay_id = $1 AND state = 'replayed' AND died_again_at IS NULL AND (SELECT deaths FROM since) >= $2
    ORDER BY dead_letter_id DESC LIMIT 2000
  )
  SELECT since.deaths >= $2 AND NOT EXISTS (
    SELECT FROM newest
    WHERE CASE
      WHEN retention_days IS NULL THEN replayed_at + interval '3 seconds' BETWEEN since.moment AND now()
      WHEN delivery_id IS NULL THEN
        EXISTS (SELECT FROM notifications n
                WHERE n.notification_id = newest.notification_id AND n.retention_days = newest.retention_days
                  AND n.finished_at > since.moment AND n.state <> 'dead')
        OR EXISTS (SELECT FROM deliveries d
                   WHERE d.notification_id = newest.notification_id AND d.retention_days = newest.retention_days
                     AND d.created_at > since.moment)
      ELSE EXISTS (SELECT FROM deliveries d
                   WHERE d.notification_id = newest.notification_id AND d.retention_days = newest.retention_days
                     AND d.delivery_id = newest.delivery_id AND d.finished_at > since.moment AND d.state <> 'dead')
      END)
  FROM since
)sql"};

constexpr PgStatement kFinish = {"finish_replay", R"sql(
  UPDATE replays
  SET state = $3, finished_at = clock_timestamp(), detail = $4,
      taken = CASE WHEN $3 = 'done' THEN greatest(matched - replayed - expired - ended - poison - unroutable, 0) ELSE 0 END
  WHERE replay_id = $1 AND epoch = $2 AND state = 'running'
)sql"};

constexpr PgStatement kNoteFirstShown = {"note_first_shown", R"sql(
  INSERT INTO replays (app_id, up_to, matched, replayed, max_replays, kind, state, finished_at, operator, reason, filter)
  VALUES ($1, 0, $2, $2, 0, 'export', 'done', clock_timestamp(), $3, $4, $5::jsonb) RETURNING replay_id
)sql"};

constexpr PgStatement kNoteShown = {"note_shown", R"sql(
  UPDATE replays SET matched = matched + $2, replayed = replayed + $2, finished_at = clock_timestamp()
  WHERE replay_id = $1 AND kind = 'export' RETURNING replay_id
)sql"};

absl::string_view ToString(ReplayKind kind) {
  switch (kind) {
    case ReplayKind::kReplay:
      return "replay";
    case ReplayKind::kPurge:
      return "purge";
    case ReplayKind::kExport:
      return "export";
  }
  return "replay";
}

ReplayKind ParseKind(absl::string_view text) {
  if (text == "purge") return ReplayKind::kPurge;
  return text == "export" ? ReplayKind::kExport : ReplayKind::kReplay;
}

absl::string_view ToString(ReplayState state) {
  switch (state) {
    case ReplayState::kRunning:
      return "running";
    case ReplayState::kDone:
      return "done";
    case ReplayState::kInterrupted:
      return "interrupted";
    case ReplayState::kFailing:
      return "failing";
  }
  return "running";
}

ReplayState ParseReplayState(absl::string_view text) {
  if (text == "done") return ReplayState::kDone;
  if (text == "failing") return ReplayState::kFailing;
  return text == "interrupted" ? ReplayState::kInterrupted : ReplayState::kRunning;
}

void ReadCounts(const pqxx::row& row, ReplayCounts& counts) {
  counts.replayed = row["replayed"].as<int64_t>();
  counts.expired = row["expired"].as<int64_t>();
  counts.ended = row["ended"].as<int64_t>();
  counts.poison = row["poison"].as<int64_t>();
  counts.unroutable = row["unroutable"].as<int64_t>();
  counts.died_again = row["died_again"].as<int64_t>();
}

Replay ToReplay(const pqxx::row& row) {
  Replay replay{.id = UuidOf(row["replay_id"]),
                .order = {.app = AppId(row["app_id"].as<int64_t>()),
                          .kind = ParseKind(Text(row["kind"])),
                          .operator_name = OwnedText(row["operator"]),
                          .reason = OwnedText(row["reason"]),
                          .filter = DecodeFilter(Text(row["filter"])),
                          .limit = row["most"].as<int64_t>(),
                          .max_replays = row["max_replays"].as<int>()},
                .app_key = OwnedText(row["app_key"]),
                .state = ParseReplayState(Text(row["state"])),
                .counts = {},
                .start_time = TimeOf(row["started_us"]),
                .finish_time = {},
                .detail = OwnedText(row["detail"])};
  ReadCounts(row, replay.counts);
  replay.counts.matched = row["matched"].as<int64_t>();
  replay.counts.taken = row["taken"].as<int64_t>();
  if (!row["finished_us"].is_null()) replay.finish_time = TimeOf(row["finished_us"]);
  return replay;
}

absl::Status IsSomebodyElses(const ReplayRun& run) {
  return error::CannotGoOn(run.replay.id.ToString(), "run by somebody else");
}

// It may be one whose server is gone: nobody knows for as long as its lease lasts.
absl::Status IsRunning(const Uuid& id) {
  ErrorDetails details = DetailsOf(error::CannotGoOn(id.ToString(), ToString(ReplayState::kRunning)));
  details.retry_delay = kReplayLease;
  return MakeError(
      absl::StatusCode::kFailedPrecondition,
      absl::StrCat("replay ", id.ToString(), " can't be gone on with: it is running; if its server is gone, it can be ",
                   absl::ToInt64Seconds(kReplayLease), " s after that"),
      details);
}

// What there is for it now.
void Measure(pqxx::transaction_base& transaction, ReplayRun& run) {
  const pqxx::row row =
      transaction.exec1(absl::StrCat("SELECT count(*), coalesce(max(d.dead_letter_id), 0) FROM dead_letters d WHERE ",
                                     FilterCondition(transaction, run.replay.order.filter)));
  const int64_t limit = run.replay.order.limit;
  run.replay.counts.matched = row[0].as<int64_t>();
  if (limit > 0) run.replay.counts.matched = std::min(run.replay.counts.matched, limit);
  run.up_to = row[1].as<int64_t>();
}

const int64_t kLeaseMicroseconds = absl::ToInt64Microseconds(kReplayLease);

}  // namespace

absl::Status KeepProgress(PgSession& session, pqxx::transaction_base& transaction, const ReplayRun& run) {
  const ReplayCounts& counts = run.replay.counts;
  const bool kept = session
                        .Execute(transaction, kKeepProgress, run.replay.id.ToString(), run.epoch, run.position,
                                 counts.replayed, counts.expired, counts.ended, counts.poison, counts.unroutable)
                        .affected_rows() > 0;
  return kept ? absl::OkStatus() : IsSomebodyElses(run);
}

absl::StatusOr<ReplayRun> PostgresReplayStore::Begin(const ReplayOrder& order) {
  ReplayRun run;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    run = {.replay = {.order = order}};
    Measure(transaction, run);
    const pqxx::row row = session.Execute(
        transaction, kBegin, order.app.value(), run.up_to, order.limit, run.replay.counts.matched, order.max_replays,
        std::string(ToString(order.kind)), order.operator_name, order.reason, EncodeFilter(order.filter))[0];
    run.replay.id = UuidOf(row["replay_id"]);
    run.replay.start_time = TimeOf(row["started_us"]);
    run.epoch = row["epoch"].as<int>();
    return absl::OkStatus();
  }));
  return run;
}

absl::StatusOr<ReplayRun> PostgresReplayStore::Rehearse(const ReplayOrder& order) {
  ReplayRun run{.replay = {.order = order}, .is_rehearsal = true};
  RETURN_IF_ERROR(pool_->Run([&](PgSession&, pqxx::transaction_base& transaction) { Measure(transaction, run); }));
  return run;
}

absl::StatusOr<ReplayRun> PostgresReplayStore::Resume(const Uuid& id, const std::string& operator_name) {
  static const std::string sql = absl::StrCat("SELECT ", kColumns, " FROM replays r WHERE r.replay_id = $2");
  static const PgStatement kRead = {"read_replay", sql.c_str()};
  std::optional<ReplayRun> run;
  bool is_ours = false;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    run.reset();
    is_ours =
        session.Execute(transaction, kTakeOver, id.ToString(), kLeaseMicroseconds, operator_name).affected_rows() > 0;
    const pqxx::result rows = session.Execute(transaction, kRead, kLeaseMicroseconds, id.ToString());
    if (rows.empty()) return absl::OkStatus();
    run = ReplayRun{.replay = ToReplay(rows[0]),
                    .up_to = rows[0]["up_to"].as<int64_t>(),
                    .position = rows[0]["position"].as<int64_t>(),
                    .epoch = rows[0]["epoch"].as<int>()};
    return absl::OkStatus();
  }));
  if (!run.has_value()) return error::NotFound("replay", id.ToString());
  if (!is_ours) {
    const bool is_replay = run->replay.order.kind == ReplayKind::kReplay;
    if (is_replay && run->replay.state == ReplayState::kRunning) return IsRunning(id);
    return error::CannotGoOn(id.ToString(), is_replay ? ToString(run->replay.state) : ToString(run->replay.order.kind));
  }
  return *std::move(run);
}

absl::StatusOr<int> PostgresReplayStore::PurgeStep(ReplayRun& run, int limit) {
  ReplayRun next;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    const pqxx::row deleted = transaction.exec_params1(
        absl::StrCat("WITH deleted AS (DELETE FROM dead_letters WHERE dead_letter_id IN (SELECT d.dead_letter_id"
                     " FROM dead_letters d WHERE ",
                     RunCondition(transaction, run),
                     " AND d.dead_letter_id > $1 ORDER BY d.dead_letter_id LIMIT $2 FOR UPDATE SKIP LOCKED)"
                     " RETURNING dead_letter_id) SELECT count(*), coalesce(max(dead_letter_id), $1) FROM deleted"),
        run.position, limit);
    next = run;
    next.replay.counts.replayed += deleted[0].as<int64_t>();
    next.position = deleted[1].as<int64_t>();
    return KeepProgress(session, transaction, next);
  }));
  const int64_t before = std::exchange(run, std::move(next)).replay.counts.replayed;
  return static_cast<int>(run.replay.counts.replayed - before);
}

absl::StatusOr<bool> PostgresReplayStore::HasMore(const ReplayRun& run) {
  ReplayRun again = run;
  again.looks_again = true;
  bool has_more = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession&, pqxx::transaction_base& transaction) {
    has_more =
        !transaction
             .exec(absl::StrCat("SELECT FROM dead_letters d WHERE ", RunCondition(transaction, again), " LIMIT 1"))
             .empty();
  }));
  return has_more;
}

absl::StatusOr<bool> PostgresReplayStore::Attend(ReplayRun& run, int streak) {
  if (run.is_rehearsal) return false;
  const std::string id = run.replay.id.ToString();
  bool is_ours = false;
  bool all_died = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows = session.Execute(transaction, kAttend, id, run.epoch);
    is_ours = !rows.empty();
    if (!is_ours) return;
    ReadCounts(rows[0], run.replay.counts);
    if (!run.looks_again) run.position = rows[0]["position"].as<int64_t>();
    all_died =
        run.replay.counts.died_again >= streak && session.Execute(transaction, kStreak, id, streak)[0][0].as<bool>();
  }));
  if (!is_ours) return IsSomebodyElses(run);
  return all_died;
}

absl::Status PostgresReplayStore::Finish(ReplayRun& run, ReplayState state, const std::string& detail) {
  ReplayCounts& counts = run.replay.counts;
  run.replay.state = state;
  run.replay.detail = detail;
  if (state == ReplayState::kDone) counts.taken = std::max<int64_t>(0, counts.matched - counts.looked_at());
  if (run.is_rehearsal) return absl::OkStatus();
  bool is_ours = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    is_ours = session
                  .Execute(transaction, kFinish, run.replay.id.ToString(), run.epoch, std::string(ToString(state)),
                           OrNull(detail))
                  .affected_rows() > 0;
  }));
  return is_ours ? absl::OkStatus() : IsSomebodyElses(run);
}

absl::StatusOr<Uuid> PostgresReplayStore::NoteShown(const ReplayOrder& order, std::optional<Uuid> id, int letters) {
  Uuid noted;
  bool found = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    const pqxx::result rows = id.has_value()
                                  ? session.Execute(transaction, kNoteShown, id->ToString(), letters)
                                  : session.Execute(transaction, kNoteFirstShown, order.app.value(), letters,
                                                    order.operator_name, order.reason, EncodeFilter(order.filter));
    found = !rows.empty();
    if (found) noted = UuidOf(rows[0][0]);
  }));
  if (!found) return error::NotFound("export", id->ToString());
  return noted;
}

absl::StatusOr<std::vector<Replay>> PostgresReplayStore::List(std::optional<Uuid> older_than, int limit) {
  static constexpr absl::string_view kNewest = "ffffffff-ffff-ffff-ffff-ffffffffffff";
  static const std::string sql =
      absl::StrCat("SELECT ", kColumns, " FROM replays r WHERE r.replay_id < $2 ORDER BY r.replay_id DESC LIMIT $3");
  static const PgStatement kList = {"list_replays", sql.c_str()};
  const std::string before = older_than.has_value() ? older_than->ToString() : std::string(kNewest);
  std::vector<Replay> replays;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    replays.clear();
    for (const auto& row : session.Execute(transaction, kList, kLeaseMicroseconds, before, limit)) {
      replays.push_back(ToReplay(row));
    }
  }));
  return replays;
}

}  // namespace carillon
