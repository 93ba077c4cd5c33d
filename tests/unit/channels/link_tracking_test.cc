#include "carillon/channels/link_tracking.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Without a pixel.
std::string Tracked(const std::string& html, std::vector<std::string>* urls = nullptr) {
  v1::RenderedContent content;
  content.set_html(html);
  const auto link_for = [urls](const std::string& url) {
    if (urls != nullptr) urls->push_back(url);
    return std::string("https://t/?a=1&b=2");
  };
  TrackLinks("", link_for, &content, "https://c.example/u/1");
  return content.html();
}

std::vector<std::string> UrlsOf(const std::string& html) {
  std::vector<std::string> urls;
  Tracked(html, &urls);
  return urls;
}

constexpr absl::string_view kLink = "=\"https://t/?a=1&amp;b=2\"";

TEST(TrackLinks, LeadsLinksThroughTheServer) {
  EXPECT_EQ(Tracked("<p><a class=x href=\"https://a.example/\" id=y>text</a></p>"),
            absl::StrCat("<p><a class=x href", kLink, " id=y>text</a></p>"));
}

TEST(TrackLinks, TakesAttributesHoweverTheyAreWritten) {
  for (const std::string tag : {"<a href='http://a/'>", "<A HREF=http://a/>", "<a\n\thref = \"http://a/\">",
                                "<a/href=http://a/>", "<a title='a > b' href='http://a/'>", "<a =x href=http://a/>",
                                "<a href=\"  http://a/\n\">", "<a download href=http://a/ href=http://second/>"}) {
    EXPECT_THAT(UrlsOf(tag), ElementsAre("http://a/")) << tag;
    EXPECT_THAT(Tracked(tag), HasSubstr(std::string(kLink))) << tag;
  }
}

TEST(TrackLinks, ReadsTheAddressAsABrowserDoes) {
  EXPECT_THAT(UrlsOf("<a href='https://a/?x=1&amp;y=2&#38;z=&#x27;&quot;&lt;&gt;&apos;'>"),
              ElementsAre("https://a/?x=1&y=2&z='\"<>'"));
  EXPECT_THAT(UrlsOf("<a href='https://a/?x&y&unknown;&#0;&#99999;'>"),
              ElementsAre("https://a/?x&y&unknown;&#0;&#99999;"));
}

TEST(TrackLinks, LeavesOtherLinksAlone) {
  for (const std::string html :
       {"<a href='mailto:a@b.c'>", "<a href='#top'>", "<a href='/local'>", "<a href='tel:+1'>", "<a>", "<a href>",
        "<a name='x'>", "<a href='javascript:alert(1)'>", "<a href=''>", "<a href='https://a/' data-carillon-notrack>",
        "<a DATA-CARILLON-NOTRACK='1' href='https://a/'>", "<a href='https://c.example/u/1'>",
        "<abbr href='https://a/'>", "<link href='https://a/'>", "<img src='https://a/'>", "<a data-href='https://a/'>",
        "<a href='https://a/\nb'>", "</a href='https://a/'>"}) {
    EXPECT_THAT(UrlsOf(html), IsEmpty()) << html;
    EXPECT_EQ(Tracked(html), html);
  }
}

TEST(TrackLinks, LeavesAloneWhatIsNotALinkToABrowser) {
  for (const std::string html :
       {"<!-- <a href='https://a/'> -->", "<!-- open <a href='https://a/'>", "<script>'<a href=https://a/>'</script>",
        "<style><a href='https://a/'></STYLE>", "<title><a href=https://a/></title>", "<a href='https://a/",
        "<a href=https://a/", "a < b <", "<", "<a", "< a href='https://a/'>"}) {
    EXPECT_EQ(Tracked(html), html);
  }
  EXPECT_THAT(UrlsOf("<script>1</script><!-- x --><a href='https://b/'>"), ElementsAre("https://b/"));
}

TEST(TrackLinks, KeepsALinkForWhichThereIsNoOther) {
  v1::RenderedContent content;
  content.set_html("<a href='https://a/'>");
  TrackLinks(
      "", [](const std::string& url) { return url; }, &content);
  EXPECT_EQ(content.html(), "<a href='https://a/'>");
  TrackLinks(
      "", [](const std::string&) { return std::string(); }, &content);
  EXPECT_EQ(content.html(), "<a href='https://a/'>");
}

TEST(TrackLinks, AddsThePixelToTheEndOfTheBody) {
  const auto with_pixel = [](const std::string& html) {
    v1::RenderedContent content;
    content.set_html(html);
    TrackLinks(
        "https://t/p?a&b", [](const std::string&) { return std::string("https://t/l"); }, &content);
    return content.html();
  };
  const std::string pixel = "<img src=\"https://t/p?a&amp;b\" width=\"1\" height=\"1\" alt=\"\">";
  EXPECT_EQ(with_pixel("<body>text</body></html>"), absl::StrCat("<body>text", pixel, "</body></html>"));
  EXPECT_EQ(with_pixel("<a href='https://a/'>x</a></BODY >"),
            absl::StrCat("<a href=\"https://t/l\">x</a>", pixel, "</BODY >"));
  EXPECT_EQ(with_pixel("text"), absl::StrCat("text", pixel));
  EXPECT_EQ(with_pixel("<!-- </body> --> text"), absl::StrCat("<!-- </body> --> text", pixel));
  EXPECT_EQ(with_pixel(""), "");
}

TEST(TrackLinks, TracksSoManyLinksAndNoMore) {
  std::string html;
  for (int i = 0; i < limits::kMaxTrackedLinks + 5; ++i) html += "<a href=http://a/>";
  EXPECT_EQ(UrlsOf(html).size(), limits::kMaxTrackedLinks);
}

TEST(TrackLinks, TakesTimeLinearInTheText) {
  for (const std::string piece :
       {"<a href='", "<a ", "<!-", "<!--", "<script>", "</", "<a href=\"&", "&", "<a b=\"c"}) {
    std::string html;
    while (html.size() < limits::kMaxHtmlBytes) html += piece;
    const std::clock_t start = std::clock();
    Tracked(html);
    EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC) << piece;
  }
}

}  // namespace
}  // namespace carillon
