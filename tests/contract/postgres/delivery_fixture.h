// What the tests of deliveries share: an app, a recipient, notifications on their way
// to external channels.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "carillon/domain/dead_letter.h"
#include "carillon/postgres/delivery_store.h"
#include "carillon/postgres/feed_store.h"
#include "tests/contract/postgres/postgres_fixture.h"

namespace carillon::testing {

// A call to a provider, at a time as the database keeps it.
DeliveryAttempt AttemptAt(absl::Time time, AttemptOutcome outcome, const std::string& message_id = "");

class DeliveryTest : public PostgresTest {
 protected:
  // A notification and the deliveries that it began.
  struct Begun {
    NotificationId id;
    std::vector<Delivery> deliveries;
  };

  void SetUp() override;

  // Accepted, and gone from the outbox.
  NewNotification Accepted(const std::string& recipient = "ann", absl::Time time = absl::Now());
  // A decision to send it to these channels, and to the feed if it is asked for.
  static FeedDelivery DecisionFor(const NewNotification& item, const std::vector<Channel>& channels,
                                  bool to_feed = false);
  static NewDelivery Pending(const NewNotification& item, Channel channel, const std::string& device = "");
  static NewDelivery Suppressed(Channel channel, const std::string& why);
  static std::vector<Delivery> DeliveriesIn(const FeedDelivery& decision, const NewNotification& item);
  void Decide(const FeedDelivery& decision);
  // All of that; nothing of it is left in the outbox.
  Begun Begin(const std::vector<Channel>& channels, bool to_feed = false);
  Delivery BeginOne(Channel channel = Channel::kEmail) { return Begin({channel}).deliveries.front(); }

  ClaimResult Claim(const Delivery& delivery, bool take_over = false, absl::Duration lease = absl::Seconds(60));
  static DeliveryUpdate UpdateOf(const Delivery& delivery, int claim, DeliveryState state);
  void Record(const DeliveryUpdate& update);
  // Claims it and records this.
  void End(const Delivery& delivery, DeliveryState state, const std::string& detail = "");
  // Claims it and has it wait until then.
  void Hold(const Delivery& delivery, absl::Time until, HoldCause cause = HoldCause::kProvider);
  DeliveryRecord Kept(const Delivery& delivery);

  // One that was given up, and the states of all letters of it.
  DeadLetter LetterOf(const Delivery& delivery) const;
  static std::string LetterStates(const Delivery& delivery);

  // state, open deliveries, outcome, detail and whether it has ended.
  static std::string StateOf(const NotificationId& id);
  static std::string InDeliveries(const std::string& expression, const Delivery& delivery);
  // The events in the outbox, in their order.
  static std::string Events(const std::string& expression = "routing_key");
  // channel, kind and count, of this app.
  std::string Stats() const;
  static std::string CountRows(const std::string& table);

  static AppId NewStoredApp();
  const AppId app_ = NewStoredApp();
  PostgresFeedStore feeds_{MakePool(2)};
  PostgresDeliveryStore store_{MakePool(4)};
};

}  // namespace carillon::testing
