// What the tests of deliveries that wait for a time, or in a digest, share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/wire/envelope.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {

class WaitingTest : public DeliveryTest {
 protected:
  void SetUp() override {
    DeliveryTest::SetUp();
    Query("TRUNCATE digests, digest_entries");
  }

  // As the database keeps it.
  static absl::Time InAnHour() { return absl::FromUnixMicros(absl::ToUnixMicros(absl::Now() + absl::Hours(1))); }

  static DeliveryFate HeldUntil(const Delivery& delivery, absl::Time until) {
    Delivery again = delivery;
    again.decide_time = until;
    return {.state = DeliveryState::kHeld,
            .detail = "quiet hours",
            .hold_until = until,
            .again = EncodeEnvelope(again),
            .digest = {},
            .trail = TrailOf(Outcome::kHold)};
  }
  static DeliveryFate InDigest(const Delivery& delivery, absl::Time due) {
    const DueDigest digest{.app = delivery.item.app,
                           .id = NewUuid7(absl::Now()),
                           .recipient = delivery.item.recipient,
                           .channel = delivery.channel,
                           .due_time = due};
    DeliveryFate fate{.state = DeliveryState::kHeld, .detail = "wanted in a digest"};
    fate.digest = NewDigest{.id = digest.id, .due_time = due, .envelope = EncodeEnvelope(digest)};
    fate.trail = TrailOf(Outcome::kDigest);
    return fate;
  }
  static TrailEntry TrailOf(Outcome outcome) {
    return {.time = absl::FromUnixSeconds(1'800'000'000),
            .decision = {.channel = Channel::kEmail, .outcome = outcome, .until = {}, .rules = {}}};
  }

  // Decided now; its only delivery has this fate.
  template <typename MakeFate>
  FeedDelivery Waiting(const NewNotification& item, Channel channel, MakeFate make_fate) {
    FeedDelivery decision = DecisionFor(item, {channel});
    decision.exchange = "carillon.direct";
    decision.routing_key = "social.like";
    decision.deliveries.front().fate = make_fate(DeliveriesIn(decision, item).front());
    return decision;
  }
  Delivery BeginHeld(absl::Time until) {
    const NewNotification item = Accepted();
    const FeedDelivery decision =
        Waiting(item, Channel::kEmail, [&](const Delivery& delivery) { return HeldUntil(delivery, until); });
    Decide(decision);
    return DeliveriesIn(decision, item).front();
  }
  Delivery BeginInDigest(const std::string& recipient = "ann", absl::Time due = InAnHour(),
                         Channel channel = Channel::kEmail) {
    const NewNotification item = Accepted(recipient);
    const FeedDelivery decision =
        Waiting(item, channel, [&](const Delivery& delivery) { return InDigest(delivery, due); });
    Decide(decision);
    return DeliveriesIn(decision, item).front();
  }

  static int ReleaseDue(Lane lane = Lane::kSocial) {
    PostgresOutboxReader reader(Options(), lane);
    const absl::StatusOr<int> released = reader.ReleaseDue(100);
    EXPECT_OK(released);
    return released.value_or(-1);
  }
  static void MakeDue() { Query("UPDATE schedules SET due_at = now()"); }

  static std::string InSchedules(const std::string& expression, const Uuid& message_id) {
    return Query(
        absl::StrCat("SELECT ", expression, " FROM schedules WHERE message_id = '", message_id.ToString(), "'"));
  }
  // Of the oldest open one of this app's recipient.
  DueDigest OpenDigest(const std::string& recipient = "ann", Channel channel = Channel::kEmail) const {
    const std::string id =
        Query(absl::StrCat("SELECT digest_id FROM digests WHERE closed_at IS NULL AND app_id = ", app_.value(),
                           " AND recipient_id = '", recipient, "' AND channel = '", ToString(channel), "'"));
    EXPECT_NE(id, "");
    return {.app = app_,
            .id = Uuid::Parse(id).value_or(Uuid()),
            .recipient = RecipientId(recipient),
            .channel = channel,
            .due_time = absl::Now()};
  }
};

}  // namespace carillon::testing
