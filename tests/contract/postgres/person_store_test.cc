#include "carillon/postgres/person_store.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/membership_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/reaction_store.h"
#include "carillon/postgres/settings_listener.h"
#include "carillon/postgres/suppression_store.h"
#include "tests/contract/postgres/person_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::SizeIs;

class PersonStoreTest : public PersonTest {
 protected:
  std::string BobsFeed(const std::string& expression, const std::string& condition = "true") {
    return Sql(absl::StrCat("SELECT string_agg(DISTINCT coalesce((", expression,
                            ")::text, '-'), ',') FROM feed_items WHERE app_id = {app} AND recipient_id = 'bob' AND ",
                            condition));
  }
  std::string Count(const std::string& table, const std::string& condition = "true") {
    return Sql(absl::StrCat("SELECT count(*) FROM ", table, " WHERE app_id = {app} AND ", condition));
  }
  static int StageOf(const std::string& position) {
    int stage = 0;
    EXPECT_TRUE(position.empty() || absl::SimpleAtoi(position.substr(0, position.find('/')), &stage)) << position;
    return stage;
  }
  void ExpectNothingLeft() {
    for (const char* trace : {kMe, kName, kEmail, kPhone, kToken}) EXPECT_THAT(TablesWith(trace), IsEmpty()) << trace;
  }
  std::set<std::string> ExportedTables() {
    std::set<std::string> tables;
    for (const ExportedRow& row : Export()) tables.insert(row.table);
    return tables;
  }
};

TEST_F(PersonStoreTest, ErasesAPersonFromEveryTableAndPartition) {
  Fill();
  EXPECT_THAT(TablesWith(kMe),
              IsSupersetOf(std::set<std::string>(
                  {"recipients",         "devices",        "feed_heads",   "feed_removals",       "memberships",
                   "reactions",          "reaction_items", "events",       "event_shards",        "dedupe_windows",
                   "interactions",       "schedules",      "dead_letters", "outbox_social_ready", "outbox_otp_deferred",
                   "recipient_settings", "mutes",          "digests",      "recurrences",         "tripped_senders"})));
  EXPECT_THAT(TablesWith(kMe), SizeIs(::testing::Ge(50))) << "slices of three times in four classes of three tables";
  EXPECT_GT(Erase(), 80);
  ExpectNothingLeft();
}

TEST_F(PersonStoreTest, LeavesATombstoneThatDoesNotSayWho) {
  Fill();
  Erase();
  EXPECT_EQ(Count("tombstones", "recipient_hash = sha256('{me}') AND position IS NULL"), "1");
}

TEST_F(PersonStoreTest, ExportsEveryTableThatNamesPeople) {
  Fill();
  std::set<std::string> tables = TablesOfPeople();
  EXPECT_THAT(tables, IsSupersetOf(std::set<std::string>({"recipients", "events", "notifications", "suppressions"})));
  EXPECT_THAT(ExportedTables(), IsSupersetOf(tables));
}

TEST_F(PersonStoreTest, ErasesEveryTableThatNamesPeople) {
  Fill();
  // Each of them holds the person before, so the search afterwards says something.
  const std::set<std::string> filled = ExportedTables();
  for (const std::string& table : TablesOfPeople()) EXPECT_TRUE(filled.contains(table)) << table;
  Erase();
  EXPECT_THAT(Export(), IsEmpty());
}

TEST_F(PersonStoreTest, ExportsTheSameInPagesOfAnySize) {
  Fill();
  const std::vector<ExportedRow> all = Export();
  EXPECT_THAT(all, SizeIs(::testing::Gt(80)));
  for (const int size : {1, 3, 50}) {
    const std::vector<ExportedRow> paged = Export(size);
    ASSERT_THAT(paged, SizeIs(all.size())) << size;
    EXPECT_TRUE(std::equal(all.begin(), all.end(), paged.begin(), [](const ExportedRow& a, const ExportedRow& b) {
      return a.table == b.table && a.json == b.json;
    })) << size;
  }
}

