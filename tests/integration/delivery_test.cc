// From a backend's call to what a provider gets, through real processes and sockets:
// the words, who is reached, who is not, and what is known of it afterwards.
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "carillon/rabbitmq/consumer.h"
#include "carillon/rabbitmq/topology_admin.h"
#include "tests/integration/delivery_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr v1::Channel kInApp = v1::CHANNEL_IN_APP;
constexpr v1::Channel kEmail = v1::CHANNEL_EMAIL;
constexpr v1::Channel kSms = v1::CHANNEL_SMS;
constexpr v1::Channel kApns = v1::CHANNEL_APNS;
constexpr v1::Channel kFcm = v1::CHANNEL_FCM;
constexpr v1::Channel kWebhook = v1::CHANNEL_WEBHOOK;
constexpr v1::DeliveryState kSent = v1::DELIVERY_STATE_SENT;
constexpr v1::DeliveryState kHeld = v1::DELIVERY_STATE_HELD;
constexpr v1::DeliveryState kDelivered = v1::DELIVERY_STATE_DELIVERED;
constexpr v1::DeliveryState kSuppressed = v1::DELIVERY_STATE_SUPPRESSED;

constexpr const char* kAppleToken = "00112233445566778899aabbccddeeff00112233445566778899aabbccdd";

// A token of 64 digits; ends in a number.
std::string AppleToken(int number) { return absl::StrFormat("%s%04d", kAppleToken, number); }

absl::StatusOr<CommandResult> Curl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"curl", "-sS", "--fail", "--max-time", "10", "-o", "/dev/null"});
  return RunCommand(arguments);
}

// The text between two others, the first time; empty if there is none.
std::string Between(const std::string& text, const std::string& before, const std::string& after) {
  const size_t found = text.find(before);
  if (found == std::string::npos) return "";
  const size_t begin = found + before.size();
  return text.substr(begin, text.find(after, begin) - begin);
}

TEST_F(Deliveries, OnePaymentGoesToEveryChannelAndItsStoryIsKept) {
  Json webhook = sandbox().Provider("webhook");
  webhook["webhook"]["url"] = absl::StrCat(webhook["webhook"]["url"].get<std::string>(), "-", app_.key());
  app_.SetProviders(kEmail, {sandbox().Provider("smtp")});
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  app_.SetProviders(kApns, {sandbox().Provider("apns")});
  app_.SetProviders(kFcm, {sandbox().Provider("fcm")});
  app_.SetProviders(kWebhook, {webhook});
  const Person person = app_.AddPerson();
  app_.AddDevice(person, kApns, AppleToken(1));
  app_.AddDevice(person, kFcm, absl::StrCat("fcm-", person.user));

  const std::string id = app_.Send("payment.receipt", person, {kInApp, kEmail, kSms, kApns, kFcm, kWebhook});
  ASSERT_TRUE(WaitFor([&] { return app_.Get(id).state() == v1::STATE_DELIVERED; })) << app_.Story(id);
  ASSERT_TRUE(app_.WaitFor(id, kSms, kDelivered)) << app_.Story(id);
  ASSERT_TRUE(app_.WaitForOutcomes(id, kSms, "accepted")) << app_.Story(id);

  const std::map<std::string, std::string> addresses = {{"smtp", person.email},
                                                        {"twilio", person.phone},
                                                        {"apns", AppleToken(1)},
                                                        {"fcm", absl::StrCat("fcm-", person.user)},
                                                        {"webhook", absl::StrCat("/webhook/test-", app_.key())}};
  for (const auto& [provider, address] : addresses) EXPECT_THAT(sandbox().Messages(provider, address), SizeIs(1));
  EXPECT_THAT(WholeFeed(app_.client(), person.user), SizeIs(1));

  const v1::Notification notification = app_.Get(id);
  std::vector<v1::State> states;
  for (const v1::TimelineEntry& entry : notification.timeline()) states.push_back(entry.state());
  EXPECT_EQ(states.front(), v1::STATE_ACCEPTED);
  EXPECT_EQ(states.back(), v1::STATE_DELIVERED);
  std::map<std::string, v1::Channel> channels;
  for (const v1::Delivery& delivery : notification.deliveries()) {
    SCOPED_TRACE(delivery.ShortDebugString());
    channels[delivery.provider()] = delivery.channel();
    EXPECT_EQ(delivery.state(), delivery.channel() == kSms ? kDelivered : kSent);
    ASSERT_EQ(Outcomes(delivery), "accepted");
    EXPECT_GE(ToTime(delivery.finish_time()), ToTime(delivery.create_time()));
    EXPECT_GE(ToTime(delivery.attempts(0).time()), ToTime(notification.create_time()));
  }
  const std::map<std::string, v1::Channel> expected = {
      {"smtp", kEmail}, {"twilio", kSms}, {"apns", kApns}, {"fcm", kFcm}, {"webhook", kWebhook}};
  EXPECT_EQ(channels, expected);
  EXPECT_EQ(app_.Delivery(id, kSms).provider_message_id(), sandbox().Messages("twilio", person.phone)[0]["id"]);
}

