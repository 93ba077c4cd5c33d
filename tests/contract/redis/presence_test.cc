// Presence, and what publishers make of it, over real Redis.
#include "carillon/redis/presence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "absl/strings/str_cat.h"
#include "carillon/redis/channels.h"
#include "carillon/redis/live_listener.h"
#include "carillon/redis/live_publisher.h"
#include "tests/kit/loopback.h"
#include "tests/kit/private_redis.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using testing::FreeAddress;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::PrivateRedis;
using testing::SimulatedClock;
using ::testing::UnorderedElementsAre;
using testing::WaitFor;

FeedKey Key(const std::string& recipient) { return {.app = AppId(7), .recipient = RecipientId(recipient)}; }

// Of what waits for Redis in tests that are not about such waits.
constexpr absl::Duration kPatience = absl::Seconds(10);
// As in production.
constexpr absl::Duration kAnnounceLimit = absl::Milliseconds(200);

// A server's presence and its listener.
class TestServer {
 public:
  TestServer(const std::string& url, const Clock& clock, const std::string& name,
             absl::Duration refresh_interval = absl::Hours(1), absl::Duration announce_limit = kPatience)
      : presence_({.url = url}, clock,
                  {.server = name, .refresh_interval = refresh_interval, .announce_limit = announce_limit}),
        listener_({.url = url}, {.server = name, .on_received = [this](LiveRouting routing, size_t) {
                                   ++(routing == LiveRouting::kDirected ? directed_ : broadcast_);
                                 }}) {
    presence_.Start();
    listener_.Start({.on_message = [this](LiveMessage message) { Add(std::move(message)); },
                     .on_shared_event = [this](AppId) { ++shared_events_; },
                     .on_connected = [] {}});
    EXPECT_TRUE(WaitFor([this] { return listener_.connected(); }));
  }
  ~TestServer() {
    listener_.Stop();
    presence_.Stop();
  }

  // Returns when it has been announced.
  void Connect(const FeedKey& key) {
    absl::Notification announced;
    presence_.Add(key, [&] { announced.Notify(); });
    ASSERT_TRUE(announced.WaitForNotificationWithTimeout(kPatience + absl::Seconds(5)));
  }
  void Disconnect(const FeedKey& key) { presence_.Remove(key); }

  std::vector<std::string> received() const {
    absl::MutexLock lock(&mutex_);
    return received_;
  }
  bool Receives(size_t count) const {
    return WaitFor([&] { return received().size() >= count; });
  }
  RedisPresence& presence() { return presence_; }
  RedisLiveListener& listener() { return listener_; }
  int directed() const { return directed_; }
  int broadcast() const { return broadcast_; }
  int shared_events() const { return shared_events_; }

 private:
  void Add(LiveMessage message) {
    absl::MutexLock lock(&mutex_);
    received_.push_back(absl::StrCat(message.key.recipient.value(), "=", message.payload));
  }

  std::atomic<int> directed_ = 0;
  std::atomic<int> broadcast_ = 0;
  std::atomic<int> shared_events_ = 0;
  mutable absl::Mutex mutex_;
  std::vector<std::string> received_ ABSL_GUARDED_BY(mutex_);
  RedisPresence presence_;
  RedisLiveListener listener_;
};

class Presences : public ::testing::Test {
 protected:
  // As every main() does.
  static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }

  // Publishes each recipient's name as its payload; returns whose payloads were made.
  std::vector<std::string> Publish(RedisLivePublisher& publisher, const std::vector<std::string>& recipients) {
    std::vector<FeedKey> keys;
    for (const std::string& recipient : recipients) keys.push_back(Key(recipient));
    std::vector<std::string> made;
    EXPECT_THAT(publisher.Publish(keys,
                                  [&](size_t i) {
                                    made.push_back(recipients[i]);
                                    return recipients[i];
                                  }),
                IsOk());
    return made;
  }
  std::vector<std::string> Publish(const std::vector<std::string>& recipients) {
    return Publish(publisher_, recipients);
  }

  // The servers that Redis names for a recipient.
  std::string ServersOf(const std::string& recipient) { return redis_.Run({"HKEYS", PresenceKey(Key(recipient))}); }

  PrivateRedis redis_;
  SimulatedClock clock_;
  RedisLivePublisher publisher_{{.url = redis_.url(), .command_timeout = kPatience}, clock_, {}};
};

TEST_F(Presences, LeadAnUpdateToTheServersThatHoldAStreamOnly) {
  TestServer one(redis_.url(), clock_, "one");
  TestServer two(redis_.url(), clock_, "two");
  one.Connect(Key("ada"));
  two.Connect(Key("bob"));
  one.Connect(Key("both:of:them"));
  two.Connect(Key("both:of:them"));
  EXPECT_THAT(Publish({"ada", "bob", "both:of:them", "nobody"}), ElementsAre("ada", "bob", "both:of:them"));
  ASSERT_TRUE(one.Receives(2));
  ASSERT_TRUE(two.Receives(2));
  EXPECT_THAT(one.received(), ElementsAre("ada=ada", "both:of:them=both:of:them"));
  EXPECT_THAT(two.received(), ElementsAre("bob=bob", "both:of:them=both:of:them"));
  EXPECT_EQ(one.directed(), 2);
  EXPECT_EQ(one.broadcast(), 0);
}

