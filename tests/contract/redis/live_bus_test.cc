#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "carillon/redis/live_listener.h"
#include "carillon/redis/live_publisher.h"
#include "tests/kit/environment.h"
#include "tests/kit/loopback.h"
#include "tests/kit/process.h"
#include "tests/kit/scratch_directory.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using testing::FreeAddress;
using testing::IsListening;
using testing::IsOk;
using ::testing::Not;
using testing::Process;
using testing::ScratchDirectory;
using testing::StatusIs;
using testing::WaitFor;

constexpr absl::Duration kHeartbeat = absl::Milliseconds(100);

// Unlike those of any other test on the same Redis.
FeedKey UniqueKey(const std::string& suffix = "") {
  return {.app = AppId(7), .recipient = RecipientId(absl::StrCat(NewUuid7(absl::Now()).ToString(), suffix))};
}

// Listens, and keeps what comes for the recipients it is asked about.
class Inbox {
 public:
  explicit Inbox(const std::string& url) : listener_({.url = url}, kHeartbeat) {
    listener_.Start({.on_message = [this](LiveMessage message) { Add(std::move(message)); },
                     .on_connected = [this] { ++connections_; }});
  }
  ~Inbox() { listener_.Stop(); }

  RedisLiveListener& listener() { return listener_; }
  int connections() const { return connections_; }
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
  absl::Mutex mutex_;
  std::vector<LiveMessage> messages_ ABSL_GUARDED_BY(mutex_);
  RedisLiveListener listener_;
};

// A Redis of the test's own, to be killed, frozen and started again.
class PrivateRedis {
 public:
  PrivateRedis() : address_(FreeAddress()) { Start(); }

  void Start() {
    const std::string port = address_.substr(address_.rfind(':') + 1);
    absl::StatusOr<std::unique_ptr<Process>> process =
        Process::Start({.command = {"redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly",
                                    "no", "--requirepass", "secret", "--dir", directory_.path()},
                        .environment = {},
                        .output_file = directory_.Path("log")});
    EXPECT_THAT(process, IsOk());
    process_ = *std::move(process);
    EXPECT_TRUE(WaitFor([this] { return IsListening(address_); }));
  }
  void Kill() { process_->Kill(); }
  void Freeze() { process_->Signal(SIGSTOP); }
  void Thaw() { process_->Signal(SIGCONT); }

  std::string url(const std::string& password = "secret") const {
    return absl::StrCat("redis://:", password, "@", address_, "/3");
  }

 private:
  const std::string address_;
  const ScratchDirectory directory_;
  std::unique_ptr<Process> process_;
};

absl::Duration TimeOf(const std::function<void()>& action) {
  const absl::Time start = absl::Now();
  action();
  return absl::Now() - start;
}

class RedisLiveBus : public ::testing::Test {
 protected:
  // As every main() does.
  static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }
};

TEST_F(RedisLiveBus, DeliversWhatIsPublished) {
  Inbox inbox(testing::TestRedisUrl());
  ASSERT_TRUE(inbox.Connects());
  RedisLivePublisher publisher({.url = testing::TestRedisUrl()});
  const FeedKey key = UniqueKey(":with:colons");
  const std::string binary("\0\r\n\xff", 4);
  ASSERT_THAT(publisher.Publish({{{.key = key, .payload = "first"}, {.key = key, .payload = binary}}}), IsOk());
  ASSERT_TRUE(inbox.Receives(key, 2));
  EXPECT_THAT(inbox.PayloadsFor(key), ::testing::ElementsAre("first", binary));
}

TEST_F(RedisLiveBus, PublishesManyInOneRoundTrip) {
  Inbox inbox(testing::TestRedisUrl());
  ASSERT_TRUE(inbox.Connects());
  RedisLivePublisher publisher({.url = testing::TestRedisUrl()});
  const FeedKey key = UniqueKey();
  const std::vector<LiveMessage> messages(1000, {.key = key, .payload = std::string(2000, 'x')});
  ASSERT_THAT(publisher.Publish(messages), IsOk());
  EXPECT_TRUE(inbox.Receives(key, 1000));
}

TEST_F(RedisLiveBus, PublishesFromManyThreads) {
  Inbox inbox(testing::TestRedisUrl());
  ASSERT_TRUE(inbox.Connects());
  RedisLivePublisher publisher({.url = testing::TestRedisUrl()});
  const FeedKey key = UniqueKey();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 100; ++n) EXPECT_THAT(publisher.Publish({{{.key = key, .payload = "x"}}}), IsOk());
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(inbox.Receives(key, 800));
}

