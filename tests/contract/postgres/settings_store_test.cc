#include "carillon/postgres/settings_store.h"

#include <gmock/gmock.h>

#include <functional>
#include <pqxx/notification>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/errors.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/recipient_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using Scope = Preference::Scope;

// Hears what is told about settings, from its making on.
class News final : public pqxx::notification_receiver {
 public:
  explicit News(pqxx::connection& connection) : notification_receiver(connection, kSettingsChannel) {}
  void operator()(const std::string& payload, int) override { heard.push_back(payload); }

  std::vector<std::string> heard;
};

class SettingsStoreTest : public PostgresTest {
 protected:
  FeedKey Key(const std::string& recipient = "ann") const { return {app_, RecipientId(recipient)}; }
  KnownSettings Read(const std::string& recipient = "ann") {
    const absl::StatusOr<std::vector<KnownSettings>> read = store_.Read({Key(recipient)});
    EXPECT_OK(read);
    return read.ok() ? read->front() : KnownSettings();
  }
  absl::StatusOr<RecipientSettings> Update(const std::function<void(RecipientSettings&)>& change) {
    return store_.Update(Key(), [&](RecipientSettings& settings) {
      change(settings);
      return absl::OkStatus();
    });
  }
  std::vector<Mute> Mutes(int count, const std::string& prefix, absl::Time until = absl::InfiniteFuture()) {
    std::vector<Mute> mutes;
    for (int i = 0; i < count; ++i) mutes.push_back({MuteKind::kActor, absl::StrCat(prefix, i), until});
    return mutes;
  }
  // What was told of while `act` ran, in order.
  std::vector<std::string> NewsOf(const std::function<void()>& act) {
    pqxx::connection connection(Options().url);
    News news(connection);
    act();
    // What was committed before this statement has come with its answer.
    pqxx::nontransaction(connection).exec("SELECT 1");
    connection.get_notifs();
    return news.heard;
  }
  std::string Told(const std::string& recipient = "ann") const { return absl::StrCat(app_.value(), ":", recipient); }

  const AppId app_ = NewApp();
  PostgresSettingsStore store_{MakePool(8)};
};

TEST_F(SettingsStoreTest, WhoHasSaidNothingHasTheDefaults) {
  const KnownSettings known = Read();
  EXPECT_EQ(known.settings, RecipientSettings());
  EXPECT_EQ(known.time_zone, "");
  EXPECT_THAT(known.mutes, IsEmpty());
}

TEST_F(SettingsStoreTest, KeepsAllThatIsSaid) {
  RecipientSettings said{
      .preferences = {{Scope::kAll, "", std::nullopt, Choice::kOn},
                      {Scope::kCategory, "people", Channel::kEmail, Choice::kDigest},
                      {Scope::kType, "like", Channel::kInApp, Choice::kOff}},
      // The last microsecond that a timestamp can tell.
      .do_not_disturb_until = absl::FromUnixMicros(253'402'300'799'999'999),
      .quiet_hours = *QuietHours::Make({{absl::Weekday::sunday, 1320, 420}, {absl::Weekday::monday, 0, 1440}}),
      .digest_time = {.every = DigestTime::Every::kWeek, .minute = 75, .day = absl::Weekday::friday}};
  ASSERT_OK_AND_ASSIGN(const RecipientSettings kept, Update([&](RecipientSettings& settings) { settings = said; }));
  EXPECT_EQ(kept, said);
  EXPECT_EQ(Read().settings, said);
  ASSERT_OK(Update([](RecipientSettings& settings) { settings = {}; }));
  EXPECT_EQ(Read().settings, RecipientSettings());
}

TEST_F(SettingsStoreTest, AnswersInTheOrderAskedAndKeepsAppsApart) {
  ASSERT_OK(Update([](RecipientSettings& settings) { settings.digest_time.minute = 1; }));
  ASSERT_OK(store_.AddMutes(Key("bob"), Mutes(1, "x")));
  ASSERT_OK_AND_ASSIGN(const std::vector<KnownSettings> read,
                       store_.Read({Key("nobody"), Key("bob"), Key("ann"), {NewApp(), RecipientId("ann")}}));
  ASSERT_THAT(read, SizeIs(4));
  EXPECT_EQ(read[0].settings, RecipientSettings());
  EXPECT_THAT(read[1].mutes, SizeIs(1));
  EXPECT_EQ(read[2].settings.digest_time.minute, 1);
  EXPECT_EQ(read[3].settings, RecipientSettings());
}

TEST_F(SettingsStoreTest, AChangeThatFailsChangesNothing) {
  const auto refuse = [](RecipientSettings& settings) {
    settings.digest_time.minute = 1;
    return error::InvalidField("digest_time", "is not wanted");
  };
  EXPECT_THAT(NewsOf([&] { EXPECT_THAT(store_.Update(Key(), refuse), StatusIs(absl::StatusCode::kInvalidArgument)); }),
              IsEmpty());
  EXPECT_EQ(Read().settings, RecipientSettings());
}

TEST_F(SettingsStoreTest, ChangesAtOnceLoseNone) {
  RunThreads(8, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      EXPECT_OK(Update([&](RecipientSettings& settings) {
        settings.preferences.push_back(
            {Scope::kType, absl::StrCat("t", thread, ".", round), std::nullopt, Choice::kOff});
      }));
    }
  });
  EXPECT_THAT(Read().settings.preferences, SizeIs(80));
}

