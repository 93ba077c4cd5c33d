#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "carillon/redis/live_listener.h"
#include "carillon/redis/live_publisher.h"
#include "carillon/redis/presence.h"
#include "tests/kit/environment.h"
#include "tests/kit/loopback.h"
#include "tests/kit/private_redis.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using testing::FreeAddress;
using testing::IsOk;
using ::testing::Not;
using testing::PrivateRedis;
using testing::StatusIs;
using testing::WaitFor;

// Of listeners that shall take a silent Redis for dead soon, or not at all.
constexpr absl::Duration kShortHeartbeat = absl::Seconds(1);
constexpr absl::Duration kLongHeartbeat = absl::Seconds(30);
// Of a publisher whose time-outs are no matter.
constexpr absl::Duration kPatience = absl::Seconds(10);
const SystemClock kClock;
const RedisLivePublisher::Options kBroadcast = {
    .routing = LiveRouting::kBroadcast, .own_server = "", .on_published = {}};

// Unlike those of any other test on the same Redis.
FeedKey UniqueKey(const std::string& suffix = "") {
  return {.app = AppId(7), .recipient = RecipientId(absl::StrCat(NewUuid7(absl::Now()).ToString(), suffix))};
}

// Listens as a server, and keeps what comes for the recipients it is asked about.
class Inbox {
 public:
  explicit Inbox(const std::string& url, const std::string& server = "nobody",
                 absl::Duration heartbeat = kLongHeartbeat)
      : listener_(
            {.url = url},
            {.server = server, .heartbeat_interval = heartbeat, .on_received = [this](LiveRouting routing, size_t) {
               ++(routing == LiveRouting::kDirected ? directed_ : broadcast_);
             }}) {
    listener_.Start({.on_message = [this](LiveMessage message) { Add(std::move(message)); },
                     .on_shared_event = [this](AppId app) { shared_event_of_ = app.value(); },
                     .on_connected = [this] { ++connections_; }});
  }
  ~Inbox() { listener_.Stop(); }

  RedisLiveListener& listener() { return listener_; }
  int connections() const { return connections_; }
  int directed() const { return directed_; }
  int broadcast() const { return broadcast_; }
  int64_t shared_event_of() const { return shared_event_of_; }
  bool Connects() {
    return WaitFor([this] { return listener_.connected() && connections_ > 0; });
  }
  std::vector<std::string> PayloadsFor(const FeedKey& key) {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> payloads;
    for (const LiveMessage& message : messages_) {
      if (message.key == key) payloads.push_back(message.payload);
    }
    return payloads;
  }
  bool Receives(const FeedKey& key, size_t count) {
    return WaitFor([&] { return PayloadsFor(key).size() >= count; });
  }

 private:
  void Add(LiveMessage message) {
    absl::MutexLock lock(&mutex_);
    messages_.push_back(std::move(message));
  }

  std::atomic<int> connections_ = 0;
  std::atomic<int> directed_ = 0;
  std::atomic<int> broadcast_ = 0;
  std::atomic<int64_t> shared_event_of_ = 0;
  absl::Mutex mutex_;
  std::vector<LiveMessage> messages_ ABSL_GUARDED_BY(mutex_);
  RedisLiveListener listener_;
};

absl::Duration TimeOf(const std::function<void()>& action) {
  const absl::Time start = absl::Now();
  action();
  return absl::Now() - start;
}

absl::Status Publish(LivePublisher& publisher, absl::Span<const LiveMessage> messages) {
  std::vector<FeedKey> keys;
  for (const LiveMessage& message : messages) keys.push_back(message.key);
  return publisher.Publish(keys, [&](size_t i) { return messages[i].payload; });
}

absl::Status Publish(const std::string& url, const LiveMessage& message) {
  RedisLivePublisher publisher({.url = url, .command_timeout = kPatience}, kClock, kBroadcast);
  return Publish(publisher, {message});
}

class RedisLiveBus : public ::testing::Test {
 protected:
  // As every main() does.
  static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }
};

TEST_F(RedisLiveBus, DeliversWhatIsPublished) {
  Inbox inbox(testing::TestRedisUrl());
  ASSERT_TRUE(inbox.Connects());
  RedisLivePublisher publisher({.url = testing::TestRedisUrl(), .command_timeout = kPatience}, kClock, kBroadcast);
  const FeedKey key = UniqueKey(":with:colons");
  const std::string binary("\0\r\n\xff", 4);
  ASSERT_THAT(Publish(publisher, {{.key = key, .payload = "first"}, {.key = key, .payload = binary}}), IsOk());
  ASSERT_TRUE(inbox.Receives(key, 2));
  EXPECT_THAT(inbox.PayloadsFor(key), ::testing::ElementsAre("first", binary));
}

TEST_F(RedisLiveBus, PublishesManyInOneRoundTrip) {
  Inbox inbox(testing::TestRedisUrl());
  ASSERT_TRUE(inbox.Connects());
  RedisLivePublisher publisher({.url = testing::TestRedisUrl(), .command_timeout = kPatience}, kClock, kBroadcast);
  const FeedKey key = UniqueKey();
  const std::vector<LiveMessage> messages(1000, {.key = key, .payload = std::string(2000, 'x')});
  ASSERT_THAT(Publish(publisher, messages), IsOk());
  EXPECT_TRUE(inbox.Receives(key, 1000));
}

