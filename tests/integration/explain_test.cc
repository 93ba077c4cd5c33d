// Why something was sent, held or left out, and what would become of it: asked of a whole
// system.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "tests/integration/delivery_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr v1::Channel kInApp = v1::CHANNEL_IN_APP;
constexpr v1::Channel kEmail = v1::CHANNEL_EMAIL;
constexpr v1::Channel kSms = v1::CHANNEL_SMS;
constexpr v1::Channel kWebhook = v1::CHANNEL_WEBHOOK;
constexpr v1::DeliveryState kHeld = v1::DELIVERY_STATE_HELD;

// An app, and short ways to say what its people want and to ask why.
class Explained {
 public:
  Explained(RunningStack& stack, DeliveryApp& app) : stack_(stack), app_(app) {}

  // Today and tomorrow by UTC, all day.
  void SetQuietHours(const std::string& user) {
    v1::UpdateSettingsRequest request;
    request.set_user_id(user);
    v1::QuietHours* const quiet = request.mutable_settings()->add_quiet_hours();
    const int today = static_cast<int>(absl::GetWeekday(absl::ToCivilDay(absl::Now(), absl::UTCTimeZone())));
    quiet->add_days(static_cast<v1::Weekday>(today + 1));
    quiet->add_days(static_cast<v1::Weekday>((today + 1) % 7 + 1));
    quiet->set_end_minute(24 * 60);
    ASSERT_OK(app_.client().UpdateSettings(request));
  }
  void MuteBob(const std::string& user) {
    v1::AddMutesRequest request;
    request.set_user_id(user);
    request.add_mutes()->set_actor_id("bob");
    ASSERT_OK(app_.client().AddMutes(request));
  }
  // Of weight social, on its own; with so many per hour by webhook.
  void AddCappedType(const std::string& name, int limit) {
    v1::ApplyTypesRequest request;
    v1::Type* const type = request.add_types();
    type->set_name(name);
    type->set_weight(v1::WEIGHT_SOCIAL);
    type->set_routing_key("social.comment");
    type->add_channels(kInApp);
    type->mutable_in_app()->set_title("{{data.title}}");
    v1::Cap* const cap = type->add_caps();
    cap->set_channel(kWebhook);
    cap->set_limit(limit);
    cap->mutable_window()->set_seconds(3600);
    ASSERT_OK(app_.client().ApplyTypes(request));
  }
  // Rows of this app that a send or an event would add to.
  std::string CountRows() {
    std::vector<std::string> counts;
    for (const char* table : {"notifications", "deliveries", "feed_items", "feed_heads", "outbox", "schedules",
                              "events", "dedupe_windows", "idempotency_keys", "digests", "reactions"}) {
      counts.push_back(absl::StrCat("(SELECT count(*) FROM ", table, " JOIN apps USING (app_id) WHERE app_key = '",
                                    app_.key(), "')"));
    }
    return stack_.database().Query(absl::StrCat("SELECT ", absl::StrJoin(counts, " || ' ' || ")));
  }

  v1::ExplainNotificationResponse Explain(const std::string& id) {
    v1::ExplainNotificationRequest request;
    request.set_notification_id(id);
    const auto explained = app_.client().ExplainNotification(request);
    EXPECT_OK(explained);
    return explained.ok() ? *explained : v1::ExplainNotificationResponse();
  }
  v1::ExplainedChannel Channel(const std::string& id, v1::Channel channel) {
    const v1::ExplainNotificationResponse story = Explain(id);
    for (const v1::ExplainedChannel& one : story.channels()) {
      if (one.channel() == channel) return one;
    }
    ADD_FAILURE() << "it has no such channel";
    return {};
  }

 private:
  RunningStack& stack_;
  DeliveryApp& app_;
};

// "gate outcome" of each step.
std::vector<std::string> Gates(const v1::ExplainedChannel& channel) {
  std::vector<std::string> gates;
  for (const v1::ExplainedStep& step : channel.steps()) gates.push_back(absl::StrCat(step.gate(), " ", step.outcome()));
  return gates;
}

// "in_app send 3" of each count.
std::vector<std::string> Counts(const v1::DryRunResponse& response) {
  std::vector<std::string> lines;
  for (const v1::DryRunCount& count : response.counts()) {
    lines.push_back(absl::StrCat(v1::Channel_Name(count.channel()), " ", count.outcome(), " ", count.count(),
                                 count.reason().empty() ? "" : ": ", count.reason()));
  }
  return lines;
}

