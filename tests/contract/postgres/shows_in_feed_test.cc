// That SQL and the decider say the same of the feed: one asks for what is stored once
// for all, the other for everything else.
#include <gmock/gmock.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "carillon/domain/decider.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/settings_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

class ShowsInFeedTest : public PostgresTest {
 protected:
  int Random(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }

  std::vector<Preference> SomePreferences() {
    std::vector<Preference> preferences;
    for (const auto scope : {Preference::Scope::kAll, Preference::Scope::kCategory, Preference::Scope::kType}) {
      for (const auto channel :
           {std::optional<Channel>(), std::optional(Channel::kInApp), std::optional(Channel::kEmail)}) {
        if (Random(3) != 0) continue;
        const char* const names[] = {"", Random(2) == 0 ? "reactions" : "news", Random(2) == 0 ? "poke" : "like"};
        preferences.push_back({.scope = scope,
                               .name = names[static_cast<int>(scope)],
                               .channel = channel,
                               .choice = static_cast<Choice>(Random(3))});
      }
    }
    return preferences;
  }

  NotificationType SomeType() {
    NotificationType type;
    type.app = app_;
    type.name = "poke";
    type.exchange = "carillon.direct";
    type.routing_key = "social.poke";
    type.channels = {Channel::kInApp};
    type.in_app.title = "poke";
    type.critical = Random(8) == 0;
    type.policy.required = Random(8) == 0;
    if (Random(2) == 0) type.policy.category = "reactions";
    return type;
  }

  std::vector<Mute> SomeMutes(absl::Time now) {
    std::vector<Mute> mutes;
    if (Random(4) == 0) {
      mutes.push_back({.kind = Random(2) == 0 ? MuteKind::kActor : MuteKind::kObject,
                       .id = Random(2) == 0 ? "bob" : "else",
                       .until = Random(2) == 0 ? absl::InfiniteFuture() : now + absl::Hours(Random(3) - 1)});
    }
    return mutes;
  }

  std::mt19937 random_{20261127};
  const AppId app_ = NewApp();
  PostgresCatalogStore catalogue_{MakePool(2)};
  PostgresSettingsStore settings_{MakePool(2)};
};

TEST_F(ShowsInFeedTest, SaysWhatTheDeciderSays) {
  constexpr Channel kFeed[] = {Channel::kInApp};
  for (int round = 0; round < 300; ++round) {
    const absl::Time now = absl::Now();
    const FeedKey key{app_, RecipientId(absl::StrCat("ann-", round))};
    const NotificationType type = SomeType();
    ASSERT_OK(catalogue_.Apply({type}));
    const std::vector<Preference> of_app = SomePreferences();
    ASSERT_OK(settings_.SetAppPreferences(app_, of_app));
    ASSERT_OK_AND_ASSIGN(const RecipientSettings said, settings_.Update(key, [&](RecipientSettings& settings) {
      settings.preferences = SomePreferences();
      return absl::OkStatus();
    }));
    const std::vector<Mute> mutes = SomeMutes(now);
    if (!mutes.empty()) {
      ASSERT_OK(settings_.AddMutes(key, mutes));
    }
    const auto muted_until = [&](MuteKind kind) {
      return mutes.empty() || mutes[0].kind != kind || mutes[0].id != "bob" ? MutedUntil() : MutedUntil(mutes[0].until);
    };
    const std::vector<ChannelDecision> decided = Decide({.type = "poke",
                                                         .critical = type.critical,
                                                         .policy = type.policy,
                                                         .channels = kFeed,
                                                         .expire_time = {},
                                                         .app_preferences = of_app,
                                                         .settings = said,
                                                         .zone = absl::UTCTimeZone(),
                                                         .actor_muted_until = muted_until(MuteKind::kActor),
                                                         .object_muted_until = muted_until(MuteKind::kObject),
                                                         .now = now});
    EXPECT_EQ(Query(absl::StrCat("SELECT shows_in_feed(", app_.value(), ", '", key.recipient.value(),
                                 "', 'poke', 'bob', 'bob')")),
              decided.front().outcome == Outcome::kSend ? "t" : "f")
        << "round " << round;
  }
}

}  // namespace
}  // namespace carillon::testing
