// That the hot statements go by index and touch only the slices they must, read
// from the plans that the adapter's own statements were run with.
#include <gmock/gmock.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "carillon/postgres/event_store.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/membership_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/postgres/reaction_store.h"
#include "carillon/postgres/upkeep_store.h"
#include "tests/contract/postgres/plan_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

// The function's own statement too.
TEST_F(PlanTest, AcceptReadsNoTable) {
  ASSERT_OK(pool_->Run([](PgSession&, pqxx::transaction_base& transaction) {
    transaction.exec("SET auto_explain.log_nested_statements = on");
  }));
  ASSERT_OK(notifications_.Accept(items_, false));
  EXPECT_THAT(recorder_->plans, HasSubstr("Insert on outbox"));
  EXPECT_THAT(Read(""), IsEmpty());
}

TEST_F(PlanTest, ARepeatedKeyIsReadFromItsPart) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.Accept({MakeKeyed(app_, "key-1")}, false));
  ExpectIndexesOnly();
  EXPECT_THAT(Read(""), SizeIs(1));
  EXPECT_THAT(Read("idempotency_keys_"), SizeIs(1));
}

TEST_F(PlanTest, DeliverReadsTheSliceOfItsNotifications) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read("notifications_"), Slices("notifications", {7}, items_[0].notification.create_time));
}

TEST_F(PlanTest, BacklogsAreReadByRecipientInOrder) {
  AcceptAll(items_);
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  Record();
  ASSERT_OK(feeds_.ReadBacklogs(
      {BacklogRequest{{app_, RecipientId("ann")}, 5}, BacklogRequest{{app_, RecipientId("ben")}, 0}}));
  ExpectIndexesOnly();
  EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("feed_heads_pkey"), HasSubstr("app_id_recipient_id_seq_idx")));
}

TEST_F(PlanTest, HeadsAreReadByTheirKey) {
  Record();
  ASSERT_OK(feeds_.ReadHeads({{app_, RecipientId("ann")}, {app_, RecipientId("ben")}}));
  ExpectIndexesOnly();
  EXPECT_THAT(Read(""), ElementsAre("feed_heads"));
}

TEST_F(PlanTest, MarkedItemsAreReadFromTheSlicesOfTheirIds) {
  AcceptAll(items_);
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  Record();
  ASSERT_OK(feeds_.MarkReadItems({app_, RecipientId("ann")}, {items_[0].notification.id, items_[1].notification.id}));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read("feed_items"), Slices("feed_items", {1, 7, 30, 365}, items_[0].notification.create_time));
}

TEST_F(PlanTest, FeedsAreListedByRecipient) {
  AcceptAll(items_);
  ASSERT_OK(feeds_.Deliver(DeliveriesOf(items_)));
  Record();
  ASSERT_OK(feeds_.List({.key = {app_, RecipientId("ann")}, .limit = 5}));
  ExpectIndexesOnly();
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Sort Method")));
}

TEST_F(PlanTest, ANotificationIsReadFromOneSliceOfEachClass) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.Get(app_, items_[0].notification.id));
  ExpectIndexesOnly();
  std::set<std::string> slices = Slices("notifications", {1, 7, 30, 365}, items_[0].notification.create_time);
  slices.insert("notifications_0");  // What is scheduled.
  EXPECT_EQ(Read("notifications"), slices);
  EXPECT_THAT(Read("outbox"), IsSubsetOf({"outbox_social_ready", "outbox_social_deferred"}));
}

TEST_F(PlanTest, ARecipientsNotificationsAreListedInTheOrderOfTheIndex) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.List({.app = app_, .recipient = "ann", .state = {}, .older_than = {}, .limit = 5}));
  EXPECT_THAT(recorder_->plans, AllOf(Not(HasSubstr("Seq Scan")), Not(HasSubstr("Sort Method"))));
  EXPECT_THAT(recorder_->plans, HasSubstr("app_id_recipient_id_notification_i_idx"));
}

