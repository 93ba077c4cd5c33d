#include "server/api/provider_validation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/test_keys.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

v1::Provider Named(const std::string& name) {
  v1::Provider provider;
  provider.set_name(name);
  return provider;
}

v1::Provider Smtp() {
  v1::Provider provider = Named("smtp");
  provider.mutable_smtp()->set_host("mail.example.com");
  provider.mutable_smtp()->set_username("user");
  provider.mutable_smtp()->set_password("pass word");
  provider.mutable_smtp()->set_from_address("news@example.com");
  provider.mutable_smtp()->set_from_name("Zoë's shop");
  return provider;
}

v1::Provider SendGrid() {
  v1::Provider provider = Named("sendgrid");
  provider.mutable_sendgrid()->set_api_key("SG.abc");
  provider.mutable_sendgrid()->set_from_address("news@example.com");
  return provider;
}

v1::Provider Twilio() {
  v1::Provider provider = Named("twilio");
  provider.mutable_twilio()->set_account_sid("AC0123");
  provider.mutable_twilio()->set_password("token");
  provider.mutable_twilio()->set_from("+15005550006");
  return provider;
}

v1::Provider Vonage() {
  v1::Provider provider = Named("vonage");
  provider.mutable_vonage()->set_api_key("abcd1234");
  provider.mutable_vonage()->set_api_secret("secret");
  provider.mutable_vonage()->set_from("Carillon");
  return provider;
}

v1::Provider Apns() {
  static const auto* const pem = new std::string(NewEcKeyPem());
  v1::Provider provider = Named("apns");
  provider.mutable_apns()->set_team_id("ABCDE12345");
  provider.mutable_apns()->set_key_id("KEY1234567");
  provider.mutable_apns()->set_private_key_pem(*pem);
  provider.mutable_apns()->set_topic("com.example.app");
  return provider;
}

nlohmann::json ServiceAccount() {
  static const auto* const pem = new std::string(NewRsaKeyPem());
  return {{"type", "service_account"},
          {"project_id", "my-project"},
          {"client_email", "push@my-project.iam.gserviceaccount.com"},
          {"private_key", *pem},
          {"token_uri", "https://oauth2.googleapis.com/token"}};
}

v1::Provider Fcm(const nlohmann::json& account = ServiceAccount()) {
  v1::Provider provider = Named("fcm");
  provider.mutable_fcm()->set_service_account_json(account.dump());
  return provider;
}

std::string WebhookSecret(size_t bytes) { return absl::StrCat("whsec_", absl::Base64Escape(std::string(bytes, 'k'))); }

v1::Provider Webhook() {
  v1::Provider provider = Named("webhook");
  provider.mutable_webhook()->set_url("https://hooks.example.com:8443/in?tenant=7");
  provider.mutable_webhook()->add_secrets(WebhookSecret(24));
  return provider;
}

std::vector<std::string> FaultsOf(Channel channel, const std::vector<v1::Provider>& providers) {
  v1::SetProvidersRequest request;
  for (const v1::Provider& provider : providers) *request.add_providers() = provider;
  Violations violations;
  CheckProviders(channel, request, violations);
  std::vector<std::string> fields;
  for (const FieldViolation& violation : DetailsOf(violations.ToStatus()).violations) fields.push_back(violation.field);
  return fields;
}

// The fields that are wrong after the change.
template <typename Change>
std::vector<std::string> FaultsAfter(Channel channel, v1::Provider provider, Change change) {
  change(provider);
  return FaultsOf(channel, {provider});
}

TEST(ProviderValidation, TakesEveryKindOnItsChannel) {
  EXPECT_THAT(FaultsOf(Channel::kEmail, {Smtp(), SendGrid()}), IsEmpty());
  EXPECT_THAT(FaultsOf(Channel::kSms, {Twilio(), Vonage()}), IsEmpty());
  EXPECT_THAT(FaultsOf(Channel::kApns, {Apns()}), IsEmpty());
  EXPECT_THAT(FaultsOf(Channel::kFcm, {Fcm()}), IsEmpty());
  EXPECT_THAT(FaultsOf(Channel::kWebhook, {Webhook()}), IsEmpty());
  EXPECT_THAT(FaultsOf(Channel::kSms, {}), IsEmpty());
}

TEST(ProviderValidation, RefusesAKindThatDoesNotServeTheChannel) {
  EXPECT_THAT(FaultsOf(Channel::kSms, {Twilio(), Smtp()}), ElementsAre("providers[1].settings"));
  EXPECT_THAT(FaultsOf(Channel::kSms, {Named("nothing")}), ElementsAre("providers[0].settings"));
}

