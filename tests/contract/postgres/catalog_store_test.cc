#include "carillon/postgres/catalog_store.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class CatalogStoreTest : public PostgresTest {
 protected:
  NotificationType Type(const std::string& name) {
    return {.app = app_,
            .name = name,
            .lane = Lane::kPayment,
            .exchange = "carillon.topic",
            .routing_key = "payment.x",
            .channels = {Channel::kInApp, Channel::kEmail},
            .retention_days = 30,
            .critical = true,
            .ttl = absl::Minutes(10) + absl::Milliseconds(1),
            .in_app = {.title = "{{data.a}} \"quoted\" 'x' \\ {y}", .body = "ä€😀", .badge = "b"},
            .dedupe_key = "{{actor_id}}/{{data.x}}",
            .dedupe_window = absl::Minutes(5) + absl::Milliseconds(1),
            .track_interactions = true,
            .unsubscribable = true,
            .at_most_once = true};
  }
  std::vector<NotificationType> Types(AppId app) {
    absl::StatusOr<std::vector<NotificationType>> types = store_.LoadTypes();
    EXPECT_OK(types);
    if (!types.ok()) return {};
    std::erase_if(*types, [&](const NotificationType& type) { return type.app != app; });
    return *types;
  }
  int64_t Version() {
    const absl::StatusOr<int64_t> version = store_.Version();
    EXPECT_OK(version);
    return version.value_or(0);
  }

  const AppId app_ = NewApp();
  PostgresCatalogStore store_{MakePool(4)};
};

TEST_F(CatalogStoreTest, HoldsTheShippedTypes) {
  const std::vector<NotificationType> types = Types(kShippedApp);
  EXPECT_THAT(types, SizeIs(11));
  const auto otp = std::find_if(types.begin(), types.end(), [](const auto& type) { return type.name == "otp.login"; });
  ASSERT_NE(otp, types.end());
  EXPECT_EQ(otp->lane, Lane::kOtp);
  EXPECT_EQ(otp->ttl, absl::Minutes(10));
  EXPECT_TRUE(otp->critical);
  EXPECT_THAT(otp->channels, ElementsAre(Channel::kInApp));
  EXPECT_EQ(otp->in_app.body, "{{data.code}}");
}

TEST_F(CatalogStoreTest, TracksShippedMarketingThatRecipientsMayLeave) {
  for (const NotificationType& type : Types(kShippedApp)) {
    EXPECT_EQ(type.track_interactions, type.lane == Lane::kMarketing);
    EXPECT_EQ(type.unsubscribable, type.lane == Lane::kMarketing);
    EXPECT_FALSE(type.at_most_once);
  }
}

TEST_F(CatalogStoreTest, TellsOfAStreamersStartOncePerTenMinutes) {
  for (const NotificationType& type : Types(kShippedApp)) {
    EXPECT_EQ(type.dedupe_key, type.name == "stream.start" ? "{{actor_id}}" : "");
    EXPECT_EQ(type.dedupe_window, type.name == "stream.start" ? absl::Minutes(10) : absl::ZeroDuration());
  }
}

TEST_F(CatalogStoreTest, AddsAndReplacesTypes) {
  NotificationType type = Type("a.b");
  ASSERT_OK(store_.Apply({type, Type("c")}));
  EXPECT_THAT(Types(app_), ElementsAre(type, Type("c")));
  type.ttl = std::nullopt;
  type.lane = Lane::kSocial;
  type.exchange = "carillon.direct";
  type.routing_key = "social.x";
  type.channels = {Channel::kInApp};
  type.retention_days = 1;
  type.critical = false;
  type.in_app = {.title = "t"};
  type.dedupe_key = "";
  type.dedupe_window = absl::ZeroDuration();
  type.track_interactions = type.unsubscribable = type.at_most_once = false;
  ASSERT_OK(store_.Apply({type}));
  EXPECT_THAT(Types(app_), ElementsAre(type, Type("c")));
}

