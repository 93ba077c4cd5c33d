// The transport over real sockets: what it refuses, and how it ends.
#include "workers/channels/transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/notification.h"
#include "tests/contract/channels/sandbox.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using testing::Sandbox;
using ::testing::SizeIs;
using testing::WaitFor;

class CurlTransportTest : public ::testing::Test {
 protected:
  void SetUp() override { Sandbox::Reset(); }

  static HttpRequest Webhook(bool forbid_private_addresses = false) {
    HttpRequest request;
    request.url = absl::StrCat(Sandbox::HttpUrl(), "/webhook/x");
    request.headers = {{"content-type", "text/plain"}};
    request.body = "body";
    request.options.forbid_private_addresses = forbid_private_addresses;
    return request;
  }

  HttpResult Call(HttpRequest request) {
    HttpResult answer;
    absl::Notification ended;
    transport_.Send(std::move(request), [&](HttpResult result) {
      answer = std::move(result);
      ended.Notify();
    });
    ended.WaitForNotification();
    return answer;
  }

  CurlTransport transport_;
};

TEST_F(CurlTransportTest, ForbidsPrivateAddressesEvenBehindNamesAndOpenConnections) {
  // A connection to there is open already.
  ASSERT_EQ(Call(Webhook()).status, 200);
  HttpRequest by_name = Webhook(/*forbid_private_addresses=*/true);
  by_name.url = absl::StrReplaceAll(by_name.url, {{"127.0.0.1", "localhost"}});
  for (const HttpRequest& request : {Webhook(true), by_name}) {
    const HttpResult result = Call(request);
    EXPECT_EQ(result.end, CallEnd::kNotSent);
    EXPECT_TRUE(result.forbidden_address);
  }
  // Notations that only the resolver sees through.
  for (const char* host : {"127.1", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0"}) {
    HttpRequest request = Webhook(true);
    request.url = absl::StrReplaceAll(request.url, {{"127.0.0.1", host}});
    EXPECT_EQ(Call(request).end, CallEnd::kNotSent) << host;
  }
  EXPECT_THAT(Sandbox::Messages("webhook"), SizeIs(1));
}

TEST_F(CurlTransportTest, KnowsNoOtherProtocol) {
  HttpRequest request = Webhook();
  request.url = "file:///etc/passwd";
  EXPECT_EQ(Call(request).end, CallEnd::kNotSent);
  request.url = absl::StrReplaceAll(Webhook().url, {{"http://", "gopher://"}});
  EXPECT_EQ(Call(request).end, CallEnd::kNotSent);
}

TEST_F(CurlTransportTest, FollowsNoRedirect) {
  Sandbox::Script("webhook", {{"mode", "error"}, {"status", 302}, {"times", 1}});
  EXPECT_EQ(Call(Webhook()).status, 302);
  EXPECT_THAT(Sandbox::Messages("webhook"), SizeIs(0));
}

TEST_F(CurlTransportTest, SendsNoHeaderWithALineBreak) {
  HttpRequest request = Webhook();
  request.headers.emplace_back("x-name", "a\r\nx-other: b");
  EXPECT_EQ(Call(request).end, CallEnd::kNotSent);
  EXPECT_THAT(Sandbox::Messages("webhook"), SizeIs(0));
}

TEST_F(CurlTransportTest, KeepsTheBeginningOfALargeAnswer) {
  Sandbox::Script("webhook", {{"mode", "error"}, {"status", 500}, {"body", std::string(200'000, 'x')}, {"times", 1}});
  const HttpResult result = Call(Webhook());
  EXPECT_EQ(result.end, CallEnd::kAnswered);
  EXPECT_EQ(result.status, 500);
  EXPECT_EQ(result.body.size(), 64u * 1024);
}

TEST_F(CurlTransportTest, EndsEveryCallOnceWhenItStops) {
  Sandbox::Script("webhook", {{"mode", "hang"}});
  Sandbox::Script("smtp", {{"mode", "hang"}, {"stage", "rcpt"}});
  std::atomic<int> unconfirmed = 0, not_sent = 0;
  for (int i = 0; i < 50; ++i) {
    transport_.Send(
        Webhook(), [&](const HttpResult& result) { ++(result.end == CallEnd::kUnconfirmed ? unconfirmed : not_sent); });
  }
  MailRequest mail;
  mail.host = "127.0.0.1";
  mail.port = Sandbox::SmtpPort();
  mail.security = v1::SMTP_SECURITY_NONE;
  mail.username = "sandbox";
  mail.password = "sandbox-password";
  mail.from = "a@example.com";
  mail.to = "b@example.com";
  mail.message = "x\r\n";
  mail.options.forbid_private_addresses = false;
  std::atomic<int> mails = 0;
  for (int i = 0; i < 10; ++i) {
    transport_.Send(mail, [&](const MailResult& result) { mails += result.end == CallEnd::kNotSent ? 1 : 0; });
  }
  transport_.Stop();
  EXPECT_EQ(unconfirmed + not_sent, 50);
  EXPECT_EQ(mails, 10);
  EXPECT_EQ(Call(Webhook()).end, CallEnd::kNotSent);
}

TEST_F(CurlTransportTest, TakesAsManyCallsAsItIsTold) {
  CurlTransport small({.max_calls = 2});
  Sandbox::Script("webhook", {{"mode", "hang"}});
  std::atomic<int> ended = 0;
  HttpRequest request = Webhook();
  request.options.timeout = absl::Seconds(3);
  for (int i = 0; i < 3; ++i) {
    small.Send(request, [&, i](const HttpResult& result) {
      ++ended;
      EXPECT_EQ(result.end, i == 2 ? CallEnd::kNotSent : CallEnd::kUnconfirmed);
    });
  }
  EXPECT_TRUE(WaitFor([&] { return ended == 3; }));
}

TEST_F(CurlTransportTest, CallsMayBeMadeFromWithinAnswers) {
  std::atomic<int> left = 10;
  std::function<void(HttpResult)> again = [&](const HttpResult& result) {
    EXPECT_EQ(result.status, 200);
    if (--left > 0) transport_.Send(Webhook(), again);
  };
  transport_.Send(Webhook(), again);
  EXPECT_TRUE(WaitFor([&] { return left == 0; }));
  EXPECT_THAT(Sandbox::Messages("webhook"), SizeIs(10));
}

}  // namespace
}  // namespace carillon
