#include "carillon/channels/template_set.h"

#include <gtest/gtest.h>

namespace carillon {
namespace {

const AppId kApp(7);

StoredTemplate Sms(AppId app, const std::string& locale, const std::string& text) {
  v1::Template content;
  content.mutable_sms()->set_text(text);
  return {.app = app,
          .type = "otp.login",
          .channel = Channel::kSms,
          .locale = locale,
          .version = 3,
          .active = true,
          .create_time = absl::FromUnixSeconds(5),
          .content = content.SerializeAsString()};
}

std::string Found(const TemplateSet& set, const std::string& locale, const std::string& default_locale = "de-AT") {
  const v1::Template* found = set.Find(kApp, "otp.login", Channel::kSms, locale, default_locale);
  return found == nullptr ? "none" : found->sms().text();
}

TEST(TemplateSet, FallsBackFromTheLocaleToItsLanguageToTheDefaultToEverybodys) {
  std::vector<StoredTemplate> templates = {Sms(kApp, "es-MX", "Mexican"), Sms(kApp, "es", "Spanish"),
                                           Sms(kApp, "de-AT", "Austrian"), Sms(kApp, "de", "German"),
                                           Sms(kApp, "", "everybody")};
  for (const auto* expected : {"Mexican", "Spanish", "Austrian", "German", "everybody"}) {
    EXPECT_EQ(Found(TemplateSet(templates), "es-MX"), expected);
    templates.erase(templates.begin());
  }
  EXPECT_EQ(Found(TemplateSet(templates), "es-MX"), "none");
}

TEST(TemplateSet, TakesTheDefaultLocaleForWhoeverHasNone) {
  const TemplateSet set({Sms(kApp, "de", "German"), Sms(kApp, "es", "Spanish")});
  EXPECT_EQ(Found(set, ""), "German");
  EXPECT_EQ(Found(set, "not a locale!"), "German");
  EXPECT_EQ(Found(set, "fr", ""), "none");
}

TEST(TemplateSet, TakesLocalesHoweverTheyAreSpelled) {
  EXPECT_EQ(Found(TemplateSet({Sms(kApp, "es-MX", "Mexican")}), "ES-mx"), "Mexican");
}

TEST(TemplateSet, PrefersTheAppsOwnInAnyLanguageToTheShippedOnes) {
  EXPECT_EQ(Found(TemplateSet({Sms(kApp, "", "own"), Sms(kShippedApp, "es-MX", "shipped")}), "es-MX"), "own");
  EXPECT_EQ(Found(TemplateSet({Sms(AppId(8), "es-MX", "another's"), Sms(kShippedApp, "es", "shipped")}), "es-MX"),
            "shipped");
}

TEST(TemplateSet, KeepsTypesAndChannelsApart) {
  const TemplateSet set({Sms(kApp, "", "own")});
  EXPECT_EQ(set.Find(kApp, "otp.login", Channel::kEmail, "", ""), nullptr);
  EXPECT_EQ(set.Find(kApp, "otp", Channel::kSms, "", ""), nullptr);
}

TEST(TemplateSet, LeavesOutWhatIsNotActiveOrCannotBeRead) {
  StoredTemplate inactive = Sms(kApp, "es", "old");
  inactive.active = false;
  StoredTemplate broken = Sms(kApp, "de", "broken");
  broken.content = "\xff\xff";
  StoredTemplate empty = Sms(kApp, "fr", "empty");
  empty.content = "";
  EXPECT_EQ(TemplateSet({inactive, broken, empty}).size(), 0);
}

TEST(TemplateSet, SaysWhatATemplateIs) {
  const v1::Template whole = TemplateOf(Sms(kApp, "es-MX", "hola"));
  EXPECT_EQ(whole.type(), "otp.login");
  EXPECT_EQ(whole.channel(), v1::CHANNEL_SMS);
  EXPECT_EQ(whole.locale(), "es-MX");
  EXPECT_EQ(whole.version(), 3);
  EXPECT_TRUE(whole.active());
  EXPECT_EQ(whole.create_time().seconds(), 5);
  EXPECT_EQ(whole.sms().text(), "hola");
}

}  // namespace
}  // namespace carillon
