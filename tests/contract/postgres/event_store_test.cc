// Events at the door, their states, and housekeeping's part. How audiences are
// told is in event_fanout_test.cc.
#include "carillon/postgres/event_store.h"

#include <gmock/gmock.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/dead_letter_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/replay_store.h"
#include "carillon/wire/envelope.h"
#include "tests/contract/postgres/event_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr auto kEnded = absl::StatusCode::kFailedPrecondition;

class EventStoreTest : public EventTest {
 protected:
  std::string CountEvents() { return Query(absl::StrCat("SELECT count(*) FROM events WHERE app_id = ", app_.value())); }
  void MakeIdle(const Event& event) {
    Query(absl::StrCat("UPDATE event_shards SET updated_at = now() - interval '1 hour' WHERE event_id = '",
                       event.id.ToString(), "'"));
  }
  absl::StatusOr<int> RequeueIdle(Lane lane = Lane::kSocial) {
    return store_.RequeueIdle(lane, absl::Now() - absl::Minutes(1), 100);
  }
};

TEST_F(EventStoreTest, AcceptsAnEventWithItsFirstPage) {
  const NewEvent sent = MakeKeyedEvent(FollowersOf("star"), "key");
  ASSERT_OK_AND_ASSIGN(const EventOutcome outcome, store_.Accept(sent));
  EXPECT_FALSE(outcome.duplicate);
  EXPECT_EQ(outcome.id, sent.event.id);
  EXPECT_EQ(outcome.create_time, sent.event.create_time);
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(sent.event)));

  const EventRecord record = Record(sent.event);
  EXPECT_EQ(record.state, EventState::kAccepted);
  EXPECT_EQ(record.event.type, "stream.start");
  EXPECT_EQ(record.event.lane, Lane::kSocial);
  EXPECT_EQ(record.event.audience.kind, AudienceKind::kFollowers);
  EXPECT_EQ(record.event.audience.id, "star");
  EXPECT_EQ(record.event.actor_id, "star");
  EXPECT_EQ(record.event.object_id, "stream-1");
  EXPECT_EQ(record.event.data_json, R"({"a":1})");
  EXPECT_EQ(record.event.create_time, sent.event.create_time);
  EXPECT_EQ(record.idempotency_key, "key");
  EXPECT_EQ(record.start_time, std::nullopt);
  EXPECT_EQ(record.finish_time, std::nullopt);
}

TEST_F(EventStoreTest, AnswersARepeatedKeyAsTheFirstTime) {
  const NewEvent first = MakeKeyedEvent(FollowersOf("star"), "key");
  ASSERT_OK(store_.Accept(first));
  ASSERT_OK_AND_ASSIGN(const EventOutcome again, store_.Accept(MakeKeyedEvent(FollowersOf("star"), "key")));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.id, first.event.id);
  EXPECT_EQ(again.create_time, first.event.create_time);
  EXPECT_EQ(CountEvents(), "1");
  EXPECT_THAT(QueuedPages(), SizeIs(1));
}

TEST_F(EventStoreTest, KnowsTheCallersOwnEventWhenItsOutcomeWasLost) {
  const NewEvent sent = MakeKeyedEvent(FollowersOf("star"), "key");
  ASSERT_OK(store_.Accept(sent));
  ASSERT_OK_AND_ASSIGN(const EventOutcome again, store_.Accept(sent));
  EXPECT_FALSE(again.duplicate);
  EXPECT_EQ(again.id, sent.event.id);
}

TEST_F(EventStoreTest, RefusesAKeyWithAnotherPayload) {
  ASSERT_OK(store_.Accept(MakeKeyedEvent(FollowersOf("star"), "key", 'p')));
  EXPECT_THAT(store_.Accept(MakeKeyedEvent(FollowersOf("star"), "key", 'q')), StatusIs(kEnded));
  EXPECT_EQ(CountEvents(), "1");
}

