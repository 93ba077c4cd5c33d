// What can still be stopped, and what can't.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/errors.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "tests/contract/postgres/delivery_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class Cancel : public DeliveryTest {
 protected:
  absl::Status Stop(const NotificationId& id) { return notifications_.Cancel(app_, id); }
  static void ExpectTooLate(const absl::Status& status, const std::string& why) {
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                                 AllOf(HasSubstr("can't be cancelled any more"), HasSubstr(why))));
    EXPECT_EQ(DetailsOf(status).reason, "CANNOT_CANCEL");
  }
  NewNotification MakeDue() {
    NewNotification item = MakeNew(app_);
    item.due_time = item.notification.send_time = absl::Now() + absl::Hours(1);
    return item;
  }
  // In a digest that is open, as a worker leaves it.
  void Fold(const Delivery& delivery) {
    Hold(delivery, absl::Now() + absl::Hours(1));
    Query(absl::StrCat("DELETE FROM schedules WHERE message_id = '", delivery.id.ToString(),
                       "'; INSERT INTO digests (digest_id, app_id, channel, recipient_id) VALUES ('",
                       delivery.id.ToString(), "', ", app_.value(),
                       ", 'email', 'ann'); INSERT INTO digest_entries VALUES ('", delivery.id.ToString(), "', '",
                       delivery.item.id.ToString(), "', '", delivery.id.ToString(), "', 7)"));
  }

  PostgresNotificationStore notifications_{MakePool(2)};
};

TEST_F(Cancel, StopsWhatIsScheduled) {
  const NewNotification item = MakeDue();
  AcceptOne(item);
  ASSERT_OK(Stop(item.notification.id));
  EXPECT_EQ(StateOf(item.notification.id), "cancelled - - cancelled by the caller ended");
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_OK(Stop(item.notification.id)) << "safe to repeat";
}

TEST_F(Cancel, StopsWhatIsStillInTheOutbox) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  ASSERT_OK(Stop(item.notification.id));
  EXPECT_EQ(StateOf(item.notification.id), "cancelled - - cancelled by the caller ended");
  EXPECT_EQ(CountRows("outbox"), "0");
  EXPECT_OK(Stop(item.notification.id));
}

TEST_F(Cancel, StopsWhatWasPutOffInTheOutbox) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  Query("UPDATE outbox SET deferred = true WHERE message_id = '" + item.notification.id.ToString() + "'");
  EXPECT_OK(Stop(item.notification.id));
  EXPECT_EQ(CountRows("outbox"), "0");
}

TEST_F(Cancel, NeitherStopsNorWaitsForWhatARelayHolds) {
  EmptyOutbox();
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  PostgresOutboxReader relay(Options(), Lane::kSocial);
  ASSERT_THAT(relay.Take(10), IsOkAndHolds(SizeIs(1)));
  ExpectTooLate(Stop(item.notification.id), "it is leaving at this moment");
  ASSERT_OK(relay.Settle({}));
  ExpectTooLate(Stop(item.notification.id), "it has left");
  EXPECT_EQ(StateOf(item.notification.id), "accepted - - - open");
}

TEST_F(Cancel, NeitherStopsNorWaitsForWhatIsBeingReleased) {
  const NewNotification item = MakeDue();
  AcceptOne(item);
  PgSession releasing(Options());
  ASSERT_OK(releasing.RunTransaction([&](pqxx::work& transaction) {
    transaction.exec("SELECT FROM schedules WHERE message_id = '" + item.notification.id.ToString() + "' FOR UPDATE");
    ExpectTooLate(Stop(item.notification.id), "it is leaving at this moment");
    return absl::OkStatus();
  }));
  EXPECT_OK(Stop(item.notification.id));
}

TEST_F(Cancel, SaysWhatHasEndedAlready) {
  const Delivery sent = BeginOne();
  End(sent, DeliveryState::kSent);
  ExpectTooLate(Stop(sent.item.id), "it has ended: it is delivered");
}

TEST_F(Cancel, FindsNothingOfAnotherApp) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  EXPECT_THAT(notifications_.Cancel(NewApp(), item.notification.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(Stop(NewUuid7(absl::Now())), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(StateOf(item.notification.id), "accepted - - - open");
}

TEST_F(Cancel, EndsWhatIsHeldForAProvider) {
  const Delivery held = BeginOne();
  Hold(held, absl::Now() + absl::Hours(1));
  ASSERT_OK(Stop(held.item.id));
  EXPECT_EQ(InDeliveries("state || ' ' || detail", held), "suppressed cancelled by the caller");
  EXPECT_EQ(StateOf(held.item.id), "cancelled 0 suppressed cancelled by the caller ended");
  EXPECT_EQ(CountRows("schedules"), "0");
  EXPECT_THAT(Events(), HasSubstr("suppressed.social.email"));
  EXPECT_OK(Stop(held.item.id));
}

TEST_F(Cancel, EndsWhatWaitsForAnOpenDigest) {
  const Delivery folded = BeginOne();
  Fold(folded);
  ASSERT_OK(Stop(folded.item.id));
  EXPECT_EQ(StateOf(folded.item.id), "cancelled 0 suppressed cancelled by the caller ended");
  EXPECT_EQ(Query("SELECT count(*) FROM digest_entries WHERE delivery_id = '" + folded.id.ToString() + "'"), "0");
}

TEST_F(Cancel, LeavesAClosedDigestWhatIsInIt) {
  const Delivery folded = BeginOne();
  Fold(folded);
  Query("UPDATE digests SET closed_at = now() WHERE digest_id = '" + folded.id.ToString() + "'");
  ExpectTooLate(Stop(folded.item.id), "what is left of it has been with a provider");
  EXPECT_EQ(InDeliveries("state", folded), "held");
}

TEST_F(Cancel, EndsTheNotificationByItsBestChannel) {
  const Begun begun = Begin({Channel::kEmail}, /*to_feed=*/true);
  Hold(begun.deliveries[0], absl::Now() + absl::Hours(1));
  ASSERT_OK(Stop(begun.id));
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
  EXPECT_EQ(InDeliveries("state", begun.deliveries[0]), "suppressed");
  EXPECT_OK(Stop(begun.id)) << "safe to repeat";
}

TEST_F(Cancel, LetsGoOnWhatIsUnderWay) {
  const Begun begun = Begin({Channel::kEmail, Channel::kSms});
  Hold(begun.deliveries[0], absl::Now() + absl::Hours(1));
  ASSERT_OK(Stop(begun.id));
  EXPECT_EQ(StateOf(begun.id), "accepted 1 suppressed cancelled by the caller open");
  End(begun.deliveries[1], DeliveryState::kSent);
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
}

TEST_F(Cancel, DoesNotUndoWhatAProviderHadOnce) {
  const Delivery held = BeginOne();
  Hold(held, absl::Now() + absl::Hours(1));
  Query("UPDATE deliveries SET resent = true WHERE delivery_id = '" + held.id.ToString() + "'");
  ExpectTooLate(Stop(held.item.id), "what is left of it has been with a provider");
  EXPECT_EQ(InDeliveries("state", held), "held");
}

}  // namespace
}  // namespace carillon::testing
