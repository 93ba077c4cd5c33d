// How a decision is carried out: PostgresFeedStore::Deliver.
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/delivery_sql.h"
#include "carillon/postgres/feed_store.h"

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
                         $17::json[], $18::bigint[], $19::smallint[], $20::text[])
      WITH ORDINALITY AS rows (notification_id, app_id, recipient_id, retention_days, state, detail, type, title,
                               body, actor_id, actor_name, actor_picture_url, image_url, action_link, badge, object_id,
                               data, created_us, open_deliveries, outcome, position)
    ORDER BY notification_id
  ), decided AS (
    UPDATE notifications n
    SET state = CASE WHEN input.open_deliveries IS NULL THEN input.state ELSE n.state END,
        detail = CASE WHEN input.open_deliveries IS NULL THEN input.detail END,
        finished_at = CASE WHEN input.open_deliveries IS NULL THEN clock_timestamp() END,
        open_deliveries = input.open_deliveries, outcome = input.outcome
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

// Their deliveries, with their outbox rows; those that end before they begin are
// counted and told.
constexpr char kBeginDeliveries[] = R"sql(
  , outgoing AS MATERIALIZED (
    SELECT decided.app_id, decided.recipient_id, decided.retention_days, decided.type, d.*
    FROM unnest($21::uuid[], $22::uuid[], $23::text[], $24::text[], $25::text[], $26::text[], $27::text[], $28::text[], $29::bytea[])
      AS d (notification_id, delivery_id, lane, channel, device_id, state, detail, traceparent, payload)
    JOIN decided ON decided.notification_id = d.notification_id
  ), begun AS (
    INSERT INTO deliveries (notification_id, delivery_id, app_id, finished_at, retention_days, lane, channel, state, type,
                            recipient_id, device_id, detail, payload)
    SELECT notification_id, delivery_id, app_id, CASE WHEN state <> 'pending' THEN clock_timestamp() END, retention_days, lane,
           channel, state, type, recipient_id, device_id, detail, payload
    FROM outgoing
  ), queued AS (
    INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, traceparent, payload)
    SELECT delivery_id, app_id, lane, 'carillon.delivery', lane || '.' || channel, type, traceparent, payload
    FROM outgoing WHERE state = 'pending'
  ), changed AS MATERIALIZED (
    SELECT *, NULL::text AS provider, NULL::text AS provider_message_id, NULL::text AS code
    FROM outgoing WHERE state <> 'pending'
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
    AddOutcome(delivery);
  }

  template <typename... More>
  pqxx::result Execute(PgSession& session, pqxx::transaction_base& transaction, const PgStatement& statement,
                       const More&... more) const {
    return session.Execute(transaction, statement, ids_.str(), apps_.str(), recipients_.str(), retentions_.str(),
                           states_.str(), details_.str(), types_.str(), titles_.str(), bodies_.str(), actors_.str(),
                           actor_names_.str(), actor_pictures_.str(), images_.str(), links_.str(), badges_.str(),
                           objects_.str(), data_.str(), created_.str(), open_.str(), outcomes_.str(), more...);
  }

 private:
  // What is open, and the best of what has ended already.
  void AddOutcome(const FeedDelivery& delivery) {
    int64_t open = 0;
    for (const NewDelivery& one : delivery.deliveries) open += one.state == DeliveryState::kPending;
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
      actor_pictures_, images_, links_, badges_, objects_, data_, created_, open_, outcomes_;
};

// The parameters of kBeginDeliveries.
struct DeliveryColumns {
  void Add(const FeedDelivery& decision) {
    for (const NewDelivery& delivery : decision.deliveries) {
      notifications.Add(decision.item.id);
      ids.Add(delivery.id);
      lanes.Add(ToString(decision.lane));
      channels.Add(ToString(delivery.channel));
      devices.AddOrNull(delivery.device_id);
      states.Add(ToString(delivery.state));
      details.AddOrNull(delivery.detail);
      traceparents.AddOrNull(decision.traceparent);
      payloads.AddBytesOrNull(delivery.envelope);
      any = true;
    }
  }

  bool any = false;
  PgArray notifications, ids, lanes, channels, devices, states, details, traceparents, payloads;
};

}  // namespace

absl::StatusOr<std::vector<DeliveryOutcome>> PostgresFeedStore::Deliver(absl::Span<const FeedDelivery> decisions) {
  static const std::string in_app_sql = absl::StrCat(kDecide, kNumbers);
  static const std::string external_sql = absl::StrCat(kDecide, kBeginDeliveries, kCountAndTell, kNumbers);
  static const PgStatement kDeliver = {"deliver", in_app_sql.c_str()};
  static const PgStatement kDeliverOutside = {"deliver_outside", external_sql.c_str()};
  DecisionColumns columns;
  DeliveryColumns outgoing;
  for (const FeedDelivery& decision : decisions) {
    columns.Add(decision);
    outgoing.Add(decision);
  }
  std::vector<DeliveryOutcome> outcomes;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    outcomes.assign(decisions.size(), {});
    const pqxx::result rows =
        outgoing.any ? columns.Execute(session, transaction, kDeliverOutside, outgoing.notifications.str(),
                                       outgoing.ids.str(), outgoing.lanes.str(), outgoing.channels.str(),
                                       outgoing.devices.str(), outgoing.states.str(), outgoing.details.str(),
                                       outgoing.traceparents.str(), outgoing.payloads.str())
                     : columns.Execute(session, transaction, kDeliver);
    for (const auto& row : rows) {
      outcomes[row[0].as<size_t>() - 1] = {.applied = true, .seq = row[1].as<int64_t>()};
    }
  }));
  return outcomes;
}

}  // namespace carillon
