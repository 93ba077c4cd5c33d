// SMTP: the dialogue of one mail, and what its replies mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "workers/channels/smtp_dialogue.h"
#include "workers/channels/smtp_provider.h"

namespace carillon {
namespace {

MailRequest Mail(const std::string& message = "Subject: x\r\n\r\nHello\r\n") {
  MailRequest request;
  request.from = "shop@example.com";
  request.to = "ann@example.com";
  request.message = message;
  return request;
}

// Writes what is to be written and reads the reply; returns what was written.
std::string Exchange(SmtpDialogue& dialogue, absl::string_view reply) {
  std::string said(dialogue.to_write());
  dialogue.Wrote(said.size());
  dialogue.Read(reply);
  return said;
}

TEST(SmtpDialogue, AsksStepByStep) {
  SmtpDialogue dialogue(Mail(), /*reset=*/false);
  EXPECT_EQ(Exchange(dialogue, "250 2.1.0 Ok\r\n"), "MAIL FROM:<shop@example.com>\r\n");
  EXPECT_EQ(Exchange(dialogue, "250 2.1.5 Ok\r\n"), "RCPT TO:<ann@example.com>\r\n");
  EXPECT_EQ(Exchange(dialogue, "354 Go ahead\r\n"), "DATA\r\n");
  EXPECT_FALSE(dialogue.sent());
  EXPECT_EQ(Exchange(dialogue, ""), "Subject: x\r\n\r\nHello\r\n.\r\n");
  EXPECT_TRUE(dialogue.sent());
  EXPECT_FALSE(dialogue.ended());
  dialogue.Read("250-2.0.0 Ok:\r\n250 queued as 17\r\n");
  EXPECT_TRUE(dialogue.is_accepted());
  EXPECT_TRUE(dialogue.is_connection_usable());
  EXPECT_FALSE(dialogue.needs_reset());
  EXPECT_EQ(dialogue.stage(), MailStage::kMessage);
  EXPECT_EQ(dialogue.text(), "2.0.0 Ok: queued as 17");
}

TEST(SmtpDialogue, DoublesDotsAtTheBeginningsOfLines) {
  SmtpDialogue dialogue(Mail(".a\r\n.\r\nb.\r\n..c"), /*reset=*/false);
  for (const char* reply : {"250 Ok\r\n", "250 Ok\r\n", "354 Go\r\n"}) Exchange(dialogue, reply);
  EXPECT_EQ(dialogue.to_write(), "..a\r\n..\r\nb.\r\n...c\r\n.\r\n");
}

TEST(SmtpDialogue, ResetsAConnectionOnWhichAMailWasRefused) {
  SmtpDialogue refused(Mail(), /*reset=*/false);
  Exchange(refused, "250 Ok\r\n");
  Exchange(refused, "550 5.1.1 No such user\r\n");
  EXPECT_TRUE(refused.ended());
  EXPECT_TRUE(refused.needs_reset());
  EXPECT_EQ(refused.stage(), MailStage::kRcpt);
  EXPECT_EQ(refused.code(), 550);
  SmtpDialogue next(Mail(), /*reset=*/true);
  EXPECT_EQ(Exchange(next, "250 Ok\r\n"), "RSET\r\n");
  EXPECT_EQ(next.to_write(), "MAIL FROM:<shop@example.com>\r\n");
}

TEST(SmtpDialogue, TakesRepliesInAnyPieces) {
  SmtpDialogue dialogue(Mail(), /*reset=*/false);
  Exchange(dialogue, "25");
  dialogue.Read("0-first\r");
  dialogue.Read("\n250 second\r\n");
  EXPECT_EQ(dialogue.text(), "first second");
  EXPECT_EQ(dialogue.to_write(), "RCPT TO:<ann@example.com>\r\n");
}

TEST(SmtpDialogue, LeavesAServerThatCloses) {
  SmtpDialogue dialogue(Mail(), /*reset=*/false);
  Exchange(dialogue, "421 4.3.2 Closing\r\n");
  EXPECT_TRUE(dialogue.ended());
  EXPECT_FALSE(dialogue.is_connection_usable());
  EXPECT_EQ(dialogue.code(), 421);
}

TEST(SmtpDialogue, EndsWithServersThatSayNonsense) {
  const std::string long_line(5000, 'x');
  for (const std::string& nonsense :
       {std::string("HTTP/1.1 400\r\n"), std::string("25\r\n"), std::string("999 x\r\n"), long_line}) {
    SmtpDialogue dialogue(Mail(), /*reset=*/false);
    Exchange(dialogue, nonsense);
    EXPECT_TRUE(dialogue.ended());
    EXPECT_FALSE(dialogue.is_connection_usable());
    EXPECT_EQ(dialogue.code(), 0);
  }
}

TEST(SmtpDialogue, ARefusalWhileTheMessageIsWrittenIsTheAnswer) {
  SmtpDialogue dialogue(Mail(), /*reset=*/false);
  for (const char* reply : {"250 Ok\r\n", "250 Ok\r\n", "354 Go\r\n"}) Exchange(dialogue, reply);
  dialogue.Wrote(3);
  dialogue.Read("552 5.3.4 Too big\r\n");
  EXPECT_TRUE(dialogue.ended());
  EXPECT_FALSE(dialogue.sent());
  EXPECT_FALSE(dialogue.is_connection_usable());
  EXPECT_EQ(dialogue.code(), 552);
}

struct SmtpCase {
  MailStage stage;
  int code;
  const char* text;
  AttemptOutcome outcome;
  bool only_this_recipient = false;
  bool may_try_next = false;
  bool suppresses = false;
};

constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;

TEST(ClassifySmtpAnswer, ReadsTheStageTheCodeAndTheEnhancedCode) {
  const SmtpCase kCases[] = {
      {MailStage::kMessage, 250, "2.0.0 Ok", AttemptOutcome::kAccepted},
      {MailStage::kConnect, 421, "4.3.2 Busy", kRetryable},
      {MailStage::kConnect, 554, "No SMTP service here", kBadSender},
      {MailStage::kAuth, 454, "4.7.0 Temporary", kRetryable},
      {MailStage::kAuth, 535, "5.7.8 Bad credentials", kBadSender},
      {MailStage::kMail, 421, "4.7.0 Too many", kRetryable},
      {MailStage::kMail, 451, "4.3.0 Local", kRetryable},
      {MailStage::kMail, 530, "5.7.0 Authentication required", kBadSender},
      {MailStage::kMail, 553, "5.1.8 Sender not known", kBadSender},
      {MailStage::kRcpt, 421, "4.3.2 Closing", kRetryable},
      {MailStage::kRcpt, 450, "4.2.1 Greylisted", kRetryable, true},
      {MailStage::kRcpt, 452, "4.2.2 Full", kRetryable, true},
      {MailStage::kRcpt, 530, "5.7.0 Authentication required", kBadSender},
      {MailStage::kRcpt, 550, "5.1.1 No such user", kPermanent, false, false, true},
      {MailStage::kRcpt, 553, "5.1.3 Bad mailbox", kPermanent, false, false, true},
      {MailStage::kRcpt, 550, "5.7.1 Relay denied", kPermanent, false, true},
      {MailStage::kRcpt, 550, "no enhanced code", kPermanent, false, true},
      {MailStage::kRcpt, 552, "mailbox full", kRetryable, true},
      {MailStage::kRcpt, 552, "5.2.2 Full", kRetryable, true},
      {MailStage::kData, 451, "4.7.1 Later", kRetryable},
      {MailStage::kMessage, 451, "4.7.1 Policy", kRetryable},
      {MailStage::kMessage, 552, "5.3.4 Too big", kPermanent, false, true},
      {MailStage::kMessage, 554, "5.7.1 Spam", kPermanent, false, true},
  };
  for (const SmtpCase& one : kCases) {
    MailResult answer;
    answer.end = CallEnd::kAnswered;
    answer.stage = one.stage;
    answer.code = one.code;
    answer.text = one.text;
    const SendResult result = ClassifySmtpAnswer(answer);
    const std::string which = absl::StrCat(static_cast<int>(one.stage), " ", one.code, " ", one.text);
    EXPECT_EQ(result.outcome, one.outcome) << which;
    EXPECT_EQ(result.only_this_recipient, one.only_this_recipient) << which;
    EXPECT_EQ(result.may_try_next, one.may_try_next) << which;
    EXPECT_EQ(!result.suppress_reason.empty(), one.suppresses) << which;
  }
}

TEST(ClassifySmtpAnswer, CodeHasTheEnhancedOneToo) {
  MailResult answer;
  answer.end = CallEnd::kAnswered;
  answer.stage = MailStage::kRcpt;
  answer.code = 550;
  answer.text = "5.1.1 No such user";
  EXPECT_EQ(ClassifySmtpAnswer(answer).code, "550 5.1.1");
  EXPECT_EQ(ClassifySmtpAnswer(answer).error, "550 5.1.1 No such user");
  answer.text = "5.1.x is none";
  EXPECT_EQ(ClassifySmtpAnswer(answer).code, "550");
}

TEST(ClassifySmtpAnswer, WithoutAnswerTheFinalDotDecides) {
  MailResult answer;
  answer.end = CallEnd::kNotSent;
  answer.stage = MailStage::kRcpt;
  EXPECT_EQ(ClassifySmtpAnswer(answer).outcome, kRetryable);
  answer.stage = MailStage::kAuth;
  EXPECT_EQ(ClassifySmtpAnswer(answer).outcome, kBadSender);
  answer.end = CallEnd::kUnconfirmed;
  answer.stage = MailStage::kData;
  EXPECT_EQ(ClassifySmtpAnswer(answer).outcome, AttemptOutcome::kUnconfirmed);
}

}  // namespace
}  // namespace carillon