TEST(ProviderValidation, WantsNamesThatDiffer) {
  EXPECT_THAT(FaultsOf(Channel::kSms, {Twilio(), Twilio()}), ElementsAre("providers[1].name"));
  for (const std::string& name :
       {std::string(), std::string("A"), std::string("1a"), std::string("a b"), std::string(101, 'a')}) {
    EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), [&](v1::Provider& p) { p.set_name(name); }),
                ElementsAre("providers[0].name"))
        << name;
  }
}

TEST(ProviderValidation, TakesTenProvidersAtMost) {
  std::vector<v1::Provider> providers;
  for (int i = 0; i < 10; ++i) {
    providers.push_back(Twilio());
    providers.back().set_name(absl::StrCat("twilio-", i));
  }
  EXPECT_THAT(FaultsOf(Channel::kSms, providers), IsEmpty());
  providers.push_back(Vonage());
  EXPECT_THAT(FaultsOf(Channel::kSms, providers), ElementsAre("providers"));
}

TEST(ProviderValidation, NamesEveryFaultAtOnce) {
  v1::Provider bad = Twilio();
  bad.mutable_twilio()->clear_account_sid();
  bad.set_max_concurrent(1001);
  EXPECT_THAT(FaultsOf(Channel::kSms, {Twilio(), bad}),
              ElementsAre("providers[1].max_concurrent", "providers[1].twilio.account_sid", "providers[1].name"));
}

TEST(ProviderValidation, BoundsTimesAndConcurrency) {
  const auto timeout = [](int64_t seconds, int nanos) {
    return [=](v1::Provider& p) {
      p.mutable_timeout()->set_seconds(seconds);
      p.mutable_timeout()->set_nanos(nanos);
    };
  };
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), timeout(0, 100'000'000)), IsEmpty());
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), timeout(30, 0)), IsEmpty());
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), timeout(0, 99'999'999)), ElementsAre("providers[0].timeout"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), timeout(30, 1)), ElementsAre("providers[0].timeout"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), timeout(-1, 0)), ElementsAre("providers[0].timeout"));
  const auto receipt_wait = [](int64_t seconds) {
    return [=](v1::Provider& p) { p.mutable_receipt_wait()->set_seconds(seconds); };
  };
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), receipt_wait(600)), IsEmpty());
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), receipt_wait(0)), ElementsAre("providers[0].receipt_wait"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), receipt_wait(601)), ElementsAre("providers[0].receipt_wait"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), [](v1::Provider& p) { p.set_max_concurrent(-1); }),
              ElementsAre("providers[0].max_concurrent"));
}

TEST(ProviderValidation, WantsCertificatesInPem) {
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), [](v1::Provider& p) { p.set_ca_pem(NewCertificatePem()); }),
              IsEmpty());
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), [](v1::Provider& p) { p.set_ca_pem("no certificate"); }),
              ElementsAre("providers[0].ca_pem"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), [](v1::Provider& p) { p.set_ca_pem(NewEcKeyPem()); }),
              ElementsAre("providers[0].ca_pem"));
}

TEST(ProviderValidation, RefusesAddressesThatCouldBreakAMail) {
  for (const char* address : {"", "news", "@example.com", "news@", "a b@example.com", "news@example.com\r\nBcc: x@y.z",
                              "news@exa\nmple.com", "<news@example.com>", "a@b@example.com", "a,b@example.com"}) {
    EXPECT_THAT(
        FaultsAfter(Channel::kEmail, Smtp(), [&](v1::Provider& p) { p.mutable_smtp()->set_from_address(address); }),
        ElementsAre("providers[0].smtp.from_address"))
        << address;
  }
  EXPECT_THAT(
      FaultsAfter(Channel::kEmail, Smtp(), [](v1::Provider& p) { p.mutable_smtp()->set_from_name("a\r\nBcc: x@y.z"); }),
      ElementsAre("providers[0].smtp.from_name"));
}

TEST(ProviderValidation, ChecksSmtp) {
  for (const char* host : {"", "mail example.com", "mail.example.com/x", "mail\r\n", "user@host"}) {
    EXPECT_THAT(FaultsAfter(Channel::kEmail, Smtp(), [&](v1::Provider& p) { p.mutable_smtp()->set_host(host); }),
                ElementsAre("providers[0].smtp.host"))
        << host;
  }
  for (const char* host : {"localhost", "127.0.0.1", "::1"}) {
    EXPECT_THAT(FaultsAfter(Channel::kEmail, Smtp(), [&](v1::Provider& p) { p.mutable_smtp()->set_host(host); }),
                IsEmpty())
        << host;
  }
  EXPECT_THAT(FaultsAfter(Channel::kEmail, Smtp(), [](v1::Provider& p) { p.mutable_smtp()->set_port(65536); }),
              ElementsAre("providers[0].smtp.port"));
  EXPECT_THAT(FaultsAfter(Channel::kEmail, Smtp(), [](v1::Provider& p) { p.mutable_smtp()->clear_password(); }),
              ElementsAre("providers[0].smtp.password"));
  EXPECT_THAT(FaultsAfter(Channel::kEmail, Smtp(),
                          [](v1::Provider& p) {
                            p.mutable_smtp()->clear_username();
                            p.mutable_smtp()->clear_password();
                          }),
              IsEmpty());
}

