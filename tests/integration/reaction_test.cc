// Reactions of many to one thing, through the real processes.
#include <atomic>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/test_vhost.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class Reactions : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    stack_ = new RunningStack({.processes = {"server", "relay", "worker-social"}, .flags = {}, .wrappers = {}});
  }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static v1::Reaction Like(const std::string& actor, bool retracted = false, const std::string& object = "post-1") {
    v1::Reaction reaction;
    reaction.set_actor_id(actor);
    reaction.set_object_id(object);
    reaction.set_kind("like");
    reaction.set_retracted(retracted);
    return reaction;
  }
  // Tells the owner of the post.
  static v1::Reaction Told(v1::Reaction reaction, const std::string& owner) {
    reaction.set_object_id(absl::StrCat("post-of-", owner));
    reaction.set_user_id(owner);
    (*reaction.mutable_data()->mutable_fields())["actor_name"].set_string_value(reaction.actor_id());
    return reaction;
  }
  // Accepted; how many there have been is counted.
  void Record(const std::vector<v1::Reaction>& reactions) {
    v1::RecordReactionsRequest request;
    for (const v1::Reaction& reaction : reactions) *request.add_reactions() = reaction;
    ASSERT_OK(client_.RecordReactions(request));
    recorded_ += static_cast<int>(reactions.size());
  }
  static double Applied() { return MetricSum(*stack_, "worker-social", "carillon_reactions_applied_total"); }
  bool WaitUntilApplied() {
    return WaitFor([&] { return Applied() >= applied_before_ + recorded_; }, absl::Seconds(60));
  }
  int64_t Count(const std::string& object) {
    v1::GetCountersRequest request;
    request.add_object_ids(object);
    const auto counters = client_.GetCounters(request);
    EXPECT_OK(counters);
    return counters.ok() && counters->counters_size() > 0 ? counters->counters(0).count() : 0;
  }
  v1::GetFeedSummaryResponse Summary(const std::string& user) {
    v1::GetFeedSummaryRequest request;
    request.set_user_id(user);
    const auto summary = client_.GetFeedSummary(request);
    EXPECT_OK(summary);
    return summary.ok() ? *summary : v1::GetFeedSummaryResponse();
  }
  // What a client that followed the stream shows in the end, by id.
  static std::map<std::string, v1::FeedItem> Shown(const RecordedStream& stream) {
    std::map<std::string, v1::FeedItem> shown;
    for (const v1::SubscribeResponse& event : stream.events()) {
      if (event.has_item()) shown[event.item().notification_id()] = event.item();
      if (event.has_removed()) shown.erase(event.removed().notification_id());
    }
    return shown;
  }
  // Threads at once, each with its share of single reactions and its own client's calls.
  void RunThreads(int count, const std::function<void(int)>& body) {
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) threads.emplace_back([&body, i] { body(i); });
    for (std::thread& thread : threads) thread.join();
  }

  static RunningStack* stack_;
  Client client_ = ClientOf(*stack_);
  const double applied_before_ = Applied();
  std::atomic<int> recorded_ = 0;
};

RunningStack* Reactions::stack_ = nullptr;

TEST_F(Reactions, AreCountedToTheUnitWhoeverSendsThem) {
  constexpr int kThreads = 8;
  constexpr int kActors = 200;  // Of each thread; every fourth takes it back.
  RecordedStream stream(client_, "owner");
  RunThreads(kThreads, [&](int thread) {
    for (int i = 0; i < kActors; ++i) {
      const std::string actor = absl::StrCat("actor-", thread, "-", i);
      Record({Told(Like(actor), "owner")});
      if (i % 4 == 0) Record({Told(Like(actor, /*retracted=*/true), "owner")});
    }
  });
  ASSERT_EQ(recorded_, 2000);
  ASSERT_TRUE(WaitUntilApplied());
  constexpr int64_t kExpected = kThreads * kActors * 3 / 4;
  EXPECT_EQ(Count("post-of-owner"), kExpected);
  const std::vector<v1::FeedItem> feed = WholeFeed(client_, "owner");
  ASSERT_THAT(feed, SizeIs(1));
  EXPECT_EQ(feed[0].actor_count(), kExpected);
  EXPECT_FALSE(feed[0].title().empty());
  EXPECT_EQ(Summary("owner").unread(), 1);

  ASSERT_TRUE(WaitFor([&] { return !stream.seqs().empty() && stream.seqs().back() == feed[0].seq(); }));
  const auto shown = Shown(stream);
  ASSERT_THAT(shown, SizeIs(1));
  EXPECT_EQ(shown.begin()->second.actor_count(), kExpected);
  EXPECT_EQ(shown.begin()->second.title(), feed[0].title());
}