TEST_F(Deliveries, AHoldIsExplainedByTheQuietHoursThatEndIt) {
  Explained explained(stack(), app_);
  const Person person = app_.AddPerson();
  v1::UpdateRecipientRequest update;
  update.mutable_recipient()->set_user_id(person.user);
  update.mutable_recipient()->set_time_zone("UTC");
  update.mutable_update_mask()->add_paths("time_zone");
  ASSERT_OK(app_.client().UpdateRecipient(update));
  explained.SetQuietHours(person.user);
  const std::string id = app_.Send("comment", person, {kInApp, kEmail});
  ASSERT_TRUE(app_.WaitFor(id, kEmail, kHeld)) << app_.Story(id);

  const v1::ExplainNotificationResponse story = explained.Explain(id);
  EXPECT_EQ(story.time_zone(), "UTC");
  EXPECT_EQ(story.notification().notification_id(), id);
  ASSERT_THAT(story.steps(), SizeIs(1)) << story.DebugString();
  EXPECT_EQ(story.steps(0).gate(), "door");
  EXPECT_THAT(story.steps(0).detail(), HasSubstr("the first with the key"));
  EXPECT_THAT(Gates(explained.Channel(id, kInApp)), ElementsAre("decision passed", "feed sent"));
  const v1::ExplainedChannel mail = explained.Channel(id, kEmail);
  EXPECT_EQ(mail.outcome(), "held");
  ASSERT_THAT(Gates(mail), ElementsAre("quiet_hours held", "hold held"));
  EXPECT_EQ(ToTime(mail.steps(0).until()), ToTime(mail.steps(1).until()));
  EXPECT_GT(ToTime(mail.steps(0).until()), ToTime(mail.steps(0).time()));

  // Another app's is not there.
  ASSERT_OK_AND_ASSIGN(const CommandResult asked, stack().Carillonctl({"explain", id}));
  EXPECT_NE(asked.exit_status, 0);
  EXPECT_THAT(asked.errors, HasSubstr("NOT_FOUND"));
}

TEST_F(Deliveries, WhatALimitStoppedIsExplainedWithItsNumbers) {
  Explained explained(stack(), app_);
  Json webhook = sandbox().Provider("webhook");
  webhook["webhook"]["url"] = absl::StrCat(webhook["webhook"]["url"].get<std::string>(), "-", app_.key());
  app_.SetProviders(kWebhook, {webhook});
  // Redis outlives a run, and remembers people of the same name.
  const std::string type = absl::StrCat("capped-", absl::ToUnixMicros(absl::Now()));
  explained.AddCappedType(type, 2);
  const Person person = app_.AddPerson();
  std::string id;
  for (const v1::DeliveryState state :
       {v1::DELIVERY_STATE_SENT, v1::DELIVERY_STATE_SENT, v1::DELIVERY_STATE_SUPPRESSED}) {
    id = app_.Send(type, person, {kWebhook});
    ASSERT_TRUE(app_.WaitFor(id, kWebhook, state)) << app_.Story(id);
  }
  const v1::ExplainedChannel channel = explained.Channel(id, kWebhook);
  EXPECT_EQ(channel.outcome(), "suppressed");
  ASSERT_THAT(Gates(channel), ElementsAre("cap suppressed"));
  const v1::ExplainedStep& step = channel.steps(0);
  EXPECT_EQ(step.count(), 2);
  EXPECT_EQ(step.limit(), 2);
  EXPECT_EQ(step.window().seconds(), 3600);
  EXPECT_THAT(step.detail(), HasSubstr("2 of 2 in 1h"));

  // A dry run sees the full window and takes no place in one that is not.
  v1::DryRunRequest dry;
  *dry.mutable_send() = Request(type, person.user);
  dry.mutable_send()->add_channels(kWebhook);
  ASSERT_OK_AND_ASSIGN(v1::DryRunResponse run, app_.client().DryRun(dry));
  EXPECT_THAT(Counts(run), ElementsAre("CHANNEL_WEBHOOK suppress 1: 2 of 2 in 1h: drop"));
  dry.mutable_send()->set_user_id("somebody-else");
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(run, app_.client().DryRun(dry));
    EXPECT_THAT(Counts(run), ElementsAre("CHANNEL_WEBHOOK send 1"));
  }
}

