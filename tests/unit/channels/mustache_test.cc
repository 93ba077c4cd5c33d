#include "carillon/channels/mustache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::json;

std::string Render(const std::string& text, const std::string& json = "{}",
                   Mustache::Escape escape = Mustache::Escape::kNone) {
  const absl::StatusOr<Mustache> parsed = Mustache::Parse(text);
  EXPECT_OK(parsed);
  if (!parsed.ok()) return "";
  const Mustache::Rendered rendered = parsed->Render(Json::parse(json), escape, 100'000);
  EXPECT_TRUE(rendered.complete);
  return rendered.text;
}

std::string FaultOf(const std::string& text) { return std::string(Mustache::Parse(text).status().message()); }

TEST(Mustache, FillsInNames) {
  EXPECT_EQ(Render("{{a}} {{ b }} {{c.d.e}}", R"({"a":"x","b":2,"c":{"d":{"e":"deep"}}})"), "x 2 deep");
  EXPECT_EQ(Render("no tags, { one } brace }}"), "no tags, { one } brace }}");
  EXPECT_EQ(Render(""), "");
}

TEST(Mustache, WritesValuesAsPeopleDo) {
  EXPECT_EQ(Render("{{a}} {{b}} {{c}} {{d}} {{e}}", R"({"a":3.0,"b":12.5,"c":true,"d":false,"e":-1e15})"),
            "3 12.5 true false -1000000000000000");
  EXPECT_EQ(Render("[{{a}}{{b}}{{c}}]", R"({"a":null,"b":[1],"c":{"x":1}})"), "[]");
  EXPECT_EQ(Render("{{a}}", R"({"a":1e300})"), "1e+300");
}

TEST(Mustache, EscapesHtmlWhereItIsAskedTo) {
  const std::string data = R"({"a":"<b> & \"q\" 'p'"})";
  EXPECT_EQ(Render("{{a}}", data, Mustache::Escape::kHtml), "&lt;b&gt; &amp; &quot;q&quot; &#39;p&#39;");
  EXPECT_EQ(Render("{{{a}}}{{&a}}", data, Mustache::Escape::kHtml), "<b> & \"q\" 'p'<b> & \"q\" 'p'");
  EXPECT_EQ(Render("{{a}}", data), "<b> & \"q\" 'p'");
}

TEST(Mustache, RepeatsASectionForEachElementOfAList) {
  EXPECT_EQ(
      Render("{{#items}}{{name}}={{price}};{{/items}}", R"({"items":[{"name":"a","price":1},{"name":"b","price":2}]})"),
      "a=1;b=2;");
  EXPECT_EQ(Render("{{#l}}{{.}},{{/l}}", R"({"l":[1,"two",3]})"), "1,two,3,");
  EXPECT_EQ(Render("{{#a}}{{#b}}{{.}}{{/b}}|{{/a}}", R"({"a":[{"b":[1,2]},{"b":[3]}]})"), "12|3|");
}

TEST(Mustache, TakesASectionForWhatIsThereAndTheInvertedOneForWhatIsNot) {
  for (const std::string there : {"true", "\"x\"", "0", "[1]", "{}"}) {
    EXPECT_EQ(Render("{{#a}}yes{{/a}}{{^a}}no{{/a}}", absl::StrCat("{\"a\":", there, "}")), "yes") << there;
  }
  for (const std::string absent : {"false", "\"\"", "null", "[]"}) {
    EXPECT_EQ(Render("{{#a}}yes{{/a}}{{^a}}no{{/a}}", absl::StrCat("{\"a\":", absent, "}")), "no") << absent;
  }
  EXPECT_EQ(Render("{{#a}}yes{{/a}}{{^a}}no{{/a}}"), "no");
}

TEST(Mustache, LooksForNamesFromTheInnermostSectionOutwards) {
  EXPECT_EQ(Render("{{#a}}{{x}}{{y}}{{/a}}", R"({"a":{"x":"in"},"x":"out","y":"outer"})"), "inouter");
  EXPECT_EQ(Render("{{#a}}[{{b.c}}]{{/a}}", R"({"a":{"b":{}},"b":{"c":"not this one"}})"), "[]");
}

TEST(Mustache, LeavesNoLineBehindWhereATagStoodAlone) {
  EXPECT_EQ(Render("Items:\n  {{#l}}\n- {{.}}\n  {{/l}}\nEnd", R"({"l":["a","b"]})"), "Items:\n- a\n- b\nEnd");
  EXPECT_EQ(Render("{{! note }}\r\nText{{!\n over lines }}\n"), "Text\n");
  EXPECT_EQ(Render("a {{#x}}\nb{{/x}}", R"({"x":true})"), "a \nb");
  EXPECT_EQ(Render("{{#x}}\n{{/x}}", R"({"x":true})"), "");
}

