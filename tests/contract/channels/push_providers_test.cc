// APNs and FCM over real sockets, with tokens in a real PostgreSQL.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/contract/channels/channels_fixture.h"
#include "tests/kit/status_matchers.h"
#include "workers/channels/account_digest.h"
#include "workers/channels/fcm_account.h"
#include "workers/channels/jwt_signer.h"

namespace carillon {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::RunNodeScript;
using testing::Sandbox;
using ::testing::SizeIs;

constexpr AttemptOutcome kAccepted = AttemptOutcome::kAccepted;
constexpr AttemptOutcome kRetryable = AttemptOutcome::kRetryable;
constexpr AttemptOutcome kPermanent = AttemptOutcome::kPermanent;
constexpr AttemptOutcome kBadRecipient = AttemptOutcome::kBadRecipient;
constexpr AttemptOutcome kBadSender = AttemptOutcome::kBadSender;
constexpr AttemptOutcome kUnconfirmed = AttemptOutcome::kUnconfirmed;

// The public half of a private key, both in PEM.
std::string PublicKeyOf(const std::string& private_key_pem) {
  BIO* in = BIO_new_mem_buf(private_key_pem.data(), static_cast<int>(private_key_pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(in, nullptr, nullptr, nullptr);
  BIO* out = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(out, key);
  char* text = nullptr;
  const long size = BIO_get_mem_data(out, &text);
  std::string pem(text, static_cast<size_t>(size));
  BIO_free(in);
  BIO_free(out);
  EVP_PKEY_free(key);
  return pem;
}

class PushProvidersTest : public testing::ChannelsTest {
 protected:
  static void Fail(const std::string& provider, json rule) {
    rule["mode"] = "error";
    rule["times"] = 1;
    Sandbox::Script(provider, rule);
  }
  // Of the messages that APNs has.
  static std::set<std::string> ApnsTokens() {
    std::set<std::string> tokens;
    for (const json& message : Sandbox::Messages("apns"))
      tokens.insert(message["headers"]["authorization"].get<std::string>());
    return tokens;
  }
  std::string StoredTokens() const {
    return database().Query(absl::StrCat("SELECT count(*) FROM provider_tokens WHERE app_id = ", app_.value()));
  }
};

TEST_F(PushProvidersTest, ApnsTakesThePush) {
  ProviderMessage message = PushTo(1);
  message.collapse_id = "receipt:9";
  message.expire_time = absl::FromUnixSeconds(2'000'000'000);
  const auto provider = Make(Channel::kApns, ApnsSettings());
  const SendResult result = Send(*provider, message);
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
  EXPECT_EQ(result.provider_message_id, message.delivery_id.ToString());
  const json received = Sandbox::Messages("apns").at(0);
  EXPECT_EQ(received["subject"], "Receipt");
  EXPECT_EQ(received["text"], "You paid 12.50");
  const json& headers = received["headers"];
  EXPECT_EQ(headers["apns-topic"], "com.example.app");
  EXPECT_EQ(headers["apns-push-type"], "alert");
  EXPECT_EQ(headers["apns-priority"], "10");
  EXPECT_EQ(headers["apns-id"], message.delivery_id.ToString());
  EXPECT_EQ(headers["apns-collapse-id"], "receipt:9");
  EXPECT_EQ(headers["apns-expiration"], "2000000000");
}

TEST_F(PushProvidersTest, ApnsTokenIsVerifiedByAnotherLibrary) {
  const auto provider = Make(Channel::kApns, ApnsSettings());
  ASSERT_EQ(Send(*provider, PushTo(1)).outcome, kAccepted);
  const std::string header = *ApnsTokens().begin();
  const json verified = RunNodeScript("verify_jwt.mjs", json{{"token", absl::StripPrefix(header, "bearer ")},
                                                             {"public_key_pem", PublicKeyOf(Sandbox::File("apns.p8"))},
                                                             {"algorithm", "ES256"}}
                                                            .dump());
  EXPECT_EQ(verified["header"]["kid"], "SANDBOXKID");
  EXPECT_EQ(verified["payload"]["iss"], "SANDBOXTID");
  EXPECT_NEAR(verified["payload"]["iat"].get<double>(), static_cast<double>(absl::ToUnixSeconds(absl::Now())), 60);
}

TEST_F(PushProvidersTest, AHundredPushesAtATimeShareOneConnectionToApns) {
  const auto provider = Make(Channel::kApns, ApnsSettings());
  for (const SendResult& result : SendAll(*provider, Many(100, [](int i) { return PushTo(i); }))) {
    EXPECT_EQ(result.outcome, kAccepted) << result.error;
  }
  std::set<int> connections;
  for (const json& message : Sandbox::Messages("apns")) connections.insert(message["connection"].get<int>());
  EXPECT_THAT(connections, SizeIs(1));
  EXPECT_THAT(Sandbox::Messages("apns"), SizeIs(100));
}

TEST_F(PushProvidersTest, ApnsReasonsMeanWhatTheySay) {
  const auto provider = Make(Channel::kApns, ApnsSettings());
  for (const auto& [reason, outcome] : {std::pair("BadDeviceToken", kBadRecipient),
                                        {"DeviceTokenNotForTopic", kPermanent},
                                        {"InvalidProviderToken", kBadSender},
                                        {"TooManyRequests", kRetryable},
                                        {"InternalServerError", kRetryable},
                                        {"PayloadTooLarge", kPermanent}}) {
    Fail("apns", {{"reason", reason}});
    const SendResult result = Send(*provider, PushTo(1));
    EXPECT_EQ(result.outcome, outcome) << reason;
    EXPECT_EQ(result.code, reason);
  }
  Fail("apns", {{"reason", "Unregistered"}, {"timestamp", 1'700'000'000'000}});
  EXPECT_EQ(Send(*provider, PushTo(1)).device_dead_since, absl::FromUnixSeconds(1'700'000'000));
}

TEST_F(PushProvidersTest, ManyBadDeviceTokensAreNoFaultOfTheDevices) {
  Sandbox::Script("apns", {{"mode", "error"}, {"reason", "BadDeviceToken"}});
  const auto provider = Make(Channel::kApns, ApnsSettings());
  for (int i = 0; i < 9; ++i) EXPECT_EQ(Send(*provider, PushTo(i)).outcome, kBadRecipient);
  const SendResult result = Send(*provider, PushTo(9));
  EXPECT_EQ(result.outcome, kBadSender);
  EXPECT_EQ(result.device_dead_since, std::nullopt);
}

TEST_F(PushProvidersTest, AnApnsThatHangsIsUnconfirmedAndDelaysNoOtherPush) {
  const auto provider = Make(Channel::kApns, ApnsSettings());
  Sandbox::Script("apns", {{"mode", "hang"}, {"match", PushTo(13).address}});
  std::vector<ProviderMessage> messages = {PushTo(13), PushTo(1)};
  const std::vector<SendResult> results = SendAll(*provider, messages, absl::Seconds(15));
  EXPECT_EQ(results[0].outcome, kUnconfirmed);
  EXPECT_EQ(results[1].outcome, kAccepted);
  EXPECT_LT(results[1].latency, absl::Seconds(12));
}

TEST_F(PushProvidersTest, APushWhoseConnectionIsLostIsSentOnceMoreToReplaceItself) {
  const auto provider = Make(Channel::kApns, ApnsSettings());
  ProviderMessage push = PushTo(1);
  push.collapse_id = "order-1";
  Sandbox::Script("apns", {{"mode", "drop"}, {"after_accept", true}, {"times", 1}});
  EXPECT_EQ(Send(*provider, push).outcome, kAccepted);
  const json received = Sandbox::Messages("apns");
  ASSERT_THAT(received, SizeIs(2));
  for (const json& one : received) EXPECT_EQ(one["headers"].value("apns-collapse-id", ""), "order-1");
  EXPECT_EQ(received[0]["headers"]["apns-id"], received[1]["headers"]["apns-id"]);
  Sandbox::Script("apns", {{"mode", "drop"}, {"times", 2}});
  EXPECT_EQ(Send(*provider, push).outcome, kUnconfirmed);
}

TEST_F(PushProvidersTest, AnApnsThatIsAwayIsNotSent) {
  Sandbox::Script("apns", {{"mode", "refuse"}});
  const SendResult result = Send(*Make(Channel::kApns, ApnsSettings()), PushTo(1));
  EXPECT_EQ(result.outcome, kRetryable);
  EXPECT_EQ(result.code, "not_sent");
}

TEST_F(PushProvidersTest, WorkersShareOneApnsToken) {
  const std::unique_ptr<TokenStore> other_store = MakeTokenStore();
  ProviderDeps other_deps = Deps();
  other_deps.tokens = other_store.get();
  const auto one = Make(Channel::kApns, ApnsSettings());
  const auto other = *MakeProvider(ApnsSettings(), Channel::kApns, other_deps);
  // Both at once, so that both make one.
  std::thread first([&] { SendAll(*one, Many(20, [](int i) { return PushTo(i); })); });
  SendAll(*other, Many(20, [](int i) { return PushTo(20 + i); }));
  first.join();
  EXPECT_THAT(Sandbox::Messages("apns"), SizeIs(40));
  EXPECT_THAT(ApnsTokens(), SizeIs(1));
  EXPECT_EQ(StoredTokens(), "1");
}

// Stores a token that this provider's account will find, minted some time ago.
SharedToken StoreToken(TokenStore& store, AppId app, const std::string& key, std::string token, absl::Duration age) {
  const absl::Time now = absl::Now();
  return *store.Put(app, key,
                    {.token = std::move(token), .mint_time = now - age, .expire_time = now + absl::Minutes(10)},
                    absl::InfinitePast());
}

TEST_F(PushProvidersTest, AnExpiredApnsTokenIsReplacedWithinTheCall) {
  const v1::ApnsSettings settings = ApnsSettings().apns();
  const json claims = {{"iss", "SANDBOXTID"}, {"iat", absl::ToUnixSeconds(absl::Now() - absl::Hours(2))}};
  ASSERT_OK_AND_ASSIGN(const std::string expired,
                       SignJwt(JwtAlgorithm::kEs256, settings.private_key_pem(), "SANDBOXKID", claims.dump()));
  const std::string key = AccountDigest("apns", {settings.team_id(), settings.key_id(), settings.private_key_pem()});
  StoreToken(*tokens_, app_, key, expired, absl::Minutes(45));
  const auto provider = Make(Channel::kApns, ApnsSettings());
  for (const SendResult& result : SendAll(*provider, Many(10, [](int i) { return PushTo(i); }))) {
    EXPECT_EQ(result.outcome, kAccepted) << result.error;
  }
  EXPECT_THAT(ApnsTokens(), SizeIs(1));
  EXPECT_NE(*ApnsTokens().begin(), absl::StrCat("bearer ", expired));
}

TEST_F(PushProvidersTest, ATokenThatIsTooYoungToReplaceIsAMatterOfConfiguration) {
  const v1::ApnsSettings settings = ApnsSettings().apns();
  const json claims = {{"iss", "SANDBOXTID"}, {"iat", absl::ToUnixSeconds(absl::Now() - absl::Hours(2))}};
  ASSERT_OK_AND_ASSIGN(const std::string expired,
                       SignJwt(JwtAlgorithm::kEs256, settings.private_key_pem(), "SANDBOXKID", claims.dump()));
  const std::string key = AccountDigest("apns", {settings.team_id(), settings.key_id(), settings.private_key_pem()});
  StoreToken(*tokens_, app_, key, expired, absl::Minutes(5));
  const SendResult result = Send(*Make(Channel::kApns, ApnsSettings()), PushTo(1));
  EXPECT_EQ(result.outcome, kBadSender);
  EXPECT_EQ(result.code, "ExpiredProviderToken");
}

TEST_F(PushProvidersTest, FcmTakesThePush) {
  ProviderMessage message = FcmTo("device-token");
  message.content.set_image_url("https://cdn.example/a.png");
  message.urgent = true;
  const auto provider = Make(Channel::kFcm, FcmSettings());
  const SendResult result = Send(*provider, message);
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
  const json received = Sandbox::Messages("fcm").at(0);
  EXPECT_EQ(received["id"], result.provider_message_id);
  EXPECT_EQ(received["to"], "device-token");
  EXPECT_EQ(received["subject"], "Receipt");
  EXPECT_EQ(received["body"]["message"]["android"]["priority"], "HIGH");
}

TEST_F(PushProvidersTest, FcmCallsWaitForOneAccessToken) {
  const auto provider = Make(Channel::kFcm, FcmSettings());
  const auto messages = Many(50, [](int i) { return FcmTo(absl::StrCat("device", i)); });
  for (const SendResult& result : SendAll(*provider, messages)) EXPECT_EQ(result.outcome, kAccepted) << result.error;
  EXPECT_THAT(Sandbox::Messages("fcm_token"), SizeIs(1));
  // Another worker finds it.
  const std::unique_ptr<TokenStore> other_store = MakeTokenStore();
  ProviderDeps deps = Deps();
  deps.tokens = other_store.get();
  EXPECT_EQ(Send(**MakeProvider(FcmSettings(), Channel::kFcm, deps), FcmTo("device")).outcome, kAccepted);
  EXPECT_THAT(Sandbox::Messages("fcm_token"), SizeIs(1));
  EXPECT_EQ(StoredTokens(), "1");
}

TEST_F(PushProvidersTest, FcmAssertionIsVerifiedByAnotherLibrary) {
  const json account = json::parse(Sandbox::File("fcm-service-account.json"));
  ASSERT_OK_AND_ASSIGN(const FcmAccount parsed, ParseFcmAccount(account.dump()));
  ASSERT_OK_AND_ASSIGN(const std::string body, FcmTokenBody(parsed, absl::Now()));
  const std::string assertion = body.substr(body.find("assertion=") + 10);
  const json verified = RunNodeScript(
      "verify_jwt.mjs",
      json{{"token", assertion}, {"public_key_pem", PublicKeyOf(account["private_key"])}, {"algorithm", "RS256"}}
          .dump());
  EXPECT_EQ(verified["payload"]["iss"], account["client_email"]);
  EXPECT_EQ(verified["payload"]["aud"], account["token_uri"]);
  EXPECT_EQ(verified["payload"]["scope"], "https://www.googleapis.com/auth/firebase.messaging");
}

TEST_F(PushProvidersTest, FcmCodesMeanWhatTheySay) {
  const auto provider = Make(Channel::kFcm, FcmSettings());
  for (const auto& [code, outcome] : {std::pair("UNREGISTERED", kBadRecipient),
                                      {"SENDER_ID_MISMATCH", kBadRecipient},
                                      {"THIRD_PARTY_AUTH_ERROR", kBadSender},
                                      {"UNAVAILABLE", kRetryable},
                                      {"INTERNAL", kRetryable}}) {
    Fail("fcm", {{"code", code}});
    const SendResult result = Send(*provider, FcmTo("device"));
    EXPECT_EQ(result.outcome, outcome) << code;
    EXPECT_EQ(result.code, code);
  }
  Fail("fcm", {{"code", "QUOTA_EXCEEDED"}, {"retry_after", 60}});
  EXPECT_EQ(Send(*provider, FcmTo("device")).retry_after, absl::Seconds(60));
}

TEST_F(PushProvidersTest, AnAccessTokenThatIsRefusedIsReplacedWithinTheCall) {
  ASSERT_OK_AND_ASSIGN(const FcmAccount account, ParseFcmAccount(Sandbox::File("fcm-service-account.json")));
  const std::string key = AccountDigest("fcm", {account.client_email, account.private_key, account.token_uri});
  StoreToken(*tokens_, app_, key, "revoked", absl::Minutes(5));
  const SendResult result = Send(*Make(Channel::kFcm, FcmSettings()), FcmTo("device"));
  EXPECT_EQ(result.outcome, kAccepted) << result.error;
  EXPECT_THAT(Sandbox::Messages("fcm_token"), SizeIs(1));
}

TEST_F(PushProvidersTest, ATokenEndpointThatRefusesIsTheSendersFaultAndOneThatFailsIsNot) {
  const auto provider = Make(Channel::kFcm, FcmSettings());
  Fail("fcm_token", {{"status", 503}});
  EXPECT_EQ(Send(*provider, FcmTo("device")).outcome, kRetryable);
  for (const int status : {400, 401}) {
    Fail("fcm_token", {{"status", status}});
    EXPECT_EQ(Send(*provider, FcmTo("device")).outcome, kBadSender) << status;
  }
  EXPECT_EQ(Send(*provider, FcmTo("device")).outcome, kAccepted);
}

}  // namespace
}  // namespace carillon