TEST_F(EventStoreTest, SharesTheKeysOfAnAppWithItsSends) {
  AcceptOne(MakeKeyed(app_, "of a send"));
  EXPECT_THAT(store_.Accept(MakeKeyedEvent(FollowersOf("star"), "of a send", 'q')), StatusIs(kEnded));
  ASSERT_OK(store_.Accept(MakeKeyedEvent(FollowersOf("star"), "of an event", 'q')));
  PostgresNotificationStore sends(MakePool(1));
  const NewNotification send = MakeKeyed(app_, "of an event");
  ASSERT_OK_AND_ASSIGN(const std::vector<AcceptOutcome> outcomes, sends.Accept({send}, /*all_or_nothing=*/false));
  EXPECT_THAT(outcomes[0].status, StatusIs(kEnded));
  // Another app's key is another key.
  NewEvent other = MakeKeyedEvent(FollowersOf("star"), "of a send", 'q');
  other.event.app = NewStoredApp();
  EXPECT_OK(store_.Accept(other));
}

TEST_F(EventStoreTest, TakesAKeyAnewOnceItHasExpired) {
  ASSERT_OK(store_.Accept(MakeKeyedEvent(FollowersOf("star"), "key", 'p')));
  Query(absl::StrCat("UPDATE idempotency_keys SET expires_at = now() - interval '1 second' WHERE app_id = ",
                     app_.value()));
  const NewEvent later = MakeKeyedEvent(FollowersOf("star"), "key", 'q');
  ASSERT_OK_AND_ASSIGN(const EventOutcome outcome, store_.Accept(later));
  EXPECT_FALSE(outcome.duplicate);
  EXPECT_EQ(outcome.id, later.event.id);
  EXPECT_EQ(CountEvents(), "2");
}

TEST_F(EventStoreTest, MakesOneEventOfManyWithOneKeyAtOnce) {
  std::atomic<int> firsts = 0;
  RunThreads(8, [&](int) {
    for (int i = 0; i < 10; ++i) {
      const absl::StatusOr<EventOutcome> outcome =
          store_.Accept(MakeKeyedEvent(FollowersOf("star"), absl::StrCat("key-", i)));
      ASSERT_OK(outcome);
      firsts += outcome->duplicate ? 0 : 1;
    }
  });
  EXPECT_EQ(firsts, 10);
  EXPECT_EQ(CountEvents(), "10");
  EXPECT_THAT(QueuedPages(), SizeIs(10));
}

TEST_F(EventStoreTest, TellsNothingOfAnotherAppsEvent) {
  const Event event = Publish(FollowersOf("star"));
  const AppId other = NewStoredApp();
  EXPECT_THAT(store_.Get(other, event.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Pause(other, event.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Resume(other, event.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Cancel(other, event.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Get(app_, NewUuid7(absl::Now())), StatusIs(absl::StatusCode::kNotFound));
  FanoutPage page = PageOf(event);
  page.app = other;
  EXPECT_THAT(store_.Open(page), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Record(event).state, EventState::kAccepted);
}

TEST_F(EventStoreTest, GoesOnAfterAPauseWhereItStood) {
  for (const bool begun : {false, true}) {
    const Event event = begun ? PublishExpanding(FollowersOf("star")) : Publish(FollowersOf("star"));
    ASSERT_OK_AND_ASSIGN(EventRecord record, store_.Pause(app_, event.id));
    EXPECT_EQ(record.state, EventState::kPaused);
    EXPECT_OK(store_.Pause(app_, event.id)) << "safe to repeat";
    ForgetQueuedPages();
    ASSERT_OK_AND_ASSIGN(record, store_.Resume(app_, event.id));
    EXPECT_EQ(record.state, begun ? EventState::kExpanding : EventState::kAccepted);
    EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(event)));
    EXPECT_OK(store_.Resume(app_, event.id)) << "safe to repeat";
    EXPECT_THAT(QueuedPages(), SizeIs(1)) << "one that is not paused is not queued again";
    ForgetQueuedPages();
  }
}

TEST_F(EventStoreTest, QueuesOnlyTheOpenShardsOfAResumedEvent) {
  const Event event = Publish(FollowersOf("star"));
  ASSERT_OK(store_.BeginExpanding(event, 10,
                                  {{.shard = 0, .after = "", .last_id = "h"},
                                   {.shard = 1, .after = "h", .last_id = "p"},
                                   {.shard = 2, .after = "p", .last_id = {}}}));
  ASSERT_OK(store_.WritePage(event, {.page = PageOf(event, 1, "h"), .new_cursor = "h", .is_last = true}, {}));
  ASSERT_OK(store_.Pause(app_, event.id));
  ForgetQueuedPages();
  ASSERT_OK(store_.Resume(app_, event.id));
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(event, 0, ""), PageOf(event, 2, "p")));
}