TEST_F(PersonStoreTest, ExportsRowsWithoutBinaryColumnsAndOtherPeople) {
  Fill();
  for (const ExportedRow& row : Export()) {
    const nlohmann::json json = nlohmann::json::parse(row.json);
    for (const char* column : {"payload", "address_hash", "users", "request"}) {
      EXPECT_FALSE(json.contains(column)) << row.json;
    }
    EXPECT_EQ(json.value("email", kEmail), kEmail);
  }
}

TEST_F(PersonStoreTest, ExportsOfOthersRowsNeitherWhoseTheyAreNorWhatWasRead) {
  Fill();
  std::map<std::string, int> of_others;
  for (const ExportedRow& row : Export()) {
    const nlohmann::json json = nlohmann::json::parse(row.json);
    if (!json.contains("actor_id") || json["actor_id"] != kMe) continue;
    if (json.contains("recipient_id")) {
      EXPECT_EQ(json["recipient_id"], kMe) << row.json;
      continue;
    }
    ++of_others[row.table];
    for (const char* column : {"was_recipient_id", "seq", "read_seq", "trail"}) {
      EXPECT_FALSE(json.contains(column)) << row.json;
    }
  }
  for (const char* table : {"notifications", "feed_items", "reactions"}) EXPECT_GT(of_others[table], 0) << table;
}

TEST_F(PersonStoreTest, ExportsAndErasesNothingOfAnotherAppsUser) {
  const AppId other = NewApp();
  FillAs(other);
  EXPECT_THAT(Export(), IsEmpty());
  EXPECT_EQ(Erase(), 0);
  EXPECT_EQ(Sql(other, "SELECT count(*) FROM feed_items WHERE app_id = {app} AND actor_id = '{me}'"), "14");
  EXPECT_EQ(Sql(other, "SELECT cursor FROM event_shards JOIN events USING (event_id) WHERE app_id = {app} LIMIT 1"),
            kMe);
  const FeedKey key{other, RecipientId(kMe)};
  for (std::string position;;) {
    ASSERT_OK_AND_ASSIGN(const EraseStep step, store_.Erase(key, position));
    position = step.next;
    if (position.empty()) break;
  }
}