TEST(ProviderValidation, TakesWebAddressesOnly) {
  const auto faults = [](const std::string& url) {
    return FaultsAfter(Channel::kSms, Twilio(), [&](v1::Provider& p) { p.mutable_twilio()->set_endpoint(url); });
  };
  for (const char* url : {"", "https://api.example.com", "http://127.0.0.1:8080", "https://[::1]:443/base"}) {
    EXPECT_THAT(faults(url), IsEmpty()) << url;
  }
  for (const std::string& url :
       {std::string("ftp://a.example"), std::string("file:///etc/passwd"), std::string("https://"),
        std::string("https:///path"), std::string("https://user:pw@a.example"), std::string("https://a.example?x=1"),
        std::string("https://a.example#x"), std::string("https://a.example:0"), std::string("https://a.example:65536"),
        std::string("https://a.example:"), std::string("https://a b.example"), std::string("https://a.example\r\nX: y"),
        std::string("https://[::1"), std::string("https://a.example/"), std::string("https://a.example/base/"),
        std::string("api.example.com"), absl::StrCat("https://a.example/", std::string(2000, 'x'))}) {
    EXPECT_THAT(faults(url), ElementsAre("providers[0].twilio.endpoint")) << url;
  }
}

TEST(ProviderValidation, ChecksTwilioAndVonage) {
  EXPECT_THAT(
      FaultsAfter(Channel::kSms, Twilio(), [](v1::Provider& p) { p.mutable_twilio()->set_account_sid("AC/../x"); }),
      ElementsAre("providers[0].twilio.account_sid"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), [](v1::Provider& p) { p.mutable_twilio()->clear_from(); }),
              ElementsAre("providers[0].twilio.from"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(),
                          [](v1::Provider& p) { p.mutable_twilio()->set_messaging_service_sid("MG01"); }),
              ElementsAre("providers[0].twilio.from"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Twilio(), [](v1::Provider& p) { p.mutable_twilio()->clear_password(); }),
              ElementsAre("providers[0].twilio.password"));
  EXPECT_THAT(FaultsAfter(Channel::kSms, Vonage(), [](v1::Provider& p) { p.mutable_vonage()->clear_api_secret(); }),
              ElementsAre("providers[0].vonage.api_secret"));
  for (const char* from : {"", "twelve chars", "TwelveLetter", "+1234567890123456"}) {
    EXPECT_THAT(FaultsAfter(Channel::kSms, Vonage(), [&](v1::Provider& p) { p.mutable_vonage()->set_from(from); }),
                ElementsAre("providers[0].vonage.from"))
        << from;
  }
}

TEST(ProviderValidation, WantsApnsKeysOfCurveP256) {
  for (const std::string& pem : {std::string(), std::string("no key"), NewEcKeyPem("P-384"), NewRsaKeyPem()}) {
    EXPECT_THAT(
        FaultsAfter(Channel::kApns, Apns(), [&](v1::Provider& p) { p.mutable_apns()->set_private_key_pem(pem); }),
        ElementsAre("providers[0].apns.private_key_pem"));
  }
  EXPECT_THAT(FaultsAfter(Channel::kApns, Apns(), [](v1::Provider& p) { p.mutable_apns()->set_team_id("ABC"); }),
              ElementsAre("providers[0].apns.team_id"));
  EXPECT_THAT(FaultsAfter(Channel::kApns, Apns(), [](v1::Provider& p) { p.mutable_apns()->set_key_id("12345678 0"); }),
              ElementsAre("providers[0].apns.key_id"));
  for (const char* topic : {"", "a\nb", "com.example_app"}) {
    EXPECT_THAT(FaultsAfter(Channel::kApns, Apns(), [&](v1::Provider& p) { p.mutable_apns()->set_topic(topic); }),
                ElementsAre("providers[0].apns.topic"))
        << topic;
  }
}

