#include "tests/contract/postgres/person_fixture.h"

#include <gmock/gmock.h>

#include <regex>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "carillon/postgres/arrays.h"
#include "carillon/v1/notification_service.pb.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

// {id:DAYS} stands for a new id of so many days from now.
std::string WithIds(std::string text) {
  static const std::regex kId(R"(\{id:(-?\d+)\})");
  std::smatch match;
  while (std::regex_search(text, match, kId)) {
    const absl::Time time = absl::Now() + absl::Hours(24 * std::stoi(match[1]));
    text = match.prefix().str() + NewUuid7(time).ToString() + match.suffix().str();
  }
  return text;
}

// A literal of bytea.
std::string Literal(const std::string& bytes) { return absl::StrCat("('", BytesLiteral(bytes), "'::bytea[])[1]"); }

// A message about `recipient`, caused by `actor`, as a literal of bytea.
std::string Message(AppId app, const std::string& recipient, const std::string& actor) {
  Notification item = MakeNew(app, recipient).notification;
  item.actor_id = actor;
  item.data_json = R"json({"actor_name": "Ada (Lovelace)"})json";
  return Literal(EncodeEnvelope(item));
}

// What has gathered for `recipient`, and is due.
std::string Digest(AppId app, const std::string& recipient) {
  return Literal(EncodeEnvelope(DueDigest{.app = app,
                                          .id = NewUuid7(absl::Now()),
                                          .recipient = RecipientId(recipient),
                                          .channel = Channel::kEmail,
                                          .due_time = absl::Now()}));
}
std::string Window(AppId app, const std::string& recipient) {
  return Literal(EncodeEnvelope(DueWindow{.app = app,
                                          .type = "like",
                                          .id = NewUuid7(absl::Now()),
                                          .recipient = RecipientId(recipient),
                                          .object_id = "post-1",
                                          .due_time = absl::Now()}));
}

// Requests that are made again and again.
std::string SendAgain(const std::string& recipient, const std::string& actor) {
  v1::CreateRecurrenceRequest request;
  request.mutable_send()->set_user_id(recipient);
  request.mutable_send()->set_actor_id(actor);
  return Literal(request.SerializeAsString());
}
std::string TellAgain(const std::vector<std::string>& users) {
  v1::CreateRecurrenceRequest request;
  auto& list = *request.mutable_event()->mutable_audience()->mutable_users();
  for (const std::string& user : users) list.add_user_ids(user);
  return Literal(request.SerializeAsString());
}
std::string TellFollowersAgain(const std::string& followee) {
  v1::CreateRecurrenceRequest request;
  request.mutable_event()->mutable_audience()->set_followers_of(followee);
  return Literal(request.SerializeAsString());
}

constexpr const char* kContacts = R"sql(
  INSERT INTO recipients (app_id, recipient_id, email, phone) VALUES ({app}, '{me}', '{email}', '{phone}');
  INSERT INTO devices (app_id, recipient_id, channel, device_id, token) VALUES ({app}, '{me}', 'fcm', 'd{app}', '{token}');
  INSERT INTO suppressions (app_id, channel, address_hash, type, reason, address) VALUES
    ({app}, 'email', sha256(convert_to(lower('{email}'), 'UTF8')), '', '550 <{email}> unknown', lower('{email}')),
    ({app}, 'sms', sha256(convert_to('{phone}', 'UTF8')), 'digest', 'unsubscribed', '{phone}');
)sql";

