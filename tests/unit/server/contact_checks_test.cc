#include "server/api/contact_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

// What a check makes of a value that it takes; fails if it does not.
template <typename Check>
std::string Taken(Check check, const std::string& value) {
  Violations violations;
  std::string taken = check("field", value, violations);
  EXPECT_THAT(violations.ToStatus(), IsOk()) << value;
  return taken;
}

template <typename Check>
void ExpectRefused(Check check, const std::string& value) {
  Violations violations;
  check("recipient.field", value, violations);
  EXPECT_THAT(violations.ToStatus(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("recipient.field: must be")))
      << value;
}

TEST(Email, TakesAddressesAsTheyAre) {
  const std::string longest_local(64, 'a');
  for (const std::string& email :
       {std::string("ann@example.org"), std::string("Ann.O'Hara+news@mail.Example-Site.co.uk"), longest_local + "@a.bc",
        std::string("!#$%&'*+-/=?^_`{|}~@x.yz"), std::string("a@") + std::string(63, 'b') + ".com"}) {
    EXPECT_EQ(Taken(CheckEmail, email), email);
  }
}

TEST(Email, RefusesWhatIsNone) {
  for (const char* email : {"",
                            "ann",
                            "@example.org",
                            "ann@",
                            "ann@example",
                            "ann@@example.org",
                            ".ann@example.org",
                            "ann.@example.org",
                            "a..n@example.org",
                            "ann @example.org",
                            "\"ann\"@example.org",
                            "ann@[127.0.0.1]",
                            "ann@127.0.0.1",
                            "ann@-example.org",
                            "ann@example-.org",
                            "ann@example..org",
                            "ann@exa_mple.org",
                            "änn@example.org",
                            "ann@exämple.org",
                            "ann@example.org\r\nBcc: bob@example.org",
                            "Ann <ann@example.org>"}) {
    ExpectRefused(CheckEmail, email);
  }
  ExpectRefused(CheckEmail, std::string(65, 'a') + "@example.org");
  ExpectRefused(CheckEmail, "a@" + std::string(64, 'b') + ".org");
  ExpectRefused(CheckEmail, "a@" + std::string(63, 'b') + "." + std::string(63, 'c') + "." + std::string(63, 'd') +
                                "." + std::string(63, 'e') + ".org");
}

TEST(Phone, IsKeptInE164) {
  EXPECT_EQ(Taken(CheckPhone, "+4915112345678"), "+4915112345678");
  EXPECT_EQ(Taken(CheckPhone, "+49 (151) 1234-56.78"), "+4915112345678");
  EXPECT_EQ(Taken(CheckPhone, "+1 202 555 0123"), "+12025550123");
}

TEST(Phone, RefusesWhatCanNotExist) {
  for (const char* phone : {"", "+", "015112345678", "4915112345678", "+49", "+4912", "+999123456789", "+0123456789",
                            "+1202555", "+12025550123456", "+49151ABC5678", "+1 202 555 0123 ext. 5",
                            "tel:+4915112345678", "+4915112345678;ext=5", "+49151123456780000000000000000000000"}) {
    ExpectRefused(CheckPhone, phone);
  }
}

TEST(Locale, IsKeptInItsUsualSpelling) {
  EXPECT_EQ(Taken(CheckLocale, "es"), "es");
  EXPECT_EQ(Taken(CheckLocale, "ES-mx"), "es-MX");
  EXPECT_EQ(Taken(CheckLocale, "zh-hant-tw"), "zh-Hant-TW");
  EXPECT_EQ(Taken(CheckLocale, "es-419"), "es-419");
}

TEST(Locale, RefusesWhatIsNoTag) {
  for (const char* locale : {"", "e", "english", "es_MX", "es-", "-MX", "es-MX-", "es MX", "e1"}) {
    ExpectRefused(CheckLocale, locale);
  }
}

TEST(TimeZone, TakesNamesThatExist) {
  for (const char* zone :
       {"UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "America/Port-au-Prince"}) {
    EXPECT_EQ(Taken(CheckTimeZone, zone), zone);
  }
}

TEST(TimeZone, TakesNoFilesAndNothingOfTheMachine) {
  for (const char* zone : {"", "localtime", "Europe/Nowhere", "Berlin", "/usr/share/zoneinfo/UTC", "../zoneinfo/UTC",
                           "Europe/../UTC", "Europe//Berlin", "file:UTC", ":UTC", "posix/UTC", "right/UTC",
                           "Fixed/UTC+01:00:00", "Europe", "zone.tab", "europe/berlin?", "UTC\n"}) {
    ExpectRefused(CheckTimeZone, zone);
  }
}

TEST(DeviceToken, IsHexadecimalForApnsAndKeptInLowerCase) {
  const auto check = [](absl::string_view field, const std::string& token, Violations& violations) {
    return CheckDeviceToken(field, Channel::kApns, token, violations);
  };
  EXPECT_EQ(Taken(check, std::string(64, 'A')), std::string(64, 'a'));
  EXPECT_EQ(Taken(check, std::string(200, '0')), std::string(200, '0'));
  for (const std::string& token :
       {std::string(), std::string(63, 'a'), std::string(201, 'a'), std::string(63, 'a') + "g"}) {
    ExpectRefused(check, token);
  }
}

TEST(DeviceToken, IsPrintableForFcm) {
  const auto check = [](absl::string_view field, const std::string& token, Violations& violations) {
    return CheckDeviceToken(field, Channel::kFcm, token, violations);
  };
  EXPECT_EQ(Taken(check, "cR:Aa-_9"), "cR:Aa-_9");
  EXPECT_EQ(Taken(check, std::string(4096, 'x')), std::string(4096, 'x'));
  for (const std::string& token : {std::string(), std::string(4097, 'x'), std::string("a\nb"), std::string("ä")}) {
    ExpectRefused(check, token);
  }
}

TEST(PushChannel, IsApnsOrFcm) {
  Violations violations;
  EXPECT_EQ(CheckPushChannel("device.channel", v1::CHANNEL_APNS, violations), Channel::kApns);
  EXPECT_EQ(CheckPushChannel("device.channel", v1::CHANNEL_FCM, violations), Channel::kFcm);
  EXPECT_THAT(violations.ToStatus(), IsOk());
  EXPECT_EQ(CheckPushChannel("device.channel", v1::CHANNEL_EMAIL, violations), std::nullopt);
  EXPECT_THAT(violations.ToStatus(), StatusIs(absl::StatusCode::kInvalidArgument,
                                              AllOf(HasSubstr("device.channel"), HasSubstr("CHANNEL_APNS"))));
}

TEST(DeviceId, IsMadeOfChannelAndToken) {
  // The first half of SHA-256("fcm:token"), by sha256sum.
  EXPECT_EQ(DeviceIdOf(Channel::kFcm, "token"), "2e49d1e055619006ec548eadd8218bc1");
  EXPECT_NE(DeviceIdOf(Channel::kApns, "token"), DeviceIdOf(Channel::kFcm, "token"));
}

}  // namespace
}  // namespace carillon
