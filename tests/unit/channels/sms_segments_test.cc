#include "carillon/channels/sms_segments.h"

#include <gtest/gtest.h>

namespace carillon {
namespace {

std::string Repeat(absl::string_view text, int count) {
  std::string repeated;
  for (int i = 0; i < count; ++i) repeated.append(text.data(), text.size());
  return repeated;
}

struct Case {
  const char* name;
  std::string text;
  const char* encoding;
  int characters;
  int segments;
};

class SmsSegments : public ::testing::TestWithParam<Case> {};

TEST_P(SmsSegments, AreCountedAsTheNetworkDoes) {
  const v1::SmsSegments counted = CountSmsSegments(GetParam().text);
  EXPECT_EQ(counted.encoding(), GetParam().encoding);
  EXPECT_EQ(counted.characters(), GetParam().characters);
  EXPECT_EQ(counted.segments(), GetParam().segments);
}

INSTANTIATE_TEST_SUITE_P(
    Texts, SmsSegments,
    ::testing::Values(
        Case{"Empty", "", "GSM-7", 0, 0}, Case{"Short", "123456 is your login code", "GSM-7", 25, 1},
        Case{"FullSegment", Repeat("a", 160), "GSM-7", 160, 1}, Case{"TwoSegments", Repeat("a", 161), "GSM-7", 161, 2},
        Case{"TwoFullSegments", Repeat("a", 306), "GSM-7", 306, 2}, Case{"Three", Repeat("a", 307), "GSM-7", 307, 3},
        Case{"Basic", "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà", "GSM-7", 65, 1},
        Case{"ExtendedCountTwice", "^{}\\[~]|€\f", "GSM-7", 20, 1},
        Case{"EightyEuros", Repeat("€", 80), "GSM-7", 160, 1},
        // 76 of them fill 152 of 153: none is parted.
        Case{"ExtendedAreNotParted", Repeat("€", 153), "GSM-7", 306, 3},
        Case{"LowerCaseCedillaIsNotGsm", "ç", "UCS-2", 1, 1}, Case{"Backtick", "`", "UCS-2", 1, 1},
        Case{"FullUcs2", Repeat("я", 70), "UCS-2", 70, 1}, Case{"TwoOfUcs2", Repeat("я", 71), "UCS-2", 71, 2},
        Case{"TwoFullOfUcs2", Repeat("я", 134), "UCS-2", 134, 2},
        Case{"ThreeOfUcs2", Repeat("я", 135), "UCS-2", 135, 3},
        Case{"OneMakesAllUcs2", Repeat("a", 70) + "я", "UCS-2", 71, 2}, Case{"EmojiCountTwice", "😀", "UCS-2", 2, 1},
        Case{"PairsAreNotParted", Repeat("😀", 67), "UCS-2", 134, 3}, Case{"ExtendedAreOneInUcs2", "€я", "UCS-2", 2, 1}),
    [](const ::testing::TestParamInfo<Case>& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace carillon