TEST_F(Reactions, TakeTheItemAlongWhenTheLastIsTakenBack) {
  Record({Told(Like("bob"), "ann"), Told(Like("eve"), "ann")});
  ASSERT_TRUE(WaitUntilApplied());
  RecordedStream stream(client_, "ann");
  ASSERT_TRUE(stream.WaitForEvents(1));
  const int64_t seen = stream.seqs().back();
  ASSERT_THAT(Shown(stream), SizeIs(1));
  const std::string id = Shown(stream).begin()->first;
  Record({Told(Like("bob", true), "ann"), Told(Like("eve", true), "ann")});
  ASSERT_TRUE(WaitUntilApplied());
  EXPECT_EQ(Count("post-of-ann"), 0);
  EXPECT_THAT(WholeFeed(client_, "ann"), IsEmpty());
  EXPECT_EQ(Summary("ann").unread(), 0);
  ASSERT_TRUE(stream.WaitForEvents(2));
  EXPECT_THAT(Shown(stream), IsEmpty());
  // Who was away hears of it too.
  RecordedStream resumed(client_, "ann", seen);
  ASSERT_TRUE(resumed.WaitForEvents(1));
  EXPECT_EQ(resumed.events().front().removed().notification_id(), id);
}

TEST_F(Reactions, ShowWhoIsStillThereAndAreUnreadAgainWhenSomebodyJoins) {
  Record({Told(Like("bob"), "dan")});
  Record({Told(Like("eve"), "dan")});
  ASSERT_TRUE(WaitUntilApplied());
  ASSERT_THAT(WholeFeed(client_, "dan"), SizeIs(1));
  EXPECT_EQ(WholeFeed(client_, "dan")[0].actor().actor_id(), "eve");
  v1::MarkReadRequest mark;
  mark.set_user_id("dan");
  mark.set_up_to_seq(Summary("dan").last_seq());
  ASSERT_OK(client_.MarkRead(mark));
  Record({Told(Like("eve", true), "dan")});
  ASSERT_TRUE(WaitUntilApplied());
  EXPECT_EQ(WholeFeed(client_, "dan")[0].actor().actor_id(), "bob");
  EXPECT_EQ(WholeFeed(client_, "dan")[0].actor_count(), 1);
  EXPECT_TRUE(WholeFeed(client_, "dan")[0].read());
  EXPECT_EQ(Summary("dan").unread(), 0);
  Record({Told(Like("eve"), "dan")});
  ASSERT_TRUE(WaitUntilApplied());
  EXPECT_FALSE(WholeFeed(client_, "dan")[0].read());
  EXPECT_EQ(Summary("dan").unread(), 1);
}

TEST_F(Reactions, AreRefusedAllTogetherWithEveryFault) {
  v1::RecordReactionsRequest request;
  *request.add_reactions() = Like("bob", /*retracted=*/false, "refused-post");
  *request.add_reactions() = Like("");
  request.add_reactions()->set_kind("no.such.kind");
  request.mutable_reactions(2)->set_user_id("ann");
  const absl::Status refused = client_.RecordReactions(request).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Count("refused-post"), 0);
}

TEST_F(Reactions, CountEachOnceThoughTheWorkerDiesUnderThem) {
  constexpr int kActors = 3000;
  std::atomic<bool> half = false;
  std::thread sender([&] {
    for (int i = 0; i < kActors; i += 10) {
      std::vector<v1::Reaction> ten;
      for (int k = i; k < i + 10; ++k) ten.push_back(Like(absl::StrCat("fan-", k)));
      Record(ten);
      if (i >= kActors / 2) half = true;
    }
  });
  EXPECT_TRUE(WaitFor([&] { return half.load(); }, absl::Seconds(60)));
  stack_->KillProcess("worker-social");
  stack_->StartProcess("worker-social");
  sender.join();
  EXPECT_TRUE(WaitFor([&] { return Count("post-1") == kActors; }, absl::Seconds(60))) << Count("post-1");
}

class LostReactions : public Reactions {
 protected:
  static void SetUpTestSuite() {
    stack_ = new RunningStack(
        {.processes = {"server", "relay", "worker-social"}, .flags = {{"relay", {"--idle-bound=5s"}}}, .wrappers = {}});
  }
};

TEST_F(LostReactions, AreCountedAllTheSameWhenAPurgedQueueHeldThem) {
  constexpr int kActors = 2000;
  const auto rows = [&](const std::string& table) { return stack_->database().Query("SELECT count(*) FROM " + table); };
  ASSERT_EQ(stack_->StopProcess("worker-social"), 0);
  for (int begin = 0; begin < kActors; begin += 100) {
    std::vector<v1::Reaction> likes;
    for (int i = begin; i < begin + 100; ++i) likes.push_back(Told(Like(absl::StrCat("fan-", i)), "owner"));
    Record(likes);
  }
  // Confirmed by the broker.
  ASSERT_TRUE(WaitFor([&] { return rows("outbox") == "0"; }, absl::Seconds(20)));
  EXPECT_NE(rows("reaction_groups"), "0");
  Rabbitmqctl({"purge_queue", "-p", stack_->vhost().name(), "social"});
  stack_->StartProcess("worker-social");
  EXPECT_TRUE(WaitFor([&] { return rows("reaction_groups") == "0"; }, absl::Seconds(60))) << rows("reaction_groups");
  EXPECT_EQ(Count("post-of-owner"), kActors);
  ASSERT_THAT(WholeFeed(client_, "owner"), SizeIs(1));
  EXPECT_EQ(WholeFeed(client_, "owner")[0].actor_count(), kActors);
  EXPECT_EQ(rows("dead_letters"), "0");
}

}  // namespace
}  // namespace carillon::testing