TEST_F(RedisLiveBus, AuthenticatesAndSelectsTheDatabase) {
  PrivateRedis redis;
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  EXPECT_THAT(RedisLivePublisher({.url = redis.url()}).Publish({message}), IsOk());
  EXPECT_THAT(RedisLivePublisher({.url = redis.url("wrong")}).Publish({message}), Not(IsOk()));
}

TEST_F(RedisLiveBus, ListenerReconnectsAndSaysSo) {
  PrivateRedis redis;
  Inbox inbox(redis.url());
  ASSERT_TRUE(inbox.Connects());
  redis.Kill();
  ASSERT_TRUE(WaitFor([&] { return !inbox.listener().connected(); }));
  redis.Start();
  ASSERT_TRUE(WaitFor([&] { return inbox.connections() == 2; }));
  EXPECT_TRUE(inbox.listener().connected());
  const FeedKey key = UniqueKey();
  RedisLivePublisher publisher({.url = redis.url()});
  ASSERT_THAT(publisher.Publish({{.key = key, .payload = "x"}}), IsOk());
  EXPECT_TRUE(inbox.Receives(key, 1));
}

TEST_F(RedisLiveBus, ListenerNoticesARedisThatHangs) {
  PrivateRedis redis;
  Inbox inbox(redis.url());
  ASSERT_TRUE(inbox.Connects());
  redis.Freeze();
  ASSERT_TRUE(WaitFor([&] { return !inbox.listener().connected(); }));
  redis.Thaw();
  EXPECT_TRUE(WaitFor([&] { return inbox.listener().connected() && inbox.connections() >= 2; }));
}

TEST_F(RedisLiveBus, ListenerStaysConnectedWhileNothingIsPublished) {
  PrivateRedis redis;
  Inbox inbox(redis.url());
  ASSERT_TRUE(inbox.Connects());
  // Long enough for several heartbeats to be missed, if they were.
  EXPECT_FALSE(WaitFor([&] { return inbox.connections() > 1 || !inbox.listener().connected(); }, 8 * kHeartbeat));
}

TEST_F(RedisLiveBus, ListenerStopsAtOnceWithoutRedis) {
  RedisLiveListener listener({.url = absl::StrCat("redis://", FreeAddress())}, kHeartbeat);
  listener.Start({.on_message = [](LiveMessage) {}, .on_connected = [] {}});
  EXPECT_LT(TimeOf([&] { listener.Stop(); }), absl::Seconds(2));
  EXPECT_FALSE(listener.connected());
  listener.Stop();
}

TEST_F(RedisLiveBus, ListenerMayBeStoppedWithoutHavingStarted) {
  RedisLiveListener listener({.url = "redis://127.0.0.1:1"}, kHeartbeat);
  listener.Stop();
}

TEST_F(RedisLiveBus, PublisherUsesANewRedisAtOnce) {
  PrivateRedis redis;
  RedisLivePublisher publisher({.url = redis.url()});
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  ASSERT_THAT(publisher.Publish({message}), IsOk());
  redis.Kill();
  redis.Start();
  EXPECT_THAT(publisher.Publish({message}), IsOk());
}

TEST_F(RedisLiveBus, PublisherFailsAtOnceWhileRedisIsDown) {
  RedisLivePublisher publisher({.url = absl::StrCat("redis://", FreeAddress())});
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  const absl::Duration time = TimeOf([&] {
    for (int i = 0; i < 1000; ++i) {
      EXPECT_THAT(publisher.Publish({message}), StatusIs(absl::StatusCode::kUnavailable));
    }
  });
  EXPECT_LT(time, absl::Seconds(2));
}

TEST_F(RedisLiveBus, PublisherWaitsBoundedlyForARedisThatHangs) {
  PrivateRedis redis;
  RedisLivePublisher publisher({.url = redis.url()});
  const LiveMessage message{.key = UniqueKey(), .payload = "x"};
  ASSERT_THAT(publisher.Publish({message}), IsOk());
  redis.Freeze();
  const absl::Duration first = TimeOf([&] { EXPECT_THAT(publisher.Publish({message}), Not(IsOk())); });
  EXPECT_LT(first, absl::Milliseconds(900));
  const absl::Duration second = TimeOf([&] { EXPECT_THAT(publisher.Publish({message}), Not(IsOk())); });
  EXPECT_LT(second, absl::Milliseconds(200));
  redis.Thaw();
  EXPECT_TRUE(WaitFor([&] { return publisher.Publish({message}).ok(); }));
}

TEST_F(RedisLiveBus, PublishesNothingWithoutRedis) {
  EXPECT_THAT(RedisLivePublisher({.url = "redis://127.0.0.1:1"}).Publish({}), IsOk());
}

}  // namespace
}  // namespace carillon