TEST_F(Deliveries, EverybodyIsToldInTheirOwnLanguage) {
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  app_.SetProviders(kEmail, {sandbox().Provider("smtp")});
  const std::vector<std::pair<std::string, std::string>> words = {{"es-MX", "123456 es tu código de acceso."},
                                                                  {"de-AT", "123456 ist dein Anmeldecode."},
                                                                  {"fr", "123456 is your login code."},
                                                                  {"", "123456 is your login code."}};
  for (const auto& [locale, text] : words) {
    const Person person = app_.AddPerson(locale);
    const std::string id = app_.Send("otp.login", person, {kSms});
    ASSERT_TRUE(app_.WaitFor(id, kSms, kDelivered)) << app_.Story(id);
    EXPECT_EQ(Sms(sandbox(), "twilio", person).at(0)["text"], text);
  }
  const Person person = app_.AddPerson("es-MX");
  ASSERT_TRUE(app_.WaitFor(app_.Send("payment.receipt", person, {kEmail}), kEmail, kSent));
  const Json mail = sandbox().Messages("smtp", person.email).at(0);
  EXPECT_THAT(mail["html"].get<std::string>(), HasSubstr("<html lang=\"es\">"));
  EXPECT_THAT(mail["subject"].get<std::string>(), HasSubstr("12.50 EUR"));
}

TEST_F(Deliveries, WhoCanNotBeReachedIsPassedOverAndTheReasonIsTold) {
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  const std::vector<v1::Channel> channels = {kEmail, kSms, kApns, kFcm};
  const std::string id = app_.Send("payment.receipt", {"nobody-knows-me", "", ""}, channels);
  ASSERT_TRUE(WaitFor([&] { return app_.Get(id).state() == v1::STATE_SUPPRESSED; })) << app_.Story(id);
  EXPECT_EQ(app_.Delivery(id, kEmail).detail(), "the recipient has no e-mail address");
  EXPECT_EQ(app_.Delivery(id, kSms).detail(), "the recipient has no phone number");
  const v1::Notification notification = app_.Get(id);
  for (const v1::Delivery& delivery : notification.deliveries()) {
    EXPECT_EQ(delivery.state(), kSuppressed);
    EXPECT_THAT(delivery.detail(), Not(IsEmpty()));
    EXPECT_THAT(delivery.attempts(), IsEmpty());
  }
}

TEST_F(Deliveries, ANumberThatIsNotValidIsDeadWithTheProvidersWords) {
  app_.SetProviders(kSms, {sandbox().Provider("twilio"), sandbox().Provider("vonage")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio", {{"mode", "error"}, {"code", 21211}, {"match", person.phone}});
  const std::string id = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitFor(id, kSms, v1::DELIVERY_STATE_DEAD)) << app_.Story(id);
  const v1::Delivery delivery = app_.Delivery(id, kSms);
  EXPECT_THAT(delivery.detail(), AllOf(HasSubstr("twilio: 21211"), HasSubstr("not a valid phone number")));
  EXPECT_EQ(Outcomes(delivery), "permanent");
  EXPECT_EQ(app_.Get(id).state(), v1::STATE_DEAD);
  const std::vector<v1::DeadLetter> letters = app_.DeadLetters();
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].notification_id(), id);
  EXPECT_EQ(letters[0].queue(), "otp.sms");
  EXPECT_EQ(letters[0].reason(), "permanent");
  EXPECT_EQ(letters[0].error(), delivery.detail());
  // Nobody else is asked, now or later.
  const std::string next = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitFor(next, kSms, kSuppressed)) << app_.Story(next);
  EXPECT_THAT(app_.Delivery(next, kSms).detail(), HasSubstr("the number is not valid"));
  EXPECT_THAT(Sms(sandbox(), "vonage", person), IsEmpty());
}