TEST_F(Presences, AreNotAskedWhenUpdatesAreBroadcast) {
  TestServer one(redis_.url(), clock_, "one");
  TestServer two(redis_.url(), clock_, "two");
  one.Connect(Key("ada"));
  RedisLivePublisher publisher({.url = redis_.url(), .command_timeout = kPatience}, clock_,
                               {.routing = LiveRouting::kBroadcast, .own_server = "", .on_published = {}});
  EXPECT_THAT(Publish(publisher, {"ada"}), ElementsAre("ada"));
  ASSERT_TRUE(one.Receives(1));
  ASSERT_TRUE(two.Receives(1));
  EXPECT_EQ(one.broadcast(), 1);
  EXPECT_EQ(one.directed(), 0);
}

TEST_F(Presences, LeaveOutTheServerThatPublishes) {
  TestServer one(redis_.url(), clock_, "one");
  TestServer two(redis_.url(), clock_, "two");
  one.Connect(Key("ada"));
  two.Connect(Key("ada"));
  size_t published = 0;
  RedisLivePublisher publisher({.url = redis_.url(), .command_timeout = kPatience}, clock_,
                               {.routing = LiveRouting::kDirected,
                                .own_server = "one",
                                .on_published = [&](LiveRouting, size_t updates) { published += updates; }});
  Publish(publisher, {"ada"});
  ASSERT_TRUE(two.Receives(1));
  EXPECT_EQ(published, 1u);
  Publish({"ada"});
  ASSERT_TRUE(one.Receives(1));
  EXPECT_EQ(one.directed(), 1);
}

TEST_F(Presences, EndWithTheLastStream) {
  TestServer one(redis_.url(), clock_, "one");
  one.Connect(Key("ada"));
  one.Connect(Key("ada"));
  one.Disconnect(Key("ada"));
  one.Connect(Key("bob"));
  EXPECT_EQ(ServersOf("ada"), "one");
  EXPECT_EQ(one.presence().size(), 2u);
  one.Disconnect(Key("ada"));
  EXPECT_TRUE(WaitFor([&] { return ServersOf("ada").empty(); }));
  EXPECT_EQ(one.presence().size(), 1u);
  EXPECT_THAT(Publish({"ada"}), IsEmpty());
}

