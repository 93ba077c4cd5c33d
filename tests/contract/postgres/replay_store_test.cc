#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/errors.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/wire/envelope.h"
#include "tests/contract/postgres/replay_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST_F(ReplayStoreTest, PutsANotificationBackAsItWasBeforeItDied) {
  const NewNotification item = Accepted();
  Died(item);
  const ReplayRun run = ReplayAll();
  EXPECT_EQ(run.replay.counts.matched, 1);
  EXPECT_EQ(run.replay.counts.replayed, 1);
  EXPECT_EQ(Queued(), "social <> social.like 1");
  EXPECT_EQ(Query("SELECT message_id FROM outbox"), item.notification.id.ToString());
  EXPECT_EQ(Query("SELECT encode(payload, 'hex') FROM outbox"),
            Query("SELECT encode(payload, 'hex') FROM dead_letters WHERE message_id = '" +
                  item.notification.id.ToString() + "'"));
  EXPECT_EQ(Letters(), "replayed");
  ASSERT_OK_AND_ASSIGN(const NotificationRecord record,
                       PostgresNotificationStore(MakePool(1)).Get(app_, item.notification.id));
  EXPECT_EQ(record.state, State::kAccepted);
  EXPECT_EQ(record.finish_time, std::nullopt);
  ASSERT_THAT(record.history, SizeIs(1));
  EXPECT_THAT(record.history[0].detail, HasSubstr(run.replay.id.ToString()));
  EXPECT_EQ(Query("SELECT count(*) FROM stragglers WHERE notification_id = '" + item.notification.id.ToString() + "'"),
            "1");
}

TEST_F(ReplayStoreTest, KnowsWhatDiesAgainAndLeavesWhatDiedTooOften) {
  const NewNotification item = Accepted();
  Died(item);
  ReplayOrder order = Order();
  order.max_replays = 2;
  for (int replays = 1; replays <= 2; ++replays) {
    ReplayRun run = ReplayAll(BeginRun(order));
    EXPECT_EQ(run.replay.counts.replayed, 1);
    EmptyOutbox();
    // The header that said it may be lost on the way; the table knows.
    Query("UPDATE dead_letters SET replayed_at = now() - interval '2 minutes' WHERE state = 'replayed'");
    Query("UPDATE replays SET taken_over_at = now() - interval '3 minutes'");
    Died(item, replays == 1 ? 1 : 0);
    EXPECT_THAT(store_.Attend(run, /*streak=*/1), IsOkAndHolds(true));
    EXPECT_EQ(run.replay.counts.died_again, 1);
  }
  EXPECT_EQ(Letters("state, replay_count"), "replayed 0, replayed 1, dead 2");
  const ReplayRun last = ReplayAll(BeginRun(order));
  EXPECT_EQ(last.replay.counts.poison, 1);
  EXPECT_EQ(last.replay.counts.replayed, 0);
  EXPECT_THAT(store_.HasMore(last), IsOkAndHolds(false));
  EXPECT_EQ(Query("SELECT count(*) FROM outbox"), "0");
}

TEST_F(ReplayStoreTest, ADeathFromBeforeItsReplayIsNoNews) {
  const NewNotification item = Accepted();
  Died(item);
  ReplayAll();
  // The recorder's relay died before it acknowledged the message.
  Died(item);
  EXPECT_EQ(Letters(), "replayed");
  EXPECT_THAT(StateOf(item.notification.id), HasSubstr("accepted"));
  Died(item, 1);
  EXPECT_EQ(Letters(), "replayed, dead");
}

TEST_F(ReplayStoreTest, EachLetterIsPutBackOnceWhoeverReplays) {
  DiedMany(300);
  std::atomic<int64_t> replayed = 0;
  RunThreads(3, [&](int) { replayed += ReplayAll(BeginRun(), /*step=*/17).replay.counts.replayed; });
  EXPECT_EQ(replayed, 300);
  EXPECT_EQ(Query("SELECT count(*) || ' ' || count(DISTINCT message_id) FROM outbox"), "300 300");
  EXPECT_EQ(Query(absl::StrCat("SELECT sum(replayed) FROM replays WHERE app_id = ", app_.value())), "300");
}

TEST_F(ReplayStoreTest, LooksAgainAtWhatOthersHeld) {
  DiedMany(3);
  ReplayRun run = BeginRun();
  ASSERT_OK(MakePool(1)->RunTransaction([&](PgSession&, pqxx::work& other) {
    other.exec("SELECT FROM dead_letters WHERE app_id = " + absl::StrCat(app_.value()) +
               " ORDER BY dead_letter_id LIMIT 1 FOR UPDATE");
    run = ReplayAll(run);
    EXPECT_EQ(run.replay.counts.replayed, 2);
    EXPECT_THAT(store_.HasMore(run), IsOkAndHolds(true));
    return absl::OkStatus();
  }));
  run.position = 0;
  run = ReplayAll(run);
  EXPECT_EQ(run.replay.counts.replayed, 3);
  EXPECT_THAT(store_.HasMore(run), IsOkAndHolds(false));
}

