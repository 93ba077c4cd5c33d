#include "server/api/contact_mask.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace carillon {
namespace {

TEST(WithoutContacts, MasksAddressesWhereverTheyStand) {
  for (const auto& [said, kept] : std::map<std::string, std::string>{
           {"550 5.1.1 <Ann.Lee+x@mail.example.org>: no such user", "550 5.1.1 <***>: no such user"},
           {"ann@example.org,bob@example.org", "***,***"},
           {"to ann@example.org.", "to ***"},
           {"ann@[192.0.2.1] is away", "***[192.0.2.1] is away"},
           {"j\xc3\xbcrgen@m\xc3\xbcller.example", "***"},
           {"a@b@c@d", "***"},
           {"@ann@example.org", "@***"},
           {"@ noon, or @home", "@ noon, or @home"},
           {"ann@", "***"},
           {"@", "@"},
           {"", ""}}) {
    EXPECT_EQ(WithoutContacts(said), kept) << said;
  }
}

TEST(WithoutContacts, MasksNumbersOfSevenDigitsAndMoreHoweverTheyAreGrouped) {
  for (const auto& [said, kept] :
       std::map<std::string, std::string>{{"to +4915112345678: unreachable", "to ***: unreachable"},
                                          {"+1 (555) 123-4567", "***"},
                                          {"06.12.34.56.78 is off", "*** is off"},
                                          {"tel:5551234", "tel:***"},
                                          {"555123", "555123"},
                                          {"code 30003, again in 120 s", "code 30003, again in 120 s"},
                                          {"550 5.7.26 unauthenticated", "550 5.7.26 unauthenticated"},
                                          {"550-5.1.1 try later", "550-5.1.1 try later"},
                                          {"+", "+"},
                                          {"7.", "7."}}) {
    EXPECT_EQ(WithoutContacts(said), kept) << said;
  }
}

TEST(WithoutContacts, TakesLongTextsInOneGo) {
  EXPECT_EQ(WithoutContacts(std::string(1 << 20, '7')), "***");
  EXPECT_EQ(WithoutContacts(std::string(1 << 20, 'a')).size(), 1u << 20);
  EXPECT_EQ(WithoutContacts(std::string(1 << 20, '@')).size(), 1u << 20);
}

}  // namespace
}  // namespace carillon
