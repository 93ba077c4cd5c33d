#include "client/bench/reachable.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "client/bench/send_requests.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr absl::Duration kStatementTimeout = absl::Minutes(1);
constexpr absl::Duration kLook = absl::Milliseconds(250);
constexpr absl::Duration kStandstill = absl::Seconds(30);

// $1: the app's key, $2: user ids.
constexpr const char* kMakePeople = R"sql(
  WITH people AS MATERIALIZED (
    SELECT app_id, id, number FROM apps, unnest($2::text[]) WITH ORDINALITY AS asked (id, number) WHERE app_key = $1
  ), devices AS (
    INSERT INTO devices (app_id, recipient_id, channel, device_id, token)
    SELECT app_id, id, channel, md5(channel || id),
           CASE channel WHEN 'apns' THEN md5(id) || md5('apns' || id) ELSE 'fcm-' || md5(id) END
    FROM people, unnest(ARRAY['apns', 'fcm']) AS channel
    ON CONFLICT DO NOTHING
  )
  INSERT INTO recipients (app_id, recipient_id, email, phone)
  SELECT app_id, id, id || '@example.test', '+49151' || lpad(number::text, 8, '0') FROM people
  ON CONFLICT DO NOTHING
)sql";

// $1: the app's key, $2 and $3: user ids from and below, $4: type, $5: since, in
// microseconds since 1970, $6: channel. The time of acceptance is that of the id.
constexpr const char* kReadDeliveries = R"sql(
  SELECT d.state, (extract(epoch FROM d.finished_at) * 1e6)::bigint AS ended_us,
         ('x' || left(replace(d.notification_id::text, '-', ''), 12))::bit(48)::bigint * 1000 AS accepted_us
  FROM apps JOIN deliveries d USING (app_id)
  WHERE app_key = $1 AND d.recipient_id >= $2 AND d.recipient_id < $3 AND d.type = $4
    AND d.notification_id >= uuid_floor(to_timestamp($5::bigint / 1e6)) AND d.channel = $6
)sql";

constexpr const char* kReadNotifications = R"sql(
  SELECT n.state, (extract(epoch FROM n.finished_at) * 1e6)::bigint AS ended_us,
         ('x' || left(replace(n.notification_id::text, '-', ''), 12))::bit(48)::bigint * 1000 AS accepted_us
  FROM apps JOIN notifications n USING (app_id)
  WHERE app_key = $1 AND n.recipient_id COLLATE "C" >= $2 AND n.recipient_id COLLATE "C" < $3 AND n.type = $4
    AND n.notification_id >= uuid_floor(to_timestamp($5::bigint / 1e6)) AND $6 = 'in_app'
)sql";

std::string NameOf(v1::Channel channel) {
  return absl::AsciiStrToLower(absl::StripPrefix(v1::Channel_Name(channel), "CHANNEL_"));
}

Outcomes OutcomesOf(const pqxx::result& rows) {
  Outcomes outcomes;
  absl::Time first = absl::InfiniteFuture(), last = absl::InfinitePast();
  for (const auto& row : rows) {
    ++outcomes.states[row["state"].as<std::string>()];
    const absl::Time accepted = absl::FromUnixMicros(row["accepted_us"].as<int64_t>());
    first = std::min(first, accepted);
    if (row["ended_us"].is_null()) continue;
    const absl::Time ended = absl::FromUnixMicros(row["ended_us"].as<int64_t>());
    last = std::max(last, ended);
    outcomes.accepted_to_end.push_back(ended - accepted);
  }
  if (last > first) outcomes.span = last - first;
  return outcomes;
}

}  // namespace

int64_t Outcomes::of(const std::string& state) const {
  const auto found = states.find(state);
  return found == states.end() ? 0 : found->second;
}

int64_t Outcomes::all() const {
  int64_t sum = 0;
  for (const auto& [state, count] : states) sum += count;
  return sum;
}

ReachablePeople::ReachablePeople(const BenchOptions& options)
    : app_key_(options.client.app_key),
      session_(
          {.url = options.database_url, .application_name = "carillon-bench", .statement_timeout = kStatementTimeout}) {
}

absl::Status ReachablePeople::Make(const std::string& group, int users) {
  PgArray ids;
  for (const std::string& id : UserIds(group, users)) ids.Add(id);
  return session_.Run(
      [&](pqxx::transaction_base& transaction) { transaction.exec_params(kMakePeople, app_key_, ids.str()); });
}

absl::StatusOr<Outcomes> ReachablePeople::Read(const std::string& group, const std::string& type, v1::Channel channel,
                                               absl::Time since) {
  const char* const sql = channel == v1::CHANNEL_IN_APP ? kReadNotifications : kReadDeliveries;
  Outcomes outcomes;
  RETURN_IF_ERROR(session_.Run([&](pqxx::transaction_base& transaction) {
    outcomes =
        OutcomesOf(transaction.exec_params(sql, app_key_, absl::StrCat(group, "-user-"), absl::StrCat(group, "-user."),
                                           type, absl::ToUnixMicros(since), NameOf(channel)));
  }));
  return outcomes;
}

absl::StatusOr<Outcomes> ReachablePeople::WaitForEnd(const std::string& group, const std::string& type,
                                                     v1::Channel channel, absl::Time since, int64_t count,
                                                     absl::Duration patience) {
  absl::Duration moved = MonotonicNow();
  int64_t seen = -1;
  while (true) {
    ASSIGN_OR_RETURN(Outcomes outcomes, Read(group, type, channel, since));
    const int64_t open = outcomes.open() + outcomes.of("accepted");
    if (outcomes.all() >= count && open == 0) return outcomes;
    if (outcomes.all() - open != seen) moved = MonotonicNow();
    seen = outcomes.all() - open;
    if (MonotonicNow() - moved > kStandstill + patience) {
      return absl::DeadlineExceededError(absl::StrCat(seen, " of ", count, " have ended, and no more do"));
    }
    absl::SleepFor(kLook);
  }
}

}  // namespace carillon::bench
