// Mails as they go out.
#include "workers/channels/mime_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/provider_fixture.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using testing::MakeMessage;
using ::testing::Not;
using testing::StatusIs;

const MailSender kSender = {.address = "noreply@shop.example", .name = "The Shop"};

ProviderMessage MailTo(const std::string& address) {
  ProviderMessage message = MakeMessage();
  message.address = address;
  return message;
}

TEST(WriteMail, HasTheHeadersOfAnAutomaticMail) {
  ASSERT_OK_AND_ASSIGN(const std::string mail, WriteMail(MailTo("ann@example.com"), kSender));
  EXPECT_THAT(mail, HasSubstr("From: \"The Shop\" <noreply@shop.example>\r\n"));
  EXPECT_THAT(mail, HasSubstr("To: ann@example.com\r\n"));
  EXPECT_THAT(mail, HasSubstr("Subject: Your receipt\r\n"));
  EXPECT_THAT(mail, HasSubstr("Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"));
  EXPECT_THAT(mail, HasSubstr("Message-ID: <0190163d-8694-739b-aea5-966c26f8ad90@shop.example>\r\n"));
  EXPECT_THAT(mail, HasSubstr("Auto-Submitted: auto-generated\r\n"));
  EXPECT_THAT(mail, HasSubstr("X-Carillon-Id: 0190163d-8694-739b-aea5-966c26f8ad91\r\n"));
  EXPECT_THAT(mail, HasSubstr("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"));
  EXPECT_THAT(mail, HasSubstr("\r\n\r\nThank you.\r\n"));
  EXPECT_THAT(mail, Not(HasSubstr("List-Unsubscribe")));
  EXPECT_THAT(mail, Not(HasSubstr("Reply-To")));
}

TEST(WriteMail, CanBeUnsubscribedFromByOneClick) {
  ProviderMessage message = MailTo("ann@example.com");
  message.unsubscribe_url = "https://n.example/u/abc?x=1";
  message.reply_to = "help@shop.example";
  ASSERT_OK_AND_ASSIGN(const std::string mail, WriteMail(message, kSender));
  EXPECT_THAT(mail, HasSubstr("List-Unsubscribe: <https://n.example/u/abc?x=1>\r\n"));
  EXPECT_THAT(mail, HasSubstr("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
  EXPECT_THAT(mail, HasSubstr("Reply-To: help@shop.example\r\n"));
}

TEST(WriteMail, OffersTextAndHtmlAsAlternativesWithTheBestLast) {
  ProviderMessage message = MailTo("ann@example.com");
  message.content.set_html("<p>Thank you.</p>");
  ASSERT_OK_AND_ASSIGN(const std::string mail, WriteMail(message, kSender));
  EXPECT_THAT(mail, HasSubstr("Content-Type: multipart/alternative; boundary=\"=_"));
  EXPECT_LT(mail.find("text/plain"), mail.find("text/html"));
  message.content.clear_text();
  ASSERT_OK_AND_ASSIGN(const std::string html_only, WriteMail(message, kSender));
  EXPECT_THAT(html_only, HasSubstr("Content-Type: text/html; charset=utf-8\r\n"));
  EXPECT_THAT(html_only, Not(HasSubstr("multipart")));
}

TEST(WriteMail, HasShortLinesThatEndInCrLf) {
  ProviderMessage message = MailTo("ann@example.com");
  message.content.set_subject(absl::StrCat(std::string(300, 's'), "\u00e4\u20ac"));
  message.content.set_text(
      absl::StrCat(std::string(500, 'x'), "\nzwei \u00e4\u00f6\u00fc\r\n.dot\n", std::string(200, '=')));
  ASSERT_OK_AND_ASSIGN(const std::string mail, WriteMail(message, kSender));
  for (const absl::string_view line : absl::StrSplit(mail, "\r\n")) {
    EXPECT_LE(line.size(), 76u) << line;
    EXPECT_EQ(line.find_first_of("\r\n"), absl::string_view::npos);
  }
}

TEST(WriteMail, RefusesWhatWouldEndAHeaderEarly) {
  const std::string nul("a\0b", 3);
  for (const std::string& bad :
       {std::string("Hi\r\nBcc: eve@example.com"), std::string("Hi\nX: y"), std::string("Hi\rX"), nul}) {
    ProviderMessage message = MailTo("ann@example.com");
    message.content.set_subject(bad);
    EXPECT_THAT(WriteMail(message, kSender), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(WriteMail(MailTo("ann@example.com"), {.address = "a@b.example", .name = bad}),
                StatusIs(absl::StatusCode::kInvalidArgument));
    message = MailTo("ann@example.com");
    message.reply_to = "help@shop.example" + bad;
    EXPECT_THAT(WriteMail(message, kSender), StatusIs(absl::StatusCode::kInvalidArgument));
    message = MailTo("ann@example.com");
    message.unsubscribe_url = "https://n.example/" + bad;
    EXPECT_THAT(WriteMail(message, kSender), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  for (const char* address : {"", "ann", "ann@example.com\r\nRCPT TO:<eve@example.com>", "ann@example.com>",
                              "a b@example.com", "ann@example.com,eve@example.com", "\xc3\xa4nn@example.com"}) {
    EXPECT_THAT(WriteMail(MailTo(address), kSender), StatusIs(absl::StatusCode::kInvalidArgument)) << address;
  }
}

TEST(EncodeHeaderText, LeavesShortAsciiAlone) {
  EXPECT_EQ(EncodeHeaderText("Hello, world: 100%"), "Hello, world: 100%");
  EXPECT_EQ(EncodeHeaderText(""), "");
}

TEST(EncodeHeaderText, EncodesTheRestInWordsOfWholeCharacters) {
  EXPECT_EQ(EncodeHeaderText("Gr\u00fc\u00dfe"), "=?utf-8?B?R3LDvMOfZQ==?=");
  // Else a reader would decode it.
  EXPECT_EQ(EncodeHeaderText("=?x?="), "=?utf-8?B?PT94Pz0=?=");
  std::string text;
  for (int i = 0; i < 40; ++i) text += "\u20ac";
  // 36 bytes are twelve of them.
  EXPECT_THAT(EncodeHeaderText("x" + text),
              HasSubstr("=?utf-8?B?eOKCrOKCrOKCrOKCrOKCrOKCrOKCrOKCrOKCrOKCrOKCrA==?=\r\n =?utf-8?B?4oKs"));
}

TEST(EncodeQuotedPrintable, EncodesWhatIsNotPlainAndKeepsLines) {
  EXPECT_EQ(EncodeQuotedPrintable("a=b\n\u00e4\r\nend "), "a=3Db\r\n=C3=A4\r\nend=20");
  EXPECT_EQ(EncodeQuotedPrintable("tab\tin, at end\t\nx"), "tab\tin, at end=09\r\nx");
  EXPECT_EQ(EncodeQuotedPrintable("lone\rreturn"), "lone=0Dreturn");
  EXPECT_EQ(EncodeQuotedPrintable(std::string(80, 'x')),
            absl::StrCat(std::string(75, 'x'), "=\r\n", std::string(5, 'x')));
  // An encoded byte is never parted.
  EXPECT_EQ(EncodeQuotedPrintable(absl::StrCat(std::string(73, 'x'), "=")),
            absl::StrCat(std::string(73, 'x'), "=\r\n=3D"));
}

}  // namespace
}  // namespace carillon