TEST_F(PlanTest, AttemptsAreWrittenToOneSlice) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(notifications_.RecordAttempts({{items_[0].notification.id, 7, {absl::Now(), 1, "x"}}}));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read("notifications_"), Slices("notifications", {7}, items_[0].notification.create_time));
}

TEST_F(PlanTest, MembershipsAreRemovedByTheirWholeKeyAndListedInItsOrder) {
  PostgresMembershipStore memberships(pool_);
  ASSERT_OK(memberships.Add(app_, GroupKind::kFollowers, {{"cleo", "ann"}, {"cleo", "bob"}}));
  Record();
  ASSERT_OK(memberships.Remove(app_, GroupKind::kFollowers, {{"cleo", "ann"}}));
  EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("member_id = asked.member_id"), Not(HasSubstr("Join Filter")),
                                      Not(HasSubstr("Seq Scan"))));
  Record();
  ASSERT_OK(memberships.List({app_, GroupKind::kFollowers, "cleo"}, "a", 10));
  ExpectIndexesOnly();
  EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("member_id > $4"), Not(HasSubstr("Sort Method"))));
}

TEST_F(PlanTest, TheSweepReadsOnFromItsPosition) {
  AcceptAll(items_);
  ASSERT_OK(upkeep_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now() + absl::Seconds(1), 1000));
  const NewNotification later = MakeNew(app_);
  AcceptOne(later);
  Record();
  ASSERT_THAT(upkeep_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now() + absl::Seconds(1), 1000), IsOkAndHolds(1));
  EXPECT_THAT(recorder_->plans, AllOf(Not(HasSubstr("Seq Scan")), Not(HasSubstr("Sort Key: n."))));
  EXPECT_EQ(Read("notifications_7"), Slices("notifications", {7}, items_[0].notification.create_time));
}

TEST_F(PlanTest, DueStragglersAreReadByLaneAndTime) {
  AcceptAll(items_);
  EmptyOutbox();
  ASSERT_OK(upkeep_.SweepStep(UpkeepStore::Pass::kEarly, absl::Now() + absl::Seconds(1), 1000));
  Query(
      "INSERT INTO stragglers SELECT gen_random_uuid(), 7, 'marketing', now() - interval '1 hour' FROM "
      "generate_series(1, 1000)");
  Record();
  ASSERT_THAT(upkeep_.DueStragglers(Lane::kSocial, absl::Now() + absl::Seconds(1), absl::Hours(1), 10),
              IsOkAndHolds(SizeIs(10)));
  ExpectIndexesOnly();
  EXPECT_EQ(Read("notifications"), Slices("notifications", {7}, items_[0].notification.create_time));
  EXPECT_THAT(Read("outbox"), IsSubsetOf({"outbox_social_ready", "outbox_social_deferred"}));
  Query("TRUNCATE stragglers");
}

TEST_F(PlanTest, ReenqueuingReadsTheSliceOfItsNotifications) {
  AcceptAll(items_);
  EmptyOutbox();
  Record();
  ASSERT_THAT(upkeep_.Reenqueue(items_), IsOkAndHolds(20));
  EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  EXPECT_EQ(Read("notifications"), Slices("notifications", {7}, items_[0].notification.create_time));
  EXPECT_THAT(Read("outbox"), IsSubsetOf({"outbox_social_ready", "outbox_social_deferred"}));
}

TEST_F(PlanTest, ExpiredKeysAreFoundByTime) {
  AcceptAll(items_);
  Record();
  ASSERT_OK(upkeep_.ExpireKeys(absl::Now() + absl::Hours(25), 5));
  ExpectIndexesOnly();
}