TEST_F(Deliveries, WhoUnsubscribesGetsNoMoreOfThatTypeAndAllOfOthers) {
  app_.SetProviders(kEmail, {sandbox().Provider("smtp")});
  const Person person = app_.AddPerson();
  ASSERT_TRUE(app_.WaitFor(app_.Send("marketing.digest", person, {kEmail}), kEmail, kSent));
  const Json mail = sandbox().Messages("smtp", person.email).at(0);
  const std::string link(
      absl::StripSuffix(absl::StripPrefix(mail["headers"]["list-unsubscribe"].get<std::string>(), "<"), ">"));
  ASSERT_THAT(link, StartsWith(absl::StrCat("http://", stack().http_address(), "/")));
  ASSERT_OK_AND_ASSIGN(const CommandResult posted, Curl({"-d", "List-Unsubscribe=One-Click", link}));
  ASSERT_EQ(posted.exit_status, 0) << posted.errors;

  const std::string second = app_.Send("marketing.digest", person, {kEmail});
  ASSERT_TRUE(app_.WaitFor(second, kEmail, kSuppressed)) << app_.Story(second);
  EXPECT_EQ(app_.Delivery(second, kEmail).detail(), "suppressed: unsubscribed");
  EXPECT_TRUE(app_.WaitFor(app_.Send("payment.receipt", person, {kEmail}), kEmail, kSent));
  EXPECT_THAT(sandbox().Messages("smtp", person.email), SizeIs(2));
}

TEST_F(Deliveries, ADeviceThatIsGoneIsForgottenUnlessItWasRegisteredLater) {
  app_.SetProviders(kApns, {sandbox().Provider("apns")});
  const Person gone = app_.AddPerson();
  const Person back = app_.AddPerson();
  app_.AddDevice(gone, kApns, AppleToken(2));
  app_.AddDevice(back, kApns, AppleToken(3));
  const auto dead_since = [](const std::string& token, absl::Time time) {
    sandbox().Script(
        "apns",
        {{"mode", "error"}, {"status", 410}, {"match", token}, {"times", 1}, {"timestamp", absl::ToUnixMillis(time)}});
  };
  dead_since(AppleToken(2), absl::Now() + absl::Seconds(1));
  dead_since(AppleToken(3), absl::Now() - absl::Hours(1));
  const auto devices = [this](const Person& person) {
    v1::GetRecipientRequest request;
    request.set_user_id(person.user);
    return app_.client().GetRecipient(request)->recipient().devices_size();
  };
  for (const Person& person : {gone, back}) {
    const std::string id = app_.Send("payment.receipt", person, {kApns});
    ASSERT_TRUE(app_.WaitFor(id, kApns, kSuppressed)) << app_.Story(id);
    EXPECT_EQ(Outcomes(app_.Delivery(id, kApns)), "bad_recipient");
    EXPECT_THAT(app_.Delivery(id, kApns).detail(), HasSubstr("Unregistered"));
  }
  EXPECT_EQ(devices(gone), 0);
  EXPECT_EQ(devices(back), 1);
  EXPECT_TRUE(app_.WaitFor(app_.Send("payment.receipt", back, {kApns}), kApns, kSent));
}

TEST_F(Deliveries, AnEventReachesEveryFollowerByMailOnce) {
  app_.SetProviders(kEmail, {sandbox().Provider("smtp")});
  v1::ApplyTypesRequest types;
  v1::Type& type = *types.add_types();
  type.set_name("news");
  type.set_weight(v1::WEIGHT_SOCIAL);
  type.set_routing_key("social.news");
  type.add_channels(kInApp);
  type.add_channels(kEmail);
  type.mutable_in_app()->set_title("{{actor_id}} has news");
  ASSERT_OK(app_.client().ApplyTypes(types));
  constexpr int kFollowers = 30;
  v1::FollowRequest follow;
  std::vector<Person> followers;
  for (int i = 0; i < kFollowers; ++i) {
    followers.push_back(app_.AddPerson());
    follow.add_follows()->set_follower_id(followers.back().user);
    follow.mutable_follows(i)->set_followee_id("star");
  }
  ASSERT_OK(app_.client().Follow(follow));
  v1::PublishEventRequest event;
  event.set_type("news");
  event.set_actor_id("star");
  event.mutable_audience()->set_followers_of("star");
  ASSERT_OK(app_.client().PublishEvent(event));

  for (const Person& person : followers) {
    EXPECT_TRUE(WaitFor([&] { return !sandbox().Messages("smtp", person.email).empty(); })) << person.user;
  }
  for (const Person& person : followers) {
    const std::vector<Json> mails = sandbox().Messages("smtp", person.email);
    ASSERT_THAT(mails, SizeIs(1));
    EXPECT_EQ(mails[0]["subject"], "star has news");
    EXPECT_THAT(WholeFeed(app_.client(), person.user), SizeIs(1));
  }
}