TEST_F(CatalogStoreTest, MovesTheVersionOnWithEveryChange) {
  const int64_t before = Version();
  ASSERT_OK(store_.Apply({Type("a")}));
  EXPECT_GT(Version(), before);
}

TEST_F(CatalogStoreTest, AppliesAllTypesOrNone) {
  NotificationType wrong = Type("wrong");
  wrong.exchange = "carillon.direct";
  const int64_t before = Version();
  EXPECT_THAT(store_.Apply({Type("right"), wrong}), Not(IsOk()));
  EXPECT_THAT(Types(app_), IsEmpty());
  EXPECT_EQ(Version(), before);
}

TEST_F(CatalogStoreTest, TakesChangesInAnyOrderAtOnce) {
  RunThreads(4, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      std::vector<NotificationType> types;
      for (int i = 0; i < 10; ++i) types.push_back(Type(absl::StrCat("type", thread % 2 == 0 ? i : 9 - i)));
      ASSERT_OK(store_.Apply(types));
    }
  });
  EXPECT_THAT(Types(app_), SizeIs(10));
  EXPECT_EQ(Query("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"), "0");
}

class AppStoreTest : public PostgresTest {
 protected:
  static std::string Hash(char c) { return std::string(32, c); }
  PostgresAppStore store_{MakePool(2)};
};

