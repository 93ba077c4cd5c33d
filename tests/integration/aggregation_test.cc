// "Ana and 19 others liked your post", through the real processes.
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/integration/delivery_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr v1::Channel kApns = v1::CHANNEL_APNS;

class AggregationTest : public Deliveries {
 protected:
  static constexpr char kType[] = "post.like";
  static constexpr char kWorker[] = "worker-social";

  static void SetUpTestSuite() {
    RunningStackOptions options;
    options.processes = {"server", "relay", kWorker};
    StartSystem(options);
  }

  void SetUp() override {
    Deliveries::SetUp();
    app_.SetProviders(kApns, {sandbox().Provider("apns")});
    app_.AddDevice(owner_, kApns, token_);
    AddType();
  }

  // Long enough for whatever this machine does meanwhile: tests end windows by hand.
  void AddType() {
    v1::ApplyTypesRequest request;
    v1::Type& type = *request.add_types();
    type.set_name(kType);
    type.set_weight(v1::WEIGHT_SOCIAL);
    type.set_routing_key("social.post-like");
    type.add_channels(v1::CHANNEL_IN_APP);
    type.add_channels(kApns);
    type.mutable_in_app()->set_title("{{data.summary}} liked your post");
    type.mutable_in_app()->set_body("{{data.count}}/{{data.others}}");
    type.mutable_aggregation()->mutable_window()->set_seconds(36'000);
    // The server that applies it knows it at once, and a worker that meets a new name looks for it.
    ASSERT_OK(app_.client().ApplyTypes(request));
  }

  std::string Send(const std::string& actor, const std::string& object) {
    v1::SendNotificationRequest request =
        Request(kType, owner_.user, absl::StrCat(app_.key(), "-", object, "-", actor, "-", ++sends_));
    request.set_actor_id(actor);
    request.set_object_id(object);
    (*request.mutable_data()->mutable_fields())["actor_name"].set_string_value(actor);
    const auto sent = app_.client().SendNotification(request);
    EXPECT_OK(sent);
    return sent.ok() ? sent->notification().notification_id() : "";
  }
  void TakeBack(const std::string& actor, const std::string& object) {
    v1::RecordReactionsRequest request;
    v1::Reaction& reaction = *request.add_reactions();
    reaction.set_actor_id(actor);
    reaction.set_object_id(object);
    reaction.set_kind(kType);
    reaction.set_retracted(true);
    ASSERT_OK(app_.client().RecordReactions(request));
  }
  std::string LastDetail(const std::string& id) {
    const v1::Notification sent = app_.Get(id);
    return sent.timeline_size() == 0 ? "" : sent.timeline(sent.timeline_size() - 1).detail();
  }
  // Those of the feed that tell of it, newest first.
  std::vector<v1::FeedItem> ItemsOf(const std::string& object) {
    std::vector<v1::FeedItem> items;
    for (const v1::FeedItem& item : WholeFeed(app_.client(), owner_.user)) {
      if (item.object_id() == object) items.push_back(item);
    }
    return items;
  }
  bool WaitForCount(const std::string& object, int64_t count) {
    return testing::WaitFor(
        [&] {
          const auto items = ItemsOf(object);
          return !items.empty() && items.front().actor_count() == count;
        },
        absl::Seconds(120));
  }
  // As if its time had come.
  static void EndWindowOf(const std::string& object) {
    stack().database().Query(
        absl::StrCat("UPDATE schedules SET due_at = now() WHERE cause = 'window' AND message_id IN ("
                     "SELECT window_id FROM reaction_items WHERE object_id = '",
                     object, "')"));
  }
  std::vector<Json> Pushes() const { return sandbox().Messages("apns", token_); }
  std::vector<Json> WaitForPushes(size_t count) {
    EXPECT_TRUE(testing::WaitFor([&] { return Pushes().size() >= count; }, absl::Seconds(60)));
    return Pushes();
  }
  static std::string CollapseId(const Json& push) { return push["headers"].value("apns-collapse-id", ""); }

  const Person owner_ = app_.AddPerson();
  const std::string token_ = absl::StrFormat("%064d", 900'000 + ++tokens_);
  std::atomic<int> sends_ = 0;
  static std::atomic<int> tokens_;
};

std::atomic<int> AggregationTest::tokens_ = 0;

TEST_F(AggregationTest, FiveHundredLikesAreOneItemAndOnePushThoughTheWorkerIsKilled) {
  constexpr int kSenders = 10;
  constexpr int kLikes = 50;  // Of each; every tenth is taken back.
  std::vector<std::thread> senders;
  for (int sender = 0; sender < kSenders; ++sender) {
    senders.emplace_back([this, sender] {
      for (int i = 0; i < kLikes; ++i) {
        const std::string actor = absl::StrCat("actor-", sender, "-", i);
        Send(actor, "post-1");
        if (i % 10 == 0) TakeBack(actor, "post-1");
      }
    });
  }
  EXPECT_TRUE(testing::WaitFor([&] { return !ItemsOf("post-1").empty(); }));
  stack().KillProcess(kWorker);
  for (std::thread& sender : senders) sender.join();
  stack().StartProcess(kWorker);

  constexpr int64_t kExpected = kSenders * kLikes * 9 / 10;
  ASSERT_TRUE(WaitForCount("post-1", kExpected)) << ItemsOf("post-1").front().actor_count();
  ASSERT_TRUE(testing::WaitFor([&] {
    return stack().database().Query(
               "SELECT count(*) FROM notifications WHERE object_id = 'post-1' AND finished_at IS NULL") == "0";
  }));
  EXPECT_TRUE(WaitForCount("post-1", kExpected)) << "nothing was counted twice";
  const std::vector<v1::FeedItem> items = ItemsOf("post-1");
  ASSERT_THAT(items, SizeIs(1));
  EXPECT_THAT(items[0].title(), HasSubstr(absl::StrCat(" and ", kExpected - 1, " others liked your post")));
  EXPECT_EQ(items[0].body(), absl::StrCat(kExpected, "/", kExpected - 1));
  EXPECT_THAT(Pushes(), IsEmpty()) << "before the window ends";

  EndWindowOf("post-1");
  const std::vector<Json> pushes = WaitForPushes(1);
  const v1::Notification told = app_.Get(items[0].notification_id());
  ASSERT_EQ(told.deliveries_size(), 1) << told.ShortDebugString();
  ASSERT_TRUE(app_.WaitFor(items[0].notification_id(), kApns, v1::DELIVERY_STATE_SENT));
  ASSERT_THAT(Pushes(), SizeIs(1));
  EXPECT_THAT(pushes[0].dump(), HasSubstr(absl::StrCat(" and ", kExpected - 1, " others liked your post")));
  EXPECT_EQ(
      stack().database().Query("SELECT count(*) FROM schedules s JOIN reaction_items i ON i.window_id = s.message_id "
                               "WHERE i.object_id = 'post-1'"),
      "0");
}

TEST_F(AggregationTest, TheNextWindowsPushTakesThePlaceOfTheFirst) {
  Send("ana", "post-2");
  ASSERT_TRUE(WaitForCount("post-2", 1));
  EndWindowOf("post-2");
  WaitForPushes(1);
  const std::string like = Send("bob", "post-2");
  ASSERT_TRUE(testing::WaitFor([&] { return ItemsOf("post-2").size() == 2; }));
  EXPECT_EQ(ItemsOf("post-2")[0].title(), "bob liked your post") << "it counts only who has joined since";
  EXPECT_EQ(LastDetail(like), absl::StrCat("in item ", ItemsOf("post-2")[0].notification_id()));
  EndWindowOf("post-2");
  const std::vector<Json> pushes = WaitForPushes(2);
  ASSERT_THAT(pushes, SizeIs(2));
  EXPECT_NE(CollapseId(pushes[0]), "");
  EXPECT_EQ(CollapseId(pushes[0]), CollapseId(pushes[1]));
}

TEST_F(AggregationTest, AGroupThatEveryoneHasLeftIsNotTold) {
  Send("ana", "post-3");
  Send("bob", "post-3");
  ASSERT_TRUE(WaitForCount("post-3", 2));
  TakeBack("ana", "post-3");
  TakeBack("bob", "post-3");
  ASSERT_TRUE(testing::WaitFor([&] { return ItemsOf("post-3").empty(); }));
  EndWindowOf("post-3");
  // What is sent after it has gone the same way.
  Send("ana", "post-4");
  ASSERT_TRUE(WaitForCount("post-4", 1));
  EndWindowOf("post-4");
  const std::vector<Json> pushes = WaitForPushes(1);
  ASSERT_THAT(pushes, SizeIs(1));
  EXPECT_THAT(pushes[0].dump(), HasSubstr("ana liked your post"));
}

TEST_F(AggregationTest, WhatHasNoObjectGoesByItself) {
  v1::SendNotificationRequest request = Request(kType, owner_.user, absl::StrCat(app_.key(), "-alone"));
  request.set_actor_id("ana");
  request.clear_object_id();
  const auto sent = app_.client().SendNotification(request);
  ASSERT_OK(sent);
  const std::string id = sent->notification().notification_id();
  ASSERT_TRUE(app_.WaitFor(id, kApns, v1::DELIVERY_STATE_SENT)) << app_.Story(id);
  EXPECT_THAT(Pushes(), SizeIs(1));
}

}  // namespace
}  // namespace carillon::testing