TEST_F(Deliveries, WhatAMuteKeptFromAFeedIsExplainedByIt) {
  Explained explained(stack(), app_);
  const Person person = app_.AddPerson();
  explained.MuteBob(person.user);
  const std::string id = app_.Send("comment", person, {kInApp});
  ASSERT_TRUE(WaitFor([&] { return app_.Get(id).state() == v1::STATE_SUPPRESSED; })) << app_.Story(id);
  EXPECT_EQ(explained.Channel(id, kInApp).outcome(), "suppressed");
  EXPECT_THAT(Gates(explained.Channel(id, kInApp)), ElementsAre("muted_actor suppressed"));
}

TEST_F(Deliveries, ADeadLetterIsExplainedWithTheProvidersWords) {
  Explained explained(stack(), app_);
  app_.SetProviders(kSms, {sandbox().Provider("twilio")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio", {{"mode", "error"}, {"code", 21211}, {"match", person.phone}});
  const std::string id = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitFor(id, kSms, v1::DELIVERY_STATE_DEAD)) << app_.Story(id);
  const v1::ExplainedChannel channel = explained.Channel(id, kSms);
  EXPECT_EQ(channel.outcome(), "dead");
  ASSERT_THAT(Gates(channel), ElementsAre("critical passed", "provider dead", "dead_letter dead"));
  EXPECT_THAT(channel.steps(1).detail(), AllOf(HasSubstr("twilio: permanent"), HasSubstr("21211")));
  EXPECT_THAT(channel.steps(2).detail(), AllOf(HasSubstr("otp.sms"), HasSubstr("not a valid phone number")));
}

TEST_F(Deliveries, AFallbackIsExplainedCallByCall) {
  Explained explained(stack(), app_);
  app_.SetProviders(kSms, {sandbox().Provider("twilio"), sandbox().Provider("vonage")});
  const Person person = app_.AddPerson();
  sandbox().Script("twilio", {{"mode", "error"}, {"status", 500}, {"match", person.phone}});
  const std::string id = app_.Send("otp.login", person, {kSms});
  ASSERT_TRUE(app_.WaitForOutcomes(id, kSms, "retryable,accepted")) << app_.Story(id);
  const v1::ExplainedChannel channel = explained.Channel(id, kSms);
  ASSERT_GE(channel.steps_size(), 3) << channel.DebugString();
  EXPECT_EQ(channel.steps(0).gate(), "critical");
  EXPECT_THAT(channel.steps(1).detail(), HasSubstr("twilio: retryable"));
  EXPECT_EQ(channel.steps(1).outcome(), "retried");
  EXPECT_THAT(channel.steps(2).detail(), HasSubstr("vonage: accepted"));
  EXPECT_EQ(channel.steps(2).outcome(), "sent");
}

TEST_F(Deliveries, ADryRunInQuietHoursTellsOfTheHoldAndWritesNothing) {
  Explained explained(stack(), app_);
  const Person person = app_.AddPerson();
  explained.SetQuietHours(person.user);
  const std::string before = explained.CountRows();
  v1::DryRunRequest request;
  *request.mutable_send() = Request("comment", person.user, "a-key");
  request.mutable_send()->add_channels(kInApp);
  request.mutable_send()->add_channels(kEmail);
  request.mutable_send()->add_channels(v1::CHANNEL_FCM);
  ASSERT_OK_AND_ASSIGN(const v1::DryRunResponse response, app_.client().DryRun(request));
  EXPECT_EQ(response.audience_size(), 1);
  EXPECT_EQ(response.decided(), 1);
  EXPECT_THAT(Counts(response), ElementsAre("CHANNEL_IN_APP send 1", "CHANNEL_EMAIL hold 1: quiet hours: hold",
                                            "CHANNEL_FCM suppress 1: the recipient has no such device"));
  EXPECT_EQ(explained.CountRows(), before);

  request.mutable_send()->set_type("nothing-like-it");
  const absl::Status refused = app_.client().DryRun(request).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("send.type"));
}

