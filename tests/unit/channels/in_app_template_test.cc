#include "carillon/channels/in_app_template.h"

#include <gtest/gtest.h>

#include "carillon/domain/limits.h"

namespace carillon {
namespace {

Notification WithData(const std::string& json) {
  Notification notification;
  notification.type = "like";
  notification.recipient = RecipientId("ana");
  notification.actor_id = "bob";
  notification.object_id = "post-1";
  notification.data_json = json;
  return notification;
}

std::string Title(const std::string& title, const std::string& json) {
  return RenderFeedItem(WithData(json), {.title = title}).title;
}

TEST(InAppTemplate, FillsInNamesAndDataFields) {
  EXPECT_EQ(Title("{{data.name}} liked {{object_id}} of {{user_id}} ({{actor_id}}, {{type}})", R"({"name":"Bob"})"),
            "Bob liked post-1 of ana (bob, like)");
  EXPECT_EQ(Title("{{data.a.b}}", R"({"a":{"b":"deep"}})"), "deep");
}

TEST(InAppTemplate, RendersWhatIsMissingToNothing) { EXPECT_EQ(Title("[{{data.nope}}][{{nope}}]", ""), "[][]"); }

TEST(InAppTemplate, WritesNumbersAsPeopleDo) {
  EXPECT_EQ(Title("{{data.a}} {{data.b}} {{data.c}} {{data.d}}", R"({"a":3.0,"b":12.5,"c":true,"d":1000000})"),
            "3 12.5 true 1000000");
}

TEST(InAppTemplate, EscapesNothing) { EXPECT_EQ(Title("{{data.a}}", R"({"a":"<b> & \"q\""})"), "<b> & \"q\""); }

TEST(InAppTemplate, DoesNotRenderWhatDataBrings) {
  EXPECT_EQ(Title("{{data.a}}", R"({"a":"{{user_id}}"})"), "{{user_id}}");
}

TEST(InAppTemplate, LeavesAnInvalidTemplateAsItIs) { EXPECT_EQ(Title("{{data.a", "{}"), "{{data.a"); }

TEST(InAppTemplate, CutsBetweenCharacters) {
  std::string long_text;
  while (long_text.size() < limits::kMaxRenderedFieldBytes) long_text += "€";
  const std::string title = Title("x{{data.a}}", "{\"a\":\"" + long_text + "\"}");
  EXPECT_LE(title.size(), limits::kMaxRenderedFieldBytes);
  EXPECT_EQ((title.size() - 1) % 3, 0);
}

}  // namespace
}  // namespace carillon
