// Providers that fail in every way they do: what reaches people all the same, how late,
// and that it reaches them once.
#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/integration/delivery_fixture.h"
#include "tests/kit/loopback.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr v1::Channel kEmail = v1::CHANNEL_EMAIL;
constexpr v1::Channel kSms = v1::CHANNEL_SMS;
constexpr v1::DeliveryState kSent = v1::DELIVERY_STATE_SENT;
constexpr v1::DeliveryState kDelivered = v1::DELIVERY_STATE_DELIVERED;
constexpr v1::DeliveryState kExpired = v1::DELIVERY_STATE_EXPIRED;

// For what ends only after time-outs, waits and the way of a receipt.
constexpr absl::Duration kLimit = absl::Seconds(60);

Json With(Json provider, const std::string& field, const Json& value) {
  provider[field] = value;
  return provider;
}

// A code that has come by the second provider.
struct Fallback {
  Person person;
  std::string id;
  absl::Duration latency;  // From acceptance to arrival.
};

Fallback SendByFallback(DeliveryApp& app, const PrivateSandbox& sandbox, const Json& primary) {
  app.SetProviders(kSms, {primary, sandbox.Provider("vonage")});
  // Settings are live within a moment.
  const std::string early = app.Send("otp.login", app.AddPerson(), {kSms});
  EXPECT_TRUE(app.WaitFor(early, kSms, kDelivered, kLimit)) << app.Story(early);
  Fallback sent{.person = app.AddPerson(), .id = {}, .latency = absl::InfiniteDuration()};
  sent.id = app.Send("otp.login", sent.person, {kSms});
  EXPECT_TRUE(app.WaitFor(sent.id, kSms, kDelivered, kLimit)) << app.Story(sent.id);
  EXPECT_TRUE(WaitFor([&] { return app.Delivery(sent.id, kSms).provider() == "vonage"; })) << app.Story(sent.id);
  const std::vector<Json> arrived = Sms(sandbox, "vonage", sent.person);
  EXPECT_THAT(arrived, SizeIs(1));
  if (!arrived.empty()) sent.latency = ArrivalTime(arrived[0]) - ToTime(app.Get(sent.id).create_time());
  return sent;
}

// Not by a retry, for which it would have been claimed once more: one claim and its record.
bool WasSentAtOnce(const DeliveryApp& app, const std::string& id) {
  return app.CountDeliveries(absl::StrCat("notification_id = '", id, "' AND claim = 2")) == 1;
}

TEST_F(Deliveries, APrimaryThatAnswers500IsFollowedByTheNextAtOnce) {
  sandbox().Script("twilio", {{"mode", "error"}, {"status", 500}});
  const Fallback sent = SendByFallback(app_, sandbox(), sandbox().Provider("twilio"));
  EXPECT_TRUE(app_.WaitForOutcomes(sent.id, kSms, "retryable,accepted")) << app_.Story(sent.id);
  EXPECT_TRUE(WasSentAtOnce(app_, sent.id));
  EXPECT_THAT(Sms(sandbox(), "twilio", sent.person), IsEmpty());
}

TEST_F(Deliveries, APrimaryWhereNobodyListensIsFollowedByTheNextAtOnce) {
  Json twilio = sandbox().Provider("twilio");
  twilio["twilio"]["endpoint"] = absl::StrCat("http://", FreeAddress());
  const Fallback sent = SendByFallback(app_, sandbox(), twilio);
  EXPECT_TRUE(app_.WaitForOutcomes(sent.id, kSms, "retryable,accepted")) << app_.Story(sent.id);
  EXPECT_TRUE(WasSentAtOnce(app_, sent.id));
}

TEST_F(Deliveries, APrimaryThatHangsIsFollowedByTheNextWhenNoReceiptHasCome) {
  sandbox().Script("twilio", {{"mode", "hang"}, {"delay_ms", 0}});
  const Json twilio = With(With(sandbox().Provider("twilio"), "timeout", "2s"), "receipt_wait", "1s");
  const Fallback sent = SendByFallback(app_, sandbox(), twilio);
  EXPECT_TRUE(app_.WaitForOutcomes(sent.id, kSms, "unconfirmed,accepted")) << app_.Story(sent.id);
  EXPECT_GT(sent.latency, absl::Seconds(3));
}

