#include "carillon/wire/group_data.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace carillon {
namespace {

TEST(GroupData, SaysWhoAndHowManyOthers) {
  EXPECT_EQ(SummaryOf({.count = 1, .names = {"Ana"}}), "Ana");
  EXPECT_EQ(SummaryOf({.count = 2, .names = {"Ana", "Bob"}}), "Ana and Bob");
  EXPECT_EQ(SummaryOf({.count = 2, .names = {"Ana"}}), "Ana and 1 other");
  EXPECT_EQ(SummaryOf({.count = 3, .names = {"Ana", "Bob", "Eve"}}), "Ana and 2 others");
  EXPECT_EQ(SummaryOf({.count = 20, .names = {"Ana", "Bob", "Eve"}}), "Ana and 19 others");
  EXPECT_EQ(SummaryOf({.count = 1, .names = {}}), "Somebody");
  EXPECT_EQ(SummaryOf({.count = 20, .names = {}}), "20 people");
}

TEST(GroupData, StandsBesideTheDataOfTheNewest) {
  const std::string data =
      WithGroup(R"({"actor_name":"Ana","count":"theirs"})", {.count = 20, .names = {"Ana", "Bob"}});
  EXPECT_EQ(nlohmann::json::parse(data), nlohmann::json::parse(R"({
    "actor_name": "Ana", "count": 20, "others": 19, "others_any": true, "names": ["Ana", "Bob"],
    "summary": "Ana and 19 others"})"));
}

TEST(GroupData, NeedsNoData) {
  for (const char* const none : {"", "null", "[1]"}) {
    const auto data = nlohmann::json::parse(WithGroup(none, {.count = 1, .names = {}}));
    EXPECT_EQ(data["count"], 1) << none;
    EXPECT_EQ(data["others_any"], false) << none;
  }
}

}  // namespace
}  // namespace carillon