// The last page was under way when the event was paused.
TEST_F(EventStoreTest, EndsAResumedEventOfWhichAllIsTold) {
  const Event event = PublishExpanding(FollowersOf("star"));
  ASSERT_OK(store_.WritePage(event, {.page = PageOf(event), .new_cursor = "", .is_last = true}, {}));
  ASSERT_OK(store_.Pause(app_, event.id));
  ASSERT_OK(store_.FinishIfDone(event.id));
  EXPECT_EQ(Record(event).state, EventState::kPaused);
  EXPECT_OK(store_.Resume(app_, event.id));
  EXPECT_EQ(Record(event).state, EventState::kDone);
}

TEST_F(EventStoreTest, ChangesNoEventThatHasEnded) {
  const Event cancelled = Publish(FollowersOf("star"));
  ASSERT_OK_AND_ASSIGN(const EventRecord record, store_.Cancel(app_, cancelled.id));
  EXPECT_EQ(record.state, EventState::kCancelled);
  EXPECT_NE(record.finish_time, std::nullopt);
  EXPECT_OK(store_.Cancel(app_, cancelled.id)) << "safe to repeat";
  EXPECT_THAT(store_.Pause(app_, cancelled.id), StatusIs(kEnded));
  EXPECT_THAT(store_.Resume(app_, cancelled.id), StatusIs(kEnded));

  const Event done = PublishExpanding(FollowersOf("star"));
  TellAll(done);
  const Event suppressed = Publish(FollowersOf("star"));
  ASSERT_OK(store_.Suppress(suppressed.id, "another came before"));
  EXPECT_EQ(Record(suppressed).detail, "another came before");
  for (const Event& event : {done, suppressed}) {
    const EventState state = Record(event).state;
    EXPECT_THAT(store_.Pause(app_, event.id), StatusIs(kEnded));
    EXPECT_THAT(store_.Resume(app_, event.id), StatusIs(kEnded));
    EXPECT_THAT(store_.Cancel(app_, event.id), StatusIs(kEnded));
    ASSERT_OK(store_.Suppress(event.id, "late"));
    ASSERT_OK(store_.BeginExpanding(event, 1, {EventRange()}));
    ASSERT_OK(store_.StoreShared(event, 1, {}));
    EXPECT_EQ(Record(event).state, state);
  }
  EXPECT_NE(Record(suppressed).detail, "late");
}

TEST_F(EventStoreTest, CancelsAPausedEvent) {
  const Event event = PublishExpanding(FollowersOf("star"));
  ASSERT_OK(store_.Pause(app_, event.id));
  ASSERT_OK(store_.Cancel(app_, event.id));
  EXPECT_EQ(Record(event).state, EventState::kCancelled);
}

TEST_F(EventStoreTest, LetsOneEventTakeAWindow) {
  std::atomic<int> winners = 0;
  std::vector<Event> events;
  for (int i = 0; i < 50; ++i) events.push_back(MakeEvent(FollowersOf("star")).event);
  RunThreads(50, [&](int thread) {
    const absl::StatusOr<bool> taken = store_.TakeWindow(events[thread], "star", absl::Minutes(10));
    ASSERT_OK(taken);
    winners += *taken ? 1 : 0;
  });
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM dedupe_windows WHERE app_id = ", app_.value())), "1");
}

