#include "tests/contract/channels/channels_fixture.h"

#include <atomic>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/blocking_counter.h"
#include "carillon/runtime/master_key.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

TestDatabase* shared_database = nullptr;
std::atomic<int64_t> last_app = 0;

constexpr const char* kMasterKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

ProviderMessage NewMessage() {
  ProviderMessage message = MakeMessage();
  message.delivery_id = NewUuid7(absl::Now());
  message.notification_id = NewUuid7(absl::Now());
  return message;
}

}  // namespace

void ChannelsTest::SetUpTestSuite() { shared_database = new TestDatabase(); }

void ChannelsTest::TearDownTestSuite() {
  delete shared_database;
  shared_database = nullptr;
}

TestDatabase& ChannelsTest::database() { return *shared_database; }

std::unique_ptr<TokenStore> ChannelsTest::MakeTokenStore() {
  const MasterKey key = *MasterKey::FromHex(kMasterKey);
  PostgresTokenStore::Sealer sealer = {
      .seal = [key](absl::string_view plain, absl::string_view context) { return key.Seal(plain, context); },
      .open = [key](absl::string_view sealed, absl::string_view context) { return key.Open(sealed, context); }};
  return std::make_unique<PostgresTokenStore>(
      std::make_shared<PgPool>(PgOptions{.url = database().url(), .connect_timeout = absl::Seconds(30)}, 2),
      std::move(sealer));
}

ChannelsTest::ChannelsTest() : app_(++last_app), tokens_(MakeTokenStore()) { Sandbox::Reset(); }
ChannelsTest::~ChannelsTest() {
  transport_.Stop();
  executor_.Stop();
}

ProviderDeps ChannelsTest::Deps() {
  return {.app = app_,
          .clock = &clock_,
          .transport = &transport_,
          .tokens = tokens_.get(),
          .executor = &executor_,
          // The sandbox is on loopback.
          .allow_private_webhooks = true};
}

std::unique_ptr<Provider> ChannelsTest::Make(Channel channel, const v1::Provider& settings) {
  absl::StatusOr<std::unique_ptr<Provider>> provider = MakeProvider(settings, channel, Deps());
  EXPECT_OK(provider);
  return *std::move(provider);
}

std::unique_ptr<Provider> ChannelsTest::MakeSmtp(v1::SmtpSecurity security) {
  v1::Provider settings = SmtpSettings();
  settings.mutable_smtp()->set_security(security);
  return Make(Channel::kEmail, settings);
}

v1::Provider ChannelsTest::SmtpSettings() {
  v1::Provider provider;
  provider.set_ca_pem(Sandbox::File("ca.pem"));
  v1::SmtpSettings& smtp = *provider.mutable_smtp();
  smtp.set_host("127.0.0.1");
  smtp.set_port(Sandbox::SmtpPort());
  smtp.set_security(v1::SMTP_SECURITY_NONE);
  smtp.set_username("sandbox");
  smtp.set_password("sandbox-password");
  smtp.set_from_address("noreply@shop.example");
  smtp.set_from_name("Caf\u00e9 \u2615");
  return provider;
}

v1::Provider ChannelsTest::SendGridSettings() {
  v1::Provider provider;
  v1::SendGridSettings& sendgrid = *provider.mutable_sendgrid();
  sendgrid.set_endpoint(Sandbox::HttpUrl());
  sendgrid.set_api_key("SG.sandbox");
  sendgrid.set_from_address("noreply@shop.example");
  return provider;
}

v1::Provider ChannelsTest::TwilioSettings() {
  v1::Provider provider;
  v1::TwilioSettings& twilio = *provider.mutable_twilio();
  twilio.set_endpoint(Sandbox::HttpUrl());
  twilio.set_account_sid("ACsandbox");
  twilio.set_password("sandbox-token");
  twilio.set_from("+15005550006");
  return provider;
}

v1::Provider ChannelsTest::VonageSettings() {
  v1::Provider provider;
  v1::VonageSettings& vonage = *provider.mutable_vonage();
  vonage.set_endpoint(Sandbox::HttpUrl());
  vonage.set_api_key("sandbox");
  vonage.set_api_secret("sandbox-secret");
  vonage.set_from("Carillon");
  return provider;
}

v1::Provider ChannelsTest::ApnsSettings() {
  v1::Provider provider;
  provider.set_ca_pem(Sandbox::File("ca.pem"));
  v1::ApnsSettings& apns = *provider.mutable_apns();
  apns.set_endpoint(Sandbox::ApnsUrl());
  apns.set_team_id("SANDBOXTID");
  apns.set_key_id("SANDBOXKID");
  apns.set_private_key_pem(Sandbox::File("apns.p8"));
  apns.set_topic("com.example.app");
  return provider;
}

v1::Provider ChannelsTest::FcmSettings() {
  v1::Provider provider;
  provider.mutable_fcm()->set_endpoint(Sandbox::HttpUrl());
  provider.mutable_fcm()->set_service_account_json(Sandbox::File("fcm-service-account.json"));
  return provider;
}

v1::Provider ChannelsTest::WebhookSettings() {
  v1::Provider provider;
  provider.mutable_webhook()->set_url(absl::StrCat(Sandbox::HttpUrl(), "/webhook/shop"));
  for (const char* secret : kWebhookSecrets) provider.mutable_webhook()->add_secrets(secret);
  return provider;
}

ProviderMessage ChannelsTest::MailTo(const std::string& address) {
  ProviderMessage message = NewMessage();
  message.address = address;
  return message;
}

ProviderMessage ChannelsTest::SmsTo(const std::string& number) {
  ProviderMessage message = NewMessage();
  message.address = number;
  message.content.set_text("Your code is 123456");
  return message;
}

ProviderMessage ChannelsTest::PushTo(int device) {
  ProviderMessage message = NewMessage();
  message.address = absl::StrFormat("%064x", device);
  return message;
}

ProviderMessage ChannelsTest::FcmTo(const std::string& token) {
  ProviderMessage message = NewMessage();
  message.address = token;
  return message;
}

SendResult ChannelsTest::Send(Provider& provider, const ProviderMessage& message, absl::Duration timeout) {
  return SendAll(provider, {message}, timeout).front();
}

std::vector<SendResult> ChannelsTest::SendAll(Provider& provider, const std::vector<ProviderMessage>& messages,
                                              absl::Duration timeout) {
  std::vector<SendResult> results(messages.size());
  absl::BlockingCounter left(static_cast<int>(messages.size()));
  for (size_t i = 0; i < messages.size(); ++i) {
    provider.Send(messages[i], timeout, [&, i](SendResult result) {
      results[i] = std::move(result);
      left.DecrementCount();
    });
  }
  left.Wait();
  return results;
}

std::vector<ProviderMessage> ChannelsTest::Many(int count, absl::FunctionRef<ProviderMessage(int)> make) {
  std::vector<ProviderMessage> messages;
  for (int i = 0; i < count; ++i) messages.push_back(make(i));
  return messages;
}

}  // namespace carillon::testing
