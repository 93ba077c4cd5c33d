#include "carillon/domain/locale.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Locale, IsSpelledInOneWay) {
  for (const auto& [text, canonical] :
       {std::pair("es", "es"), std::pair("ES-mx", "es-MX"), std::pair("es-419", "es-419"),
        std::pair("ZH-hANT-tw", "zh-Hant-TW"), std::pair("sl-IT-NEDIS", "sl-IT-nedis"), std::pair("de-1996", "de-1996"),
        std::pair("gsw", "gsw")}) {
    EXPECT_EQ(CanonicalLocale(text), canonical) << text;
  }
}

TEST(Locale, IsRefusedIfItIsNoLanguageTag) {
  for (const auto* text : {"", "e", "engl", "e1", "es_MX", "es-", "-es", "es--MX", "es-MEX1", "en-x-private",
                           "en-a-bbb", "en US", "de-MX-AT", "12", "es-MX\n", "en-abcdefghi"}) {
    EXPECT_EQ(CanonicalLocale(text), std::nullopt) << text;
  }
  EXPECT_EQ(CanonicalLocale("en" + std::string(40, '-')), std::nullopt);
}

TEST(Locale, IsWidenedPartByPart) {
  EXPECT_THAT(LocaleAndWider("zh-Hant-TW"), ElementsAre("zh-Hant-TW", "zh-Hant", "zh"));
  EXPECT_THAT(LocaleAndWider("es"), ElementsAre("es"));
  EXPECT_THAT(LocaleAndWider(""), IsEmpty());
}

}  // namespace
}  // namespace carillon
