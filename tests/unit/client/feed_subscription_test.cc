#include "client/carillon/feed_subscription.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "client/carillon/client.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/client/fake_server.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::FakeFeedService;
using testing::FakeServer;
using ::testing::Gt;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;
using testing::StatusIs;
using testing::WaitFor;

v1::SubscribeResponse Item(int64_t seq) {
  v1::SubscribeResponse event;
  event.set_seq(seq);
  event.mutable_item()->set_seq(seq);
  return event;
}

v1::SubscribeResponse ResumeRequired() {
  v1::SubscribeResponse event;
  event.mutable_resume_required()->set_cause(v1::ResumeRequired::CAUSE_RETENTION);
  return event;
}

v1::SubscribeTopicResponse TopicItem(int64_t seq) {
  v1::SubscribeTopicResponse event;
  event.set_seq(seq);
  event.mutable_item()->set_seq(seq);
  return event;
}

// Holds a stream open until the client or the test ends it.
grpc::Status HoldOpen(grpc::ServerContext& context) {
  while (!context.IsCancelled()) absl::SleepFor(absl::Milliseconds(2));
  return grpc::Status::CANCELLED;
}

// What a subscription told. Thread-safe.
class Recorder {
 public:
  FeedSubscription::Callbacks Callbacks() {
    FeedSubscription::Callbacks callbacks;
    callbacks.on_event = [this](const v1::SubscribeResponse& event) {
      absl::MutexLock lock(&mutex_);
      seqs_.push_back(event.seq());
    };
    callbacks.on_disconnect = [this](const absl::Status& status, std::optional<absl::Duration> retry_in) {
      absl::MutexLock lock(&mutex_);
      disconnects_.push_back(status);
      ended_ = !retry_in.has_value();
    };
    return callbacks;
  }

  std::vector<int64_t> seqs() const {
    absl::MutexLock lock(&mutex_);
    return seqs_;
  }
  std::vector<absl::Status> disconnects() const {
    absl::MutexLock lock(&mutex_);
    return disconnects_;
  }
  bool ended() const {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<int64_t> seqs_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::Status> disconnects_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

FeedSubscription::Options FastOptions(int64_t after_seq = 0) {
  FeedSubscription::Options options;
  options.user_id = "alice";
  options.after_seq = after_seq;
  options.initial_backoff = absl::Milliseconds(1);
  options.max_backoff = absl::Milliseconds(5);
  return options;
}

FeedSubscription::Options FastTopicOptions(int64_t after_seq = 0) {
  FeedSubscription::Options options = FastOptions(after_seq);
  options.user_id.clear();
  options.topic_id = "news";
  return options;
}

TEST(FeedSubscription, ComesBackFromTheLastEventThatWasHandled) {
  FakeServer server;
  server.feed.script = [](int stream, FakeFeedService::Writer& writer, grpc::ServerContext& context) {
    writer.Write(Item(2 * stream + 11));
    writer.Write(Item(2 * stream + 12));
    return stream < 2 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "killed") : HoldOpen(context);
  };
  Client client(server.Options());
  Recorder recorder;
  const auto subscription = client.Subscribe(FastOptions(10), recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] { return subscription->last_seq() == 16; }));
  subscription->Stop();
  EXPECT_THAT(recorder.seqs(), ElementsAre(11, 12, 13, 14, 15, 16));
  EXPECT_THAT(server.feed.after_seqs(), ElementsAre(10, 12, 14));
  EXPECT_THAT(recorder.disconnects(), SizeIs(2));
  EXPECT_THAT(recorder.disconnects(), Each(StatusIs(absl::StatusCode::kUnavailable)));
}

TEST(FeedSubscription, ComesBackWhenTheServerEndsTheStreamInGoodOrder) {
  FakeServer server;
  server.feed.script = [](int stream, FakeFeedService::Writer&, grpc::ServerContext& context) {
    return stream == 0 ? grpc::Status::OK : HoldOpen(context);
  };
  Client client(server.Options());
  Recorder recorder;
  const auto subscription = client.Subscribe(FastOptions(), recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] { return server.feed.after_seqs().size() == 2; }));
  EXPECT_THAT(recorder.disconnects(), ElementsAre(StatusIs(absl::StatusCode::kUnavailable)));
}

TEST(FeedSubscription, GoesOnFromTheFeedsLastSeqAfterResumeRequired) {
  FakeServer server;
  server.feed.summary.set_last_seq(500);
  server.feed.script = [](int stream, FakeFeedService::Writer& writer, grpc::ServerContext& context) {
    if (stream == 0) {
      writer.Write(ResumeRequired());
      return grpc::Status::OK;
    }
    writer.Write(Item(501));
    return HoldOpen(context);
  };
  Client client(server.Options());
  Recorder recorder;
  const auto subscription = client.Subscribe(FastOptions(3), recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] { return subscription->last_seq() == 501; }));
  EXPECT_THAT(server.feed.after_seqs(), ElementsAre(3, 500));
  EXPECT_THAT(recorder.disconnects(), ElementsAre());
}

