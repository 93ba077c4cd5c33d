// What the tests of the providers' adapters share: a transport, a token store, and an
// app's accounts at the sandbox.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "carillon/postgres/token_store.h"
#include "carillon/v1/provider.pb.h"
#include "tests/contract/channels/sandbox.h"
#include "tests/kit/test_database.h"
#include "tests/unit/workers/provider_fixture.h"
#include "workers/channels/provider_factory.h"

namespace carillon::testing {

// Every test has an app of its own, and the sandbox to itself.
class ChannelsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite();
  ChannelsTest();
  ~ChannelsTest() override;

  static TestDatabase& database();
  // Tokens sealed as a worker would seal them.
  static std::unique_ptr<TokenStore> MakeTokenStore();

  ProviderDeps Deps();
  // An account at the sandbox that everything works with.
  std::unique_ptr<Provider> Make(Channel channel, const v1::Provider& settings);
  std::unique_ptr<Provider> MakeSmtp(v1::SmtpSecurity security = v1::SMTP_SECURITY_NONE);

  static v1::Provider SmtpSettings();
  static v1::Provider SendGridSettings();
  static v1::Provider TwilioSettings();
  static v1::Provider VonageSettings();
  static v1::Provider ApnsSettings();
  static v1::Provider FcmSettings();
  // Signed with both of kWebhookSecrets.
  static v1::Provider WebhookSettings();

  static ProviderMessage MailTo(const std::string& address);
  static ProviderMessage SmsTo(const std::string& number);
  // To the device of this number.
  static ProviderMessage PushTo(int device);
  static ProviderMessage FcmTo(const std::string& token);

  static SendResult Send(Provider& provider, const ProviderMessage& message,
                         absl::Duration timeout = absl::Seconds(30));
  // All at once; results in order.
  static std::vector<SendResult> SendAll(Provider& provider, const std::vector<ProviderMessage>& messages,
                                         absl::Duration timeout = absl::Seconds(30));
  // So many different messages.
  static std::vector<ProviderMessage> Many(int count, absl::FunctionRef<ProviderMessage(int)> make);

  const AppId app_;
  SystemClock clock_;
  std::unique_ptr<TokenStore> tokens_;
  Executor executor_{2, 1000};
  CurlTransport transport_;
};

inline constexpr const char* kWebhookSecrets[] = {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                                  "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"};

}  // namespace carillon::testing
