#include "carillon/runtime/master_key.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using testing::IsOkAndHolds;
using ::testing::Not;
using testing::StatusIs;

constexpr absl::string_view kKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr absl::string_view kOtherKey = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr absl::string_view kContext = "providers/7/sms";

MasterKey Key(absl::string_view hex = kKey) { return *MasterKey::FromHex(hex); }

TEST(MasterKey, RefusesWhatIsNoneAndShowsNothingOfIt) {
  for (const std::string& hex : {std::string(), std::string("0001"), absl::StrCat(kKey.substr(1), "g"),
                                 absl::StrCat(kKey, "00"), absl::StrCat(kKey, ","), absl::StrCat(",", kKey),
                                 absl::StrCat(kKey, ", ", kOtherKey), absl::StrCat(kKey, ",", kKey, ",", kKey)}) {
    EXPECT_THAT(MasterKey::FromHex(hex).status(), StatusIs(absl::StatusCode::kInvalidArgument)) << hex;
    EXPECT_THAT(std::string(MasterKey::FromHex(hex).status().message()), HasSubstr("CARILLON_MASTER_KEY"));
    EXPECT_THAT(std::string(MasterKey::FromHex(hex).status().message()), Not(HasSubstr("0001")));
  }
}

TEST(MasterKey, OpensWhatItSealed) {
  for (const std::string& plain : {std::string(), std::string("api secret"), std::string(100'000, 'x')}) {
    EXPECT_THAT(Key().Open(Key().Seal(plain, kContext), kContext), IsOkAndHolds(plain));
    EXPECT_THAT(Key().Open(Key().Seal(plain, ""), ""), IsOkAndHolds(plain));
  }
}

TEST(MasterKey, SealsTheSameTextDifferentlyEveryTime) {
  EXPECT_NE(Key().Seal("api secret", kContext), Key().Seal("api secret", kContext));
}

// Made with another library: HKDF-Expand and AES-256-GCM of Python's cryptography.
TEST(MasterKey, OpensWhatAnotherLibrarySealed) {
  const std::string sealed =
      absl::HexStringToBytes("016465666768696a6b6c6d6e6f7ec4e64a888a9f5b73ee7c9796d771dc7c05fda3b6e7306a42e1");
  EXPECT_THAT(Key().Open(sealed, kContext), IsOkAndHolds("api secret"));
}

TEST(MasterKey, DoesNotOpenWhatWasChangedAnywhere) {
  const std::string sealed = Key().Seal("api secret", kContext);
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] ^= 1;
    EXPECT_THAT(Key().Open(changed, kContext), StatusIs(absl::StatusCode::kFailedPrecondition)) << i;
    EXPECT_THAT(Key().Open(sealed.substr(0, i), kContext), StatusIs(absl::StatusCode::kFailedPrecondition)) << i;
  }
  EXPECT_THAT(Key().Open(absl::StrCat(sealed, "x"), kContext), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(MasterKey, DoesNotOpenInAnotherContextOrWithAnotherKey) {
  const std::string sealed = Key().Seal("api secret", kContext);
  EXPECT_THAT(Key().Open(sealed, "providers/8/sms"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Key(kOtherKey).Open(sealed, kContext), StatusIs(absl::StatusCode::kFailedPrecondition));
}

// Made with another library: HKDF-Expand and HMAC of Python.
TEST(MasterKey, SignsAsAnotherLibraryDoes) {
  EXPECT_EQ(absl::BytesToHexString(Key().Sign("link", "text")),
            "1cd6a6f7345ef2a85adb60a82b9ec288e99d1d83355301a1fdf3c1bcf404b41d");
}

TEST(MasterKey, VerifiesWhatItSignedForThatPurposeOnly) {
  const std::string mac = Key().Sign("link", "text");
  EXPECT_TRUE(Key().Verify("link", "text", mac));
  EXPECT_TRUE(Key().Verify("link", "text", mac.substr(0, 16)));
  EXPECT_FALSE(Key().Verify("link", "text", mac.substr(0, 15)));
  EXPECT_FALSE(Key().Verify("link", "text", ""));
  EXPECT_FALSE(Key().Verify("link", "text", absl::StrCat(mac, "x")));
  EXPECT_FALSE(Key().Verify("other", "text", mac));
  EXPECT_FALSE(Key().Verify("link", "texts", mac));
  EXPECT_FALSE(Key(kOtherKey).Verify("link", "text", mac));
}

TEST(MasterKey, OfTwoSealsAndSignsWithTheFirstAndAcceptsBoth) {
  const MasterKey rotated = Key(absl::StrCat(kOtherKey, ",", kKey));
  EXPECT_THAT(rotated.Open(Key().Seal("old", kContext), kContext), IsOkAndHolds("old"));
  EXPECT_THAT(Key(kOtherKey).Open(rotated.Seal("new", kContext), kContext), IsOkAndHolds("new"));
  EXPECT_TRUE(rotated.IsSealedWithNewest(rotated.Seal("new", kContext), kContext));
  EXPECT_FALSE(rotated.IsSealedWithNewest(Key().Seal("old", kContext), kContext));
  EXPECT_TRUE(rotated.Verify("link", "text", Key().Sign("link", "text")));
  EXPECT_TRUE(Key(kOtherKey).Verify("link", "text", rotated.Sign("link", "text")));
  EXPECT_FALSE(Key().Verify("link", "text", rotated.Sign("link", "text")));
}

}  // namespace
}  // namespace carillon