TEST_F(SettingsStoreTest, WhatIsHeldIsLookedAtAgainWhenQuietTimesChange) {
  const auto hold = [&](const std::string& recipient, const std::string& cause) {
    Query(
        absl::StrCat("INSERT INTO schedules (app_id, due_at, notification_id, message_id, retention_days, lane, cause, "
                     "channel, recipient_id, exchange, routing_key, type, payload) VALUES (",
                     app_.value(), ", now() + interval '1 day', gen_random_uuid(), gen_random_uuid(), 7, 'social', '",
                     cause, "', 'email', '", recipient, "', 'carillon.direct', 'social.like', 'like', '')"));
  };
  hold("ann", "hold");
  hold("ann", "send_time");
  hold("bob", "hold");
  const auto due = [&] {
    return Query(
        "SELECT coalesce(string_agg(recipient_id || ' ' || cause, ','), '') FROM schedules WHERE due_at <= now()");
  };
  ASSERT_OK(Update([](RecipientSettings& settings) { settings.digest_time.minute = 1; }));
  EXPECT_EQ(due(), "");
  ASSERT_OK(Update([](RecipientSettings& settings) { settings.do_not_disturb_until = absl::Now() + absl::Hours(1); }));
  EXPECT_EQ(due(), "ann hold");
}

TEST_F(SettingsStoreTest, MutesForGoodAndForATime) {
  const absl::Time until = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now() + absl::Hours(1)));
  const std::vector<Mute> mutes = {{MuteKind::kActor, "bob"}, {MuteKind::kObject, "bob", until}};
  ASSERT_OK(store_.AddMutes(Key(), mutes));
  EXPECT_THAT(Read().mutes, UnorderedElementsAre(mutes[0], mutes[1]));
  EXPECT_EQ(Read().settings, RecipientSettings());
  ASSERT_OK(store_.AddMutes(Key(), {{MuteKind::kActor, "bob", until}}));
  EXPECT_THAT(Read().mutes, UnorderedElementsAre(Mute{MuteKind::kActor, "bob", until}, mutes[1])) << "the newer word";
  EXPECT_THAT(store_.RemoveMutes(Key(), {{MuteKind::kActor, "bob"}, {MuteKind::kActor, "eve"}}), IsOkAndHolds(1));
  EXPECT_THAT(store_.RemoveMutes(Key("eve"), {mutes[1]}), IsOkAndHolds(0));
  EXPECT_THAT(Read().mutes, ElementsAre(mutes[1]));
}

TEST_F(SettingsStoreTest, ForgetsMutesThatAreOver) {
  ASSERT_OK(store_.AddMutes(Key(), Mutes(3, "past", absl::Now() - absl::Seconds(1))));
  EXPECT_THAT(Read().mutes, IsEmpty());
  ASSERT_OK(store_.AddMutes(Key(), Mutes(1, "x")));
  EXPECT_EQ(Query(absl::StrCat("SELECT count(*) FROM mutes WHERE app_id = ", app_.value())), "1");
}

