#include "carillon/postgres/arrays.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon::testing {
namespace {

TEST(StorableText, LeavesTextAsItIs) {
  for (const char* text : {"", "a\"b\\", "\xc2\x80", "ä€😀", "\xed\x9f\xbf\xee\x80\x80", "\xf4\x8f\xbf\xbf", "\n\x7f"}) {
    EXPECT_EQ(StorableText(text, 100), text);
  }
}

TEST(StorableText, ReplacesWhatIsNoCharacter) {
  EXPECT_EQ(StorableText(absl::string_view("a\0b", 3), 100), "a?b");
  const struct {
    const char* text;
    const char* expected;
  } kCases[] = {
      {"\xff", "?"},
      {"a\x80z", "a?z"},             // A continuation without a beginning.
      {"\xc3", "?"},                 // Cut off.
      {"\xe2\x82z", "??z"},          // Cut off.
      {"\xc0\xaf", "??"},            // Longer than it need be.
      {"\xe0\x80\xaf", "???"},       // Longer than it need be.
      {"\xf0\x80\x80\xaf", "????"},  // Longer than it need be.
      {"\xed\xa0\x80", "???"},       // A surrogate.
      {"\xf4\x90\x80\x80", "????"},  // Above U+10FFFF.
      {"\xf5\x80\x80\x80", "????"},  // Above U+10FFFF.
  };
  for (const auto& [text, expected] : kCases) EXPECT_EQ(StorableText(text, 100), expected);
}

TEST(StorableText, CutsBetweenCharacters) {
  EXPECT_EQ(StorableText("abc", 2), "ab");
  EXPECT_EQ(StorableText("aä", 2), "a");
  EXPECT_EQ(StorableText("aä", 3), "aä");
  EXPECT_EQ(StorableText("😀😀", 7), "😀");
  EXPECT_EQ(StorableText("a", 0), "");
}

TEST(PgArray, QuotesWhatItHolds) {
  EXPECT_EQ(PgArray().str(), "{}");
  PgArray array;
  array.Add("a\"b\\{,}").Add("").AddOrNull("").AddOrNull("NULL").Add(int64_t{-5}).AddBytes("\x01\xff").AddNull();
  EXPECT_EQ(array.str(), R"({"a\"b\\{,}","",NULL,"NULL",-5,"\\x01ff",NULL})");
}

}  // namespace
}  // namespace carillon::testing
