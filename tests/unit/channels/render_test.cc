#include "carillon/channels/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

NotificationType Receipt() {
  return {.name = "payment.receipt",
          .in_app = {.title = "Payment received",
                     .body = "{{data.amount}} {{data.currency}}",
                     .image_url = "https://img.example/{{object_id}}",
                     .action_link = "/payments/{{object_id}}"},
          .dedupe_key = ""};
}

class RenderTest : public ::testing::Test {
 protected:
  RenderTest() {
    notification_.type = "payment.receipt";
    notification_.recipient = RecipientId("ana");
    notification_.object_id = "pay-1";
    notification_.data_json = R"({"amount":12.5,"currency":"EUR","note":"<b>\"hi\" & 'bye'</b>","lines":"a\nb"})";
  }

  RenderInput Input() const {
    return {.notification = notification_, .type = type_, .unsubscribe_url = "https://c.example/u/1"};
  }
  absl::StatusOr<v1::RenderedContent> Email(const std::string& subject, const std::string& text,
                                            const std::string& html = "") const {
    v1::Template content;
    content.mutable_email()->set_subject(subject);
    content.mutable_email()->set_text(text);
    content.mutable_email()->set_html(html);
    return RenderContent(content, Channel::kEmail, Input());
  }
  absl::StatusOr<v1::RenderedContent> Sms(const std::string& text) const {
    v1::Template content;
    content.mutable_sms()->set_text(text);
    return RenderContent(content, Channel::kSms, Input());
  }
  v1::RenderedContent Default(Channel channel) const {
    const auto rendered = RenderContent(DefaultTemplate(channel), channel, Input());
    EXPECT_OK(rendered);
    return rendered.value_or(v1::RenderedContent());
  }

  Notification notification_;
  NotificationType type_ = Receipt();
};

TEST_F(RenderTest, EscapesInHtmlOnly) {
  ASSERT_OK_AND_ASSIGN(const v1::RenderedContent mail,
                       Email("{{data.note}}", "{{data.note}}", "<p>{{data.note}}{{{data.note}}}"));
  EXPECT_EQ(mail.subject(), "<b>\"hi\" & 'bye'</b>");
  EXPECT_EQ(mail.text(), "<b>\"hi\" & 'bye'</b>");
  EXPECT_EQ(mail.html(), "<p>&lt;b&gt;&quot;hi&quot; &amp; &#39;bye&#39;&lt;/b&gt;<b>\"hi\" & 'bye'</b>");
}

TEST_F(RenderTest, KnowsTheTextsOfTheTypeAndTheUnsubscribeLink) {
  ASSERT_OK_AND_ASSIGN(const v1::RenderedContent mail,
                       Email("{{title}}", "{{body}} {{action_link}} {{image_url}} {{unsubscribe_url}} {{user_id}}"));
  EXPECT_EQ(mail.subject(), "Payment received");
  EXPECT_EQ(mail.text(), "12.5 EUR /payments/pay-1 https://img.example/pay-1 https://c.example/u/1 ana");
}

TEST_F(RenderTest, DoesNotRenderWhatDataBringsEvenThroughATextOfTheType) {
  notification_.data_json = R"({"amount":"{{user_id}}","currency":"{{title}}"})";
  ASSERT_OK_AND_ASSIGN(const v1::RenderedContent mail, Email("{{title}}", "{{body}}"));
  EXPECT_EQ(mail.text(), "{{user_id}} {{title}}");
}

