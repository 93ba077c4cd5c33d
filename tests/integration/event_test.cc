// Events and their audiences, through the real processes.
#include <atomic>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kEnded = absl::StatusCode::kFailedPrecondition;

class Events : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    RunningStackOptions options;
    options.processes = {"server", "relay", "worker-social", "worker-fanout"};
    options.flags["worker-fanout"] = {"--page=100", "--rest=0"};
    stack_ = new RunningStack(options);
    // So that an event to 20 000 is under way for seconds: tests look at it meanwhile.
    SlowDownFeeds(*stack_, absl::Milliseconds(10));
  }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static std::string NewName(const std::string& prefix = "star") {
    static std::atomic<int> count = 0;
    return absl::StrCat(prefix, "-", ++count);
  }
  static v1::PublishEventRequest EventOf(const std::string& actor, const std::string& type = "comment") {
    v1::PublishEventRequest request;
    request.set_type(type);
    request.set_actor_id(actor);
    request.set_object_id("post-1");
    (*request.mutable_data()->mutable_fields())["actor_name"].set_string_value("Bob");
    return request;
  }
  static v1::PublishEventRequest ToFollowers(const std::string& star, const std::string& type = "comment") {
    v1::PublishEventRequest request = EventOf(star, type);
    request.mutable_audience()->set_followers_of(star);
    return request;
  }
  void Follow(const std::string& star, const std::vector<std::string>& followers) {
    v1::FollowRequest request;
    for (const std::string& follower : followers) {
      v1::FollowEdge* const edge = request.add_follows();
      edge->set_follower_id(follower);
      edge->set_followee_id(star);
    }
    ASSERT_OK(client_.Follow(request));
  }
  // As an import would leave them.
  static void MakeFollowers(const std::string& star, int count) {
    const std::string fans = absl::StrCat("SELECT app_id, '", star, "-fan-' || n FROM apps, generate_series(1, ", count,
                                          ") AS n WHERE name = 'test'");
    stack_->database().Query(absl::StrCat("INSERT INTO feed_heads (app_id, recipient_id) ", fans));
    stack_->database().Query(absl::StrCat(
        "INSERT INTO memberships (app_id, member_id, kind, group_id, since_position) SELECT *, 'followers', '", star,
        "', 0 FROM (", fans, ") AS fans"));
  }
  // How many of them have how many items: "items of feeds".
  static std::string ItemsOfFans(const std::string& star) {
    return stack_->database().Query(absl::StrCat(
        "SELECT coalesce(sum(last_seq), 0) || ' of ' || count(*) FILTER (WHERE last_seq > 0) FROM feed_heads"
        " WHERE recipient_id LIKE '",
        star, "-fan-%'"));
  }
  std::string Publish(const v1::PublishEventRequest& request) {
    const auto published = client_.PublishEvent(request);
    EXPECT_OK(published);
    return published.ok() ? published->event().event_id() : "";
  }
  v1::Event Get(const std::string& id) {
    v1::GetEventRequest request;
    request.set_event_id(id);
    const auto got = client_.GetEvent(request);
    EXPECT_OK(got);
    return got.ok() ? got->event() : v1::Event();
  }
  bool WaitForState(const std::string& id, v1::EventState state, absl::Duration limit = absl::Seconds(120)) {
    return WaitFor([&] { return Get(id).state() == state; }, limit);
  }
  bool WaitUntilExpanded(const std::string& id, int64_t count) {
    return WaitFor([&] { return Get(id).expanded() >= count; });
  }
  // Another event's way through the same queue and the same worker, which takes one page
  // after the other: whatever was in its hands before is done, and what could move has moved.
  void PassBehind() {
    const std::string other = NewName();
    MakeFollowers(other, 500);
    ASSERT_TRUE(WaitForState(Publish(ToFollowers(other)), v1::EVENT_STATE_DONE));
  }
  template <typename Request>
  static Request Of(const std::string& id) {
    Request request;
    request.set_event_id(id);
    return request;
  }

  static RunningStack* stack_;
  Client client_ = ClientOf(*stack_);
};

RunningStack* Events::stack_ = nullptr;