// In three slices of each class: past, present and future.
constexpr const char* kOwnRows = R"sql(
  INSERT INTO notifications (notification_id, app_id, created_at, retention_days, lane, type, recipient_id, idempotency_key,
                             channels, data)
  SELECT id, {app}, now(), days, 'social', 'like', '{me}', 'key-of-{me}-' || id, '{in_app}', '{"name": "{name}"}'
  FROM unnest(ARRAY['{id:-2}', '{id:0}', '{id:9}']::uuid[]) AS id, unnest(ARRAY[1, 7, 30, 365]) AS days;
  INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title)
  SELECT id, {app}, row_number() OVER (), now(), days, '{me}', 'like', 'for {name}'
  FROM unnest(ARRAY['{id:-2}', '{id:0}', '{id:9}']::uuid[]) AS id, unnest(ARRAY[1, 7, 30, 365]) AS days;
  INSERT INTO deliveries (notification_id, delivery_id, app_id, retention_days, lane, channel, type, recipient_id, payload)
  SELECT id, new_uuid7(), {app}, days, 'social', 'email', 'like', '{me}', {to_me}
  FROM unnest(ARRAY['{id:-2}', '{id:0}', '{id:9}']::uuid[]) AS id, unnest(ARRAY[1, 7, 30, 365]) AS days;
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  SELECT notification_id, {app}, 'social', 'carillon.direct', 'social.like', 'like', {to_me} FROM notifications
  WHERE app_id = {app} AND recipient_id = '{me}' AND retention_days = 7;
  INSERT INTO outbox (message_id, app_id, lane, deferred, exchange, routing_key, type, payload)
  SELECT delivery_id, {app}, 'otp', true, 'carillon.delivery', 'otp.sms', 'like', {to_me} FROM deliveries
  WHERE app_id = {app} AND recipient_id = '{me}' AND retention_days = 7;
  INSERT INTO stragglers SELECT notification_id, 7, 'social', now() FROM notifications
  WHERE app_id = {app} AND recipient_id = '{me}' AND retention_days = 7;
  INSERT INTO idempotency_keys (app_id, created_at, expires_at, notification_id, idempotency_key, payload_hash)
  SELECT {app}, now(), now() + interval '1 day', notification_id, idempotency_key, sha256('x') FROM notifications
  WHERE app_id = {app} AND recipient_id = '{me}' AND retention_days = 7;
  INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                         exchange, routing_key, type, payload)
  VALUES ({app}, now(), '{id:0}', '{id:0}', 7, 'social', 'provider', 'email', '{me}', 'e', 'k', 'like', {to_me});
  INSERT INTO interactions (app_id, notification_id, channel, kind, recipient_id, type)
  VALUES ({app}, '{id:0}', 'email', 'opened', '{me}', 'like');
  INSERT INTO dead_letters (app_id, notification_id, state, queue, message_id, reason, payload)
  SELECT {app}, notification_id, 'dead', 'social', notification_id, 'expired', {to_me} FROM notifications
  WHERE app_id = {app} AND recipient_id = '{me}' AND retention_days = 7;
  INSERT INTO feed_heads (app_id, recipient_id, last_seq, unread) VALUES ({app}, '{me}', 20, 12);
  INSERT INTO feed_removals (app_id, recipient_id, seq, notification_id) VALUES ({app}, '{me}', 15, '{id:0}');
  INSERT INTO memberships (app_id, since_position, kind, group_id, member_id) VALUES
    ({app}, 0, 'followers', '{me}', 'bob'), ({app}, 0, 'followers', 'bob', '{me}'), ({app}, 0, 'topic', 'chess', '{me}');
)sql";

