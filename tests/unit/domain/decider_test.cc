// What holds of every decision, whatever was said: tried with situations at random. Each
// has a seed, which a failure names.
#include "carillon/domain/decider.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

using ::testing::AnyOf;
using ::testing::IsEmpty;
using ::testing::Not;
using Gate = Rule::Gate;

constexpr uint64_t kSituations = 5000;

class Random {
 public:
  explicit Random(uint64_t seed) : bits_(seed) {}

  int64_t Number(int64_t least, int64_t most) { return std::uniform_int_distribution<int64_t>(least, most)(bits_); }
  bool OneIn(int64_t n) { return Number(1, n) == 1; }
  template <typename T>
  T Pick(std::initializer_list<T> values) {
    return values.begin()[Number(0, static_cast<int64_t>(values.size()) - 1)];
  }
  // Some moments are hours apart, some microseconds, some the same.
  absl::Duration Span() {
    return Pick(
        {absl::ZeroDuration(), absl::Microseconds(1), absl::Minutes(Number(1, 600)), absl::Hours(Number(1, 200))});
  }
  template <typename T>
  void Shuffle(std::vector<T>& values) {
    std::shuffle(values.begin(), values.end(), bits_);
  }

 private:
  std::mt19937_64 bits_;
};

// All that a decision is made of.
struct Situation {
  std::string type = "like";
  bool critical = false;
  bool is_digest = false;
  DeliveryPolicy policy;
  std::vector<Channel> channels;
  std::optional<absl::Time> expire_time;
  std::vector<Preference> app_preferences;
  RecipientSettings settings;
  absl::TimeZone zone;
  MutedUntil actor_muted_until;
  MutedUntil object_muted_until;
  absl::Time now;

  DecisionInput Input() const {
    return {.type = type,
            .critical = critical,
            .is_digest = is_digest,
            .policy = policy,
            .channels = channels,
            .expire_time = expire_time,
            .app_preferences = app_preferences,
            .settings = settings,
            .zone = zone,
            .actor_muted_until = actor_muted_until,
            .object_muted_until = object_muted_until,
            .now = now};
  }
  std::vector<ChannelDecision> Decide() const { return carillon::Decide(Input()); }
};

// Each of another scope, name or channel, as the door has it.
std::vector<Preference> RandomPreferences(Random& random) {
  using Scope = Preference::Scope;
  std::vector<Preference> preferences;
  std::set<std::tuple<Scope, std::string, int>> known;
  for (int64_t i = random.Number(0, 6); i > 0; --i) {
    Preference one{.scope = random.Pick({Scope::kAll, Scope::kCategory, Scope::kType}),
                   .name = "",
                   .channel = std::nullopt,
                   .choice = random.Pick({Choice::kOn, Choice::kOff, Choice::kDigest})};
    if (one.scope == Scope::kCategory) one.name = random.Pick({"reactions", "other"});
    if (one.scope == Scope::kType) one.name = random.Pick({"like", "other"});
    if (random.OneIn(2)) one.channel = random.Pick({Channel::kInApp, Channel::kEmail, Channel::kSms});
    if (known.emplace(one.scope, one.name, one.channel.has_value() ? static_cast<int>(*one.channel) : 0).second) {
      preferences.push_back(one);
    }
  }
  return preferences;
}

QuietHours RandomQuietHours(Random& random) {
  std::vector<QuietSpan> spans;
  for (int64_t i = random.Number(0, 8); i > 0; --i) {
    spans.push_back({static_cast<absl::Weekday>(random.Number(0, 6)), static_cast<int>(random.Number(0, 1439)),
                     static_cast<int>(random.Number(0, 1440))});
  }
  return QuietHours::Make(std::move(spans)).value_or(QuietHours());
}