TEST_F(Presences, AreRightAfterMuchComingAndGoing) {
  TestServer one(redis_.url(), clock_, "one", /*refresh_interval=*/absl::Milliseconds(20));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&one, t] {
      for (int n = 0; n < 1000; ++n) {
        const FeedKey key = Key(absl::StrCat("user ", n % 7));
        one.presence().Add(key, [] {});
        one.presence().Remove(key);
      }
      if (t % 2 == 0) one.presence().Add(Key("user 3"), [] {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  one.Connect(Key("last"));
  for (int n = 0; n < 7; ++n) {
    EXPECT_EQ(ServersOf(absl::StrCat("user ", n)), n == 3 ? "one" : "") << n;
  }
  EXPECT_EQ(one.presence().size(), 2u);
}

TEST_F(Presences, ExpireWithoutTheirServer) {
  TestServer one(redis_.url(), clock_, "one");
  one.Connect(Key("ada"));
  clock_.Advance(absl::Seconds(59));
  EXPECT_THAT(Publish({"ada"}), ElementsAre("ada"));
  clock_.Advance(absl::Seconds(2));
  EXPECT_THAT(Publish({"ada"}), IsEmpty());
  EXPECT_EQ(ServersOf("ada"), "one");
  EXPECT_NE(redis_.Run({"PTTL", PresenceKey(Key("ada"))}), "-1");
  // Long after, it is taken away, though the feed itself has streams elsewhere.
  clock_.Advance(absl::Hours(2));
  TestServer two(redis_.url(), clock_, "two");
  two.Connect(Key("ada"));
  EXPECT_THAT(Publish({"ada"}), ElementsAre("ada"));
  EXPECT_EQ(ServersOf("ada"), "two");
}

TEST_F(Presences, AreWrittenAgainAndAgain) {
  TestServer one(redis_.url(), clock_, "one", /*refresh_interval=*/absl::Milliseconds(100));
  for (int i = 0; i < 1200; ++i) one.presence().Add(Key(absl::StrCat("user ", i)), [] {});
  one.Connect(Key("last"));
  ASSERT_EQ(redis_.Run({"DBSIZE"}), "1201");
  redis_.Run({"FLUSHALL"});
  EXPECT_TRUE(WaitFor([&] { return redis_.Run({"DBSIZE"}) == "1201"; }));
}

TEST_F(Presences, AreWrittenAtOnceToARedisThatComesBack) {
  TestServer one(redis_.url(), clock_, "one", /*refresh_interval=*/absl::Hours(1), kAnnounceLimit);
  for (int i = 0; i < 1200; ++i) one.presence().Add(Key(absl::StrCat("user ", i)), [] {});
  one.Connect(Key("last"));
  redis_.Kill();
  // Nobody waits for a Redis that is away.
  one.Connect(Key("late"));
  one.Disconnect(Key("user 0"));
  redis_.Start();
  // The dead connection is noticed by the next change at the latest.
  EXPECT_TRUE(WaitFor([&] {
    one.Connect(Key("later"));
    return redis_.Run({"DBSIZE"}) == "1202";
  }));
  EXPECT_EQ(ServersOf("user 0"), "");
}

TEST_F(Presences, AreAnnouncedWithoutRedis) {
  RedisPresence presence({.url = absl::StrCat("redis://", FreeAddress())}, clock_, {.server = "one"});
  presence.Start();
  std::atomic<int> announced = 0;
  const absl::Time start = absl::Now();
  // So many that it would take longer if each round of them waited, for its limit or
  // until Redis is tried again.
  constexpr int kMany = 30'000;
  for (int i = 0; i < kMany; ++i) presence.Add(Key(absl::StrCat("user ", i)), [&] { ++announced; });
  EXPECT_TRUE(WaitFor([&] { return announced == kMany; }, absl::Seconds(20)));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(Presences, AreAnnouncedSoonWhileRedisHangs) {
  TestServer one(redis_.url(), clock_, "one", /*refresh_interval=*/absl::Hours(1), kAnnounceLimit);
  one.Connect(Key("ada"));
  redis_.Freeze();
  for (int i = 0; i < 5; ++i) {
    const absl::Time start = absl::Now();
    one.Connect(Key(absl::StrCat("user ", i)));
    EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  }
  redis_.Thaw();
}

TEST_F(Presences, AnnounceWhatComesAfterTheEnd) {
  RedisPresence presence({.url = redis_.url()}, clock_, {.server = "one"});
  presence.Start();
  presence.Stop();
  bool announced = false;
  presence.Add(Key("ada"), [&] { announced = true; });
  EXPECT_TRUE(announced);
}

TEST_F(Presences, ThatCannotBeReadMakeUpdatesBroadcast) {
  TestServer one(redis_.url(), clock_, "one");
  TestServer two(redis_.url(), clock_, "two");
  redis_.Run({"SET", PresenceKey(Key("odd")), "no hash"});
  two.Connect(Key("odd"));
  one.Connect(Key("ada"));
  EXPECT_THAT(Publish({"odd", "ada", "nobody"}), UnorderedElementsAre("odd", "ada"));
  ASSERT_TRUE(one.Receives(2));
  ASSERT_TRUE(two.Receives(1));
  EXPECT_THAT(two.received(), ElementsAre("odd=odd"));
  EXPECT_EQ(two.broadcast(), 1);
  EXPECT_EQ(one.directed(), 1);
}

TEST_F(Presences, SplitWhatIsLarge) {
  TestServer one(redis_.url(), clock_, "one");
  std::vector<FeedKey> keys;
  for (int i = 0; i < 50; ++i) keys.push_back(Key(absl::StrCat("user ", i)));
  for (const FeedKey& key : keys) one.Connect(key);
  ASSERT_THAT(publisher_.Publish(keys, [](size_t) { return std::string(100'000, 'x'); }), IsOk());
  EXPECT_TRUE(one.Receives(50));
}

TEST_F(Presences, DoNotMatterToSharedEvents) {
  TestServer one(redis_.url(), clock_, "one");
  TestServer two(redis_.url(), clock_, "two");
  ASSERT_THAT(publisher_.PublishSharedEvent(AppId(7)), IsOk());
  EXPECT_TRUE(WaitFor([&] { return one.shared_events() == 1 && two.shared_events() == 1; }));
}

TEST_F(Presences, RouteAgainAfterRedisWasLost) {
  TestServer one(redis_.url(), clock_, "one", /*refresh_interval=*/absl::Seconds(2));
  one.Connect(Key("ada"));
  Publish({"ada"});
  ASSERT_TRUE(one.Receives(1));
  redis_.Kill();
  redis_.Start();
  EXPECT_TRUE(WaitFor([&] {
    (void)publisher_.Publish({Key("ada")}, [](size_t) { return std::string("again"); });
    return one.directed() >= 2;
  }));
  EXPECT_EQ(one.broadcast(), 0);
}

}  // namespace
}  // namespace carillon