TEST_F(EventStoreTest, GivesAWindowAgainToItsOwnerAndToAnotherWhenItHasPassed) {
  const Event first = MakeEvent(FollowersOf("star")).event;
  Event second = MakeEvent(FollowersOf("star")).event;
  EXPECT_THAT(store_.TakeWindow(first, "star", absl::Minutes(10)), IsOkAndHolds(true));
  EXPECT_THAT(store_.TakeWindow(first, "star", absl::Minutes(10)), IsOkAndHolds(true));
  second.create_time = first.create_time + absl::Minutes(10) - absl::Microseconds(1);
  EXPECT_THAT(store_.TakeWindow(second, "star", absl::Minutes(10)), IsOkAndHolds(false));
  EXPECT_THAT(store_.TakeWindow(second, "other key", absl::Minutes(10)), IsOkAndHolds(true));
  second.create_time = first.create_time + absl::Minutes(10);
  EXPECT_THAT(store_.TakeWindow(second, "star", absl::Minutes(10)), IsOkAndHolds(true));
  EXPECT_THAT(store_.TakeWindow(first, "star", absl::Minutes(10)), IsOkAndHolds(false));
}

TEST_F(EventStoreTest, LooksAtAWindowWithoutTakingIt) {
  const Event first = MakeEvent(FollowersOf("star")).event;
  EXPECT_THAT(store_.IsWindowHeld(first, "star"), IsOkAndHolds(false));
  EXPECT_THAT(store_.IsWindowHeld(first, "star"), IsOkAndHolds(false));
  EXPECT_THAT(store_.TakeWindow(first, "star", absl::Minutes(10)), IsOkAndHolds(true));
  Event second = MakeEvent(FollowersOf("star")).event;
  second.create_time = first.create_time + absl::Minutes(10) - absl::Microseconds(1);
  EXPECT_THAT(store_.IsWindowHeld(second, "star"), IsOkAndHolds(true));
  second.create_time = first.create_time + absl::Minutes(10);
  EXPECT_THAT(store_.IsWindowHeld(second, "star"), IsOkAndHolds(false));
}

TEST_F(EventStoreTest, SamplesAnAudienceAtEvenDistancesPageByPage) {
  Follow("star", People(25));
  Subscribe("news", People(25));
  for (const Audience& audience : {FollowersOf("star"), TopicOf("news")}) {
    const Event event = MakeEvent(audience).event;
    const std::vector<std::string> all = People(25);
    EXPECT_THAT(store_.Sample(event, "", 1, 100), IsOkAndHolds(all));
    EXPECT_THAT(store_.Sample(event, "", 10, 100), IsOkAndHolds(ElementsAre(all[9], all[19])));
    EXPECT_THAT(store_.Sample(event, "", 3, 2), IsOkAndHolds(ElementsAre(all[2], all[5])));
    EXPECT_THAT(store_.Sample(event, all[5], 3, 2), IsOkAndHolds(ElementsAre(all[8], all[11])));
    EXPECT_THAT(store_.Sample(event, all[24], 1, 2), IsOkAndHolds(ElementsAre()));
  }
}

TEST_F(EventStoreTest, SamplesEveryoneButTopicsFeeds) {
  Query(absl::StrCat("INSERT INTO feed_heads (app_id, recipient_id) VALUES (", app_.value(), ", E'\\001topic'), (",
                     app_.value(), ", 'ann'), (", app_.value(), ", 'ben')"));
  EXPECT_THAT(store_.Sample(MakeEvent(Everyone()).event, "", 1, 10), IsOkAndHolds(ElementsAre("ann", "ben")));
}

TEST_F(EventStoreTest, KeepsTheWindowsOfAppsAndTypesApart) {
  Event event = MakeEvent(FollowersOf("star")).event;
  EXPECT_THAT(store_.TakeWindow(event, "star", absl::Minutes(10)), IsOkAndHolds(true));
  event.id = NewUuid7(absl::Now());
  event.type = "stream.end";
  EXPECT_THAT(store_.TakeWindow(event, "star", absl::Minutes(10)), IsOkAndHolds(true));
  event.type = "stream.start";
  event.app = NewApp();
  EXPECT_THAT(store_.TakeWindow(event, "star", absl::Minutes(10)), IsOkAndHolds(true));
}