// At any time of two years, or near a change of clocks.
absl::Time RandomMoment(Random& random, absl::TimeZone zone) {
  const absl::Time any = absl::FromUnixMicros(random.Number(1'767'225'600, 1'830'297'600) * 1'000'000);
  absl::TimeZone::CivilTransition change;
  if (random.OneIn(2) || !zone.NextTransition(any, &change)) return any + absl::Microseconds(random.Number(0, 999'999));
  return absl::FromCivil(change.from, zone) + absl::Minutes(random.Number(-600, 600));
}

Situation RandomSituation(Random& random) {
  Situation situation;
  situation.critical = random.OneIn(10);
  situation.policy.required = random.OneIn(4);
  if (random.OneIn(2)) situation.policy.category = "reactions";
  const auto overflow = [&] {
    return random.Pick({Overflow::kDrop, Overflow::kHold, Overflow::kDigest, Overflow::kInAppOnly});
  };
  situation.policy.quiet_overflow = overflow();
  situation.policy.cap_overflow = overflow();
  situation.channels = {Channel::kInApp, Channel::kEmail, Channel::kSms, Channel::kApns};
  random.Shuffle(situation.channels);
  const char* const zone = random.Pick({"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
                                        "Asia/Kolkata", "Pacific/Apia", "Africa/Casablanca", "America/Asuncion"});
  EXPECT_TRUE(absl::LoadTimeZone(zone, &situation.zone)) << zone;
  situation.now = RandomMoment(random, situation.zone);
  const auto some_time = [&]() -> std::optional<absl::Time> {
    return random.OneIn(4) ? std::optional<absl::Time>(situation.now - absl::Hours(1) + random.Span()) : std::nullopt;
  };
  situation.expire_time = random.OneIn(3) ? std::nullopt : std::optional<absl::Time>(situation.now + random.Span());
  if (random.OneIn(8)) situation.expire_time = some_time();
  situation.actor_muted_until = some_time();
  situation.object_muted_until = some_time();
  situation.app_preferences = RandomPreferences(random);
  situation.settings.preferences = RandomPreferences(random);
  situation.settings.do_not_disturb_until = some_time();
  situation.settings.quiet_hours = RandomQuietHours(random);
  return situation;
}

// Until one fails.
template <typename Check>
void ForEachSituation(Check check) {
  for (uint64_t seed = 1; seed <= kSituations && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Random random(seed);
    const Situation situation = RandomSituation(random);
    check(situation, random);
  }
}

CapUse RandomCapUse(const Situation& situation, Random& random) {
  CapUse use{
      .cap = {.channel = Channel::kEmail, .limit = static_cast<int>(random.Number(1, 5)), .window = absl::Hours(1)}};
  use.has_room = random.OneIn(2);
  use.count = use.has_room ? random.Number(1, use.cap.limit) : use.cap.limit;
  if (!use.has_room) use.next_room = situation.now + absl::Microseconds(1) + random.Span();
  return use;
}

// With a cap on each external channel, of what would be sent and may be capped.
std::vector<ChannelDecision> DecideWithCaps(const Situation& situation, Random& random) {
  std::vector<ChannelDecision> decisions = situation.Decide();
  for (ChannelDecision& decision : decisions) {
    if (situation.critical || decision.channel == Channel::kInApp || decision.outcome != Outcome::kSend) continue;
    if (random.OneIn(2)) ApplyCap(situation.Input(), RandomCapUse(situation, random), decision);
  }
  return decisions;
}

bool IsAlive(const Situation& situation) {
  return !situation.expire_time.has_value() || *situation.expire_time > situation.now;
}

bool IsQuietRule(const Rule& rule) { return rule.gate == Gate::kQuietHours || rule.gate == Gate::kDoNotDisturb; }

TEST(Decider, SendsWhatIsCriticalUnlessItHasExpired) {
  int sent = 0;
  ForEachSituation([&](const Situation& situation, Random& random) {
    if (!situation.critical) return;
    for (const ChannelDecision& decision : DecideWithCaps(situation, random)) {
      EXPECT_EQ(decision.outcome, IsAlive(situation) ? Outcome::kSend : Outcome::kExpire);
      if (decision.outcome == Outcome::kSend) ++sent;
    }
  });
  EXPECT_GT(sent, 1000);
}

TEST(Decider, LetsOnlyExpiryLeaveOutWhatIsRequired) {
  int put_off = 0;
  ForEachSituation([&](const Situation& situation, Random& random) {
    if (!situation.policy.required) return;
    for (const ChannelDecision& decision : DecideWithCaps(situation, random)) {
      if (!IsAlive(situation)) {
        EXPECT_EQ(decision.outcome, Outcome::kExpire);
        continue;
      }
      EXPECT_THAT(decision.outcome, AnyOf(Outcome::kSend, Outcome::kHold, Outcome::kDigest));
      if (decision.outcome != Outcome::kSend) ++put_off;
    }
  });
  EXPECT_GT(put_off, 500);
}

TEST(Decider, ExpiresWhatIsOverAndNothingElse) {
  ForEachSituation([](const Situation& situation, Random& random) {
    for (const ChannelDecision& decision : DecideWithCaps(situation, random)) {
      EXPECT_EQ(decision.outcome == Outcome::kExpire, !IsAlive(situation));
    }
  });
}

TEST(Decider, HoldsUntilLaterThanNowAndNoLaterThanTheEndOfTheMessage) {
  int held = 0;
  ForEachSituation([&](const Situation& situation, Random& random) {
    for (const ChannelDecision& decision : DecideWithCaps(situation, random)) {
      if (decision.outcome != Outcome::kHold) continue;
      ++held;
      EXPECT_GT(decision.until, situation.now);
      EXPECT_LE(decision.until, situation.expire_time.value_or(absl::InfiniteFuture()));
      EXPECT_LT(decision.until, absl::InfiniteFuture());
    }
  });
  EXPECT_GT(held, 1000);
}

TEST(Decider, IsNotStoppedForQuietWhenTheQuietItHeldForHasEnded) {
  int decided_again = 0;
  ForEachSituation([&](const Situation& situation, Random&) {
    const std::vector<ChannelDecision> first = situation.Decide();
    for (size_t i = 0; i < first.size(); ++i) {
      if (first[i].outcome != Outcome::kHold) continue;
      Situation later = situation;
      later.now = first[i].until;
      const ChannelDecision second = later.Decide().at(i);
      EXPECT_FALSE(absl::c_any_of(second.rules, IsQuietRule));
      ++decided_again;
    }
  });
  EXPECT_GT(decided_again, 500);
}

TEST(Decider, NamesTheRuleThatKeptAMessageFromBeingSent) {
  std::set<Gate> gates;
  ForEachSituation([&](const Situation& situation, Random& random) {
    for (const ChannelDecision& decision : DecideWithCaps(situation, random)) {
      if (decision.outcome == Outcome::kSend) continue;
      ASSERT_THAT(decision.rules, Not(IsEmpty()));
      if (decision.outcome != Outcome::kSuppress) continue;
      const Rule& last = decision.rules.back();
      gates.insert(last.gate);
      if (last.gate == Gate::kPreference) {
        EXPECT_EQ(last.choice, Choice::kOff);
        EXPECT_THAT(last.level, Not(IsEmpty()));
      } else if (IsQuietRule(last) || last.gate == Gate::kCap) {
        EXPECT_EQ(last.level, "drop");
        EXPECT_GT(last.until, situation.now);
      } else {
        EXPECT_THAT(last.gate, AnyOf(Gate::kMutedActor, Gate::kMutedObject));
      }
    }
  });
  EXPECT_EQ(gates.size(), 6u) << "each of them has stopped something";
}

TEST(Decider, AsksPreferencesInWhateverOrderTheyAre) {
  ForEachSituation([](const Situation& situation, Random& random) {
    Situation shuffled = situation;
    random.Shuffle(shuffled.app_preferences);
    random.Shuffle(shuffled.settings.preferences);
    EXPECT_EQ(shuffled.Decide(), situation.Decide());
  });
}

TEST(Decider, AsksTheAppOnlyWhereTheRecipientHasSaidNothing) {
  ForEachSituation([](const Situation& situation, Random&) {
    const bool said = absl::c_any_of(situation.settings.preferences, [](const Preference& one) {
      return one.scope == Preference::Scope::kAll && !one.channel.has_value();
    });
    if (!said) return;
    Situation without_app = situation;
    without_app.app_preferences.clear();
    EXPECT_EQ(without_app.Decide(), situation.Decide());
  });
}

TEST(Decider, NeitherHoldsNorGathersWhatIsForTheFeed) {
  int sent = 0;
  ForEachSituation([&](const Situation& situation, Random& random) {
    for (const ChannelDecision& decision : DecideWithCaps(situation, random)) {
      if (decision.channel != Channel::kInApp) continue;
      EXPECT_THAT(decision.outcome, AnyOf(Outcome::kSend, Outcome::kSuppress, Outcome::kExpire));
      EXPECT_FALSE(absl::c_any_of(decision.rules, IsQuietRule));
      if (decision.outcome == Outcome::kSend) ++sent;
    }
  });
  EXPECT_GT(sent, 1000);
}

TEST(Decider, PutsNoDigestIntoADigest) {
  int passed = 0;
  ForEachSituation([&](Situation situation, Random& random) {
    const std::vector<ChannelDecision> of_others = situation.Decide();
    situation.is_digest = true;
    const std::vector<ChannelDecision> decisions = DecideWithCaps(situation, random);
    for (size_t i = 0; i < decisions.size(); ++i) {
      EXPECT_NE(decisions[i].outcome, Outcome::kDigest);
      if (of_others[i].outcome == Outcome::kDigest) ++passed;
    }
  });
  EXPECT_GT(passed, 500);
}

TEST(Decider, DecidesOnEachChannelAsIfItWereTheOnlyOne) {
  ForEachSituation([](const Situation& situation, Random&) {
    const std::vector<ChannelDecision> together = situation.Decide();
    ASSERT_EQ(together.size(), situation.channels.size());
    for (size_t i = 0; i < together.size(); ++i) {
      Situation alone = situation;
      alone.channels = {situation.channels[i]};
      EXPECT_EQ(together[i], alone.Decide().at(0));
    }
  });
}

TEST(Decider, StopsForACapWhatHasNoRoomAndNothingElse) {
  ForEachSituation([](const Situation& situation, Random& random) {
    ChannelDecision decision{.channel = Channel::kEmail, .outcome = Outcome::kSend, .until = {}, .rules = {}};
    const CapUse use = RandomCapUse(situation, random);
    ApplyCap(situation.Input(), use, decision);
    EXPECT_EQ(decision.outcome == Outcome::kSend, use.has_room);
    EXPECT_EQ(decision.rules.at(0).gate, Gate::kCap);
    EXPECT_EQ(decision.rules[0].count, use.count);
  });
}

}  // namespace
}  // namespace carillon
