#include "server/api/provider_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "carillon/channels/provider_settings.h"
#include "carillon/domain/errors.h"
#include "tests/kit/in_memory_provider_store.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/test_keys.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const AppId kApp(7);
constexpr absl::string_view kKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr absl::string_view kOtherKey = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

// Knows how many wait, and nothing else.
class FakeDeliveryStore final : public DeliveryStore {
 public:
  absl::StatusOr<std::vector<Contacts>> ReadContacts(absl::Span<const FeedKey>) override { return None(); }
  absl::StatusOr<int> DecideAgain(absl::Span<const Redecision>) override { return None(); }
  absl::StatusOr<std::vector<ClaimResult>> Claim(absl::Span<const ClaimRequest>, absl::Duration) override {
    return None();
  }
  absl::Status Record(absl::Span<const DeliveryUpdate>) override { return None(); }
  absl::StatusOr<int> ReleaseHeld(AppId app, Channel channel, Lane lane, int limit) override {
    if (is_away) return absl::UnavailableError("away");
    EXPECT_EQ(app, kApp);
    channels.insert(channel);
    const int released = std::min(held[lane], limit);
    held[lane] -= released;
    ++calls[lane];
    return released;
  }
  absl::StatusOr<std::vector<DeliveryRecord>> List(AppId, const NotificationId&) override { return None(); }
  absl::StatusOr<int> RequeueIdle(Lane, Channel, absl::Time, int) override { return None(); }
  absl::StatusOr<std::vector<AppId>> AppsWithHeld(Channel, Lane) override { return None(); }
  absl::StatusOr<int> ForgetKept(absl::Time, int) override { return None(); }

  std::map<Lane, int> held;
  std::map<Lane, int> calls;
  std::set<Channel> channels;
  bool is_away = false;

 private:
  static absl::Status None() { return absl::UnimplementedError("not used here"); }
};

v1::Provider Twilio(const std::string& name, const std::string& password) {
  v1::Provider provider;
  provider.set_name(name);
  provider.mutable_twilio()->set_account_sid("AC01");
  provider.mutable_twilio()->set_password(password);
  provider.mutable_twilio()->set_from("+15005550006");
  return provider;
}

class ProviderRequestsTest : public ::testing::Test {
 protected:
  static MasterKey Key(absl::string_view hex = kKey) { return *MasterKey::FromHex(hex); }
  ProviderRequests Requests(absl::string_view hex = kKey) {
    return ProviderRequests({.store = store_, .deliveries = deliveries_, .key = Key(hex)});
  }

  absl::StatusOr<v1::SetProvidersResponse> Set(const std::vector<v1::Provider>& providers, absl::string_view hex = kKey,
                                               v1::Channel channel = v1::CHANNEL_SMS) {
    v1::SetProvidersRequest request;
    request.set_channel(channel);
    for (const v1::Provider& provider : providers) *request.add_providers() = provider;
    v1::SetProvidersResponse response;
    RETURN_IF_ERROR(Requests(hex).Set(kApp, request, &response));
    return response;
  }
  v1::ListProvidersResponse List(absl::string_view hex = kKey) {
    v1::ListProvidersResponse response;
    EXPECT_OK(Requests(hex).List(kApp, {}, &response));
    return response;
  }
  // What a worker would use.
  v1::Provider Stored(const std::string& name, absl::string_view hex = kKey) {
    for (const StoredProvider& row : store_->providers) {
      if (row.name != name) continue;
      const auto provider = OpenProvider(Key(hex), row);
      EXPECT_OK(provider);
      return provider.value_or(v1::Provider());
    }
    ADD_FAILURE() << name << " is not stored";
    return {};
  }

  const std::shared_ptr<InMemoryProviderStore> store_ = std::make_shared<InMemoryProviderStore>();
  const std::shared_ptr<FakeDeliveryStore> deliveries_ = std::make_shared<FakeDeliveryStore>();
};

TEST_F(ProviderRequestsTest, StoresThemSealedAndShowsNoSecret) {
  ASSERT_OK_AND_ASSIGN(const auto set, Set({Twilio("a", "hunter2"), Twilio("b", "hunter3")}));
  ASSERT_THAT(set.providers(), SizeIs(2));
  EXPECT_EQ(set.providers(0).channel(), v1::CHANNEL_SMS);
  EXPECT_EQ(set.providers(0).provider().name(), "a");
  EXPECT_EQ(set.providers(0).provider().twilio().account_sid(), "AC01");
  EXPECT_EQ(set.providers(0).provider().twilio().password(), "***");
  EXPECT_GT(set.providers(0).update_time().seconds(), 0);
  EXPECT_EQ(Stored("a").twilio().password(), "hunter2");
  EXPECT_THAT(store_->providers[0].sealed, Not(HasSubstr("hunter2")));
  EXPECT_THAT(List().DebugString(), Not(HasSubstr("hunter")));
}