TEST(ProviderValidation, WantsTheFourFieldsOfAServiceAccount) {
  for (const char* field : {"project_id", "client_email", "private_key", "token_uri"}) {
    for (const nlohmann::json& value : {nlohmann::json(), nlohmann::json(7), nlohmann::json("???")}) {
      nlohmann::json account = ServiceAccount();
      account[field] = value;
      EXPECT_THAT(FaultsOf(Channel::kFcm, {Fcm(account)}), ElementsAre("providers[0].fcm.service_account_json"))
          << field << value;
    }
  }
  for (const std::string& pem : {NewEcKeyPem(), NewRsaKeyPem(1024)}) {
    nlohmann::json account = ServiceAccount();
    account["private_key"] = pem;
    EXPECT_THAT(FaultsOf(Channel::kFcm, {Fcm(account)}), ElementsAre("providers[0].fcm.service_account_json"));
  }
  for (const char* text : {"", "{", "[]", "7"}) {
    EXPECT_THAT(
        FaultsAfter(Channel::kFcm, Fcm(), [&](v1::Provider& p) { p.mutable_fcm()->set_service_account_json(text); }),
        ElementsAre("providers[0].fcm.service_account_json"));
  }
}

TEST(ProviderValidation, WantsOneToFiveWebhookSecretsOf24To64Bytes) {
  for (const std::string& secret :
       {WebhookSecret(23), WebhookSecret(65), std::string("whsec_"), std::string("whsec_!!!!"),
        WebhookSecret(24).substr(6), absl::StrCat(WebhookSecret(24), " "),
        absl::StrCat("whsec_ ", WebhookSecret(24).substr(6))}) {
    EXPECT_THAT(
        FaultsAfter(Channel::kWebhook, Webhook(), [&](v1::Provider& p) { p.mutable_webhook()->add_secrets(secret); }),
        ElementsAre("providers[0].webhook.secrets[1]"))
        << secret;
  }
  EXPECT_THAT(FaultsAfter(Channel::kWebhook, Webhook(),
                          [](v1::Provider& p) { p.mutable_webhook()->add_secrets(WebhookSecret(64)); }),
              IsEmpty());
  EXPECT_THAT(FaultsAfter(Channel::kWebhook, Webhook(), [](v1::Provider& p) { p.mutable_webhook()->clear_secrets(); }),
              ElementsAre("providers[0].webhook.secrets"));
  EXPECT_THAT(FaultsAfter(Channel::kWebhook, Webhook(),
                          [](v1::Provider& p) {
                            for (int i = 0; i < 5; ++i) p.mutable_webhook()->add_secrets(WebhookSecret(24));
                          }),
              ElementsAre("providers[0].webhook.secrets"));
  EXPECT_THAT(FaultsAfter(Channel::kWebhook, Webhook(), [](v1::Provider& p) { p.mutable_webhook()->clear_url(); }),
              ElementsAre("providers[0].webhook.url"));
}

TEST(ProviderValidation, DoesNotLookAtSecretsThatStayAsTheyAre) {
  for (const auto& [channel, provider] :
       {std::pair(Channel::kEmail, Smtp()), std::pair(Channel::kEmail, SendGrid()), std::pair(Channel::kSms, Twilio()),
        std::pair(Channel::kSms, Vonage()), std::pair(Channel::kApns, Apns()), std::pair(Channel::kFcm, Fcm()),
        std::pair(Channel::kWebhook, Webhook())}) {
    v1::Provider masked = provider;
    ASSERT_THAT(SecretsOf(masked), Not(IsEmpty()));
    for (const ProviderSecret& secret : SecretsOf(masked)) {
      EXPECT_THAT(secret.path, StartsWith(provider.name()));
      *secret.value = std::string(kMaskedSecret);
    }
    EXPECT_THAT(FaultsOf(channel, {masked}), IsEmpty()) << provider.name();
  }
}

TEST(ProviderValidation, TellsNothingOfASecretInItsFaults) {
  v1::SetProvidersRequest request;
  *request.add_providers() = Twilio();
  request.mutable_providers(0)->mutable_twilio()->set_password("hunter2 with spaces");
  Violations violations;
  CheckProviders(Channel::kSms, request, violations);
  EXPECT_THAT(std::string(violations.ToStatus().message()), Not(::testing::HasSubstr("hunter2")));
}

TEST(ExternalChannel, IsNoneOfTheFeedAndOfUnknownValues) {
  EXPECT_EQ(ExternalChannelOf(v1::CHANNEL_SMS), Channel::kSms);
  EXPECT_EQ(ExternalChannelOf(v1::CHANNEL_WEBHOOK), Channel::kWebhook);
  for (const int value : {0, 1, 7, 99, -1}) EXPECT_EQ(ExternalChannelOf(static_cast<v1::Channel>(value)), std::nullopt);
}

}  // namespace
}  // namespace carillon::testing