// Bob has a feed with two items by the person; one counts reactions.
constexpr const char* kTraces = R"sql(
  INSERT INTO notifications (notification_id, app_id, created_at, retention_days, lane, type, recipient_id, actor_id,
                             idempotency_key, channels, data)
  SELECT id, {app}, now(), days, 'social', 'like', 'bob', '{me}', 'like-by-{me}-' || id, '{in_app}', '{"actor_name": "{name}"}'
  FROM unnest(ARRAY['{id:-2}', '{id:0}', '{id:9}']::uuid[]) AS id, unnest(ARRAY[1, 7, 30, 365]) AS days;
  INSERT INTO idempotency_keys (app_id, created_at, expires_at, notification_id, idempotency_key, payload_hash)
  SELECT {app}, now(), now() + interval '1 day', notification_id, idempotency_key, sha256('x') FROM notifications
  WHERE app_id = {app} AND recipient_id = 'bob' AND retention_days = 7;
  INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, body, actor_id,
                          actor_name, actor_picture_url, image_url, action_link, badge, data)
  SELECT id, {app}, row_number() OVER (), now(), days, 'bob', 'like', '{name} liked your post', 'from {me}: hi', '{me}',
         '{name}', 'https://pictures/{me}', 'https://images/1', '/users/{me}', 'like', '{"actor_name": "{name}"}'
  FROM unnest(ARRAY['{id:-2}', '{id:0}', '{id:9}']::uuid[]) AS id, unnest(ARRAY[1, 7, 30, 365]) AS days;
  INSERT INTO feed_heads (app_id, recipient_id, last_seq, unread) VALUES ({app}, 'bob', 12, 12);
  INSERT INTO deliveries (notification_id, delivery_id, app_id, retention_days, lane, channel, type, recipient_id, payload)
  VALUES ('{id:0}', '{id:0}', {app}, 7, 'social', 'email', 'like', 'bob', {by_me});
  INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                         exchange, routing_key, type, payload)
  VALUES ({app}, now(), '{id:0}', '{id:0}', 7, 'social', 'provider', 'email', 'bob', 'e', 'k', 'like', {by_me});
  INSERT INTO dead_letters (app_id, notification_id, state, queue, message_id, reason, payload)
  VALUES ({app}, '{id:0}', 'dead', 'social', 'by-me-{app}', 'expired', {by_me});
  INSERT INTO events (event_id, app_id, created_at, expires_at, finished_at, retention_days, lane, state, audience, audience_id,
                      users, type, actor_id, data, item)
  VALUES ('{id:0}', {app}, now(), now() + interval '9 days', now(), 7, 'social', 'done', 'followers', '{me}', NULL, 'live', '{me}',
          '{"actor_name": "{name}"}',
          '{"title": "{name} is live", "actor_name": "{name}", "actor_picture_url": "https://p/{me}", "action_link": "/live/{me}",
            "image_url": "https://images/1", "badge": "live"}'),
         ('{id:-2}', {app}, now(), now() + interval '9 days', now(), 7, 'social', 'done', 'users', NULL, ARRAY['bob', '{me}'], 'live', NULL,
          '{"actor_name": "Bob"}', '{"title": "Bob is live"}');
  INSERT INTO event_shards (event_id, shard, done, cursor, last_id)
  SELECT event_id, 0, true, '{me}', '{me}' FROM events WHERE app_id = {app};
  INSERT INTO dedupe_windows (app_id, owner_id, expires_at, type, window_key) VALUES ({app}, '{id:0}', now() + interval '1 day', 'live', '{me}');
)sql";

// The person likes posts of Bob, one of them with Cleo; Bob and Cleo like posts of the person.
constexpr const char* kReactions = R"sql(
  INSERT INTO reactions (app_id, version, active, object_id, kind, actor_id, recipient_id, type, data) VALUES
    ({app}, 1, true, 'post-1', 'like', '{me}', 'bob', 'like', '{"actor_name": "{name}"}'),
    ({app}, 2, true, 'post-2', 'like', '{me}', 'bob', 'like', '{"actor_name": "{name}"}'),
    ({app}, 3, true, 'post-2', 'like', 'cleo', 'bob', 'like', '{"actor_name": "Cleo"}'),
    ({app}, 4, false, 'post-3', 'like', '{me}', NULL, NULL, NULL),
    ({app}, 5, true, 'mine-1', 'like', 'bob', '{me}', 'like', '{"actor_name": "Bob"}');
  INSERT INTO reactions (app_id, version, active, object_id, kind, actor_id, was_recipient_id, was_type)
  VALUES ({app}, 6, false, 'mine-2', 'like', 'cleo', '{me}', 'like');
  INSERT INTO reaction_counters (app_id, count, moved, object_id, kind) VALUES
    ({app}, 1, 1, 'post-1', 'like'), ({app}, 2, 1, 'post-2', 'like'), ({app}, 0, -1, 'post-3', 'like'), ({app}, 1, 1, 'mine-1', 'like');
  INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, actor_id,
                          actor_name, object_id, actor_count, data) VALUES
    ('{id:0}', {app}, 13, now(), 7, 'bob', 'like', '{name} liked your post', '{me}', '{name}', 'post-1', 1, '{"actor_name": "{name}"}'),
    ('{id:0}', {app}, 14, now(), 7, 'bob', 'like', '{name} liked your post', '{me}', '{name}', 'post-2', 2, '{"actor_name": "{name}"}'),
    ('{id:0}', {app}, 21, now(), 7, '{me}', 'like', 'Bob liked your post', 'bob', 'Bob', 'mine-1', 1, NULL);
  UPDATE feed_heads SET last_seq = 21, unread = unread + 2 WHERE app_id = {app};
  INSERT INTO reaction_items (app_id, count, moved, notification_id, retention_days, recipient_id, type, object_id)
  SELECT app_id, actor_count, 1, notification_id, retention_days, recipient_id, type, object_id FROM feed_items
  WHERE app_id = {app} AND actor_count IS NOT NULL;
)sql";