TEST_F(ProviderRequestsTest, KeepsASecretThatIsGivenMasked) {
  ASSERT_OK(Set({Twilio("a", "hunter2")}));
  v1::Provider changed = List().providers(0).provider();
  changed.mutable_twilio()->set_from("+15005550007");
  ASSERT_OK(Set({changed}));
  EXPECT_EQ(Stored("a").twilio().password(), "hunter2");
  EXPECT_EQ(Stored("a").twilio().from(), "+15005550007");
}

TEST_F(ProviderRequestsTest, RefusesAMaskWithNothingBehindIt) {
  ASSERT_OK(Set({Twilio("a", "hunter2")}));
  v1::Provider vonage;
  vonage.set_name("a");
  vonage.mutable_vonage()->set_api_key("key");
  vonage.mutable_vonage()->set_api_secret("***");
  vonage.mutable_vonage()->set_from("Carillon");
  const absl::Status status = Set({vonage, Twilio("b", "***")}).status();
  std::vector<std::string> fields;
  for (const FieldViolation& violation : DetailsOf(status).violations) fields.push_back(violation.field);
  EXPECT_THAT(fields, ElementsAre("providers[0].vonage.api_secret", "providers[1].twilio.password"));
  EXPECT_EQ(Stored("a").twilio().password(), "hunter2");
}

TEST_F(ProviderRequestsTest, LetsAWebhookSecretBeReplacedBesideTheOldOne) {
  const auto secret = [](char c) { return absl::StrCat("whsec_", absl::Base64Escape(std::string(24, c))); };
  v1::Provider webhook;
  webhook.set_name("hook");
  webhook.mutable_webhook()->set_url("https://a.example/in");
  webhook.mutable_webhook()->add_secrets(secret('a'));
  ASSERT_OK(Set({webhook}, kKey, v1::CHANNEL_WEBHOOK));
  webhook.mutable_webhook()->set_secrets(0, secret('b'));
  webhook.mutable_webhook()->add_secrets("***");
  ASSERT_OK(Set({webhook}, kKey, v1::CHANNEL_WEBHOOK));
  EXPECT_THAT(Stored("hook").webhook().secrets(), ElementsAre(secret('b'), secret('a')));
  webhook.mutable_webhook()->clear_secrets();
  webhook.mutable_webhook()->add_secrets("***");
  ASSERT_OK(Set({webhook}, kKey, v1::CHANNEL_WEBHOOK));
  EXPECT_THAT(Stored("hook").webhook().secrets(), ElementsAre(secret('b')));
}