TEST_F(EventStoreTest, QueuesTheOpenShardsThatNothingHasTouchedForLong) {
  Query("TRUNCATE events CASCADE");
  const Event event = Publish(FollowersOf("star"));
  ASSERT_OK(store_.BeginExpanding(
      event, 10, {{.shard = 0, .after = "", .last_id = "h"}, {.shard = 1, .after = "h", .last_id = {}}}));
  ASSERT_OK(store_.WritePage(event, {.page = PageOf(event, 1, "h"), .new_cursor = "m"}, {}));
  ForgetQueuedPages();
  EXPECT_THAT(RequeueIdle(), IsOkAndHolds(0)) << "touched a moment ago";
  MakeIdle(event);
  EXPECT_THAT(RequeueIdle(Lane::kMarketing), IsOkAndHolds(0));
  EXPECT_THAT(RequeueIdle(), IsOkAndHolds(2));
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(event, 0, ""), PageOf(event, 1, "m")));
  EXPECT_THAT(RequeueIdle(), IsOkAndHolds(0)) << "queued a moment ago";
}

TEST_F(EventStoreTest, QueuesNoShardOfAnEventThatIsPausedOrEnded) {
  Query("TRUNCATE events CASCADE");
  const Event paused = PublishExpanding(FollowersOf("star"));
  ASSERT_OK(store_.Pause(app_, paused.id));
  const Event cancelled = PublishExpanding(FollowersOf("star"));
  ASSERT_OK(store_.Cancel(app_, cancelled.id));
  const Event accepted = Publish(FollowersOf("star"));
  for (const Event& event : {paused, cancelled, accepted}) MakeIdle(event);
  ForgetQueuedPages();
  EXPECT_THAT(RequeueIdle(), IsOkAndHolds(1));
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(accepted)));
}

TEST_F(EventStoreTest, ShardsAreQueuedOnceWhenManyRelaysLook) {
  Query("TRUNCATE events CASCADE");
  std::vector<Event> events;
  for (int i = 0; i < 40; ++i) events.push_back(Publish(FollowersOf("star")));
  for (const Event& event : events) MakeIdle(event);
  ForgetQueuedPages();
  std::atomic<int> queued = 0;
  RunThreads(4, [&](int) { queued += RequeueIdle().value_or(0); });
  EXPECT_EQ(queued, 40);
  EXPECT_THAT(QueuedPages(), SizeIs(40));
}

// The worker died between the last page and the event's end, and its message was lost.
TEST_F(EventStoreTest, EndsAnIdleEventOfWhichAllIsTold) {
  Query("TRUNCATE events CASCADE");
  const Event event = PublishExpanding(FollowersOf("star"));
  ASSERT_OK(store_.WritePage(event, {.page = PageOf(event), .new_cursor = "", .is_last = true}, {}));
  ASSERT_OK(RequeueIdle());
  EXPECT_EQ(Record(event).state, EventState::kExpanding) << "its worker may be about to end it";
  MakeIdle(event);
  ASSERT_OK(RequeueIdle());
  EXPECT_EQ(Record(event).state, EventState::kDone);
}