// What an app's deliveries say on carillon.events, in a queue of the test's own.
class EventQueue {
 public:
  EventQueue(const std::string& url, const std::string& name)
      : consumer_(RabbitOptions{.url = url, .client_name = "test"}) {
    RabbitTopologyAdmin admin(RabbitOptions{.url = url, .client_name = "test"});
    Topology topology;
    topology.queues.push_back({name, QueueRole::kWork, std::nullopt, 0});
    topology.bindings.push_back({std::string(kEventsExchange), "#", name});
    EXPECT_OK(admin.Declare(topology));
    EXPECT_OK(consumer_.Open({name}, {.prefetch = 100, .channels = 1}));
  }

  // "event channel" of all that have come of a notification.
  std::multiset<std::string> Of(const std::string& notification_id) {
    const auto messages = consumer_.Receive(100, absl::Milliseconds(50));
    EXPECT_OK(messages);
    if (!messages.ok()) return {};
    EXPECT_OK(consumer_.Ack(*messages));
    for (const InboundMessage& message : *messages) {
      events_.push_back(Json::parse(message.body));
      EXPECT_THAT(message.routing_key, StartsWith(events_.back()["event"].get<std::string>()));
    }
    std::multiset<std::string> said;
    for (const Json& event : events_) {
      if (event["notification_id"] != notification_id) continue;
      said.insert(absl::StrCat(event["event"].get<std::string>(), " ", event["channel"].get<std::string>()));
    }
    return said;
  }

 private:
  RabbitConsumer consumer_;
  std::vector<Json> events_;
};

TEST_F(Deliveries, ReceiptsOpeningsAndClicksAreKeptCountedAndPublished) {
  EventQueue events(stack().vhost().url(), absl::StrCat("test.", app_.key()));
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  app_.SetProviders(kEmail, {sandbox().Provider("smtp")});
  v1::ApplyTemplatesRequest templates;
  v1::Template& words = *templates.add_templates();
  words.set_type("marketing.digest");
  words.set_channel(kEmail);
  words.mutable_email()->set_subject("News");
  words.mutable_email()->set_html("<html><body><a href=\"http://127.0.0.1:9/shop\">Shop</a></body></html>");
  ASSERT_OK(app_.client().ApplyTemplates(templates));
  // Live within a moment: what is sent meanwhile has the old words.
  const Person person = app_.AddPerson();
  std::vector<std::string> all;
  std::string id;
  std::string html;
  ASSERT_TRUE(WaitFor([&] {
    id = app_.Send("marketing.digest", person, {kEmail, kSms});
    all.push_back(id);
    EXPECT_TRUE(app_.WaitFor(id, kEmail, kSent)) << app_.Story(id);
    for (const Json& mail : sandbox().Messages("smtp", person.email)) html = mail.value("html", "");
    return html.find("Shop") != std::string::npos;
  })) << html;
  // The statistics are of all that were sent.
  for (const std::string& one : all) ASSERT_TRUE(app_.WaitFor(one, kSms, kDelivered)) << app_.Story(one);

  const std::string link = Between(html, "<a href=\"", "\"");
  const std::string pixel = Between(html, "<img src=\"", "\"");
  ASSERT_THAT(link, StartsWith(absl::StrCat("http://", stack().http_address(), "/t/c/")));
  ASSERT_THAT(pixel, StartsWith(absl::StrCat("http://", stack().http_address(), "/t/o/")));
  for (const std::string& url : {pixel, link, link}) {
    ASSERT_OK_AND_ASSIGN(const CommandResult got, Curl({url}));
    EXPECT_EQ(got.exit_status, 0) << got.errors;
  }

  const std::multiset<std::string> expected = {"sent email", "sent sms", "delivered sms", "opened email",
                                               "clicked email"};
  EXPECT_TRUE(WaitFor([&] { return events.Of(id) == expected; })) << ::testing::PrintToString(events.Of(id));
  v1::GetStatsRequest request;
  const absl::TimeZone utc = absl::UTCTimeZone();
  request.set_from_day(absl::FormatTime("%Y-%m-%d", absl::Now() - absl::Hours(24), utc));
  request.set_to_day(absl::FormatTime("%Y-%m-%d", absl::Now() + absl::Hours(24), utc));
  request.set_type("marketing.digest");
  std::map<v1::Channel, v1::StatsRow> sums;
  const auto stats = app_.client().GetStats(request);
  ASSERT_OK(stats);
  for (const v1::StatsRow& row : stats->rows()) {
    v1::StatsRow& sum = sums[row.channel()];
    sum.set_sent(sum.sent() + row.sent());
    sum.set_delivered(sum.delivered() + row.delivered());
    sum.set_opened(sum.opened() + row.opened());
    sum.set_clicked(sum.clicked() + row.clicked());
  }
  EXPECT_EQ(sums[kEmail].opened(), 1);
  EXPECT_EQ(sums[kEmail].clicked(), 1);
  EXPECT_EQ(sums[kEmail].sent(), static_cast<int64_t>(sandbox().Messages("smtp", person.email).size()));
  EXPECT_EQ(sums[kSms].delivered(), static_cast<int64_t>(Sms(sandbox(), "twilio", person).size()));
}