TEST_F(AppStoreTest, CreatesAndFindsAnApp) {
  ASSERT_OK_AND_ASSIGN(
      const App created,
      store_.Create({.name = "O'Neill {\"a\"}", .key = "key-1", .scopes = {"send", "feed"}}, Hash('\xff')));
  EXPECT_GT(created.id, kShippedApp);
  ASSERT_OK_AND_ASSIGN(const AppCredentials found, store_.Find("key-1"));
  EXPECT_EQ(found.app.id, created.id);
  EXPECT_EQ(found.app.name, "O'Neill {\"a\"}");
  EXPECT_EQ(found.app.key, "key-1");
  EXPECT_THAT(found.app.scopes, ElementsAre("send", "feed"));
  EXPECT_EQ(found.app.create_time, created.create_time);
  EXPECT_EQ(created.shared_audience_threshold, 100'000);
  EXPECT_EQ(found.app.shared_audience_threshold, 100'000);
  EXPECT_EQ(created.default_locale, "en");
  EXPECT_EQ(found.app.default_locale, "en");
  EXPECT_THAT(found.secret_hashes, ElementsAre(Hash('\xff')));
}

TEST_F(AppStoreTest, KnowsNoOtherKeys) {
  EXPECT_THAT(store_.Find("unknown"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Find(""), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.AddSecret("unknown", Hash('a')), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AppStoreTest, ChangesWhatIsGivenAndNothingElse) {
  ASSERT_OK(store_.Create({.name = "changing", .key = "key-5", .scopes = {"send"}}, Hash('a')));
  ASSERT_OK_AND_ASSIGN(App app, store_.Update("key-5", {.shared_audience_threshold = 0}));
  EXPECT_EQ(app.shared_audience_threshold, 0);
  EXPECT_EQ(app.default_locale, "en");
  EXPECT_EQ(app.name, "changing");
  EXPECT_THAT(app.scopes, ElementsAre("send"));
  ASSERT_OK_AND_ASSIGN(app, store_.Update("key-5", {.default_locale = "es-MX"}));
  EXPECT_EQ(app.default_locale, "es-MX");
  ASSERT_OK_AND_ASSIGN(app, store_.Update("key-5", {}));
  EXPECT_EQ(app.shared_audience_threshold, 0);
  ASSERT_OK_AND_ASSIGN(const AppCredentials found, store_.Find("key-5"));
  EXPECT_EQ(found.app.default_locale, "es-MX");
  EXPECT_EQ(found.app.shared_audience_threshold, 0);
  EXPECT_THAT(store_.Update("unknown", {.shared_audience_threshold = 1}), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AppStoreTest, ChangesLimitsAsAWholeAndTellsProcesses) {
  ASSERT_OK_AND_ASSIGN(const App created,
                       store_.Create({.name = "limited", .key = "key-6", .scopes = {"send"}}, Hash('a')));
  EXPECT_EQ(created.limits, SendLimits());
  PostgresCatalogStore catalogue(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const int64_t before, catalogue.Version());
  const SendLimits limits{
      .app_rate = 100, .app_burst = 500, .sender_rate = 10, .sender_burst = 20, .runaway_per_minute = 6'000};
  ASSERT_OK_AND_ASSIGN(App app, store_.Update("key-6", {.limits = limits}));
  EXPECT_EQ(app.limits, limits);
  EXPECT_THAT(catalogue.Version(), IsOkAndHolds(::testing::Gt(before)));
  ASSERT_OK_AND_ASSIGN(app, store_.Update("key-6", {.default_locale = "de"}));
  EXPECT_EQ(app.limits, limits);
  ASSERT_OK_AND_ASSIGN(app, store_.Update("key-6", {.limits = SendLimits{.sender_rate = 1}}));
  EXPECT_EQ(app.limits, SendLimits{.sender_rate = 1});
}

class SandboxTest : public AppStoreTest {
 protected:
  void SetUp() override {
    Query("TRUNCATE schedules");
    static int count = 0;
    key_ = absl::StrCat("sandbox-", ++count);
    ASSERT_OK_AND_ASSIGN(const App created, store_.Create({.name = key_, .key = key_, .scopes = {"send"}}, Hash('a')));
    app_ = created.id;
  }
  void Wait(AppId app, const std::string& cause, const std::string& due) {
    Query(absl::StrCat(
        "INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, channel, "
        "recipient_id, exchange, routing_key, type, payload) VALUES (",
        app.value(), ", now() + interval '", due, "', new_uuid7(), new_uuid7(), 7, 'social', '", cause,
        "', 'email', 'ann', 'e', 'k', 't', '')"));
  }
  // How many of a cause are due.
  std::string Due(AppId app, const std::string& cause) {
    return Query(absl::StrCat("SELECT count(*) FROM schedules WHERE due_at <= now() AND app_id = ", app.value(),
                              " AND cause = '", cause, "'"));
  }

  std::string key_;
  AppId app_;
};

TEST_F(SandboxTest, TellsWhetherAnythingIsUndecided) {
  const auto accept = [&](const std::string& id) {
    Query(absl::StrCat(
        "SELECT ensure_slices(now(), now()); INSERT INTO notifications (notification_id, app_id, created_at, "
        "retention_days, lane, state, type, recipient_id, channels, data) VALUES (",
        id, ", ", app_.value(), ", now(), 7, 'social', 'accepted', 'like', 'ann', '{in_app}', '{}')"));
  };
  accept("new_uuid7()");
  EXPECT_THAT(store_.HasUndecided(app_), IsOkAndHolds(false)) << "it is no sandbox";
  ASSERT_OK(store_.Update(key_, {.make_sandbox = true}));
  EXPECT_THAT(store_.HasUndecided(app_), IsOkAndHolds(true));
  Query("UPDATE notifications SET state = 'delivered', finished_at = now()");
  EXPECT_THAT(store_.HasUndecided(app_), IsOkAndHolds(false));
  accept("uuid7_at(now() - interval '11 seconds')");
  EXPECT_THAT(store_.HasUndecided(app_), IsOkAndHolds(false)) << "a worker is away";
}

TEST_F(SandboxTest, MovesTheAppsTimeAndWhatWaitsForIt) {
  ASSERT_OK(store_.Update(key_, {.make_sandbox = true}));
  const AppId other = NewApp();
  for (const std::string cause : {"hold", "send_time", "digest", "window"}) {
    Wait(app_, cause, "7 hours");
    Wait(app_, cause, "9 hours");
    Wait(app_, cause, "-1 second");
    Wait(other, cause, "7 hours");
  }
  for (const std::string cause : {"provider", "receipt", "busy", "resend"}) Wait(app_, cause, "7 hours");
  PostgresCatalogStore catalogue(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const int64_t before, catalogue.Version());
  const absl::Time begin = absl::Now();
  ASSERT_OK_AND_ASSIGN(MovedClock moved, store_.AdvanceClock(app_, absl::Hours(8)));
  EXPECT_EQ(moved.due, 4);
  EXPECT_GE(moved.app_time, begin + absl::Hours(8) - absl::Seconds(1));
  EXPECT_LE(moved.app_time, absl::Now() + absl::Hours(8) + absl::Seconds(1));
  EXPECT_THAT(catalogue.Version(), IsOkAndHolds(::testing::Gt(before)));
  for (const std::string cause : {"hold", "send_time", "digest", "window"}) {
    EXPECT_EQ(Due(app_, cause), "2") << cause;
    EXPECT_EQ(Due(other, cause), "0") << cause;
  }
  for (const std::string cause : {"provider", "receipt", "busy", "resend"}) EXPECT_EQ(Due(app_, cause), "0") << cause;
  ASSERT_OK_AND_ASSIGN(moved, store_.AdvanceClock(app_, absl::Hours(2)));
  EXPECT_EQ(moved.due, 4);
  ASSERT_OK_AND_ASSIGN(const AppCredentials found, store_.Find(key_));
  EXPECT_EQ(found.app.clock_offset, absl::Hours(10));
  ASSERT_OK_AND_ASSIGN(const std::vector<AppPolicy> policies, catalogue.LoadAppPolicies());
  const auto policy = std::find_if(policies.begin(), policies.end(), [&](const auto& one) { return one.app == app_; });
  ASSERT_NE(policy, policies.end());
  EXPECT_TRUE(policy->sandbox);
  EXPECT_EQ(policy->clock_offset, absl::Hours(10));
}

TEST_F(SandboxTest, MovesTheTimeOfNoOtherApp) {
  Wait(app_, "hold", "7 hours");
  EXPECT_THAT(store_.AdvanceClock(app_, absl::Hours(8)), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Due(app_, "hold"), "0");
}

TEST_F(SandboxTest, StaysWithinACentury) {
  ASSERT_OK(store_.Update(key_, {.make_sandbox = true}));
  for (int year = 0; year < 100; ++year) ASSERT_OK(store_.AdvanceClock(app_, absl::Hours(24 * 366)));
  Wait(app_, "hold", "1 hour");
  EXPECT_THAT(store_.AdvanceClock(app_, absl::Hours(2)), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Due(app_, "hold"), "0");
}

TEST_F(SandboxTest, StaysASandbox) {
  ASSERT_OK_AND_ASSIGN(App app, store_.Update(key_, {.make_sandbox = true}));
  EXPECT_TRUE(app.sandbox);
  ASSERT_OK_AND_ASSIGN(app, store_.Update(key_, {.default_locale = "de"}));
  EXPECT_TRUE(app.sandbox);
}

TEST_F(AppStoreTest, RefusesANameThatIsTaken) {
  ASSERT_OK(store_.Create({.name = "taken", .key = "key-2", .scopes = {}}, Hash('a')));
  EXPECT_THAT(store_.Create({.name = "taken", .key = "key-3", .scopes = {}}, Hash('a')),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(store_.Find("key-3"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(AppStoreTest, KeepsTheTwoNewestSecrets) {
  ASSERT_OK(store_.Create({.name = "rotating", .key = "key-4", .scopes = {"admin"}}, Hash('a')));
  ASSERT_OK(store_.AddSecret("key-4", Hash('b')));
  ASSERT_OK_AND_ASSIGN(AppCredentials found, store_.Find("key-4"));
  EXPECT_THAT(found.secret_hashes, ElementsAre(Hash('b'), Hash('a')));
  ASSERT_OK(store_.AddSecret("key-4", Hash('c')));
  ASSERT_OK_AND_ASSIGN(found, store_.Find("key-4"));
  EXPECT_THAT(found.secret_hashes, ElementsAre(Hash('c'), Hash('b')));
  EXPECT_EQ(Query("SELECT count(*) FROM app_secrets JOIN apps USING (app_id) WHERE app_key = 'key-4'"), "2");
}

}  // namespace
}  // namespace carillon::testing
