// How a decision is carried out: PostgresFeedStore::Deliver.
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_begin.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/trail_json.h"

namespace carillon {
namespace {

// Only what was not decided before changes and gets a number and an item, so a
// repeated delivery changes nothing. Notifications are locked in the order of their
// ids, then heads in the order of recipients: never in a circle, and the heads for
// as short as can be.
constexpr char kDecide[] = R"sql(
  WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::text[], $8::text[],
                         $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                         $17::json[], $18::bigint[], $19::smallint[], $20::text[], $21::jsonb[])
      WITH ORDINALITY AS rows (notification_id, app_id, recipient_id, retention_days, state, detail, type, title,
                               body, actor_id, actor_name, actor_picture_url, image_url, action_link, badge, object_id,
                               data, created_us, open_deliveries, outcome, trail, position)
    ORDER BY notification_id
  ), decided AS (
    UPDATE notifications n
    SET state = CASE WHEN input.open_deliveries IS NULL THEN input.state ELSE n.state END,
        detail = CASE WHEN input.open_deliveries IS NULL THEN input.detail END,
        finished_at = CASE WHEN input.open_deliveries IS NULL THEN clock_timestamp() END,
        open_deliveries = input.open_deliveries, outcome = input.outcome, trail = input.trail
    FROM input
    WHERE n.notification_id = input.notification_id AND n.retention_days = input.retention_days
      AND n.app_id = input.app_id AND n.recipient_id = input.recipient_id
      AND n.finished_at IS NULL AND n.open_deliveries IS NULL
    RETURNING input.*
  ), shown AS MATERIALIZED (
    SELECT *, row_number() OVER (PARTITION BY app_id, recipient_id ORDER BY notification_id) AS rank,
           count(*) OVER (PARTITION BY app_id, recipient_id) AS added
    FROM decided WHERE state = 'delivered'
  ), heads AS (
    INSERT INTO feed_heads AS head (app_id, recipient_id, last_seq, unread, event_position)
    SELECT app_id, recipient_id, added, added, coalesce((SELECT position FROM event_positions p WHERE p.app_id = shown.app_id), 0)
    FROM shown WHERE rank = 1 ORDER BY app_id, recipient_id
    ON CONFLICT (app_id, recipient_id) DO UPDATE
    SET last_seq = head.last_seq + EXCLUDED.last_seq, unread = head.unread + EXCLUDED.unread
    RETURNING app_id, recipient_id, last_seq
  ), numbered AS MATERIALIZED (
    SELECT shown.*, last_seq - added + rank AS seq FROM shown JOIN heads USING (app_id, recipient_id)
  ), items AS (
    INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, body, actor_id,
                            actor_name, actor_picture_url, image_url, action_link, badge, object_id, data)
    SELECT notification_id, app_id, seq, to_timestamp(created_us / 1e6::float8), retention_days, recipient_id, type,
           title, body, actor_id, actor_name, actor_picture_url, image_url, action_link, badge, object_id, data
    FROM numbered
  ), counted_items AS (
    INSERT INTO daily_stats AS stats (app_id, count, day, part, type, channel, kind)
    SELECT app_id, count(*), (now() AT TIME ZONE 'UTC')::date, pg_backend_pid() % 8, type, 'in_app', 'sent'
    FROM numbered GROUP BY app_id, type ORDER BY app_id, type
    ON CONFLICT (app_id, day, type, channel, kind, part) DO UPDATE SET count = stats.count + EXCLUDED.count
  )
)sql";

constexpr char kNumbers[] = R"sql(
  SELECT position, seq FROM numbered
  UNION ALL
  SELECT position, 0 FROM decided WHERE state <> 'delivered'
)sql";

// The parameters of kDecide, column by column.
class DecisionColumns {
 public:
  void Add(const FeedDelivery& delivery) {
    const FeedItem& item = delivery.item;
    ids_.Add(item.id);
    apps_.Add(delivery.key.app.value());
    recipients_.Add(delivery.key.recipient.value());
    retentions_.Add(delivery.retention_days);
    states_.Add(ToString(delivery.state));
    details_.AddOrNull(delivery.detail);
    types_.Add(item.type);
    titles_.Add(item.title);
    bodies_.AddOrNull(item.body);
    actors_.AddOrNull(item.actor_id);
    actor_names_.AddOrNull(item.actor_name);
    actor_pictures_.AddOrNull(item.actor_picture_url);
    images_.AddOrNull(item.image_url);
    links_.AddOrNull(item.action_link);
    badges_.AddOrNull(item.badge);
    objects_.AddOrNull(item.object_id);
    data_.AddOrNull(item.data_json);
    created_.Add(item.create_time);
    delivery.trail.has_value() ? trails_.Add(EncodeTrail(*delivery.trail)) : trails_.AddNull();
    AddOutcome(delivery);
  }