TEST(FeedSubscription, GoesOnFromWhereItIsToldAfterResumeRequired) {
  FakeServer server;
  server.feed.summary.set_last_seq(500);
  server.feed.script = [](int stream, FakeFeedService::Writer& writer, grpc::ServerContext& context) {
    if (stream > 0) return HoldOpen(context);
    writer.Write(ResumeRequired());
    return grpc::Status::OK;
  };
  Client client(server.Options());
  Recorder recorder;
  FeedSubscription::Callbacks callbacks = recorder.Callbacks();
  callbacks.on_resume = [](int64_t last_seq) { return last_seq - 100; };
  const auto subscription = client.Subscribe(FastOptions(3), callbacks);
  EXPECT_TRUE(WaitFor([&] { return server.feed.after_seqs().size() == 2; }));
  EXPECT_THAT(server.feed.after_seqs(), ElementsAre(3, 400));
}

TEST(FeedSubscription, TakesALongSilenceForABrokenConnection) {
  FakeServer server;
  // On every stream: the silence may have been too long before the first one's event came.
  server.feed.script = [](int, FakeFeedService::Writer& writer, grpc::ServerContext& context) {
    writer.Write(Item(1));
    return HoldOpen(context);
  };
  Client client(server.Options());
  Recorder recorder;
  FeedSubscription::Options options = FastOptions();
  options.heartbeat_interval = absl::Milliseconds(30);
  const auto subscription = client.Subscribe(options, recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] {
    const std::vector<int64_t> seqs = server.feed.after_seqs();
    return seqs.size() >= 2 && seqs.back() == 1;
  }));
  ASSERT_FALSE(recorder.disconnects().empty());
  EXPECT_THAT(recorder.disconnects().front(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(FeedSubscription, EndsOnAnErrorThatNoTimeHeals) {
  FakeServer server;
  server.feed.script = [](int, FakeFeedService::Writer&, grpc::ServerContext&) {
    return grpc::Status(grpc::StatusCode::UNAUTHENTICATED, "who are you");
  };
  Client client(server.Options());
  Recorder recorder;
  const auto subscription = client.Subscribe(FastOptions(), recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] { return recorder.ended(); }));
  subscription->Stop();
  EXPECT_THAT(recorder.disconnects(), ElementsAre(StatusIs(absl::StatusCode::kUnauthenticated)));
  EXPECT_THAT(server.feed.after_seqs(), SizeIs(1));
}

TEST(FeedSubscription, CallsNobodyOnceItHasStopped) {
  FakeServer server;
  server.feed.script = [](int, FakeFeedService::Writer& writer, grpc::ServerContext&) {
    int64_t seq = 0;
    while (writer.Write(Item(++seq))) {
    }
    return grpc::Status::CANCELLED;
  };
  Client client(server.Options());
  std::atomic<bool> stopped = false;
  std::atomic<int64_t> events = 0;
  FeedSubscription::Callbacks callbacks;
  callbacks.on_event = [&](const v1::SubscribeResponse&) {
    EXPECT_FALSE(stopped);
    ++events;
  };
  const auto subscription = client.Subscribe(FastOptions(), callbacks);
  EXPECT_TRUE(WaitFor([&] { return events > 100; }));
  subscription->Stop();
  stopped = true;
  subscription->Stop();
}

TEST(FeedSubscription, StopsWhileItWaitsToComeBack) {
  FakeServer server;
  server.feed.script = [](int, FakeFeedService::Writer&, grpc::ServerContext&) {
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "away");
  };
  Client client(server.Options());
  Recorder recorder;
  FeedSubscription::Options options = FastOptions();
  options.initial_backoff = absl::Hours(1);
  options.max_backoff = absl::Hours(1);
  const auto subscription = client.Subscribe(options, recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] { return !recorder.disconnects().empty(); }));
  subscription->Stop();
}

TEST(FeedSubscription, ComesBackAtADifferentTimeThanOthersWhenAServerGoesAway) {
  constexpr int kStreams = 40;
  auto server = std::make_unique<FakeServer>();
  server->feed.script = [](int, FakeFeedService::Writer& writer, grpc::ServerContext& context) {
    writer.Write(Item(1));
    return HoldOpen(context);
  };
  Client client(server->Options());
  absl::Mutex mutex;
  std::vector<absl::Duration> delays;
  FeedSubscription::Callbacks callbacks;
  callbacks.on_event = [](const v1::SubscribeResponse&) {};
  callbacks.on_disconnect = [&](const absl::Status&, std::optional<absl::Duration> retry_in) {
    absl::MutexLock lock(&mutex);
    delays.push_back(*retry_in);
  };
  FeedSubscription::Options options = FastOptions();
  options.initial_backoff = absl::Hours(1);
  options.max_backoff = absl::Hours(8);
  std::vector<std::unique_ptr<FeedSubscription>> subscriptions;
  for (int i = 0; i < kStreams; ++i) subscriptions.push_back(client.Subscribe(options, callbacks));
  for (const auto& subscription : subscriptions) {
    EXPECT_TRUE(WaitFor([&] { return subscription->last_seq() == 1; }));
  }
  server.reset();
  EXPECT_TRUE(WaitFor([&] {
    absl::MutexLock lock(&mutex);
    return delays.size() == kStreams;
  }));
  subscriptions.clear();
  EXPECT_THAT(delays, Each(AllOf(Gt(absl::ZeroDuration()), Le(absl::Hours(1)))));
  std::sort(delays.begin(), delays.end());
  EXPECT_EQ(std::adjacent_find(delays.begin(), delays.end()), delays.end());
  EXPECT_GT(delays.back() - delays.front(), absl::Minutes(30)) << "spread over the whole of the backoff";
}