TEST_F(PersonStoreTest, RefusesAPositionThatIsNone) {
  for (const char* position : {"99/", "0/zz", "4/6d65", "x"}) {
    EXPECT_THAT(store_.Export(key_, position, 10),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")))
        << position;
  }
}

TEST_F(PersonStoreTest, KeepsWhatOthersHaveAndTakesTheNameOutOfIt) {
  Fill();
  Erase();
  EXPECT_EQ(Count("notifications", "recipient_id = 'bob'"), "12");
  EXPECT_EQ(Count("feed_items", "recipient_id = 'bob'"), "13") << "the item of post-1 left with its only reaction";
  EXPECT_EQ(BobsFeed("title"), "Someone liked your post");
  EXPECT_EQ(BobsFeed("body", "actor_count IS NULL"), "from Someone: hi");
  EXPECT_EQ(BobsFeed("image_url", "actor_count IS NULL"), "https://images/1");
  for (const char* column : {"actor_id", "actor_name", "actor_picture_url", "action_link", "data"}) {
    EXPECT_EQ(BobsFeed(column), "-") << column;
  }
  EXPECT_EQ(Sql("SELECT item FROM events WHERE app_id = {app} AND audience = 'followers'"),
            R"({"badge": "live", "title": "Someone is live", "image_url": "https://images/1"})");
  EXPECT_EQ(Sql("SELECT users FROM events WHERE app_id = {app} AND audience = 'users'"), "{bob}");
  EXPECT_EQ(Sql("SELECT data ->> 'actor_name' FROM events WHERE app_id = {app} AND audience = 'users'"), "Bob");
  EXPECT_EQ(Count("dead_letters"), "2");
  EXPECT_EQ(Count("schedules"), "4");
  EXPECT_EQ(Count("schedules", "recipient_id = 'bob' AND cause IN ('hold', 'send_time', 'digest')"), "3");
}

TEST_F(PersonStoreTest, ExportsWhatThePersonHasSaidAndNotWhoHasMutedThem) {
  Fill();
  std::map<std::string, int> rows;
  for (const ExportedRow& row : Export()) {
    ++rows[row.table];
    if (row.table == "mutes") {
      EXPECT_THAT(row.json, HasSubstr(absl::StrCat("\"recipient_id\": \"", kMe)));
    } else if (row.table == "recipient_settings") {
      EXPECT_THAT(row.json, HasSubstr("\"choice\": \"off\""));
    }
  }
  EXPECT_EQ(rows["recipient_settings"], 1);
  EXPECT_EQ(rows["mutes"], 2);
  EXPECT_EQ(rows["digests"], 2);
  EXPECT_EQ(rows["digest_entries"], 2);
  EXPECT_EQ(rows["recurrences"], 1);
  EXPECT_EQ(rows["tripped_senders"], 1);
  EXPECT_EQ(rows["schedules"], 5);
}

TEST_F(PersonStoreTest, KeepsWhatOthersHaveSaidAndWhatGathersForThem) {
  Fill();
  Erase();
  EXPECT_EQ(Count("recipient_settings", "recipient_id = 'bob'"), "1");
  EXPECT_EQ(Sql("SELECT recipient_id || ':' || muted_id FROM mutes WHERE app_id = {app}"), "bob:cleo");
  EXPECT_EQ(Count("mutes"), "1");
  EXPECT_EQ(Count("digests"), "1");
  EXPECT_EQ(Sql("SELECT count(*) FROM digest_entries JOIN digests USING (digest_id) WHERE app_id = {app}"), "1");
  EXPECT_EQ(Count("tripped_senders", "sender_id = 'bob'"), "1");
}

TEST_F(PersonStoreTest, EndsWhatIsSentAgainAndAgainToThePersonOrByThem) {
  Fill();
  Erase();
  EXPECT_EQ(Count("recurrences"), "2");
  EXPECT_EQ(Count("recurrences", "type = 'like' AND request = {again_to_bob}"), "1");
  EXPECT_EQ(Count("recurrences", "type = 'live' AND position(convert_to('bob', 'UTF8') IN request) > 0"), "1");
}

TEST_F(PersonStoreTest, TellsWhoeverKeepsSettingsOfThePersonAndOfThoseWhoHadMutedThem) {
  absl::Mutex mutex;
  std::set<std::string> told;
  const auto tell = [&](const std::string& who) {
    absl::MutexLock lock(&mutex);
    told.insert(who);
  };
  const auto was_told = [&](const std::string& who) {
    return WaitFor([&] {
      absl::MutexLock lock(&mutex);
      return told.contains(who);
    });
  };
  PostgresSettingsListener listener(Options(), {.on_change = [&](const FeedKey& key) { tell(key.recipient.value()); },
                                                .on_change_of_many = [] {},
                                                .on_open = [&] { tell("open"); },
                                                .on_loss = [](const absl::Status&) {}});
  ASSERT_TRUE(was_told("open"));
  Fill();
  Erase();
  EXPECT_TRUE(was_told(kMe));
  EXPECT_TRUE(was_told("bob"));
  EXPECT_TRUE(was_told("cleo"));
}

TEST_F(PersonStoreTest, TakesReactionsBackAsTheirActorWould) {
  Fill();
  Erase();
  PostgresReactionStore reactions(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const auto counters, reactions.Counters(app_, {"post-1", "post-2", "post-3", "mine-1"}));
  ASSERT_THAT(counters, SizeIs(2));
  EXPECT_EQ(counters[0].object_id, "post-2");
  EXPECT_EQ(counters[0].count, 1);
  EXPECT_EQ(counters[1].object_id, "mine-1");
  EXPECT_EQ(Sql("SELECT string_agg(object_id || ':' || count, ',') FROM reaction_items WHERE app_id = {app}"),
            "post-2:1");
  EXPECT_EQ(BobsFeed("actor_count || ':' || seq", "actor_count IS NOT NULL"), "1:23");
  EXPECT_EQ(Sql("SELECT last_seq || ',' || unread FROM feed_heads WHERE app_id = {app} AND recipient_id = 'bob'"),
            "23,13");
  EXPECT_EQ(Count("feed_removals", "recipient_id = 'bob'"), "1");
  EXPECT_EQ(Count("reactions"), "3") << "of Bob and Cleo";
}

TEST_F(PersonStoreTest, ForgetsTheNameInItemsThatTellOfMany) {
  PostgresReactionStore reactions(MakePool(1));
  const auto like = [&](const std::string& actor, const std::string& name, int64_t version, absl::Duration later) {
    const Reaction reaction{.app = app_,
                            .actor_id = actor,
                            .object_id = "post-9",
                            .kind = "like",
                            .version = version,
                            .recipient = "bob",
                            .type = "like",
                            .data_json = absl::StrCat(R"({"actor_name":")", name, R"("})"),
                            .window = std::make_shared<const ReactionWindow>(ReactionWindow{
                                .aggregation = {.window = absl::Hours(1), .sliding = false, .max_window = {}},
                                .now = absl::Now() + later})};
    ASSERT_OK(reactions.Apply({&reaction, 1}, [](const Reaction& newest) {
      ReactionItem shown;
      shown.item.id = NewUuid7(absl::Now());
      shown.item.title = newest.data_json;
      shown.item.data_json = newest.data_json;
      return shown;
    }));
  };
  // In a window that is over, and in the newest.
  for (const absl::Duration later : {absl::ZeroDuration(), absl::Hours(2)}) {
    like(kMe, kName, 1 + later / absl::Hours(1), later);
    like("cleo", "Cleo", 2 + later / absl::Hours(1), later);
  }
  ASSERT_EQ(Sql("SELECT string_agg(actor_count::text, ',' ORDER BY seq) FROM feed_items WHERE app_id = {app}"), "2,2");
  Erase();
  EXPECT_THAT(TablesWith(kName), IsEmpty());
  EXPECT_THAT(TablesWith(kMe), IsEmpty());
  EXPECT_EQ(Sql("SELECT string_agg(actor_count::text, ',' ORDER BY seq) FROM feed_items WHERE app_id = {app}"), "2,1");
  EXPECT_EQ(Sql("SELECT count(*) FROM feed_items WHERE app_id = {app} AND title LIKE '%Cleo and Someone%'"), "2");
}

TEST_F(PersonStoreTest, CountsWhatOthersStillDoAboutTheSameObjects) {
  Fill();
  Erase();
  PostgresReactionStore reactions(MakePool(1));
  const auto retract = [&](const std::string& actor, const std::string& object, int64_t version) {
    const Reaction reaction{
        .app = app_, .actor_id = actor, .object_id = object, .kind = "like", .active = false, .version = version};
    return reactions.Apply({&reaction, 1}, [](const Reaction&) { return ReactionItem(); });
  };
  ASSERT_OK_AND_ASSIGN(const auto changes, retract("cleo", "post-2", 100));
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_TRUE(changes[0].removed);
  EXPECT_THAT(retract("bob", "mine-1", 101), IsOkAndHolds(IsEmpty())) << "nobody's feed tells of it";
  EXPECT_EQ(Sql("SELECT sum(count) FROM reaction_counters WHERE app_id = {app}"), "0");
}

TEST_F(PersonStoreTest, KeepsSuppressingTheAddressThatItForgets) {
  Fill();
  Erase();
  PostgresSuppressionStore suppressions(MakePool(1));
  EXPECT_THAT(suppressions.Add({.app = app_, .channel = Channel::kEmail, .address = kEmail}), IsOkAndHolds(false));
  ASSERT_OK_AND_ASSIGN(const SuppressionPage page, suppressions.List({.app = app_, .address = kEmail, .limit = 10}));
  ASSERT_THAT(page.suppressions, SizeIs(1));
  EXPECT_EQ(page.suppressions[0].address, "");
  EXPECT_EQ(page.suppressions[0].reason, "erased");
}

TEST_F(PersonStoreTest, ForgetsThePersonsContactsAlsoWhenInterruptedAtAnyStep) {
  for (int steps = 1; steps < 56; steps += 5) {
    Fill();
    Erase(steps);
    Erase();
    ExpectNothingLeft();
    Sql("DELETE FROM notifications WHERE app_id = {app}; DELETE FROM feed_items WHERE app_id = {app};"
        "DELETE FROM feed_heads WHERE app_id = {app}; DELETE FROM deliveries WHERE app_id = {app};"
        "DELETE FROM schedules WHERE app_id = {app}; DELETE FROM dead_letters WHERE app_id = {app};"
        "DELETE FROM events WHERE app_id = {app}; DELETE FROM reactions WHERE app_id = {app};"
        "DELETE FROM reaction_items WHERE app_id = {app}; DELETE FROM reaction_counters WHERE app_id = {app};"
        "DELETE FROM suppressions WHERE app_id = {app}; DELETE FROM feed_removals WHERE app_id = {app};"
        "DELETE FROM idempotency_keys WHERE app_id = {app}; DELETE FROM recipient_settings WHERE app_id = {app};"
        "DELETE FROM mutes WHERE app_id = {app}; DELETE FROM digests WHERE app_id = {app};"
        "DELETE FROM recurrences WHERE app_id = {app}; DELETE FROM tripped_senders WHERE app_id = {app}");
    if (HasFailure()) FAIL() << "interrupted after " << steps << " steps";
  }
}

TEST_F(PersonStoreTest, GoesOnWalkingWhereItWasInterrupted) {
  Fill();
  std::string position;
  // One of those that walk.
  while (StageOf(position) < 22) {
    ASSERT_OK_AND_ASSIGN(const EraseStep step, store_.Erase(key_, position));
    position = step.next;
    ASSERT_FALSE(position.empty());
  }
  std::string resumed;
  int before = 0;
  // Stage after stage, until some are passed over.
  do {
    before = StageOf(resumed);
    ASSERT_OK_AND_ASSIGN(const EraseStep step, store_.Erase(key_, resumed));
    resumed = step.next;
    ASSERT_FALSE(resumed.empty());
  } while (StageOf(resumed) <= before + 1);
  EXPECT_EQ(resumed, position);
}

TEST_F(PersonStoreTest, ErasesMuchInBoundedSteps) {
  Sql("INSERT INTO feed_heads (app_id, recipient_id, last_seq, unread) VALUES ({app}, '{me}', 3000, 3000);"
      "INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title)"
      " SELECT new_uuid7(), {app}, n, now(), 7, '{me}', 'like', 't' FROM generate_series(1, 3000) AS n;"
      "INSERT INTO feed_items (notification_id, app_id, seq, created_at, retention_days, recipient_id, type, title, "
      "actor_id)"
      " SELECT new_uuid7(), {app}, n, now(), 7, 'bob', 'like', 't', '{me}' FROM generate_series(1, 3000) AS n");
  int64_t rows = 0;
  for (std::string position;;) {
    ASSERT_OK_AND_ASSIGN(const EraseStep step, store_.Erase(key_, position));
    EXPECT_LE(step.rows, 1000);
    rows += step.rows;
    position = step.next;
    if (position.empty()) break;
  }
  EXPECT_EQ(rows, 6001);
}

TEST_F(PersonStoreTest, WalksPastAnyNumberOfOthersRows) {
  Sql("INSERT INTO memberships (app_id, since_position, kind, group_id, member_id)"
      " SELECT {app}, 0, 'topic', 'news', 'fan-' || n FROM generate_series(1, 110000) AS n;"
      "INSERT INTO memberships (app_id, since_position, kind, group_id, member_id) VALUES ({app}, 0, 'topic', 'news', "
      "'{me}'),"
      " ({app}, 0, 'followers', 'bob', '{me}')");
  EXPECT_THAT(Export(), SizeIs(2));
  EXPECT_EQ(Erase(), 2);
  EXPECT_EQ(Count("memberships"), "110000");
}

TEST_F(PersonStoreTest, LetsTheIdBeginANewLife) {
  Fill();
  Erase();
  const NewNotification item = MakeNew(app_, kMe);
  AcceptOne(item);
  PostgresFeedStore feeds(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const auto outcomes, feeds.Deliver(DeliveriesOf({&item, 1})));
  EXPECT_EQ(outcomes[0].seq, 1);
  EXPECT_GT(Erase(), 0);
  EXPECT_THAT(Export(), IsEmpty());
}

TEST_F(PersonStoreTest, WhatIsOnItsWayFindsNothingToDeliver) {
  const NewNotification item = MakeNew(app_, kMe);
  AcceptOne(item);
  Erase();
  PostgresFeedStore feeds(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const auto outcomes, feeds.Deliver(DeliveriesOf({&item, 1})));
  EXPECT_FALSE(outcomes[0].applied);
  EXPECT_THAT(Export(), IsEmpty());
}

TEST_F(PersonStoreTest, ErasesBesideThoseWhoDeliverReadAndReact) {
  Fill();
  RunThreads(4, [&](int thread) {
    if (thread == 0) {
      for (int i = 0; i < 5; ++i) Erase();
      return;
    }
    PostgresFeedStore feeds(MakePool(1));
    PostgresReactionStore reactions(MakePool(1));
    for (int round = 0; round < 20; ++round) {
      std::vector<NewNotification> items = {MakeNew(app_, "bob"), MakeNew(app_, "cleo"), MakeNew(app_, kMe)};
      AcceptAll(items);
      EXPECT_OK(feeds.Deliver(DeliveriesOf(items)));
      const Reaction reaction{.app = app_,
                              .actor_id = round % 3 == 0 ? kMe : absl::StrCat("fan-", thread),
                              .object_id = "post-2",
                              .kind = "like",
                              .active = round % 2 == 0,
                              .version = 1000 + round * 10 + thread,
                              .recipient = "bob",
                              .type = "like"};
      ReactionItem shown;
      shown.item.title = "liked";
      EXPECT_OK(reactions.Apply({&reaction, 1}, [&](const Reaction&) {
        shown.item.id = NewUuid7(absl::Now());
        return shown;
      }));
      EXPECT_OK(feeds.MarkReadUpTo({app_, RecipientId("bob")}, 1'000'000));
    }
  });
  Erase();
  ExpectNothingLeft();
  EXPECT_EQ(
      Sql("SELECT count - (SELECT count(*) FROM reactions WHERE app_id = {app} AND object_id = 'post-2' AND active)"
          " FROM reaction_counters WHERE app_id = {app} AND object_id = 'post-2'"),
      "0");
}

TEST_F(PersonStoreTest, TakesANameOutWhereItIsAWord) {
  const auto without = [](const std::string& said, const std::string& name) {
    return Query(absl::StrCat("SELECT without_name($a$", said, "$a$, $a$", name, "$a$)"));
  };
  EXPECT_EQ(without("Ann likes Ann's Anna, Ann", "Ann"), "Someone likes Someone's Anna, Someone");
  EXPECT_EQ(without("小明さんがいいね", "小明"), "Someoneさんがいいね");
  EXPECT_EQ(without("A (B) liked [A (B)]", "A (B)"), "Someone liked [Someone]");
  EXPECT_EQ(without("c:\\d.+*?^${}| said", "c:\\d.+*?^${}|"), "Someone said");
  EXPECT_EQ(without("nothing here", ""), "nothing here");
  EXPECT_EQ(Query("SELECT without_name('kept', NULL)"), "kept");
  EXPECT_EQ(Query("SELECT without_name(NULL, 'x') IS NULL"), "t");
}

}  // namespace
}  // namespace carillon::testing