TEST_F(SettingsStoreTest, RefusesMoreMutesThanTheBoundAndKeepsNoneOfThem) {
  ASSERT_OK(store_.AddMutes(Key(), Mutes(SettingsStore::kMaxMutes, "x")));
  EXPECT_OK(store_.AddMutes(Key(), Mutes(100, "x"))) << "they are muted already";
  EXPECT_THAT(store_.AddMutes(Key(), {{MuteKind::kActor, "x0", absl::FromUnixSeconds(4e9)}, {MuteKind::kActor, "y"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mutes: would be more than the 1000")));
  const std::vector<Mute> kept = Read().mutes;
  EXPECT_THAT(kept, SizeIs(SettingsStore::kMaxMutes));
  EXPECT_THAT(kept, ::testing::Contains(Mute{MuteKind::kActor, "x0"}));
  EXPECT_OK(store_.AddMutes(Key("bob"), Mutes(1, "y"))) << "the bound is a recipient's";
}

TEST_F(SettingsStoreTest, MutesThatAreAddedAtOnceKeepToTheBoundTogether) {
  ASSERT_OK(store_.AddMutes(Key(), Mutes(SettingsStore::kMaxMutes - 3, "x")));
  RunThreads(8, [&](int thread) {
    const absl::Status added = store_.AddMutes(Key(), {{MuteKind::kObject, absl::StrCat("o", thread)}});
    EXPECT_THAT(added, AnyOf(IsOk(), StatusIs(absl::StatusCode::kInvalidArgument)));
  });
  EXPECT_THAT(Read().mutes, SizeIs(SettingsStore::kMaxMutes));
}

TEST_F(SettingsStoreTest, ReplacesWhatAnAppHasSaidAndMovesTheCatalogueOn) {
  PostgresCatalogStore catalogue(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const int64_t before, catalogue.Version());
  EXPECT_THAT(store_.ReadAppPreferences(app_), IsOkAndHolds(IsEmpty()));
  const std::vector<Preference> said = {{Scope::kAll, "", Channel::kSms, Choice::kOff},
                                        {Scope::kCategory, "people", std::nullopt, Choice::kDigest},
                                        {Scope::kType, "like", Channel::kEmail, Choice::kOn}};
  ASSERT_OK(store_.SetAppPreferences(app_, {said[2], said[0], said[1]}));
  EXPECT_THAT(store_.ReadAppPreferences(app_), IsOkAndHolds(said)) << "by scope";
  ASSERT_OK_AND_ASSIGN(const int64_t after, catalogue.Version());
  EXPECT_GT(after, before);
  EXPECT_THAT(store_.ReadAppPreferences(NewApp()), IsOkAndHolds(IsEmpty()));
  ASSERT_OK(store_.SetAppPreferences(app_, {said[1]}));
  EXPECT_THAT(store_.ReadAppPreferences(app_), IsOkAndHolds(ElementsAre(said[1])));
  ASSERT_OK(store_.SetAppPreferences(app_, {}));
  EXPECT_THAT(store_.ReadAppPreferences(app_), IsOkAndHolds(IsEmpty()));
}

TEST_F(SettingsStoreTest, KnowsTheTimeZoneOfARecipient) {
  PostgresRecipientStore recipients(MakePool(1));
  ASSERT_OK(recipients.Update(Key(), {.time_zone = "Asia/Kolkata"}));
  EXPECT_EQ(Read().time_zone, "Asia/Kolkata");
}

TEST_F(SettingsStoreTest, EveryChangeOfARecipientIsTold) {
  PostgresRecipientStore recipients(MakePool(1));
  EXPECT_THAT(NewsOf([&] { EXPECT_OK(Update([](RecipientSettings&) {})); }), ElementsAre(Told()));
  EXPECT_THAT(NewsOf([&] { EXPECT_OK(store_.AddMutes(Key("bob"), Mutes(1, "x"))); }), ElementsAre(Told("bob")));
  EXPECT_THAT(NewsOf([&] { EXPECT_OK(store_.RemoveMutes(Key("bob"), Mutes(1, "x"))); }), ElementsAre(Told("bob")));
  EXPECT_THAT(NewsOf([&] { EXPECT_OK(recipients.Update(Key(), {.time_zone = "Europe/Berlin"})); }),
              ElementsAre(Told()));
  EXPECT_THAT(NewsOf([&] { EXPECT_OK(recipients.Update(Key(), {.email = "ann@example.org"})); }), IsEmpty());
}

TEST_F(SettingsStoreTest, TypesKeepTheirPolicies) {
  PostgresCatalogStore catalogue(MakePool(1));
  const auto type = [&](const std::string& name, DeliveryPolicy policy) {
    return NotificationType{.app = app_,
                            .name = name,
                            .lane = Lane::kSocial,
                            .exchange = "carillon.direct",
                            .routing_key = "social.x",
                            .channels = {Channel::kInApp},
                            .in_app = {.title = "t"},
                            .policy = std::move(policy)};
  };
  const std::vector<NotificationType> types = {
      type("a", {}),
      type("b", {.category = "people",
                 .required = true,
                 .caps = {{Channel::kEmail, 3, absl::Hours(24)}, {Channel::kApns, 1000, absl::Seconds(1)}},
                 .cap_overflow = Overflow::kInAppOnly,
                 .quiet_overflow = Overflow::kDigest,
                 .aggregation = Aggregation{absl::Minutes(5), true, absl::Hours(24 * 31)}}),
      type("c", {.cap_overflow = Overflow::kHold,
                 .quiet_overflow = Overflow::kDrop,
                 .aggregation = Aggregation{.window = absl::Seconds(1)}})};
  ASSERT_OK(catalogue.Apply(types));
  ASSERT_OK_AND_ASSIGN(std::vector<NotificationType> loaded, catalogue.LoadTypes());
  std::erase_if(loaded, [&](const NotificationType& one) { return one.app != app_; });
  EXPECT_EQ(loaded, types);
}

}  // namespace
}  // namespace carillon::testing
