// Templates through the real server, by its client and by carillonctl.
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/scratch_directory.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class Templates : public CommandLineTest {
 protected:
  static void SetUpTestSuite() { stack_ = new RunningStack({.processes = {"server"}, .flags = {}, .wrappers = {}}); }

  std::string File(const std::string& text) const {
    std::ofstream(scratch_.Path("templates.json")) << text;
    return scratch_.Path("templates.json");
  }
  std::string Apply(const std::string& text) const { return Output({"templates", "apply", File(text)}); }
  static absl::Status Send(const std::vector<v1::Channel>& channels) {
    v1::SendNotificationRequest request = Request("like", "ana");
    for (const v1::Channel channel : channels) request.add_channels(channel);
    return ClientOf(*stack_).SendNotification(request).status();
  }
  static v1::ApplyTypesRequest TypeRequest(v1::Weight weight, const std::string& routing_key) {
    v1::ApplyTypesRequest request;
    v1::Type& type = *request.add_types();
    type.set_name("letter");
    type.set_weight(weight);
    type.set_routing_key(routing_key);
    type.mutable_in_app()->set_title("A letter");
    return request;
  }
  const ScratchDirectory scratch_;
};

TEST_F(Templates, AreAppliedListedAndActivatedByVersion) {
  const std::string spanish = R"({"type": "like", "channel": "sms", "locale": "es-mx", "sms": {"text": "$ le gusta"}})";
  EXPECT_EQ(
      Apply(absl::StrCat("[", spanish, R"(, {"type": "like", "channel": "CHANNEL_FCM", "push": {"body": "x"}}])")),
      "like sms es-MX: version 1 is active\nlike fcm (all): version 1 is active\n");
  EXPECT_EQ(Apply(spanish), "like sms es-MX: version 1 is active\n");
  EXPECT_EQ(Apply(R"({"type": "like", "channel": "sms", "locale": "es-MX", "sms": {"text": "new"}})"),
            "like sms es-MX: version 2 is active\n");
  const auto versions = [](const nlohmann::json& listed) {
    Arguments texts;
    for (const nlohmann::json& entry : listed["templates"]) {
      texts.push_back(
          absl::StrCat(std::string(entry["channel"]), " ", int{entry["version"]}, entry["active"] ? " active" : ""));
    }
    return texts;
  };
  EXPECT_THAT(versions(Document({"templates", "list", "--type", "like", "--all"})),
              ElementsAre("CHANNEL_FCM 1 active", "CHANNEL_SMS 2 active", "CHANNEL_SMS 1"));
  EXPECT_EQ(Output({"templates", "activate", "like", "sms", "1", "--locale", "es-MX"}), "version 1 is active\n");
  EXPECT_THAT(versions(Document({"templates", "list", "--type", "like"})),
              ElementsAre("CHANNEL_FCM 1 active", "CHANNEL_SMS 1 active"));
  EXPECT_THAT(Output({"templates", "list"}),
              AllOf(StartsWith("TYPE"), HasSubstr("otp.login         sms      (all)"), HasSubstr("es-MX")));
}

TEST_F(Templates, ArePreviewedAsARecipientWouldGetThem) {
  const std::string code = R"({"code": "123456"})";
  EXPECT_EQ(Output({"templates", "preview", "otp.login", "sms", "--locale", "de-AT", "--data", code}),
            "[otp.login sms de, version 1]\n\n123456 ist dein Anmeldecode.\n\n(GSM-7, 28 characters, segments: 1)\n");
  EXPECT_EQ(Output({"templates", "preview", "otp.password_reset", "sms", "--data", code}),
            "[otp.password_reset sms (all), unsaved]\n\nYour code to reset the password: 123456\n\n"
            "(GSM-7, 39 characters, segments: 1)\n");
  const nlohmann::json missing = Document({"templates", "preview", "payment.receipt", "email", "--locale", "es"});
  EXPECT_THAT(missing["missing_variables"], ElementsAre("data.amount", "data.currency"));
  EXPECT_EQ(missing["template"]["locale"], "es");
  EXPECT_THAT(std::string(missing["content"]["html"]), StartsWith("<!DOCTYPE html>\n<html lang=\"es\">"));
}

TEST_F(Templates, ArePreviewedAsDrafts) {
  const std::string draft =
      File(R"({"email": {"subject": "Hi {{user_id}}", "html": "<b>{{data.x}}</b> {{actor_id}}"}})");
  EXPECT_EQ(
      Output({"templates", "preview", "like", "email", "--user", "ana", "--data", R"({"x": "<&>"})", "--file", draft}),
      "[like email (all), unsaved]\nsubject: Hi ana\n\n--- HTML\n<b>&lt;&amp;&gt;</b> \n\nmissing: actor_id\n");
  EXPECT_THAT(Run({"templates", "preview", "like", "email", "--user", "a", "--data", "[]", "--file", draft}).errors,
              HasSubstr("--data must be a JSON object"));
  const CommandResult broken =
      Run({"templates", "preview", "like", "sms", "--file", File(R"({"sms": {"text": "{{>x}}"}})")});
  EXPECT_EQ(broken.exit_status, 1);
  EXPECT_THAT(broken.errors, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("template.sms.text")));
}