TEST_F(RedisLiveBus, PublishesFromManyThreads) {
  Inbox inbox(testing::TestRedisUrl());
  ASSERT_TRUE(inbox.Connects());
  RedisLivePublisher publisher({.url = testing::TestRedisUrl(), .command_timeout = kPatience}, kClock, kBroadcast);
  const FeedKey key = UniqueKey();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) EXPECT_THAT(Publish(publisher, {{.key = key, .payload = "x"}}), IsOk());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(inbox.Receives(key, 800));
}

TEST_F(RedisLiveBus, AuthenticatesAndSelectsTheDatabase) {
  PrivateRedis redis;
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  EXPECT_THAT(Publish(redis.url(), message), IsOk());
  EXPECT_THAT(Publish(redis.url("wrong"), message), Not(IsOk()));
}

TEST_F(RedisLiveBus, ListenerReconnectsAndSaysSo) {
  PrivateRedis redis;
  Inbox inbox(redis.url());
  ASSERT_TRUE(inbox.Connects());
  redis.Kill();
  ASSERT_TRUE(WaitFor([&] { return !inbox.listener().connected(); }));
  redis.Start();
  ASSERT_TRUE(WaitFor([&] { return inbox.connections() == 2 && inbox.listener().connected(); }));
  const FeedKey key = UniqueKey();
  RedisLivePublisher publisher({.url = redis.url(), .command_timeout = kPatience}, kClock, kBroadcast);
  ASSERT_THAT(Publish(publisher, {{.key = key, .payload = "x"}}), IsOk());
  EXPECT_TRUE(inbox.Receives(key, 1));
}

TEST_F(RedisLiveBus, ListenerNoticesARedisThatHangs) {
  PrivateRedis redis;
  Inbox inbox(redis.url(), "nobody", kShortHeartbeat);
  ASSERT_TRUE(inbox.Connects());
  redis.Freeze();
  ASSERT_TRUE(WaitFor([&] { return !inbox.listener().connected(); }));
  redis.Thaw();
  EXPECT_TRUE(WaitFor([&] { return inbox.listener().connected() && inbox.connections() >= 2; }));
}

TEST_F(RedisLiveBus, ListenerStaysConnectedWhileNothingIsPublished) {
  PrivateRedis redis;
  constexpr absl::Duration kHeartbeat = absl::Seconds(4);
  Inbox inbox(redis.url(), "nobody", kHeartbeat);
  ASSERT_TRUE(inbox.Connects());
  // Without its heartbeats it would be taken for dead before.
  EXPECT_FALSE(WaitFor([&] { return inbox.connections() > 1 || !inbox.listener().connected(); }, 3.5 * kHeartbeat));
}

TEST_F(RedisLiveBus, ListenerStopsAtOnceWithoutRedis) {
  RedisLiveListener listener({.url = absl::StrCat("redis://", FreeAddress())}, {.server = "nobody"});
  listener.Start({.on_message = [](LiveMessage) {}, .on_shared_event = [](AppId) {}, .on_connected = [] {}});
  EXPECT_LT(TimeOf([&] { listener.Stop(); }), absl::Seconds(10));
  EXPECT_FALSE(listener.connected());
  listener.Stop();
}

TEST_F(RedisLiveBus, ListenerMayBeStoppedWithoutHavingStarted) {
  RedisLiveListener listener({.url = "redis://127.0.0.1:1"}, {.server = "nobody"});
  listener.Stop();
}

TEST_F(RedisLiveBus, PublisherUsesANewRedisAtOnce) {
  PrivateRedis redis;
  RedisLivePublisher publisher({.url = redis.url(), .command_timeout = kPatience}, kClock, kBroadcast);
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  ASSERT_THAT(Publish(publisher, {message}), IsOk());
  redis.Kill();
  redis.Start();
  EXPECT_THAT(Publish(publisher, {message}), IsOk());
}

TEST_F(RedisLiveBus, PublisherFailsAtOnceWhileRedisIsDown) {
  RedisLivePublisher publisher({.url = absl::StrCat("redis://", FreeAddress())}, kClock, kBroadcast);
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  const absl::Duration time = TimeOf([&] {
    for (int i = 0; i < 1000; ++i) {
      EXPECT_THAT(Publish(publisher, {message}), StatusIs(absl::StatusCode::kUnavailable));
    }
  });
  EXPECT_LT(time, absl::Seconds(10));
}

TEST_F(RedisLiveBus, PublisherWaitsBoundedlyForARedisThatHangs) {
  PrivateRedis redis;
  RedisLivePublisher publisher({.url = redis.url()}, kClock, kBroadcast);
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  ASSERT_TRUE(WaitFor([&] { return Publish(publisher, {message}).ok(); }));
  redis.Freeze();
  const absl::Duration first = TimeOf([&] { EXPECT_THAT(Publish(publisher, {message}), Not(IsOk())); });
  EXPECT_LT(first, absl::Seconds(5));
  // Each that waited would take half a second.
  int waited = 0;
  for (int i = 0; i < 10; ++i) {
    const absl::Duration time = TimeOf([&] { EXPECT_THAT(Publish(publisher, {message}), Not(IsOk())); });
    if (time > absl::Milliseconds(400)) ++waited;
  }
  EXPECT_LE(waited, 5);
  redis.Thaw();
  EXPECT_TRUE(WaitFor([&] { return Publish(publisher, {message}).ok(); }));
}

TEST_F(RedisLiveBus, PublishesNothingWithoutRedis) {
  RedisLivePublisher publisher({.url = "redis://127.0.0.1:1"}, kClock, kBroadcast);
  EXPECT_THAT(Publish(publisher, {}), IsOk());
}

}  // namespace
}  // namespace carillon