TEST_F(ProviderRequestsTest, WantsASecretAgainWhereItWouldBeSentElsewhere) {
  ASSERT_OK(Set({Twilio("a", "hunter2")}));
  v1::Provider moved = Twilio("a", "***");
  moved.mutable_twilio()->set_endpoint("https://elsewhere.example");
  EXPECT_THAT(Set({moved}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must be given again")));
  moved.mutable_twilio()->set_password("hunter2");
  EXPECT_OK(Set({moved}));
}

TEST_F(ProviderRequestsTest, WantsASecretAgainWhereOthersCouldReadIt) {
  v1::Provider mail;
  mail.set_name("mail");
  mail.mutable_smtp()->set_host("mail.example.com");
  mail.mutable_smtp()->set_username("user");
  mail.mutable_smtp()->set_password("hunter2");
  mail.mutable_smtp()->set_from_address("news@example.com");
  ASSERT_OK(Set({mail}, kKey, v1::CHANNEL_EMAIL));
  mail.mutable_smtp()->set_password("***");
  EXPECT_OK(Set({mail}, kKey, v1::CHANNEL_EMAIL));
  v1::Provider plain = mail;
  plain.mutable_smtp()->set_security(v1::SMTP_SECURITY_NONE);
  v1::Provider trusting = mail;
  trusting.set_ca_pem(NewCertificatePem());
  for (const v1::Provider& changed : {plain, trusting}) {
    EXPECT_THAT(Set({changed}, kKey, v1::CHANNEL_EMAIL),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("smtp.password: must be given again")));
  }
  trusting.mutable_smtp()->set_password("hunter2");
  EXPECT_OK(Set({trusting}, kKey, v1::CHANNEL_EMAIL));
}

TEST_F(ProviderRequestsTest, LeavesWhatDidNotChangeAsItIs) {
  ASSERT_OK(Set({Twilio("a", "hunter2"), Twilio("b", "hunter3")}));
  const std::vector<StoredProvider> before = store_->providers;
  ASSERT_OK(Set({Twilio("a", "***"), Twilio("b", "hunter4")}));
  EXPECT_EQ(store_->providers[0].sealed, before[0].sealed);
  EXPECT_NE(store_->providers[1].sealed, before[1].sealed);
}

TEST_F(ProviderRequestsTest, SealsWithTheNewKeyWhatTheOldOneHadSealed) {
  ASSERT_OK(Set({Twilio("a", "hunter2")}));
  ASSERT_OK(Set({Twilio("a", "***")}, absl::StrCat(kOtherKey, ",", kKey)));
  EXPECT_EQ(Stored("a", kOtherKey).twilio().password(), "hunter2");
}

TEST_F(ProviderRequestsTest, SaysThatAProviderCantBeOpened) {
  ASSERT_OK(Set({Twilio("a", "hunter2")}));
  const v1::ListProvidersResponse listed = List(kOtherKey);
  ASSERT_THAT(listed.providers(), SizeIs(1));
  EXPECT_EQ(listed.providers(0).provider().name(), "a");
  ASSERT_THAT(listed.providers(0).health(), SizeIs(1));
  EXPECT_TRUE(listed.providers(0).health(0).misconfigured());
  EXPECT_THAT(listed.providers(0).health(0).error(), HasSubstr("CARILLON_MASTER_KEY"));
  EXPECT_THAT(Set({Twilio("a", "***")}, kOtherKey), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_OK(Set({Twilio("a", "hunter2")}, kOtherKey));
}

TEST_F(ProviderRequestsTest, ShowsWhatTheWorkersThink) {
  ASSERT_OK(Set({Twilio("a", "hunter2"), Twilio("b", "hunter3")}));
  ASSERT_OK(store_->WriteHealth({{.app = kApp,
                                  .channel = Channel::kSms,
                                  .name = "b",
                                  .lane = Lane::kOtp,
                                  .breaker = BreakerState::kOpen,
                                  .misconfigured = true,
                                  .error = "401",
                                  .since = absl::FromUnixSeconds(100),
                                  .retry_time = absl::FromUnixSeconds(130)}}));
  const v1::ListProvidersResponse listed = List();
  EXPECT_THAT(listed.providers(0).health(), IsEmpty());
  ASSERT_THAT(listed.providers(1).health(), SizeIs(1));
  const v1::ProviderHealth& health = listed.providers(1).health(0);
  EXPECT_EQ(health.lane(), "otp");
  EXPECT_EQ(health.breaker(), v1::BREAKER_STATE_OPEN);
  EXPECT_TRUE(health.misconfigured());
  EXPECT_EQ(health.error(), "401");
  EXPECT_EQ(health.since().seconds(), 100);
  EXPECT_EQ(health.retry_time().seconds(), 130);
}

TEST_F(ProviderRequestsTest, ReleasesWhatWaitedOfAllLanesInBoundedSteps) {
  deliveries_->held = {{Lane::kOtp, 1200}, {Lane::kSocial, 10'000}};
  ASSERT_OK(Set({Twilio("a", "hunter2")}));
  EXPECT_EQ(deliveries_->held[Lane::kOtp], 0);
  EXPECT_EQ(deliveries_->calls[Lane::kOtp], 3);
  EXPECT_EQ(deliveries_->held[Lane::kSocial], 5000);
  EXPECT_EQ(deliveries_->calls[Lane::kPayment], 1);
  EXPECT_EQ(deliveries_->calls[Lane::kMarketing], 1);
  EXPECT_THAT(deliveries_->channels, ElementsAre(Channel::kSms));
}

TEST_F(ProviderRequestsTest, ReleasesNothingWithoutProviders) {
  ASSERT_OK(Set({}));
  EXPECT_THAT(deliveries_->calls, IsEmpty());
}

TEST_F(ProviderRequestsTest, KeepsWhatWasSetIfNothingCanBeReleased) {
  deliveries_->is_away = true;
  ASSERT_OK(Set({Twilio("a", "hunter2")}));
  EXPECT_EQ(Stored("a").twilio().password(), "hunter2");
}

TEST_F(ProviderRequestsTest, KnowsExternalChannelsOnly) {
  EXPECT_THAT(Set({}, kKey, v1::CHANNEL_IN_APP), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("channel")));
  EXPECT_THAT(Set({}, kKey, v1::CHANNEL_UNSPECIFIED), StatusIs(absl::StatusCode::kInvalidArgument));
  v1::ListProvidersRequest request;
  request.set_channel(v1::CHANNEL_IN_APP);
  v1::ListProvidersResponse response;
  EXPECT_THAT(Requests().List(kApp, request, &response), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace carillon::testing