TEST_F(ReplayStoreTest, OnlyTheNewestRunnerGoesOn) {
  DiedMany(3);
  ReplayRun first = BeginRun();
  ASSERT_OK(store_.Step(first, 1));
  const absl::Status running = store_.Resume(first.replay.id, "ben").status();
  EXPECT_THAT(running, StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("it can be 5 s after that")));
  EXPECT_EQ(DetailsOf(running).retry_delay, kReplayLease);
  Abandon(first);
  ASSERT_OK_AND_ASSIGN(ReplayRun second, store_.Resume(first.replay.id, "ben"));
  EXPECT_EQ(second.replay.counts.replayed, 1);
  EXPECT_EQ(second.replay.counts.matched, 3);
  EXPECT_EQ(second.replay.order.reason, "fixed");
  EXPECT_EQ(second.replay.order.operator_name, "ann, ben");
  // Nothing that the first one does now stays.
  EXPECT_THAT(store_.Step(first, 10), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Query("SELECT count(*) FROM outbox"), "1");
  second = ReplayAll(second);
  EXPECT_EQ(second.replay.counts.replayed, 3);
  ASSERT_OK(store_.Finish(second, ReplayState::kDone, ""));
  EXPECT_THAT(store_.Resume(first.replay.id, "ben"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(store_.Resume(NewUuid7(absl::Now()), ""), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ReplayStoreTest, TellsRunsThatNobodyRunsAsInterrupted) {
  const ReplayRun run = BeginRun();
  Abandon(run);
  ASSERT_OK_AND_ASSIGN(const std::vector<Replay> replays, store_.List(std::nullopt, 1));
  ASSERT_THAT(replays, SizeIs(1));
  EXPECT_EQ(replays[0].id, run.replay.id);
  EXPECT_EQ(replays[0].state, ReplayState::kInterrupted);
  EXPECT_EQ(replays[0].app_key, absl::StrCat("key-", app_.value()));
  EXPECT_EQ(replays[0].order.operator_name, "ann");
  EXPECT_EQ(replays[0].order.filter.app, app_);
}

TEST_F(ReplayStoreTest, LeavesWhatHasExpiredOrEndedOtherwise) {
  NewNotification expired = MakeNew(app_);
  expired.notification.expire_time = absl::Now() - absl::Seconds(1);
  const NewNotification delivered = Accepted();
  AcceptOne(expired);
  EmptyOutbox();
  Died(expired);
  Died(delivered);
  Query("UPDATE notifications SET state = 'delivered' WHERE notification_id = '" +
        delivered.notification.id.ToString() + "'");
  Died(MakeNew(app_));  // Erased, or past its retention.
  const ReplayRun run = ReplayAll();
  EXPECT_EQ(run.replay.counts.expired, 1);
  EXPECT_EQ(run.replay.counts.ended, 2);
  EXPECT_EQ(run.replay.counts.replayed, 0);
  EXPECT_EQ(Letters(), "expired, moot, moot");
  EXPECT_EQ(Queued(), "");
}

TEST_F(ReplayStoreTest, PutsBackWhatOthersMadeWhereItDied) {
  const auto letter = [&](const std::string& queue, const std::string& message_id, const std::string& routing_key) {
    return DeadLetter{.app = {},
                      .queue = queue,
                      .message_id = message_id,
                      .routing_key = routing_key,
                      .reason = absl::StrCat("strange ", app_.value()),
                      .payload = std::string("\0\xff", 2)};
  };
  const std::string theirs = NewUuid7(absl::Now()).ToString();
  ASSERT_OK(letters_.Record({letter("payment", "", ""), letter("social.sms", theirs, ""),
                             letter("unrouted", "x", "otp.dlq"), letter("unrouted", "y", "marketing"),
                             letter("unrouted", "z", "nowhere"), letter("gone", "", "")}));
  ReplayOrder order = Order();
  order.filter.or_of_no_app = true;
  order.filter.error = absl::StrCat("STRANGE ", app_.value());
  const ReplayRun run = ReplayAll(BeginRun(order));
  EXPECT_EQ(run.replay.counts.replayed, 4);
  EXPECT_EQ(run.replay.counts.unroutable, 2);
  EXPECT_EQ(Queued(), "marketing <> marketing 1, otp <> otp 1, payment <> payment 1, social <> social.sms 1");
  EXPECT_EQ(Query("SELECT message_id FROM outbox WHERE lane = 'social'"), theirs);
  EXPECT_EQ(Query("SELECT app_id || encode(payload, 'hex') FROM outbox WHERE lane = 'otp'"), "000ff");
}

TEST_F(ReplayStoreTest, PutsADeliveryBackAndCountsItsDeathNoMore) {
  const Delivery delivery = BeginOne(Channel::kSms);
  DeliveryUpdate failed = UpdateOf(delivery, Claim(delivery).claim, DeliveryState::kPending);
  failed.attempts = {AttemptAt(absl::Now(), AttemptOutcome::kPermanent)};
  Record(failed);
  DiedDelivery(delivery);
  EXPECT_EQ(Letters("state, provider, error_kind"), "dead twilio-1 twilio-1: 400 no");
  EXPECT_EQ(Stats(), "sms dead 1");
  EmptyOutbox();

  ReplayAll();
  EXPECT_EQ(Queued(), "social <> social.sms 1");
  EXPECT_EQ(StateOf(delivery.item.id), "accepted 1 - - open");
  EXPECT_EQ(InDeliveries("state || (payload IS NOT NULL)", delivery), "pendingtrue");
  EXPECT_EQ(Stats(), "sms dead 0");
  End(delivery, DeliveryState::kSent);
  EXPECT_EQ(StateOf(delivery.item.id), "delivered 0 delivered - ended");
  EXPECT_EQ(Stats(), "sms dead 0, sms sent 1");
}

TEST_F(ReplayStoreTest, ReopensANotificationForTheDeliveriesThatArePutBack) {
  const Begun begun = Begin({Channel::kSms, Channel::kEmail, Channel::kWebhook}, /*to_feed=*/true);
  End(begun.deliveries[0], DeliveryState::kSent);
  DiedDelivery(begun.deliveries[1]);
  DiedDelivery(begun.deliveries[2]);
  EXPECT_EQ(StateOf(begun.id), "delivered 0 delivered - ended");
  ReplayAll();
  EXPECT_EQ(StateOf(begun.id), "accepted 2 delivered - open");
  End(begun.deliveries[1], DeliveryState::kSent);
  DiedDelivery(begun.deliveries[2]);
  EXPECT_EQ(StateOf(begun.id), "accepted 1 delivered - open");  // It had not left.
}

TEST_F(ReplayStoreTest, ARehearsalCountsAndChangesNothing) {
  DiedMany(7);
  ReplayOrder order = Order();
  order.limit = 5;
  ASSERT_OK_AND_ASSIGN(ReplayRun run, store_.Rehearse(order));
  EXPECT_EQ(run.replay.counts.matched, 5);
  ASSERT_OK(store_.Step(run, 5));
  EXPECT_EQ(run.replay.counts.replayed, 5);
  EXPECT_EQ(Query("SELECT count(*) FROM outbox"), "0");
  EXPECT_EQ(LetterStates(), "dead");
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM replays WHERE app_id = ", app_.value())), "0");
}

TEST_F(ReplayStoreTest, StopsForDeathsInARowOnly) {
  const std::vector<NewNotification> items = DiedMany(4);
  ReplayRun run = ReplayAll();
  EmptyOutbox();
  for (const NewNotification& item : {items[0], items[1]}) Died(item, 1);
  EXPECT_THAT(store_.Attend(run, 2), IsOkAndHolds(true));
  EXPECT_THAT(store_.Attend(run, 3), IsOkAndHolds(false));
  // One gets through.
  ASSERT_OK(feeds_.Deliver({DeliveryOf(items[2])}));
  EXPECT_THAT(store_.Attend(run, 2), IsOkAndHolds(false));
  EXPECT_EQ(run.replay.counts.died_again, 2);
}

TEST_F(ReplayStoreTest, GoesOnAfterDeathsInARow) {
  const std::vector<NewNotification> items = DiedMany(2);
  ReplayRun run = ReplayAll();
  EmptyOutbox();
  for (const NewNotification& item : items) Died(item, 1);
  ASSERT_THAT(store_.Attend(run, 2), IsOkAndHolds(true));
  ASSERT_OK(store_.Finish(run, ReplayState::kFailing, "mend it"));
  ASSERT_OK_AND_ASSIGN(ReplayRun again, store_.Resume(run.replay.id, ""));
  EXPECT_THAT(store_.Attend(again, 2), IsOkAndHolds(false));
}

TEST_F(ReplayStoreTest, KeepsReactionsInViewAgain) {
  const Uuid group = NewUuid7(absl::Now());
  const Reaction reaction{.app = app_,
                          .actor_id = "bob",
                          .object_id = "post",
                          .kind = "like",
                          .active = true,
                          .version = 1,
                          .recipient = "",
                          .type = "",
                          .data_json = "",
                          .accept_time = absl::Now(),
                          .group = group};
  DeadLetter letter{.app = app_,
                    .queue = "social",
                    .lane = "social",
                    .message_id = group.ToString(),
                    .type = "reaction",
                    .reason = "retries_exhausted",
                    .payload = EncodeEnvelope(reaction)};
  letter.reaction_groups = {group};
  ASSERT_OK(letters_.Record({letter}));
  ReplayAll();
  EXPECT_EQ(Queued(), "social <> social 1");
  EXPECT_EQ(Query("SELECT count(*) FROM reaction_groups WHERE group_id = '" + group.ToString() + "'"), "1");
}

TEST_F(ReplayStoreTest, GroupsByTheKindOfError) {
  std::vector<DeadLetter> letters;
  for (int i = 0; i < 30; ++i) {
    const std::string error = i % 3 == 0
                                  ? absl::StrCat("twilio: 21211 The 'To' number +4915112345", 100 + i, " is not valid")
                                  : absl::StrCat("no route to host 10.0.0.", i, ":443 after ", i, " ms, request ",
                                                 NewUuid7(absl::Now()).ToString());
    letters.push_back(LetterOfItem(MakeNew(app_), error));
  }
  ASSERT_OK(letters_.Record(letters));
  ASSERT_OK_AND_ASSIGN(const DeadLetterStore::Summary summary, letters_.Summarize(Order().filter, 10));
  EXPECT_EQ(summary.total, 30);
  ASSERT_THAT(summary.groups, SizeIs(2));
  EXPECT_EQ(summary.groups[0].count, 20);
  EXPECT_EQ(summary.groups[0].error_kind, "no route to host <address> after <number> ms, request <id>");
  EXPECT_EQ(summary.groups[1].count, 10);
  EXPECT_EQ(summary.groups[1].error_kind, "twilio: 21211 The 'To' number <number> is not valid");
  EXPECT_LE(summary.groups[0].oldest, summary.groups[0].newest);
  DeadLetterFilter filter = Order().filter;
  filter.error = "TO' NUMBER";
  EXPECT_THAT(letters_.Summarize(filter, 10)->total, 10);
  filter.error = summary.groups[0].error_kind;
  EXPECT_THAT(letters_.Summarize(filter, 10)->total, 20);
  filter.error = "TO' NUMBER";
  filter.died_before = absl::Now() - absl::Minutes(1);
  EXPECT_THAT(letters_.Summarize(filter, 10)->total, 0);
}

TEST_F(ReplayStoreTest, PurgesUpToWhatMatchedAndKeepsTheRecord) {
  DiedMany(25);
  ReplayOrder order = Order();
  order.kind = ReplayKind::kPurge;
  order.limit = 20;
  ReplayRun run = BeginRun(order);
  EXPECT_THAT(store_.PurgeStep(run, 15), IsOkAndHolds(15));
  EXPECT_THAT(store_.PurgeStep(run, 5), IsOkAndHolds(5));
  ASSERT_OK(store_.Finish(run, ReplayState::kDone, ""));
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM dead_letters WHERE app_id = ", app_.value())), "5");
  EXPECT_EQ(Query(absl::StrCat("SELECT concat_ws(' ', kind, state, replayed, taken) FROM replays WHERE app_id = ",
                               app_.value())),
            "purge done 20 0");
  EXPECT_THAT(store_.Resume(run.replay.id, ""), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(ReplayStoreTest, CountsByQueueUpToABoundAndForgetsWhatIsOver) {
  Query("TRUNCATE dead_letters");
  DiedMany(4);
  EXPECT_EQ(letters_.Count({"otp", "social.like"}, 3).value(), std::vector<int64_t>({0, 3}));
  ReplayOrder order = Order();
  order.limit = 1;
  ReplayRun run = BeginRun(order);
  ASSERT_OK(store_.Step(run, 1));
  EXPECT_THAT(letters_.Forget(absl::Now() - absl::Hours(1), 10), IsOkAndHolds(0));
  EXPECT_THAT(letters_.Forget(absl::Now() + absl::Hours(1), 10), IsOkAndHolds(1));
  EXPECT_EQ(LetterStates(), "dead");
}

TEST_F(ReplayStoreTest, TheCountStaysWithARowThatIsPutOff) {
  Died(Accepted());
  ReplayAll();
  PostgresOutboxReader reader(Options(), Lane::kSocial);
  ASSERT_OK_AND_ASSIGN(std::vector<OutboxRow> rows, reader.Take(10));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].replay_count, 1);
  EXPECT_EQ(rows[0].exchange, "");
  ASSERT_OK(reader.Settle({{&rows[0], "no answer", absl::ZeroDuration()}}));
  EXPECT_THAT(reader.ReleaseDue(10), IsOkAndHolds(1));
  ASSERT_OK_AND_ASSIGN(rows, reader.Take(10));
  ASSERT_THAT(rows, SizeIs(1));
  EXPECT_EQ(rows[0].replay_count, 1);
  ASSERT_OK(reader.Settle({}));
}

}  // namespace
}  // namespace carillon::testing
