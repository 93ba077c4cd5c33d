#include "tests/contract/postgres/delivery_fixture.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {

DeliveryAttempt AttemptAt(absl::Time time, AttemptOutcome outcome, const std::string& message_id) {
  return {.provider = "twilio-1",
          .time = absl::FromUnixMicros(absl::ToUnixMicros(time)),
          .outcome = outcome,
          .code = "500",
          .error = "a 'quoted' \"error\" {x}, \\",
          .latency = absl::Milliseconds(120),
          .provider_message_id = message_id};
}

AppId DeliveryTest::NewStoredApp() {
  const AppId app = NewApp();
  Query(
      absl::StrCat("INSERT INTO apps (app_id, name, app_key, scopes, default_locale) OVERRIDING SYSTEM VALUE VALUES (",
                   app.value(), ", 'app-", app.value(), "', 'key-", app.value(), "', '{send}', 'de')"));
  return app;
}

void DeliveryTest::SetUp() {
  EmptyOutbox();
  Query(absl::StrCat("TRUNCATE schedules; INSERT INTO recipients (app_id, recipient_id, email, phone, locale) VALUES (",
                     app_.value(), ", 'ann', 'Ann@Example.org', '+4915112345678', 'es-MX')"));
}

NewNotification DeliveryTest::Accepted(const std::string& recipient, absl::Time time) {
  const NewNotification item = At(MakeNew(app_, recipient), time);
  AcceptOne(item);
  EmptyOutbox();
  return item;
}

NewDelivery DeliveryTest::Pending(const NewNotification& item, Channel channel, const std::string& device) {
  const Uuid id = NewUuid7(absl::Now());
  return {.id = id,
          .channel = channel,
          .device_id = device,
          .fate = {},
          .envelope =
              EncodeEnvelope(Delivery{.id = id, .channel = channel, .device_id = device, .item = item.notification})};
}

NewDelivery DeliveryTest::Suppressed(Channel channel, const std::string& why) {
  return {.id = NewUuid7(absl::Now()),
          .channel = channel,
          .device_id = {},
          .fate = {.state = DeliveryState::kSuppressed, .detail = why},
          .envelope = {}};
}

FeedDelivery DeliveryTest::DecisionFor(const NewNotification& item, const std::vector<Channel>& channels,
                                       bool to_feed) {
  FeedDelivery decision = DeliveryOf(item);
  decision.lane = Lane::kSocial;
  if (!to_feed) decision.state = State::kAccepted;
  for (const Channel channel : channels) decision.deliveries.push_back(Pending(item, channel));
  return decision;
}

std::vector<Delivery> DeliveryTest::DeliveriesIn(const FeedDelivery& decision, const NewNotification& item) {
  std::vector<Delivery> deliveries;
  for (const NewDelivery& one : decision.deliveries) {
    deliveries.push_back({.id = one.id, .channel = one.channel, .device_id = one.device_id, .item = item.notification});
  }
  return deliveries;
}

void DeliveryTest::Decide(const FeedDelivery& decision) {
  ASSERT_OK_AND_ASSIGN(const std::vector<DeliveryOutcome> outcomes, feeds_.Deliver({decision}));
  EXPECT_TRUE(outcomes.front().applied);
}

DeliveryTest::Begun DeliveryTest::Begin(const std::vector<Channel>& channels, bool to_feed) {
  const NewNotification item = Accepted();
  const FeedDelivery decision = DecisionFor(item, channels, to_feed);
  Decide(decision);
  EmptyOutbox();
  return {item.notification.id, DeliveriesIn(decision, item)};
}

ClaimResult DeliveryTest::Claim(const Delivery& delivery, bool take_over, absl::Duration lease) {
  const auto claims = store_.Claim({ClaimRequest{&delivery, take_over}}, lease);
  EXPECT_OK(claims);
  return claims.ok() ? claims->front() : ClaimResult();
}

DeliveryUpdate DeliveryTest::UpdateOf(const Delivery& delivery, int claim, DeliveryState state) {
  return {.delivery = &delivery, .claim = claim, .state = state};
}

void DeliveryTest::Record(const DeliveryUpdate& update) { ASSERT_OK(store_.Record({update})); }

void DeliveryTest::End(const Delivery& delivery, DeliveryState state, const std::string& detail) {
  DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, state);
  update.detail = detail;
  Record(update);
}

void DeliveryTest::Hold(const Delivery& delivery, absl::Time until, HoldCause cause) {
  DeliveryUpdate update = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kHeld);
  update.hold_until = until;
  update.cause = cause;
  Record(update);
}

DeliveryRecord DeliveryTest::Kept(const Delivery& delivery) {
  const auto records = store_.List(app_, delivery.item.id);
  EXPECT_OK(records);
  if (!records.ok()) return {};
  for (const DeliveryRecord& record : *records) {
    if (record.id == delivery.id) return record;
  }
  ADD_FAILURE() << "the delivery is not listed";
  return {};
}

std::string DeliveryTest::StateOf(const NotificationId& id) {
  return Query(absl::StrCat(
      "SELECT concat_ws(' ', state, coalesce(open_deliveries::text, '-'), coalesce(outcome, '-'), "
      "coalesce(detail, '-'), CASE WHEN finished_at IS NULL THEN 'open' ELSE 'ended' END) FROM notifications "
      "WHERE notification_id = '",
      id.ToString(), "'"));
}

std::string DeliveryTest::InDeliveries(const std::string& expression, const Delivery& delivery) {
  return Query(
      absl::StrCat("SELECT ", expression, " FROM deliveries WHERE delivery_id = '", delivery.id.ToString(), "'"));
}

DeadLetter DeliveryTest::LetterOf(const Delivery& delivery) const {
  return {.app = app_,
          .notification_id = delivery.item.id,
          .queue = absl::StrCat("social.", ToString(delivery.channel)),
          .lane = "social",
          .message_id = delivery.id.ToString(),
          .type = "like",
          .exchange = "carillon.delivery",
          .routing_key = absl::StrCat("social.", ToString(delivery.channel)),
          .reason = "permanent",
          .error = "twilio-1: 400 no",
          .payload = "payload",
          .delivery_id = delivery.id,
          .retention_days = delivery.item.retention_days};
}

std::string DeliveryTest::LetterStates(const Delivery& delivery) {
  return Query("SELECT string_agg(state, ' ') FROM dead_letters WHERE message_id = '" + delivery.id.ToString() + "'");
}

std::string DeliveryTest::Events(const std::string& expression) {
  return Query(absl::StrCat("SELECT string_agg(", expression,
                            ", ' ' ORDER BY routing_key) FROM outbox, LATERAL (SELECT convert_from(payload, 'UTF8')"
                            "::json AS event) AS e WHERE exchange = 'carillon.events'"));
}

std::string DeliveryTest::Stats() const {
  return Query(
      absl::StrCat("SELECT string_agg(concat_ws(' ', channel, kind, total), ', ' ORDER BY channel, kind) FROM "
                   "(SELECT channel, kind, sum(count) AS total FROM daily_stats WHERE type = 'like' AND app_id = ",
                   app_.value(), " GROUP BY channel, kind) AS one"));
}

std::string DeliveryTest::CountRows(const std::string& table) { return Query("SELECT count(*) FROM " + table); }

}  // namespace carillon::testing
