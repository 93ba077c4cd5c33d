// Settings that work, and those that can't.
#include "workers/channels/provider_factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

class ProviderFactoryTest : public ::testing::Test {
 protected:
  absl::Status Make(const v1::Provider& settings, Channel channel, bool allow_private = false) {
    return MakeProvider(
               settings, channel,
               {.app = AppId(1), .clock = &clock_, .transport = &transport_, .allow_private_webhooks = allow_private})
        .status();
  }

  static v1::Provider Twilio(const std::string& endpoint) {
    v1::Provider provider;
    provider.mutable_twilio()->set_account_sid("AC1");
    provider.mutable_twilio()->set_endpoint(endpoint);
    return provider;
  }

  SystemClock clock_;
  CurlTransport transport_;
};

TEST_F(ProviderFactoryTest, MakesAKindForItsChannelOnly) {
  EXPECT_THAT(Make(Twilio(""), Channel::kSms), IsOk());
  EXPECT_THAT(Make(Twilio(""), Channel::kEmail), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("email")));
  EXPECT_THAT(Make(v1::Provider(), Channel::kSms), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(ProviderFactoryTest, RefusesEndpointsWithoutTlsUnlessPrivateOnesAreAllowed) {
  EXPECT_THAT(Make(Twilio("https://sms.example"), Channel::kSms), IsOk());
  EXPECT_THAT(Make(Twilio("http://sms.example"), Channel::kSms),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twilio.endpoint")));
  EXPECT_THAT(Make(Twilio("http://127.0.0.1:8080"), Channel::kSms, /*allow_private=*/true), IsOk());
  for (const char* endpoint :
       {"file:///etc/passwd", "ftp://x", "https://sms.example/?q", "https://a b", "https://a/\n"}) {
    EXPECT_THAT(Make(Twilio(endpoint), Channel::kSms, true), StatusIs(absl::StatusCode::kInvalidArgument)) << endpoint;
  }
}

TEST_F(ProviderFactoryTest, RefusesWordsThatWouldChangeTheUrl) {
  v1::Provider provider = Twilio("");
  provider.mutable_twilio()->set_account_sid("AC1/../x");
  EXPECT_THAT(Make(provider, Channel::kSms), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("account_sid")));
  v1::Provider smtp;
  smtp.mutable_smtp()->set_host("mail.example/x@y");
  EXPECT_THAT(Make(smtp, Channel::kEmail), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("smtp.host")));
}

TEST_F(ProviderFactoryTest, RefusesKeysThatCantSign) {
  v1::Provider apns;
  apns.mutable_apns()->set_topic("com.example.app");
  apns.mutable_apns()->set_private_key_pem("no key");
  EXPECT_THAT(Make(apns, Channel::kApns), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("private_key_pem")));
  v1::Provider fcm;
  fcm.mutable_fcm()->set_service_account_json(R"({"project_id":"p","client_email":"e","private_key":"no key"})");
  EXPECT_THAT(Make(fcm, Channel::kFcm), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("private_key")));
}

TEST_F(ProviderFactoryTest, RefusesWebhooksWithoutAGoodSecret) {
  v1::Provider webhook;
  webhook.mutable_webhook()->set_url("https://hooks.example/x");
  EXPECT_THAT(Make(webhook, Channel::kWebhook),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("webhook.secrets")));
  webhook.mutable_webhook()->add_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
  EXPECT_THAT(Make(webhook, Channel::kWebhook), IsOk());
  webhook.mutable_webhook()->add_secrets("whsec_short");
  EXPECT_THAT(Make(webhook, Channel::kWebhook),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("webhook.secrets[1]")));
}

}  // namespace
}  // namespace carillon