TEST_F(Events, NamesEveryFaultOfARequest) {
  v1::PublishEventRequest request;
  request.set_type("No Such Type");
  request.set_actor_id("a\nb");
  request.set_object_id(std::string(256, 'x'));
  request.set_idempotency_key(std::string(256, 'x'));
  (*request.mutable_data()->mutable_fields())["text"].set_string_value(std::string(17 * 1024, 'x'));
  EXPECT_THAT(client_.PublishEvent(request),
              StatusIs(kInvalid, AllOf(HasSubstr("type:"), HasSubstr("actor_id:"), HasSubstr("object_id:"),
                                       HasSubstr("idempotency_key:"), HasSubstr("audience:"), HasSubstr("data"))));
  for (const char* weight : {"otp.login", "payment.receipt"}) {
    EXPECT_THAT(client_.PublishEvent(ToFollowers("star", weight)), StatusIs(kInvalid, HasSubstr("type:"))) << weight;
  }
  EXPECT_THAT(client_.PublishEvent(ToFollowers("star", "no.such.type")), StatusIs(kInvalid, HasSubstr("type:")));
}

TEST_F(Events, NamesEveryFaultOfAnAudience) {
  const auto refusal = [&](const v1::PublishEventRequest& request) { return client_.PublishEvent(request).status(); };
  v1::PublishEventRequest request = EventOf("star");
  request.mutable_audience();
  EXPECT_THAT(refusal(request), StatusIs(kInvalid, HasSubstr("audience:")));
  request.mutable_audience()->set_followers_of("");
  EXPECT_THAT(refusal(request), StatusIs(kInvalid, HasSubstr("audience.followers_of:")));
  request.mutable_audience()->set_topic("a\tb");
  EXPECT_THAT(refusal(request), StatusIs(kInvalid, HasSubstr("audience.topic:")));
  v1::UserList* const users = request.mutable_audience()->mutable_users();
  EXPECT_THAT(refusal(request), StatusIs(kInvalid, HasSubstr("audience.users.user_ids:")));
  for (const char* user : {"ann", "", "b\001c"}) users->add_user_ids(user);
  EXPECT_THAT(refusal(request), StatusIs(kInvalid, AllOf(HasSubstr("user_ids[1]:"), HasSubstr("user_ids[2]:"))));
  users->clear_user_ids();
  for (int i = 0; i <= 10'000; ++i) users->add_user_ids(absl::StrCat("user-", i));
  EXPECT_THAT(refusal(request), StatusIs(kInvalid, HasSubstr("audience.users.user_ids:")));
}

TEST_F(Events, RefusesIdsThatAreNone) {
  EXPECT_THAT(client_.GetEvent(Of<v1::GetEventRequest>("?")), StatusIs(kInvalid, HasSubstr("event_id")));
  const std::string unknown = "01890000-0000-7000-8000-000000000000";
  EXPECT_THAT(client_.GetEvent(Of<v1::GetEventRequest>(unknown)), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(client_.PauseEvent(Of<v1::PauseEventRequest>(unknown)), StatusIs(absl::StatusCode::kNotFound));
  const nlohmann::json other = stack_->CreateApp(NewName("app"));
  Client stranger({.address = stack_->address(),
                   .app_key = other["app"]["app_key"].get<std::string>(),
                   .app_secret = other["app_secret"].get<std::string>()});
  const std::string id = Publish(ToFollowers(NewName()));
  EXPECT_THAT(stranger.GetEvent(Of<v1::GetEventRequest>(id)), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(stranger.CancelEvent(Of<v1::CancelEventRequest>(id)), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(Events, AnswersAtOnceWhetherSomebodyTellsItOrNot) {
  const std::string star = NewName();
  Follow(star, {"waiting"});
  ASSERT_EQ(stack_->StopProcess("worker-fanout"), 0);
  v1::PublishEventRequest request = ToFollowers(star);
  request.set_idempotency_key(star);
  ASSERT_OK_AND_ASSIGN(const auto published, client_.PublishEvent(request));
  EXPECT_FALSE(published.duplicate());
  EXPECT_EQ(published.event().state(), v1::EVENT_STATE_ACCEPTED);
  EXPECT_EQ(published.event().idempotency_key(), star);
  EXPECT_EQ(Get(published.event().event_id()).state(), v1::EVENT_STATE_ACCEPTED);
  stack_->StartProcess("worker-fanout");
  EXPECT_TRUE(WaitForState(published.event().event_id(), v1::EVENT_STATE_DONE));
  EXPECT_THAT(WholeFeed(client_, "waiting"), SizeIs(1));
}

TEST_F(Events, AnswersARepeatedKeyAsTheFirstTimeAndRefusesAnotherPayload) {
  const std::string star = NewName();
  Follow(star, {star + "-fan"});
  v1::PublishEventRequest request = ToFollowers(star);
  request.set_idempotency_key(star);
  const std::string id = Publish(request);
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK_AND_ASSIGN(const auto again, client_.PublishEvent(request));
    EXPECT_TRUE(again.duplicate());
    EXPECT_EQ(again.event().event_id(), id);
  }
  v1::PublishEventRequest other = request;
  other.set_object_id("post-2");
  EXPECT_THAT(client_.PublishEvent(other), StatusIs(kEnded));
  other = request;
  other.mutable_audience()->set_topic(star);
  EXPECT_THAT(client_.PublishEvent(other), StatusIs(kEnded));
  EXPECT_THAT(client_.SendNotification(testing::Request("comment", "ann", star)), StatusIs(kEnded));
  ASSERT_TRUE(WaitForState(id, v1::EVENT_STATE_DONE));
  EXPECT_THAT(WholeFeed(client_, star + "-fan"), SizeIs(1));
}

TEST_F(Events, ReachesFollowersOnTheirStreams) {
  const std::string star = NewName();
  Follow(star, {star + "-ann", star + "-ben"});
  RecordedStream stream(client_, star + "-ann");
  const std::string id = Publish(ToFollowers(star));
  ASSERT_TRUE(stream.WaitForEvents(1));
  EXPECT_EQ(stream.seqs(), CountUpTo(1));
  EXPECT_EQ(stream.events()[0].item().actor().actor_id(), star);
  EXPECT_EQ(stream.events()[0].item().data().fields().at("actor_name").string_value(), "Bob");
  ASSERT_TRUE(WaitForState(id, v1::EVENT_STATE_DONE));
  const std::vector<v1::FeedItem> feed = WholeFeed(client_, star + "-ben");
  ASSERT_THAT(feed, SizeIs(1));
  EXPECT_NE(feed[0].notification_id(), stream.events()[0].item().notification_id());
  EXPECT_NE(feed[0].title(), "");
  const v1::Event event = Get(id);
  EXPECT_EQ(event.audience_size(), 2);
  EXPECT_EQ(event.expanded(), 2);
  EXPECT_FALSE(event.shared());
  EXPECT_TRUE(event.has_finish_time());
}

TEST_F(Events, ReachesListedUsersOnceEachWhetherKnownOrNot) {
  const std::string star = NewName();
  v1::PublishEventRequest request = EventOf(star);
  v1::UserList* const users = request.mutable_audience()->mutable_users();
  for (int i = 0; i < 1000; ++i) users->add_user_ids(absl::StrCat(star, "-fan-", i % 700));
  const std::string id = Publish(request);
  ASSERT_TRUE(WaitForState(id, v1::EVENT_STATE_DONE));
  EXPECT_EQ(ItemsOfFans(star), "700 of 700");
  EXPECT_EQ(Get(id).expanded(), 700);
}

TEST_F(Events, ReachesSubscribersAndTheTopicsPublicFeed) {
  const std::string topic = NewName("topic");
  v1::AddTopicSubscriptionsRequest subscribe;
  for (const char* name : {"-ann", "-ben"}) {
    v1::TopicSubscription* const subscription = subscribe.add_subscriptions();
    subscription->set_topic_id(topic);
    subscription->set_user_id(topic + name);
  }
  ASSERT_OK(client_.AddTopicSubscriptions(subscribe));
  v1::PublishEventRequest request = EventOf("bob");
  request.mutable_audience()->set_topic(topic);
  const std::string id = Publish(request);
  ASSERT_TRUE(WaitForState(id, v1::EVENT_STATE_DONE));
  EXPECT_THAT(WholeFeed(client_, topic + "-ann"), SizeIs(1));
  EXPECT_THAT(WholeFeed(client_, topic + "-ben"), SizeIs(1));
  v1::ListTopicFeedRequest list;
  list.set_topic_id(topic);
  ASSERT_TRUE(WaitFor([&] {
    const auto page = client_.ListTopicFeed(list);
    return page.ok() && page->items_size() == 1 && page->items(0).notification_id() == id;
  }));
  EXPECT_EQ(
      stack_->database().Query(absl::StrCat("SELECT count(*) FROM feed_items WHERE recipient_id LIKE '%", topic, "'")),
      "1");
}

TEST_F(Events, ReachesEveryoneOfTheAppAndNobodyElse) {
  const nlohmann::json created = stack_->CreateApp(NewName("app"));
  Client client({.address = stack_->address(),
                 .app_key = created["app"]["app_key"].get<std::string>(),
                 .app_secret = created["app_secret"].get<std::string>()});
  for (int i = 0; i < 3; ++i) ASSERT_OK(client.SendNotification(testing::Request("like", absl::StrCat("reader-", i))));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(WaitFor([&] { return WholeFeed(client, absl::StrCat("reader-", i)).size() == 1; }));
  }
  Follow(NewName(), {"of-another-app"});
  v1::PublishEventRequest request = EventOf("bob");
  request.mutable_audience()->mutable_everyone();
  ASSERT_OK(client.PublishEvent(request));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(WaitFor([&] { return WholeFeed(client, absl::StrCat("reader-", i)).size() == 2; }));
  }
  EXPECT_THAT(WholeFeed(client_, "of-another-app"), IsEmpty());
}

TEST_F(Events, AStreamerWhoStartsAndStopsTellsNobodyTwice) {
  const std::string star = NewName();
  Follow(star, {star + "-fan"});
  const std::string first = Publish(ToFollowers(star, "stream.start"));
  ASSERT_TRUE(WaitForState(first, v1::EVENT_STATE_DONE));
  for (int i = 0; i < 3; ++i) {
    const std::string again = Publish(ToFollowers(star, "stream.start"));
    ASSERT_TRUE(WaitForState(again, v1::EVENT_STATE_SUPPRESSED));
    EXPECT_THAT(Get(again).detail(), HasSubstr(star));
  }
  EXPECT_THAT(WholeFeed(client_, star + "-fan"), SizeIs(1));
  // Another streamer's window is another.
  EXPECT_TRUE(WaitForState(Publish(ToFollowers(NewName(), "stream.start")), v1::EVENT_STATE_DONE));
}

TEST_F(Events, IsStoredOnceForALargeAudienceAndFoundByStreamListAndCount) {
  const std::string star = NewName();
  MakeFollowers(star, 50);
  const std::string online = star + "-fan-1", offline = star + "-fan-2";
  RecordedStream stream(client_, online);
  v1::UpdateAppRequest update;
  update.set_app_key(stack_->app_key());
  update.mutable_shared_audience_threshold()->set_value(49);
  ASSERT_OK(client_.UpdateApp(update));
  const std::string id = Publish(ToFollowers(star));
  ASSERT_TRUE(WaitForState(id, v1::EVENT_STATE_DONE));
  update.mutable_shared_audience_threshold()->set_value(100'000);
  ASSERT_OK(client_.UpdateApp(update));
  EXPECT_TRUE(Get(id).shared());
  ASSERT_TRUE(stream.WaitForEvents(1));
  EXPECT_EQ(stream.seqs(), CountUpTo(1));
  EXPECT_EQ(ItemsOfFans(star), "1 of 1") << "only who is online";
  v1::GetFeedSummaryRequest summary;
  summary.set_user_id(offline);
  ASSERT_OK_AND_ASSIGN(const auto counted, client_.GetFeedSummary(summary));
  EXPECT_EQ(counted.unread(), 1);
  EXPECT_THAT(WholeFeed(client_, offline), SizeIs(1));
  RecordedStream late(client_, offline);
  ASSERT_TRUE(late.WaitForEvents(1));
  EXPECT_EQ(late.seqs(), CountUpTo(1));
}

TEST_F(Events, StandsStillWhilePausedAndGoesOnToTheEnd) {
  const std::string star = NewName();
  MakeFollowers(star, 20'000);
  StandStillAt(*stack_, star, 2000);
  const std::string id = Publish(ToFollowers(star));
  ASSERT_TRUE(WaitUntilExpanded(id, 1000));
  const v1::Event under_way = Get(id);
  EXPECT_EQ(under_way.audience_size(), 20'000);
  EXPECT_GT(under_way.recipients_per_second(), 0);
  EXPECT_TRUE(under_way.has_remaining_time());
  ASSERT_OK_AND_ASSIGN(const auto paused, client_.PauseEvent(Of<v1::PauseEventRequest>(id)));
  EXPECT_EQ(paused.event().state(), v1::EVENT_STATE_PAUSED);
  StandStillAt(*stack_, star, 20'000);
  PassBehind();  // The page that was under way is written.
  const int64_t stood = Get(id).expanded();
  EXPECT_LT(stood, 20'000);
  PassBehind();
  EXPECT_EQ(Get(id).expanded(), stood);

  for (int i = 0; i < 3; ++i) ASSERT_OK(client_.ResumeEvent(Of<v1::ResumeEventRequest>(id)));
  ASSERT_TRUE(WaitForState(id, v1::EVENT_STATE_DONE));
  EXPECT_EQ(ItemsOfFans(star), "20000 of 20000");
  EXPECT_THAT(client_.PauseEvent(Of<v1::PauseEventRequest>(id)), StatusIs(kEnded));
  EXPECT_THAT(client_.ResumeEvent(Of<v1::ResumeEventRequest>(id)), StatusIs(kEnded));
  EXPECT_THAT(client_.CancelEvent(Of<v1::CancelEventRequest>(id)), StatusIs(kEnded));
}

TEST_F(Events, TellsNobodyFurtherOnceItIsCancelled) {
  const std::string star = NewName();
  MakeFollowers(star, 20'000);
  StandStillAt(*stack_, star, 2000);
  const std::string id = Publish(ToFollowers(star));
  ASSERT_TRUE(WaitUntilExpanded(id, 1000));
  ASSERT_OK_AND_ASSIGN(const auto cancelled, client_.CancelEvent(Of<v1::CancelEventRequest>(id)));
  EXPECT_EQ(cancelled.event().state(), v1::EVENT_STATE_CANCELLED);
  StandStillAt(*stack_, star, 20'000);
  PassBehind();  // The page that was under way is written, or was not.
  const int64_t told = Get(id).expanded();
  EXPECT_EQ(ItemsOfFans(star), absl::StrCat(told, " of ", told));
  EXPECT_LT(told, 20'000);
  PassBehind();
  EXPECT_EQ(Get(id).expanded(), told);
  EXPECT_THAT(client_.ResumeEvent(Of<v1::ResumeEventRequest>(id)), StatusIs(kEnded));
  EXPECT_OK(client_.CancelEvent(Of<v1::CancelEventRequest>(id)));
}

TEST_F(Events, TakeTurnsSoThatNoneWaitsForAnothersEnd) {
  const std::string star = NewName(), comet = NewName("comet"), small = NewName();
  MakeFollowers(star, 20'000);
  MakeFollowers(comet, 20'000);
  Follow(small, {small + "-fan-1"});
  // All begin together.
  ASSERT_EQ(stack_->StopProcess("worker-fanout"), 0);
  const std::string first = Publish(ToFollowers(star));
  const std::string second = Publish(ToFollowers(comet));
  const std::string third = Publish(ToFollowers(small));
  stack_->StartProcess("worker-fanout");
  for (const std::string& id : {first, second, third}) ASSERT_TRUE(WaitForState(id, v1::EVENT_STATE_DONE));
  EXPECT_EQ(ItemsOfFans(star), "20000 of 20000");
  EXPECT_EQ(ItemsOfFans(comet), "20000 of 20000");
  // Told in turns, page by page: each has begun before the other has ended.
  const auto time_of = [](absl::string_view which, const std::string& whose) {
    return stack_->database().Query(absl::StrCat("SELECT ", which, "(notification_id::text) FROM feed_items",
                                                 " WHERE recipient_id LIKE '", whose, "-fan-%'"));
  };
  EXPECT_LT(time_of("min", star), time_of("max", comet));
  EXPECT_LT(time_of("min", comet), time_of("max", star));
  // A small one between them is told long before they end.
  EXPECT_LT(time_of("max", small), time_of("max", star));
  EXPECT_LT(time_of("max", small), time_of("max", comet));
}

}  // namespace
}  // namespace carillon::testing