  // With what `execute` is called: every parameter of kDecide.
  template <typename Executor>
  pqxx::result Execute(Executor execute) const {
    return execute(ids_.str(), apps_.str(), recipients_.str(), retentions_.str(), states_.str(), details_.str(),
                   types_.str(), titles_.str(), bodies_.str(), actors_.str(), actor_names_.str(), actor_pictures_.str(),
                   images_.str(), links_.str(), badges_.str(), objects_.str(), data_.str(), created_.str(), open_.str(),
                   outcomes_.str(), trails_.str());
  }

 private:
  // What is open, and the best of what has ended already.
  void AddOutcome(const FeedDelivery& delivery) {
    int64_t open = 0;
    for (const NewDelivery& one : delivery.deliveries) open += !IsTerminal(one.fate.state);
    if (open == 0) {
      open_.AddNull();
      outcomes_.AddNull();
      return;
    }
    const bool all_open = open == static_cast<int64_t>(delivery.deliveries.size());
    open_.Add(open);
    if (delivery.state == State::kDelivered) {
      outcomes_.Add("delivered");
    } else {
      all_open ? outcomes_.AddNull() : outcomes_.Add("suppressed");
    }
  }

  PgArray ids_, apps_, recipients_, retentions_, states_, details_, types_, titles_, bodies_, actors_, actor_names_,
      actor_pictures_, images_, links_, badges_, objects_, data_, created_, open_, outcomes_, trails_;
};

DeliveryOrigin OriginOf(const FeedDelivery& decision) {
  return {.notification_id = decision.item.id,
          .key = decision.key,
          .retention_days = decision.retention_days,
          .type = decision.item.type,
          .lane = decision.lane,
          .exchange = decision.exchange,
          .routing_key = decision.routing_key,
          .traceparent = decision.traceparent};
}

// Only those of notifications that were decided now.
std::string DeliverOutsideSql() {
  return absl::StrCat(kDecide, ", ",
                      OutgoingSql("outgoing", 22, "JOIN decided ON decided.notification_id = d.notification_id"),
                      BeginOutgoingSql(), kCountAndTell, kNumbers);
}

}  // namespace

absl::StatusOr<std::vector<DeliveryOutcome>> PostgresFeedStore::Deliver(absl::Span<const FeedDelivery> decisions) {
  static const std::string in_app_sql = absl::StrCat(kDecide, kNumbers);
  static const std::string external_sql = DeliverOutsideSql();
  static const PgStatement kDeliver = {"deliver", in_app_sql.c_str()};
  static const PgStatement kDeliverOutside = {"deliver_outside", external_sql.c_str()};
  DecisionColumns columns;
  OutgoingColumns outgoing;
  // One that came twice is decided once, or its deliveries would be begun twice.
  absl::flat_hash_set<NotificationId> named;
  std::vector<size_t> positions;
  for (size_t i = 0; i < decisions.size(); ++i) {
    if (!named.insert(decisions[i].item.id).second) continue;
    positions.push_back(i);
    columns.Add(decisions[i]);
    for (const NewDelivery& delivery : decisions[i].deliveries) outgoing.Add(OriginOf(decisions[i]), delivery);
  }
  const PgStatement& statement = outgoing.any() ? kDeliverOutside : kDeliver;
  std::vector<DeliveryOutcome> outcomes;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    outcomes.assign(decisions.size(), {});
    const pqxx::result rows = columns.Execute([&](const auto&... own) {
      return outgoing.any() ? outgoing.Execute(session, transaction, statement, own...)
                            : session.Execute(transaction, statement, own...);
    });
    for (const auto& row : rows) {
      outcomes[positions[row[0].as<size_t>() - 1]] = {.applied = true, .seq = row[1].as<int64_t>()};
    }
  }));
  return outcomes;
}

}  // namespace carillon