// What was said about being told, what gathers and waits, what is sent again and again,
// and a sender that is shut out; of Bob and Cleo, too.
constexpr const char* kSettings = R"sql(
  INSERT INTO recipient_settings (app_id, recipient_id, preferences) VALUES
    ({app}, '{me}', '[{"scope": "type", "name": "like", "channel": "email", "choice": "off"}]'), ({app}, 'bob', '[]');
  INSERT INTO mutes (app_id, recipient_id, kind, muted_id) VALUES
    ({app}, '{me}', 'actor', 'bob'), ({app}, '{me}', 'object', 'post-9'), ({app}, 'bob', 'actor', '{me}'),
    ({app}, 'cleo', 'actor', '{me}'), ({app}, 'bob', 'actor', 'cleo');
  INSERT INTO digests (digest_id, app_id, recipient_id, channel, closed_at) VALUES
    ('{id:0}', {app}, '{me}', 'email', NULL), ('{id:0}', {app}, '{me}', 'email', now()), ('{id:0}', {app}, 'bob', 'email', NULL);
  INSERT INTO digest_entries (digest_id, notification_id, delivery_id, retention_days)
  SELECT digest_id, new_uuid7(), new_uuid7(), 7 FROM digests WHERE app_id = {app};
  INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, recipient_id,
                         exchange, routing_key, type, payload)
  SELECT {app}, now(), new_uuid7(), new_uuid7(), 7, 'social', cause, 'email', recipient_id, 'e', 'k', 'like', payload
  FROM (VALUES ('hold', '{me}', {to_me}), ('send_time', '{me}', {to_me}), ('digest', '{me}', {digest_for_me}),
               ('window', '{me}', {window_for_me}), ('hold', 'bob', {by_me}), ('send_time', 'bob', {by_me}),
               ('digest', 'bob', {digest_for_bob})) AS waiting (cause, recipient_id, payload);
  INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload)
  SELECT message_id, app_id, lane, exchange, routing_key, type, payload FROM schedules
  WHERE app_id = {app} AND cause IN ('digest', 'window') AND recipient_id = '{me}';
  INSERT INTO dead_letters (app_id, state, queue, message_id, reason, payload) VALUES
    ({app}, 'dead', 'marketing.digest', 'digest-of-one-{app}', 'expired', {digest_for_me}),
    ({app}, 'dead', 'social', 'window-of-one-{app}', 'expired', {window_for_me}),
    ({app}, 'dead', 'marketing.digest', 'digest-of-bob-{app}', 'expired', {digest_for_bob});
  INSERT INTO recurrences (recurrence_id, app_id, next_at, cron, time_zone, type, recipient_id, request) VALUES
    ('{id:0}', {app}, now(), '0 9 * * *', 'UTC', 'like', '{me}', {again_to_me}),
    ('{id:0}', {app}, now(), '0 9 * * *', 'UTC', 'like', 'bob', {again_by_me}),
    ('{id:0}', {app}, now(), '0 9 * * *', 'UTC', 'like', 'bob', {again_to_bob}),
    ('{id:0}', {app}, now(), '0 9 * * *', 'UTC', 'live', NULL, {again_to_both}),
    ('{id:0}', {app}, now(), '0 9 * * *', 'UTC', 'live', NULL, {again_to_me_alone}),
    ('{id:0}', {app}, now(), '0 9 * * *', 'UTC', 'live', NULL, {again_to_followers});
  INSERT INTO tripped_senders (app_id, count, limit_per_minute, sender_id) VALUES ({app}, 101, 100, '{me}'), ({app}, 101, 100, 'bob');
)sql";

std::set<std::string> Names(const std::string& list) {
  std::set<std::string> names;
  for (const absl::string_view name : absl::StrSplit(list, ',', absl::SkipEmpty())) names.insert(std::string(name));
  return names;
}

}  // namespace

