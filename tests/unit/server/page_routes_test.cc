#include "server/pages/page_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "server/pages/page_files.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class PageRoutesTest : public ::testing::Test {
 protected:
  PageRoutesTest() { AddPageRoutes(router_); }

  HttpResponse Get(const std::string& path, HttpHeaders headers = {}) {
    HttpResponse answer;
    router_.Handle({.method = "GET", .path = path, .headers = std::move(headers)},
                   [&](HttpResponse response) { answer = std::move(response); });
    return answer;
  }
  static std::string Header(const HttpResponse& response, absl::string_view name) {
    for (const auto& [key, value] : response.headers) {
      if (key == name) return value;
    }
    return "";
  }

  Metrics metrics_;
  HttpMetrics http_metrics_{metrics_};
  Router router_{http_metrics_};
};

TEST_F(PageRoutesTest, ServesPagesAndWhatTheyAreMadeOf) {
  const HttpResponse page = Get("/ops");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(page.body, StartsWith("<!DOCTYPE html>"));
  EXPECT_EQ(Get("/feed").status, 200);
  EXPECT_EQ(Get("/pages/ops.js").content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(Get("/pages/base.css").content_type, "text/css; charset=utf-8");
  EXPECT_EQ(Get("/pages/ops.html").status, 404);
  EXPECT_EQ(Get("/pages/../main.cc").status, 404);
}

TEST_F(PageRoutesTest, LetsPagesRunTheirOwnScriptsOnly) {
  const std::string policy = Header(Get("/ops"), "Content-Security-Policy");
  EXPECT_THAT(policy, StartsWith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"));
  EXPECT_THAT(policy, HasSubstr("frame-ancestors 'none'"));
  EXPECT_THAT(policy, Not(HasSubstr("unsafe")));
}

TEST_F(PageRoutesTest, AnswersThatNothingHasChanged) {
  const HttpResponse first = Get("/pages/ops.js");
  const std::string tag = Header(first, "ETag");
  EXPECT_EQ(Header(first, "Cache-Control"), "no-cache");
  for (const std::string& known : {tag, "W/" + tag, "\"other\", " + tag, std::string("*")}) {
    const HttpResponse again = Get("/pages/ops.js", {{"if-none-match", known}});
    EXPECT_EQ(again.status, 304) << known;
    EXPECT_THAT(again.body, IsEmpty());
    EXPECT_EQ(Header(again, "ETag"), tag);
  }
  EXPECT_EQ(Get("/pages/ops.js", {{"if-none-match", "\"other\""}}).status, 200);
}

// The names that follow each of these openings in a file.
std::vector<std::string> NamesAfter(absl::string_view opening, absl::string_view text, char closing) {
  std::vector<std::string> names;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, opening);
  for (size_t i = 1; i < parts.size(); ++i) names.emplace_back(parts[i].substr(0, parts[i].find(closing)));
  return names;
}

// Nothing comes from elsewhere, and nothing would be refused by the policy.
TEST_F(PageRoutesTest, FilesNameOnlyWhatIsServedHere) {
  for (const PageFile& file : PageFiles()) {
    EXPECT_THAT(std::string(file.content),
                AllOf(Not(HasSubstr("src=\"http")), Not(HasSubstr("innerHTML")), Not(HasSubstr("style=\""))))
        << file.name;
    std::vector<std::string> names = NamesAfter("\"/pages/", file.content, '"');
    for (std::string& name : NamesAfter(" from './", file.content, '\'')) names.push_back(std::move(name));
    for (const std::string& name : names) EXPECT_EQ(Get("/pages/" + name).status, 200) << name;
  }
}

}  // namespace
}  // namespace carillon
