#include "server/http/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon {
namespace {

using ::testing::HasSubstr;

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    Add("GET", "/t/");
    Add("GET", "/t/c/");
    Add("POST", "/u/");
    Add("GET", "/u/");
    Add("POST", "/exact");
  }
  void Add(const std::string& method, const std::string& path) {
    router_.Add(method, path, [=](const HttpRequest& request, const HttpRespond& respond) {
      respond(TextResponse(200, method + " " + path + " " + request.rest));
    });
  }
  HttpResponse Ask(const std::string& method, const std::string& path) {
    HttpResponse answer;
    router_.Handle({.method = method, .path = path}, [&](HttpResponse response) { answer = std::move(response); });
    return answer;
  }

  Metrics metrics_;
  HttpMetrics http_metrics_{metrics_};
  Router router_{http_metrics_};
};

TEST_F(RouterTest, TakesTheLongestRouteAndGivesItTheRest) {
  EXPECT_EQ(Ask("GET", "/t/c/abc").body, "GET /t/c/ abc\n");
  EXPECT_EQ(Ask("GET", "/t/other/abc").body, "GET /t/ other/abc\n");
  EXPECT_EQ(Ask("POST", "/u/token").body, "POST /u/ token\n");
  EXPECT_EQ(Ask("POST", "/exact").body, "POST /exact \n");
}

TEST_F(RouterTest, AnswersNotFoundWhereNothingIs) {
  for (const char* path : {"/", "", "/u", "/u/", "/exact/", "/exactly", "/other", "*"}) {
    const HttpResponse answer = Ask("GET", path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_THAT(answer.body, HasSubstr(R"("code":"NOT_FOUND")"));
  }
}

TEST_F(RouterTest, NamesTheMethodsThatARouteHas) {
  const HttpResponse answer = Ask("DELETE", "/u/token");
  EXPECT_EQ(answer.status, 405);
  ASSERT_TRUE(answer.HasHeader("allow"));
  EXPECT_EQ(answer.headers.front().second, "GET, POST");
}

TEST(HttpMessage, AddsSecurityHeadersUnlessTheyAreSet) {
  HttpResponse page = HtmlResponse(200, "<p>");
  page.headers.emplace_back("Cache-Control", "max-age=60");
  AddSecurityHeaders(page);
  EXPECT_TRUE(page.HasHeader("X-Content-Type-Options"));
  EXPECT_TRUE(page.HasHeader("Content-Security-Policy"));
  EXPECT_EQ(page.headers.front().second, "max-age=60");
  HttpResponse text = TextResponse(200, "x");
  AddSecurityHeaders(text);
  EXPECT_TRUE(text.HasHeader("Cache-Control"));
  EXPECT_FALSE(text.HasHeader("Content-Security-Policy"));
}

TEST(HttpMessage, AnswersBusyWhenNoThreadCanTakeIt) {
  Executor executor(/*threads=*/1, /*queue_limit=*/1);
  executor.Stop();
  HttpResponse answer;
  RunBlocking(
      executor, [&](HttpResponse response) { answer = std::move(response); }, [] { return NoContent(); });
  EXPECT_EQ(answer.status, 503);
  EXPECT_TRUE(answer.HasHeader("Retry-After"));
}

}  // namespace
}  // namespace carillon