void PersonTest::SetUpTestSuite() {
  PostgresTest::SetUpTestSuite();
  Query("SELECT ensure_slices(now() - interval '3 days', now() + interval '12 days')");
}

std::string PersonTest::Sql(AppId app, const std::string& statements) {
  return Query(WithIds(absl::StrReplaceAll(statements, {{"{app}", absl::StrCat(app.value())},
                                                        {"{me}", kMe},
                                                        {"{name}", kName},
                                                        {"{email}", kEmail},
                                                        {"{phone}", kPhone},
                                                        {"{token}", kToken},
                                                        {"{to_me}", Message(app, kMe, "bob")},
                                                        {"{by_me}", Message(app, "bob", kMe)},
                                                        {"{digest_for_me}", Digest(app, kMe)},
                                                        {"{digest_for_bob}", Digest(app, "bob")},
                                                        {"{window_for_me}", Window(app, kMe)},
                                                        {"{again_to_me}", SendAgain(kMe, "bob")},
                                                        {"{again_by_me}", SendAgain("bob", kMe)},
                                                        {"{again_to_bob}", SendAgain("bob", "cleo")},
                                                        {"{again_to_both}", TellAgain({"bob", kMe})},
                                                        {"{again_to_me_alone}", TellAgain({kMe})},
                                                        {"{again_to_followers}", TellFollowersAgain(kMe)}})));
}

void PersonTest::FillAs(AppId app) {
  for (const char* statements : {kContacts, kOwnRows, kTraces, kReactions, kSettings}) Sql(app, statements);
}

int64_t PersonTest::Erase(int max_steps) {
  int64_t rows = 0;
  std::string position;
  for (int step = 0; step < max_steps; ++step) {
    const absl::StatusOr<EraseStep> taken = store_.Erase(key_, position);
    EXPECT_OK(taken);
    if (!taken.ok()) break;
    rows += taken->rows;
    position = taken->next;
    if (position.empty()) break;
  }
  return rows;
}

std::vector<ExportedRow> PersonTest::Export(int page_size) {
  std::vector<ExportedRow> rows;
  std::string position;
  do {
    const absl::StatusOr<ExportPage> page = store_.Export(key_, position, page_size);
    EXPECT_OK(page);
    if (!page.ok()) break;
    EXPECT_LE(page->rows.size(), static_cast<size_t>(page_size));
    rows.insert(rows.end(), page->rows.begin(), page->rows.end());
    position = page->next;
  } while (!position.empty());
  return rows;
}

std::set<std::string> PersonTest::TablesWith(const std::string& text) {
  static constexpr absl::string_view kSearch = R"sql(
    WITH looks AS MATERIALIZED (
      SELECT table_name, format('SELECT count(*) AS c FROM carillon.%I t WHERE lower(t::text) LIKE lower(%L)', table_name, '%{text}%') AS look
      FROM information_schema.tables WHERE table_schema = 'carillon' AND table_type = 'BASE TABLE'
      UNION ALL
      SELECT table_name, format('SELECT count(*) AS c FROM carillon.%I WHERE position(convert_to(%L, ''UTF8'') IN %I) > 0',
                                table_name, '{text}', column_name)
      FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
      WHERE table_schema = 'carillon' AND table_type = 'BASE TABLE' AND data_type = 'bytea'
    )
    SELECT string_agg(DISTINCT table_name, ',') FROM looks
    WHERE (xpath('/row/c/text()', query_to_xml(look, false, true, '')))[1]::text::int > 0
  )sql";
  return Names(Query(absl::StrReplaceAll(kSearch, {{"{text}", text}})));
}

std::set<std::string> PersonTest::TablesOfPeople() {
  return Names(Query(R"sql(
    SELECT string_agg(DISTINCT table_name::text, ',') FROM information_schema.columns c
    JOIN pg_class k ON k.relname = c.table_name AND k.relnamespace = 'carillon'::regnamespace AND NOT k.relispartition
    WHERE c.table_schema = 'carillon' AND k.relkind IN ('r', 'p')
      AND column_name ~ '(^|_)(recipient|actor|member|user|person|follower|followee|author|sender|address|email|phone|token)(_id|s)?$'
  )sql"));
}

}  // namespace carillon::testing