// Of one post among many, with many who like it.
TEST_F(PlanTest, ReactionsGoByTheirKeysAndTouchTheSliceOfTheirItem) {
  Query(R"sql(
    INSERT INTO reactions (app_id, version, active, object_id, kind, actor_id, recipient_id, type)
    SELECT 5, n, true, 'post-' || n % 100, 'like', 'actor-' || n, 'owner-' || n % 100, 'like' FROM generate_series(1, 20000) AS n;
    INSERT INTO reaction_counters SELECT 5, 200, 0, 'post-' || n, 'like' FROM generate_series(0, 99) AS n;
    INSERT INTO reaction_items (app_id, count, moved, recipient_id, type, object_id)
    SELECT 5, 200, 0, 'owner-' || n, 'like', 'post-' || n FROM generate_series(0, 99) AS n;
    INSERT INTO reaction_groups (app_id, group_id, type, payload) SELECT 5, new_uuid7(), 'like', 'x' FROM generate_series(1, 20000);
    ANALYZE reactions, reaction_counters, reaction_items, reaction_groups)sql");
  PostgresReactionStore reactions(pool_);
  const auto render = [](const Reaction&) { return ReactionItem{.item = {.id = NewUuid7(absl::Now())}}; };
  const auto like = [](const std::string& actor, int64_t version) {
    return Reaction{.app = AppId(5),
                    .actor_id = actor,
                    .object_id = "post-7",
                    .kind = "like",
                    .version = version,
                    .recipient = "owner-7",
                    .type = "like",
                    .data_json = "",
                    .accept_time = {},
                    .group = NewUuid7(absl::Now())};
  };
  ASSERT_OK(reactions.Apply({like("new-1", 100'001)}, render));
  Record();
  ASSERT_THAT(reactions.Apply({like("new-2", 100'002)}, render), IsOkAndHolds(SizeIs(1)));
  ExpectIndexesOnly();
  EXPECT_THAT(recorder_->plans,
              AllOf(HasSubstr("reactions_of_item"), HasSubstr("reaction_groups_pkey"), Not(HasSubstr("Sort Key: r."))));
  EXPECT_EQ(Read("feed_items"), Slices("feed_items", {7}, absl::Now()));
  Record();
  ASSERT_OK(reactions.Counters(AppId(5), {std::string("post-7"), "post-8"}));
  ExpectIndexesOnly();
}

TEST_F(PlanTest, WindowsGoByTheirKeys) {
  Query(R"sql(
    INSERT INTO reactions (app_id, version, active, object_id, kind, actor_id, recipient_id, type)
    SELECT 6, n, true, 'post-' || n % 100, 'like', 'actor-' || n, 'owner-' || n % 100, 'like' FROM generate_series(1, 20000) AS n;
    INSERT INTO reaction_items (app_id, count, moved, recipient_id, type, object_id)
    SELECT 6, 200, 0, 'owner-' || n, 'like', 'post-' || n FROM generate_series(0, 99) AS n;
    ANALYZE reactions, reaction_items)sql");
  PostgresReactionStore reactions(pool_);
  const auto render = [](const Reaction&) { return ReactionItem{.item = {.id = NewUuid7(absl::Now())}}; };
  const auto like = [](const std::string& actor, int64_t version, absl::Duration later = absl::ZeroDuration()) {
    return Reaction{.app = AppId(6),
                    .actor_id = actor,
                    .object_id = "post-7",
                    .kind = "like",
                    .version = version,
                    .recipient = "owner-7",
                    .type = "like",
                    .window = std::make_shared<const ReactionWindow>(ReactionWindow{
                        .aggregation = {.window = absl::Hours(1), .sliding = true, .max_window = absl::Hours(9)},
                        .now = absl::Now() + later,
                        .tells = true,
                        .exchange = "carillon.direct",
                        .routing_key = "social.like"})};
  };
  ASSERT_OK(reactions.Apply({like("new-1", 100'001)}, render));
  Record();
  ASSERT_THAT(reactions.Apply({like("new-2", 100'002, absl::Minutes(1))}, render), IsOkAndHolds(SizeIs(1)));
  DueWindow due{.app = AppId(6), .type = "like", .recipient = RecipientId("owner-7"), .object_id = "post-7"};
  due.id = *Uuid::Parse(Query("SELECT message_id FROM schedules WHERE app_id = 6"));
  ASSERT_OK(reactions.ReadWindows({due}));
  ASSERT_THAT(reactions.EndWindows({{.window = &due}},
                                   [](size_t, const GatheredWindow&) { return std::vector<NewDelivery>(); }),
              IsOkAndHolds(1));
  ExpectIndexesOnly();
  EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("reactions_of_item"), HasSubstr("schedules_once")));
  EXPECT_EQ(Read("feed_items"), Slices("feed_items", {7}, absl::Now()));
}

TEST_F(PlanTest, IdleGroupsOfReactionsAreFoundByAge) {
  Query(R"sql(
    TRUNCATE reaction_groups;
    INSERT INTO reaction_groups (app_id, group_id, type, payload) SELECT 5, new_uuid7(), 'like', 'x' FROM generate_series(1, 20000);
    INSERT INTO reaction_groups (app_id, touched_at, group_id, type, payload)
    SELECT 5, now() - interval '1 day', uuid_floor(now() - interval '1 day' + n * interval '1 second'), 'like', 'x'
    FROM generate_series(1, 200) AS n;
    ANALYZE reaction_groups)sql");
  PostgresReactionStore reactions(pool_);
  for (int round = 0; round < 8; ++round) {
    Record();
    ASSERT_OK_AND_ASSIGN(const RequeuedReactions requeued,
                         reactions.RequeueIdle(absl::Now() - absl::Minutes(1), round == 0 ? 100 : 1000));
    EXPECT_EQ(requeued.queued, round < 2 ? 100 : 0);
    EXPECT_THAT(recorder_->plans,
                AllOf(HasSubstr("reaction_groups_pkey"), Not(HasSubstr("Seq Scan on reaction_groups"))));
  }
  EmptyOutbox();
}

// Among many apps, graphs and events, as the planner knows them.
class EventPlanTest : public PlanTest {
 protected:
  static constexpr int64_t kApp = 5;
  static constexpr int kMembers = 20'000;

  static void SetUpTestSuite() {
    PlanTest::SetUpTestSuite();
    Query(R"sql(
      INSERT INTO apps (app_id, name, app_key, scopes) OVERRIDING SYSTEM VALUE
      SELECT n, 'app-' || n, 'key-' || n, '{send}' FROM generate_series(1, 2000) AS n;
      INSERT INTO event_positions SELECT n, 1000 FROM generate_series(1, 2000) AS n;
      INSERT INTO feed_heads (app_id, recipient_id, event_position)
      SELECT app_id, 'user-' || n, 990 FROM generate_series(1, 5) AS app_id, generate_series(1, 20000) AS n;
      INSERT INTO memberships (app_id, kind, group_id, member_id, since_position)
      SELECT 5, 'followers', 'star-' || n % 5, 'user-' || n, 0 FROM generate_series(1, 100000) AS n;
      INSERT INTO events (event_id, app_id, created_at, expires_at, state, finished_at, position, retention_days, lane, audience,
                          audience_id, type, item)
      SELECT new_uuid7(), app_id, now(), now() + n * interval '1 minute', 'done', now(), n, 7, 'social', 'followers', 'star-' || n % 5,
             'stream.start', '{"title":"live"}'
      FROM generate_series(1, 20) AS app_id, generate_series(1, 1000) AS n;
      INSERT INTO event_shards (event_id, shard, cursor, done) SELECT event_id, 0, '', true FROM events;
      INSERT INTO dedupe_windows SELECT 5, new_uuid7(), now() + n * interval '1 minute', 'stream.start', n
      FROM generate_series(1, 20000) AS n;
      ANALYZE apps, event_positions, feed_heads, memberships, events, event_shards, dedupe_windows)sql");
  }

  Event Publish(AudienceKind kind, const std::string& id) {
    NewEvent made;
    Event& event = made.event;
    event.id = NewUuid7(absl::Now());
    event.app = AppId(kApp);
    event.type = "stream.start";
    event.create_time = absl::Now();
    event.audience = {.kind = kind, .id = id, .users = {}};
    if (kind == AudienceKind::kUsers) event.audience.users = {"ann", "ben", "cleo"};
    EXPECT_OK(events_.Accept(made));
    return event;
  }
  static FanoutPage PageOf(const Event& event) {
    return {.app = event.app, .event_id = event.id, .type = event.type, .shard = 0, .cursor = ""};
  }
  void ExpectNothingScanned() const {
    EXPECT_THAT(recorder_->plans, HasSubstr("Query Text"));
    EXPECT_THAT(recorder_->plans, Not(HasSubstr("Seq Scan")));
  }

  PostgresEventStore events_{pool_};
};

TEST_F(EventPlanTest, AnEventIsAcceptedWithoutReadingATable) {
  Record();
  Publish(AudienceKind::kFollowers, "star-1");
  EXPECT_THAT(recorder_->plans, HasSubstr("Insert on outbox"));
  EXPECT_THAT(Read("event"), IsEmpty());
}

TEST_F(EventPlanTest, APageIsOpenedByItsKeys) {
  const Event event = Publish(AudienceKind::kFollowers, "star-1");
  Record();
  ASSERT_OK(events_.Open(PageOf(event)));
  ExpectIndexesOnly();
  EXPECT_THAT(Read(""), ElementsAre("apps", "event_shards", "events"));
}

TEST_F(EventPlanTest, APageIsWrittenByItsKeysHoweverOftenTheStatementIsRun) {
  // The server plans for parameters in general from the sixth time on.
  for (int round = 0; round < 8; ++round) {
    const Event event = Publish(AudienceKind::kFollowers, "star-1");
    ASSERT_OK(events_.BeginExpanding(event, 20, {EventRange()}));
    ASSERT_OK_AND_ASSIGN(const std::vector<std::string> members, events_.Members(event, {}, 500));
    PageItems items;
    items.item.title = "live";
    items.recipients = members;
    for (size_t i = 0; i < members.size(); ++i) items.ids.push_back(NewUuid7(absl::Now()));
    Record();
    ASSERT_THAT(events_.WritePage(event, {.page = PageOf(event), .new_cursor = members.back()}, items),
                IsOkAndHolds(SizeIs(500)));
    ExpectNothingScanned();
    EXPECT_THAT(Read(""), ElementsAre("event_positions", "event_shards", "events"));
  }
}

TEST_F(EventPlanTest, MembersAreReadInTheOrderOfTheIndexAndNoMoreThanAPage) {
  for (const auto& [kind, id] : {std::pair(AudienceKind::kFollowers, "star-1"), {AudienceKind::kEveryone, ""}}) {
    const Event event = Publish(kind, id);
    const std::string table = kind == AudienceKind::kEveryone ? "feed_heads" : "memberships";
    for (int round = 0; round < 8; ++round) {
      Record();
      ASSERT_THAT(events_.Members(event, {.shard = 0, .after = "user-3", .last_id = {}}, 500),
                  IsOkAndHolds(SizeIs(500)));
      ASSERT_THAT(events_.Members(event, {.shard = 0, .after = "user-3", .last_id = "user-7"}, 500),
                  IsOkAndHolds(SizeIs(500)));
      ExpectIndexesOnly();
      EXPECT_THAT(recorder_->plans, AllOf(Not(HasSubstr("Sort Method")), HasSubstr(table + "_pkey")));
    }
  }
}

TEST_F(EventPlanTest, AnAudienceIsMeasuredInTheOrderOfTheIndex) {
  for (const auto& [kind, id] : {std::pair(AudienceKind::kFollowers, "star-1"), {AudienceKind::kEveryone, ""}}) {
    const Event event = Publish(kind, id);
    Record();
    ASSERT_OK_AND_ASSIGN(const EventStore::Measure measure, events_.MeasureAudience(event, 3000, 1'000'000));
    EXPECT_EQ(measure.size, kMembers);
    ExpectIndexesOnly();
    EXPECT_THAT(recorder_->plans, Not(HasSubstr("Sort Method")));
  }
}

TEST_F(EventPlanTest, ListedUsersAreReadFromTheirEvent) {
  const Event event = Publish(AudienceKind::kUsers, "");
  Record();
  ASSERT_THAT(events_.Members(event, {}, 500), IsOkAndHolds(SizeIs(3)));
  ExpectNothingScanned();
  EXPECT_THAT(Read(""), ElementsAre("events"));
}

TEST_F(EventPlanTest, FeedsAreTouchedByTheirKeysAndThePositionsTheyLack) {
  for (int round = 0; round < 8; ++round) {
    std::vector<BacklogRequest> requests;
    for (int i = 1; i <= 50; ++i) {
      requests.push_back({{AppId(kApp), RecipientId(absl::StrCat("user-", 5 * (100 * round + i)))}, 0});
    }
    Record();
    ASSERT_OK_AND_ASSIGN(const std::vector<Backlog> backlogs, feeds_.ReadBacklogs(requests));
    // Followers of one of five, of whom each has two of the ten newest events; no page was theirs.
    for (const Backlog& backlog : backlogs) EXPECT_THAT(backlog.items, SizeIs(2));
    ExpectNothingScanned();
    EXPECT_THAT(recorder_->plans,
                AllOf(HasSubstr("events_by_position"), HasSubstr("memberships_pkey"), HasSubstr("feed_heads_pkey")));
  }
}

TEST_F(EventPlanTest, IdleShardsAreFoundAmongTheUnfinishedEvents) {
  const Event event = Publish(AudienceKind::kFollowers, "star-1");
  for (int round = 0; round < 8; ++round) {
    Query("UPDATE event_shards SET updated_at = now() - interval '1 hour' WHERE event_id = '" + event.id.ToString() +
          "'");
    Record();
    ASSERT_OK(events_.RequeueIdle(Lane::kSocial, absl::Now() - absl::Minutes(30), 1000));
    ExpectNothingScanned();
    EXPECT_THAT(recorder_->plans, HasSubstr("events_unfinished"));
  }
}

TEST_F(EventPlanTest, ExpiredEventsAndWindowsAreFoundByTime) {
  for (int round = 1; round <= 8; ++round) {
    Record();
    ASSERT_OK(events_.Expire(absl::Now() + round * absl::Minutes(2), 500));
    ExpectNothingScanned();
    EXPECT_THAT(recorder_->plans, AllOf(HasSubstr("events_by_expiry"), HasSubstr("dedupe_windows_by_expiry")));
  }
}

TEST_F(EventPlanTest, AWindowIsTakenByItsKey) {
  const Event event = Publish(AudienceKind::kFollowers, "star-1");
  Record();
  ASSERT_OK(events_.TakeWindow(event, "77", absl::Minutes(10)));
  ExpectNothingScanned();
}

// What a table's readers did, as the server counts it.
struct TableActivity {
  int64_t sequential_scans = 0;
  int64_t rows_by_index = 0;
  int64_t rows_deleted = 0;
};

class BacklogTest : public PostgresTest {
 protected:
  static constexpr int kRows = 200'000;

  static TableActivity Activity(const std::string& table) {
    const std::vector<std::string> columns = absl::StrSplit(
        Query("SELECT concat_ws(' ', seq_scan, idx_tup_fetch, n_tup_del) FROM pg_stat_user_tables WHERE relname = '" +
              table + "'"),
        ' ');
    TableActivity activity;
    EXPECT_TRUE(columns.size() == 3 && absl::SimpleAtoi(columns[0], &activity.sequential_scans) &&
                absl::SimpleAtoi(columns[1], &activity.rows_by_index) &&
                absl::SimpleAtoi(columns[2], &activity.rows_deleted));
    return activity;
  }
  // Waits until the server has counted that so many rows were deleted since.
  static TableActivity Since(const TableActivity& before, const std::string& table, int64_t deleted) {
    TableActivity now;
    EXPECT_TRUE(WaitFor([&] {
      now = Activity(table);
      return now.rows_deleted - before.rows_deleted >= deleted;
    }));
    return {now.sequential_scans - before.sequential_scans, now.rows_by_index - before.rows_by_index,
            now.rows_deleted - before.rows_deleted};
  }
};

TEST_F(BacklogTest, ALongOneCostsTakeAndSettleNoMoreThanTheirRows) {
  Query(
      absl::StrCat("INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload) "
                   "SELECT gen_random_uuid(), 1, 'social', 'carillon.direct', 'social.like', 'like', '\\x00' "
                   "FROM generate_series(1, ",
                   kRows, ")"));
  Query(absl::StrCat(
      "INSERT INTO outbox (message_id, app_id, lane, deferred, available_at, exchange, routing_key, type, payload) "
      "SELECT gen_random_uuid(), 1, 'social', true, now() + i * interval '1 minute', 'carillon.direct', 'social.like', "
      "'like', '\\x00' FROM generate_series(-9, ",
      kRows / 4, ") AS i"));
  const TableActivity ready_before = Activity("outbox_social_ready");
  const TableActivity deferred_before = Activity("outbox_social_deferred");
  {
    PostgresOutboxReader reader(Options(), Lane::kSocial);
    ASSERT_OK_AND_ASSIGN(const std::vector<OutboxRow> rows, reader.Take(500));
    ASSERT_THAT(rows, SizeIs(500));
    std::vector<OutboxReader::Failure> failures;
    for (size_t i = 0; i < 10; ++i) failures.push_back({&rows[i], "failed", absl::Hours(100'000)});
    ASSERT_OK(reader.Settle(failures));
    EXPECT_THAT(reader.ReleaseDue(1000), IsOkAndHolds(10));
  }
  const TableActivity ready = Since(ready_before, "outbox_social_ready", 500);
  EXPECT_EQ(ready.sequential_scans, 0);
  EXPECT_LE(ready.rows_by_index, 500);
  EXPECT_EQ(ready.rows_deleted, 500);
  const TableActivity deferred = Since(deferred_before, "outbox_social_deferred", 10);
  EXPECT_EQ(deferred.sequential_scans, 0);
  EXPECT_LE(deferred.rows_by_index, 40);
  EXPECT_EQ(deferred.rows_deleted, 10);
}

TEST_F(BacklogTest, WhatWaitsCostsAReleaseNoMoreThanWhatIsDue) {
  Query(absl::StrCat(
      "INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, "
      "recipient_id, exchange, routing_key, type, payload) SELECT 1, now() + i * interval '1 hour', new_uuid7(), "
      "new_uuid7(), 7, CASE WHEN i % 2 = 0 THEN 'social' ELSE 'marketing' END, 'provider', 'email', 'ann', "
      "'carillon.delivery', 'social.email', 'like', 'x' FROM generate_series(-19, ",
      kRows / 4, ") AS i"));
  const TableActivity before = Activity("schedules");
  {
    PostgresOutboxReader reader(Options(), Lane::kSocial);
    EXPECT_THAT(reader.ReleaseDue(1000), IsOkAndHolds(10));
  }
  const TableActivity after = Since(before, "schedules", 10);
  EXPECT_EQ(after.sequential_scans, 0);
  EXPECT_LE(after.rows_by_index, 60);
  EXPECT_EQ(after.rows_deleted, 10);
}

}  // namespace
}  // namespace carillon::testing