TEST(TopicSubscription, ComesBackFromTheLastEventThatWasHandled) {
  FakeServer server;
  server.feed.topic_script = [](int stream, FakeFeedService::TopicWriter& writer, grpc::ServerContext& context) {
    writer.Write(TopicItem(2 * stream + 11));
    writer.Write(TopicItem(2 * stream + 12));
    return stream < 2 ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "killed") : HoldOpen(context);
  };
  Client client(server.Options());
  Recorder recorder;
  const auto subscription = client.Subscribe(FastTopicOptions(10), recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] { return subscription->last_seq() == 16; }));
  subscription->Stop();
  EXPECT_THAT(recorder.seqs(), ElementsAre(11, 12, 13, 14, 15, 16));
  EXPECT_THAT(server.feed.feeds(), ElementsAre("news", "news", "news"));
  EXPECT_THAT(server.feed.after_seqs(), ElementsAre(10, 12, 14));
  EXPECT_THAT(recorder.disconnects(), SizeIs(2));
}

TEST(TopicSubscription, TellsEveryKindOfEventInTheFormOfARecipients) {
  FakeServer server;
  server.feed.topic_script = [](int stream, FakeFeedService::TopicWriter& writer, grpc::ServerContext& context) {
    if (stream > 0) return HoldOpen(context);
    v1::SubscribeTopicResponse event = TopicItem(1);
    event.mutable_item()->set_title("It begins");
    writer.Write(event);
    event.mutable_removed()->set_notification_id("gone");
    writer.Write(event);
    event.mutable_heartbeat();
    writer.Write(event);
    event.mutable_resume_required()->set_cause(v1::ResumeRequired::CAUSE_SLOW_CLIENT);
    writer.Write(event);
    return grpc::Status::OK;
  };
  Client client(server.Options());
  absl::Mutex mutex;
  std::vector<v1::SubscribeResponse> events;
  FeedSubscription::Callbacks callbacks;
  callbacks.on_event = [&](const v1::SubscribeResponse& event) {
    absl::MutexLock lock(&mutex);
    events.push_back(event);
  };
  const auto subscription = client.Subscribe(FastTopicOptions(), callbacks);
  EXPECT_TRUE(WaitFor([&] { return server.feed.feeds().size() == 2; }));
  subscription->Stop();
  ASSERT_THAT(events, SizeIs(4));
  for (const v1::SubscribeResponse& event : events) EXPECT_EQ(event.seq(), 1);
  EXPECT_EQ(events[0].item().title(), "It begins");
  EXPECT_EQ(events[1].removed().notification_id(), "gone");
  EXPECT_TRUE(events[2].has_heartbeat());
  EXPECT_EQ(events[3].resume_required().cause(), v1::ResumeRequired::CAUSE_SLOW_CLIENT);
}

TEST(TopicSubscription, GoesOnFromTheTopicsLastSeqAfterResumeRequired) {
  FakeServer server;
  server.feed.topic_page.set_last_seq(500);
  server.feed.topic_script = [](int stream, FakeFeedService::TopicWriter& writer, grpc::ServerContext& context) {
    if (stream == 0) {
      v1::SubscribeTopicResponse event;
      event.mutable_resume_required()->set_cause(v1::ResumeRequired::CAUSE_RETENTION);
      writer.Write(event);
      return grpc::Status::OK;
    }
    writer.Write(TopicItem(501));
    return HoldOpen(context);
  };
  Client client(server.Options());
  Recorder recorder;
  const auto subscription = client.Subscribe(FastTopicOptions(3), recorder.Callbacks());
  EXPECT_TRUE(WaitFor([&] { return subscription->last_seq() == 501; }));
  EXPECT_THAT(server.feed.after_seqs(), ElementsAre(3, 500));
  EXPECT_THAT(recorder.disconnects(), IsEmpty());
}

TEST(TopicSubscription, IsRefusedTogetherWithAUserAndWithoutEither) {
  FakeServer server;
  Client client(server.Options());
  FeedSubscription::Options neither;
  FeedSubscription::Options both = FastTopicOptions();
  both.user_id = "alice";
  for (const FeedSubscription::Options& options : {neither, both}) {
    Recorder recorder;
    const auto subscription = client.Subscribe(options, recorder.Callbacks());
    EXPECT_TRUE(WaitFor([&] { return recorder.ended(); }));
    subscription->Stop();
    EXPECT_THAT(recorder.disconnects(), ElementsAre(StatusIs(absl::StatusCode::kInvalidArgument)));
  }
  EXPECT_THAT(server.feed.feeds(), IsEmpty());
}

}  // namespace
}  // namespace carillon