TEST(Mustache, DoesNotRenderWhatDataBrings) {
  EXPECT_EQ(Render("{{a}}{{#b}}{{.}}{{/b}}", R"({"a":"{{b}}","b":["{{#a}}"]})"), "{{b}}{{#a}}");
}

TEST(Mustache, RefusesWhatWouldBeLogic) {
  for (const std::string text :
       {"{{>partial}}", "{{ > partial }}", "{{=<% %>=}}", "{{<parent}}{{/parent}}", "{{$block}}{{/block}}"}) {
    EXPECT_THAT(FaultOf(text), HasSubstr("may not hold")) << text;
  }
}

TEST(Mustache, SaysWhatIsWrong) {
  EXPECT_THAT(FaultOf("{{a"), HasSubstr("has no }}"));
  EXPECT_THAT(FaultOf("{{{a}}"), HasSubstr("has no }}}"));
  EXPECT_THAT(FaultOf("{{#a}}x"), HasSubstr("{{#a}} is not closed"));
  EXPECT_THAT(FaultOf("{{#a}}{{/b}}"), HasSubstr("{{/b}} closes no section"));
  EXPECT_THAT(FaultOf("x{{/a}}"), HasSubstr("{{/a}} closes no section"));
  for (const std::string text : {"{{}}", "{{ }}", "{{a..b}}", "{{.a}}", "{{#}}{{/}}", "{{{}}}", "{{a{b}}"}) {
    EXPECT_THAT(FaultOf(text), HasSubstr("is no name")) << text;
  }
}

TEST(Mustache, BoundsHowDeepSectionsAre) {
  std::string fine = "x";
  for (int i = 0; i < limits::kMaxSectionDepth; ++i) fine = "{{#a}}" + fine + "{{/a}}";
  EXPECT_EQ(Render(fine, R"({"a":true})"), "x");
  EXPECT_THAT(FaultOf("{{#a}}" + fine + "{{/a}}"), HasSubstr("nested"));
}

TEST(Mustache, BoundsTheWorkOfListsInLists) {
  const std::string text = "{{#l}}{{#l}}{{#l}}{{#l}}{{#l}}{{^l}}x{{/l}}{{/l}}{{/l}}{{/l}}{{/l}}{{/l}}";
  ASSERT_OK_AND_ASSIGN(const Mustache parsed, Mustache::Parse(text));
  const Json names = {{"l", std::vector<int>(8000, 1)}};
  const std::clock_t start = std::clock();
  const Mustache::Rendered rendered = parsed.Render(names, Mustache::Escape::kNone, 1000);
  EXPECT_FALSE(rendered.complete);
  EXPECT_LT(std::clock() - start, 2 * CLOCKS_PER_SEC);
}

TEST(Mustache, CutsBetweenCharactersAndSaysSo) {
  ASSERT_OK_AND_ASSIGN(const Mustache parsed, Mustache::Parse("€€{{a}}"));
  const Mustache::Rendered rendered = parsed.Render({{"a", "€€"}}, Mustache::Escape::kNone, 10);
  EXPECT_EQ(rendered.text, "€€€");
  EXPECT_FALSE(rendered.complete);
  EXPECT_TRUE(parsed.Render({{"a", "€"}}, Mustache::Escape::kNone, 9).complete);
}

TEST(Mustache, TellsWhichNamesWereMissing) {
  ASSERT_OK_AND_ASSIGN(const Mustache parsed,
                       Mustache::Parse("{{b}}{{a.x}}{{a.y}}{{#c}}{{d}}{{/c}}{{#l}}{{e}}{{/l}}{{n}}{{empty}}"));
  std::set<std::string> missing;
  parsed.Render(Json::parse(R"({"a":{"x":1},"l":[{"e":1},{}],"n":null,"empty":""})"), Mustache::Escape::kNone, 100,
                &missing);
  EXPECT_THAT(missing, ElementsAre("a.y", "b", "e", "n"));
}

TEST(Mustache, KnowsItsNamesAndSections) {
  ASSERT_OK_AND_ASSIGN(const Mustache parsed, Mustache::Parse("{{{a}}} text b {{#c}}{{/c}}"));
  EXPECT_TRUE(parsed.Uses("a"));
  EXPECT_TRUE(parsed.Uses("c"));
  EXPECT_FALSE(parsed.Uses("b"));
  EXPECT_FALSE(parsed.Uses(" text b "));
  EXPECT_TRUE(parsed.has_sections());
  ASSERT_OK_AND_ASSIGN(const Mustache plain, Mustache::Parse("{{a}}"));
  EXPECT_FALSE(plain.has_sections());
}

TEST(Mustache, NamesOfANotificationAreThoseThatItHas) {
  Notification notification;
  notification.type = "like";
  notification.recipient = RecipientId("ana");
  EXPECT_EQ(NamesOf(notification), Json::parse(R"({"type":"like","user_id":"ana"})"));
  notification.actor_id = "bob";
  notification.object_id = "post-1";
  notification.data_json = R"({"a":[1]})";
  EXPECT_EQ(NamesOf(notification),
            Json::parse(R"({"type":"like","user_id":"ana","actor_id":"bob","object_id":"post-1","data":{"a":[1]}})"));
}

TEST(CachedMustache, KeepsWhatItHasParsed) {
  EXPECT_EQ(CachedMustache("{{a"), nullptr);
  const auto first = CachedMustache("{{a}} kept");
  EXPECT_EQ(CachedMustache("{{a}} kept"), first);
  // Others push it out; what is held stays valid.
  for (size_t i = 0; i <= limits::kMustacheCacheTexts; ++i) CachedMustache(absl::StrCat("{{a}} ", i));
  EXPECT_NE(CachedMustache("{{a}} kept"), first);
  EXPECT_EQ(first->Render({{"a", "x"}}, Mustache::Escape::kNone, 100).text, "x kept");
}

}  // namespace
}  // namespace carillon::testing