TEST_F(EventStoreTest, ForgetsEndedEventsAndWindowsThatHaveExpired) {
  Query("TRUNCATE events CASCADE; TRUNCATE dedupe_windows");
  const Event ended = PublishExpanding(FollowersOf("star"));
  TellAll(ended);
  const Event unfinished = PublishExpanding(FollowersOf("star"));
  ASSERT_THAT(store_.TakeWindow(ended, "star", absl::Minutes(10)), IsOkAndHolds(true));
  EXPECT_THAT(store_.Expire(absl::Now() + absl::Minutes(9), 10), IsOkAndHolds(0));
  EXPECT_THAT(store_.Expire(absl::Now() + absl::Minutes(11), 10), IsOkAndHolds(1));
  EXPECT_THAT(store_.Expire(absl::Now() + absl::Hours(24 * 13), 10), IsOkAndHolds(0));
  EXPECT_THAT(store_.Expire(absl::Now() + absl::Hours(24 * 15), 10), IsOkAndHolds(1));
  EXPECT_THAT(store_.Get(app_, ended.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Record(unfinished).state, EventState::kExpanding);
  EXPECT_EQ(Query("SELECT count(*) FROM event_shards"), "1");
}

DeadLetter LetterOf(const FanoutPage& page) {
  return {.app = page.app,
          .notification_id = std::nullopt,
          .queue = "fanout.social",
          .lane = "fanout",
          .message_id = NewUuid7(absl::Now()).ToString(),
          .type = page.type,
          .reason = "retries_exhausted",
          .error = "no such column",
          .payload = EncodeEnvelope(page)};
}

TEST_F(EventStoreTest, PausesWhenItsPageIsGivenUpAndTriesItAgainWhenResumed) {
  Follow("star", {"ann"});
  const Event event = PublishExpanding(FollowersOf("star"));
  ForgetQueuedPages();
  PostgresDeadLetterStore letters(MakePool(1));
  ASSERT_OK(letters.Record({LetterOf(PageOf(event))}));
  EXPECT_EQ(Record(event).state, EventState::kPaused);
  EXPECT_THAT(Record(event).detail, HasSubstr("no such column"));
  ASSERT_OK_AND_ASSIGN(const EventRecord resumed, store_.Resume(app_, event.id));
  EXPECT_EQ(resumed.state, EventState::kExpanding);
  EXPECT_THAT(resumed.detail, IsEmpty());
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(event)));
}

TEST_F(EventStoreTest, AReplayOfItsDeadPagesResumesIt) {
  Follow("star", {"ann"});
  const Event event = PublishExpanding(FollowersOf("star"));
  ForgetQueuedPages();
  PostgresDeadLetterStore letters(MakePool(1));
  ASSERT_OK(letters.Record({LetterOf(PageOf(event))}));
  PostgresReplayStore replays(MakePool(1));
  ReplayOrder order{.app = app_, .operator_name = "", .reason = "fixed", .filter = {}, .max_replays = 5};
  order.filter.app = app_;
  ASSERT_OK_AND_ASSIGN(ReplayRun run, replays.Begin(order));
  ASSERT_OK(replays.Step(run, 10));
  EXPECT_EQ(run.replay.counts.replayed, 1);
  EXPECT_EQ(Record(event).state, EventState::kExpanding);
  EXPECT_THAT(QueuedPages(), ElementsAre(PageOf(event)));
  EXPECT_EQ(Query(absl::StrCat("SELECT string_agg(replay_count::text, ' ') FROM outbox WHERE app_id = ", app_.value())),
            "1");
}

TEST_F(EventStoreTest, GoesOnWhenThePageThatIsGivenUpWasToldMeanwhile) {
  Follow("star", {"ann", "ben"});
  const Event event = PublishExpanding(FollowersOf("star"));
  TellPage(event, {.shard = 0, .after = "", .last_id = std::nullopt}, /*page=*/1);
  PostgresDeadLetterStore letters(MakePool(1));
  ASSERT_OK(letters.Record({LetterOf(PageOf(event))}));
  EXPECT_EQ(Record(event).state, EventState::kExpanding);
}

TEST_F(EventStoreTest, ForgetsInSteps) {
  Query("TRUNCATE events CASCADE; TRUNCATE dedupe_windows");
  for (int i = 0; i < 5; ++i) ASSERT_OK(store_.Cancel(app_, Publish(FollowersOf("star")).id));
  const absl::Time later = absl::Now() + absl::Hours(24 * 15);
  EXPECT_THAT(store_.Expire(later, 2), IsOkAndHolds(2));
  EXPECT_THAT(store_.Expire(later, 2), IsOkAndHolds(2));
  EXPECT_THAT(store_.Expire(later, 2), IsOkAndHolds(1));
  EXPECT_THAT(store_.Expire(later, 2), IsOkAndHolds(0));
}

}  // namespace
}  // namespace carillon::testing