TEST_F(Deliveries, AReceiptThatSaysItDidNotArriveChangesTheRecord) {
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio",
                   {{"mode", "callback"}, {"status", "undelivered"}, {"error_code", 30003}, {"match", person.phone}});
  const std::string id = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitFor(id, kSms, v1::DELIVERY_STATE_UNDELIVERED)) << app_.Story(id);
  EXPECT_THAT(app_.Delivery(id, kSms).detail(), HasSubstr("30003"));
  EXPECT_EQ(Outcomes(app_.Delivery(id, kSms)), "accepted");
}

TEST_F(Deliveries, WhatDidNotReachAHandsetIsSentOnceMoreLater) {
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  const double receipts = MetricSum(stack(), "server", "carillon_receipts_total");
  const Person person = app_.AddPerson();
  sandbox().Script(
      "twilio",
      {{"mode", "callback"}, {"status", "undelivered"}, {"error_code", 30003}, {"times", 1}, {"match", person.phone}});
  const std::string id = app_.Send("payment.receipt", person, {kSms});
  // Before, it may have been held until the worker knew its provider.
  ASSERT_TRUE(WaitFor([&] { return absl::StrContains(app_.Delivery(id, kSms).detail(), "30003"); })) << app_.Story(id);
  EXPECT_EQ(app_.Delivery(id, kSms).state(), kHeld);
  EXPECT_EQ(app_.Get(id).state(), v1::STATE_DELIVERED) << "a provider had it";
  EXPECT_THAT(Sms(sandbox(), "twilio", person), SizeIs(1));
  // Ten minutes later.
  stack().database().Query(absl::StrCat("UPDATE schedules SET due_at = now() WHERE notification_id = '", id, "'"));
  ASSERT_TRUE(app_.WaitFor(id, kSms, kDelivered)) << app_.Story(id);
  EXPECT_TRUE(app_.WaitForOutcomes(id, kSms, "accepted,accepted")) << app_.Story(id);
  EXPECT_THAT(Sms(sandbox(), "twilio", person), SizeIs(2));
  EXPECT_GT(MetricSum(stack(), "server", "carillon_receipts_total"), receipts);
  const std::string metrics_url = absl::StrCat("http://", stack().metrics_address("server"), "/metrics");
  ASSERT_OK_AND_ASSIGN(const CommandResult metrics, RunCommand({"curl", "-fsS", "--max-time", "5", metrics_url}));
  EXPECT_THAT(metrics.output, HasSubstr("outcome=\"unreachable\""));
}

TEST_F(Deliveries, WhatIsHeldForSomebodyWhoIsErasedIsNeverSent) {
  const Person erased = app_.AddPerson();
  const Person other = app_.AddPerson();
  const std::string first = app_.Send("payment.receipt", erased, {kEmail});
  const std::string second = app_.Send("payment.receipt", other, {kEmail});
  for (const std::string& id : {first, second}) ASSERT_TRUE(app_.WaitFor(id, kEmail, kHeld)) << app_.Story(id);
  EXPECT_THAT(app_.Delivery(first, kEmail).detail(), HasSubstr("no provider is configured"));
  v1::EraseRecipientRequest request;
  request.set_user_id(erased.user);
  ASSERT_OK(app_.client().EraseRecipient(request));

  app_.SetProviders(kEmail, {sandbox().Provider("smtp")});
  ASSERT_TRUE(app_.WaitFor(second, kEmail, kSent)) << app_.Story(second);
  EXPECT_THAT(sandbox().Messages("smtp", other.email), SizeIs(1));
  EXPECT_THAT(sandbox().Messages("smtp", erased.email), IsEmpty());
  EXPECT_EQ(
      stack().database().Query(absl::StrCat("SELECT count(*) FROM schedules WHERE recipient_id = '", erased.user, "'")),
      "0");
}

}  // namespace
}  // namespace carillon::testing
