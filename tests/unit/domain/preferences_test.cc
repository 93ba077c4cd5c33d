#include "carillon/domain/preferences.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace carillon {
namespace {

using Scope = Preference::Scope;

Preference Said(Scope scope, const std::string& name, std::optional<Channel> channel, Choice choice) {
  return {.scope = scope, .name = name, .channel = channel, .choice = choice};
}

constexpr PreferenceSubject kLikeByEmail = {
    .type = "like", .category = "people", .required = false, .channel = Channel::kEmail};

// From wide to narrow.
const std::vector<Preference> kLadder = {
    Said(Scope::kAll, "", std::nullopt, Choice::kOff),
    Said(Scope::kAll, "", Channel::kEmail, Choice::kOff),
    Said(Scope::kCategory, "people", std::nullopt, Choice::kOff),
    Said(Scope::kCategory, "people", Channel::kEmail, Choice::kOff),
    Said(Scope::kType, "like", std::nullopt, Choice::kOff),
    Said(Scope::kType, "like", Channel::kEmail, Choice::kOff),
};
constexpr const char* kLevels[] = {"all types", "all types, email", "category people", "category people, email",
                                   "type like", "type like, email"};

TEST(Preferences, AreSilentWhereNobodyHasSaidAnything) {
  EXPECT_EQ(FindPreference(kLikeByEmail, {}, {}), std::nullopt);
}

TEST(Preferences, TheNarrowerOneHoldsInWhateverOrderTheyWereSaid) {
  for (size_t count = 1; count <= kLadder.size(); ++count) {
    std::vector<Preference> said(kLadder.begin(), kLadder.begin() + static_cast<int64_t>(count));
    for (int order = 0; order < 2; ++order) {
      const std::optional<EffectivePreference> found = FindPreference(kLikeByEmail, said, {});
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(found->level, std::string("recipient, ") + kLevels[count - 1]);
      EXPECT_EQ(found->holds, Choice::kOff);
      std::reverse(said.begin(), said.end());
    }
  }
}

TEST(Preferences, TheWidestWordOfARecipientComesBeforeTheNarrowestOfTheApp) {
  const Preference on = Said(Scope::kAll, "", std::nullopt, Choice::kOn);
  std::optional<EffectivePreference> found = FindPreference(kLikeByEmail, {on}, kLadder);
  EXPECT_EQ(found, (EffectivePreference{"recipient, all types", Choice::kOn, Choice::kOn}));
  found = FindPreference(kLikeByEmail, {}, kLadder);
  EXPECT_EQ(found, (EffectivePreference{"app, type like, email", Choice::kOff, Choice::kOff}));
}

TEST(Preferences, OfOtherTypesCategoriesAndChannelsDoNotMatter) {
  for (const Preference& other : {Said(Scope::kType, "comment", std::nullopt, Choice::kOff),
                                  Said(Scope::kCategory, "offers", std::nullopt, Choice::kOff),
                                  Said(Scope::kType, "like", Channel::kSms, Choice::kOff),
                                  Said(Scope::kCategory, "like", std::nullopt, Choice::kOff)}) {
    EXPECT_EQ(FindPreference(kLikeByEmail, {other}, {}), std::nullopt) << other.name;
  }
}

TEST(Preferences, OfACategoryAreNotForTypesOfNone) {
  PreferenceSubject subject = kLikeByEmail;
  subject.category = "";
  EXPECT_EQ(FindPreference(subject, {Said(Scope::kCategory, "", std::nullopt, Choice::kOff)}, {}), std::nullopt);
}

TEST(Preferences, CannotSwitchOffWhatIsRequiredButMayGatherIt) {
  PreferenceSubject subject = kLikeByEmail;
  subject.required = true;
  std::optional<EffectivePreference> found = FindPreference(subject, kLadder, {});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->said, Choice::kOff);
  EXPECT_EQ(found->holds, Choice::kOn);
  found = FindPreference(subject, {Said(Scope::kType, "like", std::nullopt, Choice::kDigest)}, {});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->holds, Choice::kDigest);
}

TEST(Preferences, OfDigestsLeaveTheFeedOn) {
  PreferenceSubject subject = kLikeByEmail;
  subject.channel = Channel::kInApp;
  const std::optional<EffectivePreference> found =
      FindPreference(subject, {Said(Scope::kType, "like", std::nullopt, Choice::kDigest)}, {});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->said, Choice::kDigest);
  EXPECT_EQ(found->holds, Choice::kOn);
}

}  // namespace
}  // namespace carillon