TEST_F(Deliveries, ADryRunOfAnEventCountsItsFollowersAndWhoMutedItAndWritesNothing) {
  Explained explained(stack(), app_);
  v1::FollowRequest follow;
  for (int i = 0; i < 30; ++i) {
    v1::FollowEdge* const edge = follow.add_follows();
    edge->set_follower_id(absl::StrCat("fan-", i));
    edge->set_followee_id("bob");
    if (i % 5 == 0) explained.MuteBob(edge->follower_id());
  }
  ASSERT_OK(app_.client().Follow(follow));
  const std::string before = explained.CountRows();
  v1::DryRunRequest request;
  request.mutable_event()->set_type("stream.start");
  request.mutable_event()->set_actor_id("bob");
  request.mutable_event()->mutable_audience()->set_followers_of("bob");
  ASSERT_OK_AND_ASSIGN(v1::DryRunResponse response, app_.client().DryRun(request));
  EXPECT_EQ(response.audience_size(), 30);
  EXPECT_EQ(response.decided(), 30);
  EXPECT_THAT(Counts(response), ElementsAre("CHANNEL_IN_APP send 24", "CHANNEL_IN_APP suppress 6: actor is muted"));
  EXPECT_EQ(explained.CountRows(), before);

  // What was foretold comes true; and the type's window is seen afterwards.
  ASSERT_OK_AND_ASSIGN(const v1::PublishEventResponse published, app_.client().PublishEvent(request.event()));
  v1::GetEventRequest get;
  get.set_event_id(published.event().event_id());
  ASSERT_TRUE(WaitFor([&] { return app_.client().GetEvent(get)->event().state() == v1::EVENT_STATE_DONE; }));
  const auto event = app_.client().GetEvent(get);
  EXPECT_EQ(event->event().suppressed().at("actor is muted"), 6);
  ASSERT_OK_AND_ASSIGN(response, app_.client().DryRun(request));
  EXPECT_THAT(Counts(response), ElementsAre(HasSubstr("CHANNEL_IN_APP suppress 30: another event of its type")));

  // The item of one of them is explained, though no door accepted it.
  const std::vector<v1::FeedItem> feed = WholeFeed(app_.client(), "fan-1");
  ASSERT_THAT(feed, SizeIs(1));
  const v1::ExplainNotificationResponse story = explained.Explain(feed[0].notification_id());
  EXPECT_THAT(story.steps(0).detail(), HasSubstr("told by an event"));
  EXPECT_THAT(Gates(explained.Channel(feed[0].notification_id(), kInApp)), ElementsAre("decision passed", "feed sent"));
}

TEST_F(Deliveries, CarillonctlExplainsAndRunsDry) {
  const auto run = [](std::vector<std::string> arguments) {
    const auto result = stack().Carillonctl(arguments);
    EXPECT_OK(result);
    EXPECT_TRUE(result.ok() && result->exit_status == 0) << (result.ok() ? result->errors : "");
    return result.ok() ? result->output : "";
  };
  stack().database().Query(
      "INSERT INTO recipients (app_id, recipient_id, time_zone) SELECT app_id, 'kim', 'Asia/Kolkata' FROM apps WHERE "
      "name = 'test'");
  const Json sent =
      Json::parse(run({"send", "--type", "comment", "--user", "kim", "--channels", "in_app,email", "--json"}));
  const std::string id = sent["notification"]["notification_id"];
  ASSERT_TRUE(WaitFor([&] { return absl::StrContains(run({"get", id}), "delivered"); }));
  EXPECT_THAT(run({"explain", id}),
              AllOf(HasSubstr("Asia/Kolkata"), HasSubstr("+05:30"), HasSubstr("in_app: delivered"),
                    HasSubstr("email: suppressed"), HasSubstr("no e-mail address")));
  EXPECT_EQ(Json::parse(run({"explain", id, "--json"}))["notification"]["notification_id"], id);

  EXPECT_THAT(run({"send", "--type", "comment", "--user", "kim", "--dry-run"}),
              AllOf(HasSubstr("nothing was sent; 1 recipient"), HasSubstr("in_app"), HasSubstr("send")));
  const Json dry =
      Json::parse(run({"event", "publish", "--type", "comment", "--users", "kim,lee", "--dry-run", "--json"}));
  EXPECT_EQ(dry["audience_size"], "2");
  EXPECT_EQ(dry["counts"][0]["outcome"], "send");
}

}  // namespace
}  // namespace carillon::testing