TEST_F(RenderTest, RefusesLineBreaksAndNulInHeaders) {
  for (const std::string breaker : {"\\n", "\\r", "\\u0000", "\\r\\nBcc: all@example.com"}) {
    notification_.data_json = absl::StrCat("{\"x\":\"a", breaker, "b\"}");
    EXPECT_THAT(Email("Hello {{data.x}}", "text"),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email.subject")));
    v1::Template content;
    content.mutable_email()->set_reply_to("{{data.x}}@example.com");
    EXPECT_THAT(RenderReplyTo(content, Input()),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email.reply_to")));
  }
  notification_.data_json = R"({"x":"a\nb"})";
  EXPECT_OK(Email("Hello", "{{data.x}}"));
}

TEST_F(RenderTest, SaysWhereAnswersGo) {
  v1::Template content;
  EXPECT_THAT(RenderReplyTo(content, Input()), IsOkAndHolds(""));
  content.mutable_email()->set_reply_to("receipt+{{object_id}}@example.com");
  EXPECT_THAT(RenderReplyTo(content, Input()), IsOkAndHolds("receipt+pay-1@example.com"));
  content.mutable_email()->set_reply_to("{{data.currency}}");
  EXPECT_THAT(RenderReplyTo(content, Input()), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("address")));
}

TEST_F(RenderTest, RefusesWhatIsEmpty) {
  EXPECT_THAT(Email("{{data.nope}}", "text"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email.subject")));
  EXPECT_THAT(Email("subject", "{{data.nope}}"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email.text")));
  EXPECT_OK(Email("subject", "", "<p>html alone"));
  EXPECT_THAT(Sms("{{data.nope}}"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sms.text")));
}

TEST_F(RenderTest, RefusesWhatIsTooLong) {
  const std::string kilobyte(1024, 'x');
  notification_.data_json = absl::StrCat("{\"x\":\"", std::string(15 * 1024, 'x'), "\"}");
  std::string text;
  for (size_t size = 0; size <= limits::kMaxTextBytes; size += 15 * 1024) text += "{{data.x}}";
  EXPECT_THAT(Email("s", text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email.text")));
  EXPECT_OK(Email("s", "", text));
  for (size_t size = 0; size <= limits::kMaxHtmlBytes; size += 15 * 1024) text += "{{data.x}}";
  EXPECT_THAT(Email("s", "", text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email.html")));
  EXPECT_THAT(Email("{{data.x}}", "text"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email.subject")));
}

TEST_F(RenderTest, CountsTheCharactersAndSegmentsOfAnSms) {
  ASSERT_OK_AND_ASSIGN(const v1::RenderedContent sms, Sms("{{title}}: €"));
  EXPECT_EQ(sms.text(), "Payment received: €");
  EXPECT_EQ(sms.sms_segments().encoding(), "GSM-7");
  EXPECT_EQ(sms.sms_segments().characters(), 20);
  std::string long_text;
  for (size_t i = 0; i < limits::kMaxSmsCharacters; ++i) long_text += "ж";
  notification_.data_json = absl::StrCat("{\"x\":\"", long_text, "\"}");
  EXPECT_OK(Sms("{{data.x}}"));
  EXPECT_THAT(Sms("{{data.x}}."), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1600 characters")));
}

TEST_F(RenderTest, CutsAPushMessageBetweenCharacters) {
  std::string long_text;
  for (size_t i = 0; i < limits::kMaxPushBodyBytes; ++i) long_text += "€";
  notification_.data_json = absl::StrCat("{\"x\":\"", long_text, "\"}");
  v1::Template content;
  content.mutable_push()->set_title("{{data.x}}");
  content.mutable_push()->set_body("{{data.x}}");
  ASSERT_OK_AND_ASSIGN(const v1::RenderedContent push, RenderContent(content, Channel::kApns, Input()));
  EXPECT_EQ(push.body().size(), 1998);
  EXPECT_EQ(push.title().size(), 498);
  content.mutable_push()->set_action_link("https://example.com/{{data.x}}");
  EXPECT_THAT(RenderContent(content, Channel::kApns, Input()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("push.action_link")));
}

TEST_F(RenderTest, RefusesContentOfAnotherChannel) {
  EXPECT_THAT(RenderContent(DefaultTemplate(Channel::kSms), Channel::kEmail, Input()),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(RenderContent(v1::Template(), Channel::kEmail, Input()), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(RenderTest, SaysTheTypesTextsWhereNobodyWroteATemplate) {
  EXPECT_EQ(Default(Channel::kEmail).subject(), "Payment received");
  EXPECT_EQ(Default(Channel::kEmail).text(), "12.5 EUR\n\n/payments/pay-1");
  EXPECT_EQ(Default(Channel::kSms).text(), "Payment received: 12.5 EUR");
  for (const Channel channel : {Channel::kApns, Channel::kFcm, Channel::kWebhook}) {
    const v1::RenderedContent content = Default(channel);
    EXPECT_EQ(content.title(), "Payment received");
    EXPECT_EQ(content.body(), "12.5 EUR");
    EXPECT_EQ(content.action_link(), "/payments/pay-1");
    EXPECT_EQ(content.image_url(), "https://img.example/pay-1");
  }
}

TEST_F(RenderTest, LeavesNoSeparatorsBehindWhereATypeHasATitleOnly) {
  type_.in_app = {.title = "Hello"};
  EXPECT_EQ(Default(Channel::kEmail).text(), "Hello");
  EXPECT_EQ(Default(Channel::kSms).text(), "Hello");
  EXPECT_EQ(Default(Channel::kFcm).body(), "Hello");
  EXPECT_EQ(Default(Channel::kFcm).title(), "");
  EXPECT_EQ(Default(Channel::kWebhook).title(), "Hello");
}

TEST_F(RenderTest, NamesTheVariablesThatAreMissing) {
  v1::Template content;
  content.mutable_email()->set_subject("{{data.order}} {{actor_id}}");
  content.mutable_email()->set_html("{{data.amount}} {{data.address.city}} {{#data.gift}}{{data.gift}}{{/data.gift}}");
  EXPECT_THAT(MissingVariables(content, Input()), ElementsAre("actor_id", "data.address.city", "data.order"));
}

TEST_F(RenderTest, NamesWhatTheTypesOwnTextsMissWhereTheyAreUsed) {
  notification_.data_json = "";
  v1::Template content;
  content.mutable_sms()->set_text("{{title}}");
  EXPECT_THAT(MissingVariables(content, Input()), IsEmpty());
  for (const Channel channel : kExternalChannels) {
    EXPECT_THAT(MissingVariables(DefaultTemplate(channel), Input()), ElementsAre("data.amount", "data.currency"));
  }
}

std::vector<std::string> Faults(const v1::Template& content) {
  std::vector<std::string> faults;
  for (const FieldViolation& fault : CheckContent(content))
    faults.push_back(absl::StrCat(fault.field, " ", fault.description));
  return faults;
}

TEST(CheckContent, TakesWhatItsChannelHas) {
  for (const Channel channel : kExternalChannels) EXPECT_THAT(Faults(DefaultTemplate(channel)), IsEmpty());
}

TEST(CheckContent, RefusesAChannelThatHasNoTemplates) {
  v1::Template content = DefaultTemplate(Channel::kSms);
  for (const v1::Channel channel : {v1::CHANNEL_UNSPECIFIED, v1::CHANNEL_IN_APP, static_cast<v1::Channel>(99)}) {
    content.set_channel(channel);
    EXPECT_THAT(Faults(content), ElementsAre(HasSubstr("channel must be")));
  }
}

TEST(CheckContent, RefusesContentOfAnotherChannel) {
  v1::Template content = DefaultTemplate(Channel::kSms);
  content.set_channel(v1::CHANNEL_FCM);
  EXPECT_THAT(Faults(content), ElementsAre("content must be push, as the channel says"));
  content.clear_content();
  content.set_channel(v1::CHANNEL_WEBHOOK);
  EXPECT_THAT(Faults(content), ElementsAre("content must be webhook, as the channel says"));
}

TEST(CheckContent, NamesEveryFieldThatIsWrong) {
  v1::Template content;
  content.set_channel(v1::CHANNEL_EMAIL);
  content.mutable_email();
  EXPECT_THAT(Faults(content), ElementsAre("email.subject is required", "email.text is required"));
  content.mutable_email()->set_subject("{{>header}}");
  content.mutable_email()->set_text(std::string(limits::kMaxTemplateTextBytes + 1, 'x'));
  content.mutable_email()->set_html("{{#a}}");
  content.mutable_email()->set_reply_to("a@b.c\r\nBcc: d");
  EXPECT_THAT(
      Faults(content),
      ElementsAre(HasSubstr("email.subject may not hold {{>"), "email.text must be at most 65536 bytes without NUL",
                  HasSubstr("email.html {{#a}} is not closed"), "email.reply_to must not hold a line break"));
}

TEST(CheckContent, RequiresThePartsThatAChannelNeeds) {
  v1::Template content;
  content.set_channel(v1::CHANNEL_SMS);
  content.mutable_sms()->set_text(std::string(limits::kMaxTemplateSmsBytes + 1, 'x'));
  EXPECT_THAT(Faults(content), ElementsAre(HasSubstr("sms.text must be at most 1600 bytes")));
  content.set_channel(v1::CHANNEL_APNS);
  content.mutable_push()->set_title("title alone");
  content.mutable_push()->set_sound("a\nb");
  EXPECT_THAT(Faults(content), ElementsAre("push.body is required", HasSubstr("push.sound must be")));
}

}  // namespace
}  // namespace carillon::testing