TEST_F(Deliveries, AReceiptForACallWithoutAnAnswerSettlesItAndNobodyElseIsAsked) {
  Json twilio = With(sandbox().Provider("twilio"), "timeout", "1s");
  app_.SetProviders(kSms, {With(twilio, "receipt_wait", "20s"), sandbox().Provider("vonage")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio", {{"mode", "hang_after_accept"}, {"match", person.phone}});
  // One of two: "sent" after 2 s, "delivered" after 4 s; the call is given up before.
  sandbox().Script("twilio", {{"mode", "callback"}, {"delay_ms", 2000}});
  const std::string id = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitFor(id, kSms, kDelivered, kLimit)) << app_.Story(id);
  ASSERT_TRUE(app_.WaitForOutcomes(id, kSms, "unconfirmed")) << app_.Story(id);
  const v1::Delivery delivery = app_.Delivery(id, kSms);
  EXPECT_EQ(delivery.provider(), "twilio");
  EXPECT_EQ(app_.Get(id).state(), v1::STATE_DELIVERED);
  ASSERT_THAT(Sms(sandbox(), "twilio", person), SizeIs(1));
  EXPECT_EQ(delivery.provider_message_id(), Sms(sandbox(), "twilio", person)[0]["id"]);
  EXPECT_THAT(Sms(sandbox(), "vonage", person), IsEmpty());
  EXPECT_EQ(
      stack().database().Query(absl::StrCat("SELECT count(*) FROM schedules WHERE recipient_id = '", person.user, "'")),
      "0");
}

TEST_F(Deliveries, ACallWithoutAnAnswerAndAReceiptIsFollowedByOneOther) {
  Json twilio = With(sandbox().Provider("twilio"), "timeout", "2s");
  app_.SetProviders(kSms, {With(twilio, "receipt_wait", "1s"), sandbox().Provider("vonage")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio", {{"mode", "hang_after_accept"}, {"match", person.phone}});
  sandbox().Script("twilio", {{"mode", "callback"}, {"status", "off"}});
  const std::string id = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitFor(id, kSms, kDelivered, kLimit)) << app_.Story(id);
  // Nobody can know that the first one arrived.
  ASSERT_TRUE(app_.WaitForOutcomes(id, kSms, "unconfirmed,accepted")) << app_.Story(id);
  ASSERT_THAT(Sms(sandbox(), "twilio", person), SizeIs(1));
  ASSERT_THAT(Sms(sandbox(), "vonage", person), SizeIs(1));
  // From when it was called: its time-out, and the wait for a receipt.
  const absl::Time called = ToTime(app_.Delivery(id, kSms).attempts(0).time());
  EXPECT_GE(ArrivalTime(Sms(sandbox(), "vonage", person)[0]) - called, absl::Seconds(2.9));
}

TEST_F(Deliveries, AProviderThatCanBeAskedIsAskedWhetherItHasTheMessageBeforeItGetsItAgain) {
  const Json twilio = With(sandbox().Provider("twilio"), "timeout", "2s");
  app_.SetProviders(kSms, {With(twilio, "receipt_wait", "1s")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio", {{"mode", "hang_after_accept"}, {"match", person.phone}});
  sandbox().Script("twilio", {{"mode", "callback"}, {"status", "off"}});
  const std::string id = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitFor(id, kSms, kSent, kLimit)) << app_.Story(id);
  EXPECT_EQ(Outcomes(app_.Delivery(id, kSms)), "unconfirmed,accepted");
  ASSERT_THAT(Sms(sandbox(), "twilio", person), SizeIs(1));
  EXPECT_EQ(app_.Delivery(id, kSms).provider_message_id(), Sms(sandbox(), "twilio", person)[0]["id"]);
}

TEST_F(Deliveries, ACodeWhoseTimeIsOverIsNeverSentAndSaysSo) {
  const Person tried = app_.AddPerson();
  const Person held = app_.AddPerson();
  DeliveryApp without_providers(stack());
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  sandbox().Script("twilio", {{"mode", "error"}, {"status", 503}, {"match", tried.phone}});
  const std::string retried = app_.Send("otp.login", tried, {kSms}, absl::Seconds(8));
  const std::string waiting =
      without_providers.Send("otp.login", without_providers.AddPerson(), {kSms}, absl::Seconds(8));
  const absl::Time expiry = ToTime(app_.Get(retried).expire_time());
  ASSERT_TRUE(WaitFor([&] { return absl::Now() > expiry; }));
  // It would be taken now.
  sandbox().Reset();
  ASSERT_TRUE(app_.WaitFor(retried, kSms, kExpired)) << app_.Story(retried);
  ASSERT_TRUE(without_providers.WaitFor(waiting, kSms, kExpired)) << without_providers.Story(waiting);
  EXPECT_EQ(app_.Delivery(retried, kSms).detail(), "its ttl ended before a provider had it");
  EXPECT_EQ(app_.Get(retried).state(), v1::STATE_EXPIRED);
  EXPECT_EQ(without_providers.Get(waiting).state(), v1::STATE_EXPIRED);
  EXPECT_THAT(Sms(sandbox(), "twilio", tried), IsEmpty());
  EXPECT_THAT(app_.DeadLetters(), IsEmpty());
}

TEST_F(Deliveries, WrongCredentialsHoldEverythingAndRightOnesReleaseIt) {
  Json twilio = sandbox().Provider("twilio");
  twilio["twilio"]["password"] = "wrong";
  app_.SetProviders(kSms, {twilio});
  std::vector<Person> people;
  for (int i = 0; i < 20; ++i) people.push_back(app_.AddPerson());
  const auto count_held = [&] {
    return app_.CountDeliveries("state = 'held' AND detail LIKE 'every provider is out%'");
  };
  // One first, which tells that the settings are known: what is held without any says so.
  std::vector<std::string> ids = {app_.Send("otp.login", people[0], {kSms})};
  ASSERT_TRUE(WaitFor([&] { return count_held() == 1; })) << app_.Story(ids[0]);
  for (const std::string& id : app_.SendToAll("otp.login", {people.begin() + 1, people.end()}, {kSms})) {
    ids.push_back(id);
  }
  ASSERT_TRUE(WaitFor([&] { return count_held() == 20; })) << count_held();
  EXPECT_EQ(app_.Get(ids[0]).state(), v1::STATE_HELD);
  const auto health = [&] {
    const v1::ProviderStatus status = app_.GetProvider(kSms, "twilio");
    return status.health_size() == 1 ? status.health(0) : v1::ProviderHealth();
  };
  ASSERT_TRUE(WaitFor([&] { return health().misconfigured(); }));
  EXPECT_EQ(health().lane(), "otp");
  EXPECT_EQ(health().breaker(), v1::BREAKER_STATE_OPEN);
  EXPECT_THAT(health().error(), HasSubstr("20003"));
  EXPECT_GT(ToTime(health().retry_time()), absl::Now());

  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  for (const std::string& id : ids) EXPECT_TRUE(app_.WaitFor(id, kSms, kDelivered)) << app_.Story(id);
  for (const Person& person : people) EXPECT_THAT(Sms(sandbox(), "twilio", person), SizeIs(1));
  EXPECT_FALSE(health().misconfigured());
  EXPECT_NE(health().breaker(), v1::BREAKER_STATE_OPEN);
  EXPECT_THAT(app_.DeadLetters(), IsEmpty());
}

TEST_F(Deliveries, AProvidersOutageHoldsEverythingAndNothingIsLostOrSentTwice) {
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  std::vector<Person> people;
  for (int i = 0; i < 200; ++i) people.push_back(app_.AddPerson());
  sandbox().Script("twilio", {{"mode", "error"}, {"status", 503}});
  const std::vector<std::string> ids = app_.SendToAll("payment.receipt", people, {kSms});
  EXPECT_TRUE(WaitFor([&] { return app_.CountDeliveries("state = 'held'") == 200; }))
      << app_.CountDeliveries("state = 'held'");
  const auto breaker_is = [&](v1::BreakerState state) {
    const v1::ProviderStatus status = app_.GetProvider(kSms, "twilio");
    return status.health_size() == 1 && status.health(0).breaker() == state;
  };
  EXPECT_TRUE(WaitFor([&] { return breaker_is(v1::BREAKER_STATE_OPEN); }));
  sandbox().Reset();
  // A breaker that was tried after two seconds has been tried after four, eight and sixteen more.
  ASSERT_TRUE(WaitFor([&] { return app_.CountDeliveries("state = 'delivered'") == 200; }, absl::Seconds(120)))
      << app_.CountDeliveries("state = 'delivered'");
  EXPECT_THAT(app_.DeadLetters(), IsEmpty());
  std::multiset<std::string> numbers;
  for (const Json& message : sandbox().Messages("twilio")) numbers.insert(message["to"].get<std::string>());
  for (const Person& person : people) EXPECT_EQ(numbers.count(person.phone), 1u) << person.phone;
  for (const std::string& id : ids) EXPECT_EQ(app_.Get(id).state(), v1::STATE_DELIVERED);
  EXPECT_TRUE(WaitFor([&] { return breaker_is(v1::BREAKER_STATE_CLOSED); }));
}

TEST_F(Deliveries, AProviderThatWantsToBeLeftAloneIsNotCalledBefore) {
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  const Person first = app_.AddPerson();
  sandbox().Script("twilio",
                   {{"mode", "error"}, {"status", 429}, {"retry_after", 3}, {"times", 1}, {"match", first.phone}});
  const std::string id = app_.Send("otp.login", first, {kSms});
  ASSERT_TRUE(WaitFor([&] { return app_.Delivery(id, kSms).attempts_size() >= 1; })) << app_.Story(id);
  const v1::DeliveryAttempt refused = app_.Delivery(id, kSms).attempts(0);
  EXPECT_EQ(refused.code(), "20429");
  const absl::Time until = ToTime(refused.time()) + absl::Seconds(3);
  const Person second = app_.AddPerson();
  const std::string other = app_.Send("otp.login", second, {kSms});

  for (const std::string& one : {id, other}) ASSERT_TRUE(app_.WaitFor(one, kSms, kDelivered)) << app_.Story(one);
  EXPECT_GE(ArrivalTime(Sms(sandbox(), "twilio", first).at(0)), until);
  EXPECT_GE(ArrivalTime(Sms(sandbox(), "twilio", second).at(0)), until);
  EXPECT_TRUE(app_.WaitForOutcomes(id, kSms, "retryable,accepted")) << app_.Story(id);
  EXPECT_TRUE(app_.WaitForOutcomes(other, kSms, "accepted")) << app_.Story(other);
}

TEST_F(Deliveries, AnAppsHangingProviderDelaysNobodyElsesMessages) {
  DeliveryApp hanging(stack());
  hanging.SetProviders(kSms, {With(With(sandbox().Provider("twilio"), "timeout", "30s"), "receipt_wait", "1s")});
  app_.SetProviders(kSms, {sandbox().Provider("vonage")});
  sandbox().Script("twilio", {{"mode", "hang"}, {"delay_ms", 0}});
  hanging.Send("otp.login", hanging.AddPerson(), {kSms});
  ASSERT_TRUE(WaitFor([] { return sandbox().Uses("twilio") >= 1; }));
  // A call that takes longer makes its provider a slow one.
  const absl::Time slow = absl::Now() + absl::Seconds(2);
  std::vector<Person> people;
  for (int i = 0; i < 200; ++i) people.push_back(hanging.AddPerson());
  ASSERT_TRUE(WaitFor([&] { return absl::Now() > slow; }));
  hanging.SendToAll("otp.login", people, {kSms});

  absl::Duration longest;
  for (int i = 0; i < 20; ++i) {
    const Person person = app_.AddPerson();
    const std::string id = app_.Send("otp.login", person, {kSms});
    ASSERT_TRUE(WaitFor([&] { return !Sms(sandbox(), "vonage", person).empty(); })) << app_.Story(id);
    longest = std::max(longest, ArrivalTime(Sms(sandbox(), "vonage", person)[0]) - ToTime(app_.Get(id).create_time()));
  }
  // Much less than any of those calls takes.
  EXPECT_LT(longest, absl::Seconds(20));
  // What is left stays held: it does not come back during other tests.
  hanging.SetProviders(kSms, {});
}

}  // namespace
}  // namespace carillon::testing