TEST_F(Templates, SayWhatIsWrongWithThem) {
  const auto failure = [this](const std::string& text) {
    const CommandResult result = Run({"templates", "apply", File(text)});
    EXPECT_EQ(result.exit_status, 1);
    return result.errors;
  };
  EXPECT_THAT(failure("[{]"), HasSubstr("must be a template, or a JSON array of them"));
  EXPECT_THAT(failure(R"({"type": "nope", "channel": "sms", "sms": {"text": "x"}})"), HasSubstr("templates[0].type"));
  EXPECT_THAT(failure(R"({"type": "like", "channel": "in_app", "sms": {"text": "x"}})"),
              HasSubstr("templates[0].channel"));
  EXPECT_THAT(Run({"templates", "activate", "like", "sms", "99", "--locale", "fr"}).errors,
              StartsWith("carillonctl: NOT_FOUND: "));
  EXPECT_THAT(Run({"templates", "activate", "like", "pigeon", "1"}).errors, HasSubstr("CHANNEL must be"));
}

TEST_F(Templates, AreOfOneAppAlone) {
  Apply(R"({"type": "comment", "channel": "sms", "sms": {"text": "mine"}})");
  const nlohmann::json other = stack_->CreateApp("other words");
  Client client({.address = stack_->address(), .app_key = other["app"]["app_key"], .app_secret = other["app_secret"]});
  v1::ListTemplatesRequest list;
  list.set_type("comment");
  ASSERT_OK_AND_ASSIGN(const v1::ListTemplatesResponse listed, client.ListTemplates(list));
  EXPECT_THAT(listed.templates(), IsEmpty());
  v1::ActivateTemplateRequest activate;
  activate.set_type("comment");
  activate.set_channel(v1::CHANNEL_SMS);
  activate.set_version(1);
  EXPECT_THAT(client.ActivateTemplate(activate), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(Templates, AreListedPageByPage) {
  Client client = ClientOf(*stack_);
  v1::ListTemplatesRequest request;
  request.set_type("payment.receipt");
  request.set_page_size(3);
  Arguments locales;
  do {
    ASSERT_OK_AND_ASSIGN(const v1::ListTemplatesResponse page, client.ListTemplates(request));
    for (const v1::Template& listed : page.templates()) locales.push_back(listed.locale());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(locales, ElementsAre("", "de", "en", "es"));
}

TEST_F(Templates, FallBackOnTheAppsDefaultLocale) {
  const Arguments set = {"app", "set", "--app-key", stack_->app_key(), "--default-locale"};
  const auto set_to = [&set](const std::string& locale) {
    Arguments arguments = set;
    arguments.push_back(locale);
    return Run(arguments);
  };
  EXPECT_THAT(set_to("ES-mx").output, HasSubstr("default locale es-MX"));
  EXPECT_THAT(Output({"templates", "preview", "otp.login", "sms", "--locale", "fr"}),
              HasSubstr("es tu código de acceso."));
  EXPECT_THAT(set_to("Spanish (Mexico)").errors, HasSubstr("default_locale"));
  EXPECT_THAT(set_to("en").output, HasSubstr("default locale en"));
}

TEST_F(Templates, BelongToTypesThatSayWhereTheyGoAndWhetherTheyAreTracked) {
  Client client = ClientOf(*stack_);
  v1::ApplyTypesRequest request = TypeRequest(v1::WEIGHT_MARKETING, "marketing.letter");
  v1::Type& type = *request.mutable_types(0);
  for (const v1::Channel channel : {v1::CHANNEL_WEBHOOK, v1::CHANNEL_EMAIL, v1::CHANNEL_SMS, v1::CHANNEL_APNS,
                                    v1::CHANNEL_FCM, v1::CHANNEL_IN_APP}) {
    type.add_channels(channel);
  }
  type.set_track_interactions(true);
  type.set_unsubscribable(true);
  type.set_at_most_once(true);
  ASSERT_OK_AND_ASSIGN(const v1::ApplyTypesResponse applied, client.ApplyTypes(request));
  EXPECT_EQ(applied.types(0).channels_size(), 6);
  ASSERT_OK_AND_ASSIGN(const v1::ListTypesResponse listed, client.ListTypes({}));
  const auto found = std::find_if(listed.types().begin(), listed.types().end(),
                                  [](const v1::Type& candidate) { return candidate.name() == "letter"; });
  ASSERT_NE(found, listed.types().end());
  EXPECT_TRUE(found->track_interactions() && found->unsubscribable() && found->at_most_once());
}

TEST_F(Templates, RefuseTypesThatWouldTrackACodeOrRepeatAChannel) {
  Client client = ClientOf(*stack_);
  for (const auto& [weight, key] :
       {std::pair(v1::WEIGHT_OTP, "otp.letter"), std::pair(v1::WEIGHT_PAYMENT, "payment.letter")}) {
    v1::ApplyTypesRequest request = TypeRequest(weight, key);
    request.mutable_types(0)->set_track_interactions(true);
    request.mutable_types(0)->add_channels(v1::CHANNEL_SMS);
    request.mutable_types(0)->add_channels(v1::CHANNEL_SMS);
    EXPECT_THAT(client.ApplyTypes(request),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("types[0].track_interactions"), HasSubstr("types[0].channels[1]"))));
  }
}

TEST_F(Templates, LetASendNameAnyChannelOnce) {
  EXPECT_OK(Send({v1::CHANNEL_EMAIL, v1::CHANNEL_SMS, v1::CHANNEL_APNS, v1::CHANNEL_FCM, v1::CHANNEL_WEBHOOK}));
  EXPECT_THAT(Send({v1::CHANNEL_EMAIL, v1::CHANNEL_EMAIL}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("channels[1]: must name each channel once")));
  EXPECT_THAT(Send({v1::CHANNEL_UNSPECIFIED, static_cast<v1::Channel>(7)}),
              StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("channels[0]"), HasSubstr("channels[1]"))));
}

}  // namespace
}  // namespace carillon::testing
