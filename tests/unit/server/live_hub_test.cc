#include "server/feed/live_hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "carillon/domain/event.h"
#include "carillon/wire/feed_event.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"
#include "tests/unit/server/in_memory_feed_store.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using testing::InMemoryFeedStore;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;
using testing::StatusIs;
using testing::WaitFor;
using Event = v1::SubscribeResponse;

FeedKey Key(std::string recipient) { return {.app = AppId(7), .recipient = RecipientId(std::move(recipient))}; }

// Long intervals: what a test wants to see happens because of what it does.
LiveHub::Options Quiet() {
  LiveHub::Options options;
  options.sweep_interval = absl::Hours(1);
  options.timing.heartbeat_interval = absl::Hours(1);
  options.timing.slow_client_grace = absl::Hours(1);
  return options;
}

// Announces when it is told to.
class TestPresence final : public Presence {
 public:
  void Add(const FeedKey& key, std::function<void()> announced) override {
    ++streams_[key];
    waiting_.push_back(std::move(announced));
  }
  void Remove(const FeedKey& key) override { --streams_[key]; }

  void Announce() {
    for (const std::function<void()>& announced : std::exchange(waiting_, {})) announced();
  }
  int streams(const FeedKey& key) { return streams_[key]; }

 private:
  std::map<FeedKey, int> streams_;
  std::vector<std::function<void()>> waiting_;
};

// A client: reads when it is told to, and keeps what it got.
class Client final : public StreamSink, public std::enable_shared_from_this<Client> {
 public:
  static std::shared_ptr<Client> Connect(LiveHub& hub, const FeedKey& key, int64_t after_seq) {
    auto client = std::make_shared<Client>(hub);
    absl::StatusOr<std::shared_ptr<LiveStream>> stream = hub.Open(key, after_seq, client);
    EXPECT_THAT(stream, testing::IsOk());
    client->stream_ = *std::move(stream);
    return client;
  }

  explicit Client(LiveHub& hub) : hub_(hub) {}

  void OnReady() override { ++wake_ups; }
  void OnAbandoned() override { abandoned = true; }

  // Takes at most so many steps; returns how many there were.
  int Take(int most) {
    for (int i = 0; i < most; ++i) {
      std::optional<StreamStep> step = hub_.Take(stream_);
      if (!step.has_value()) return i;
      if (step->message == nullptr) {
        end = step->status;
        return i;
      }
      EXPECT_TRUE(events.emplace_back().ParseFromString(*step->message));
    }
    return most;
  }
  void TakeAll() {
    while (!end.has_value() && Take(1000) > 0) {
    }
  }

  bool ReceivesEvents(size_t count) {
    return WaitFor([&] {
      TakeAll();
      return events.size() >= count;
    });
  }
  bool Ends() {
    return WaitFor([&] {
      TakeAll();
      return end.has_value();
    });
  }
  void Disconnect() { hub_.Close(stream_); }

  std::vector<int64_t> Numbers() const {
    std::vector<int64_t> numbers;
    for (const Event& event : events) numbers.push_back(event.seq());
    return numbers;
  }

  std::vector<Event> events;
  std::optional<absl::Status> end;
  std::atomic<int> wake_ups = 0;
  std::atomic<bool> abandoned = false;

 private:
  LiveHub& hub_;
  std::shared_ptr<LiveStream> stream_;
};

class LiveHubTest : public ::testing::Test {
 protected:
  void StartHub(LiveHub::Options options) {
    hub_.emplace(store_, metrics_, std::move(options));
    hub_->Start();
  }

  std::shared_ptr<Client> Connect(const FeedKey& key, int64_t after_seq) {
    clients_.push_back(Client::Connect(*hub_, key, after_seq));
    return clients_.back();
  }

  // Connected and past its backlog, which must be empty after after_seq.
  std::shared_ptr<Client> ConnectLive(const FeedKey& key, int64_t after_seq) {
    const int reads = store_.backlog_reads();
    std::shared_ptr<Client> client = Connect(key, after_seq);
    EXPECT_TRUE(WaitFor([&] { return store_.backlog_reads() > reads; }));
    Announce(key, {Append(key)});
    EXPECT_TRUE(client->ReceivesEvents(1));
    client->events.clear();
    return client;
  }

  FeedItem Append(const FeedKey& key) { return store_.Append(key); }
  void AppendMany(const FeedKey& key, int count) {
    for (int i = 0; i < count; ++i) store_.Append(key);
  }

  void Announce(const FeedKey& key, std::vector<FeedItem> items) {
    hub_->OnLiveMessage({.key = key, .payload = EncodeLiveUpdate(items)});
  }

  void TearDown() override {
    for (const std::shared_ptr<Client>& client : clients_) client->Disconnect();
    EXPECT_EQ(hub_->stream_count(), 0u);
  }

  const FeedKey key_ = Key("ada");
  InMemoryFeedStore store_;
  Metrics metrics_;
  TestPresence presence_;
  std::optional<LiveHub> hub_;
  std::vector<std::shared_ptr<Client>> clients_;
};

TEST_F(LiveHubTest, SendsTheBacklogAndThenLiveEvents) {
  StartHub(Quiet());
  AppendMany(key_, 3);
  const auto client = Connect(key_, 1);
  ASSERT_TRUE(client->ReceivesEvents(2));
  Announce(key_, {Append(key_)});
  ASSERT_TRUE(client->ReceivesEvents(3));
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3, 4));
  EXPECT_EQ(client->events[2].item().title(), "item 4");
}

TEST_F(LiveHubTest, AppendsTheNextNumberWithoutAskingTheStore) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  const int reads = store_.backlog_reads();
  for (int i = 0; i < 10; ++i) Announce(key_, {Append(key_)});
  ASSERT_TRUE(client->ReceivesEvents(10));
  EXPECT_EQ(store_.backlog_reads(), reads);
}

TEST_F(LiveHubTest, ClosesAGapWithOneRead) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  const int reads = store_.backlog_reads();
  AppendMany(key_, 5);
  Announce(key_, {Append(key_)});
  ASSERT_TRUE(client->ReceivesEvents(6));
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3, 4, 5, 6, 7));
  EXPECT_EQ(store_.backlog_reads(), reads + 1);
}

TEST_F(LiveHubTest, FollowsHintsThatComeDuringARead) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  store_.SetBlocked(true);
  const int reads = store_.backlog_reads();
  Append(key_);
  Announce(key_, {Append(key_)});
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() > reads; }));
  Announce(key_, {Append(key_)});
  store_.SetBlocked(false);
  ASSERT_TRUE(client->ReceivesEvents(3));
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3, 4));
}

TEST_F(LiveHubTest, SendsOnceWhatComesLiveAndByARead) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  store_.SetBlocked(true);
  const int reads = store_.backlog_reads();
  const FeedItem first = Append(key_);
  const FeedItem second = Append(key_);
  Announce(key_, {second});
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() > reads; }));
  Announce(key_, {first, second});
  ASSERT_TRUE(client->ReceivesEvents(2));
  store_.SetBlocked(false);
  Announce(key_, {Append(key_)});
  ASSERT_TRUE(client->ReceivesEvents(3));
  hub_->Stop();
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3, 4));
}

TEST_F(LiveHubTest, SendsRepeatedAndLateHintsOnce) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  const FeedItem first = Append(key_);
  const FeedItem second = Append(key_);
  Announce(key_, {second});
  Announce(key_, {first});
  Announce(key_, {first, second});
  ASSERT_TRUE(client->ReceivesEvents(2));
  Announce(key_, {Append(key_)});
  ASSERT_TRUE(client->ReceivesEvents(3));
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3, 4));
}

TEST_F(LiveHubTest, SkipsNumbersThatAreSuperseded) {
  StartHub(Quiet());
  AppendMany(key_, 2);
  ASSERT_TRUE(store_.Supersede(key_).has_value());
  const auto client = Connect(key_, 0);
  ASSERT_TRUE(client->ReceivesEvents(2));
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3));
}

TEST_F(LiveHubTest, SendsReadMarkersInTheirPlace) {
  StartHub(Quiet());
  AppendMany(key_, 2);
  ASSERT_THAT(store_.MarkReadUpTo(key_, 1), testing::IsOk());
  AppendMany(key_, 1);
  const auto client = Connect(key_, 0);
  ASSERT_TRUE(client->ReceivesEvents(4));
  EXPECT_THAT(client->Numbers(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(client->events[2].read_marker().up_to_seq(), 1);
  EXPECT_EQ(client->events[2].read_marker().unread(), 1);
}

TEST_F(LiveHubTest, ShowsAReadMarkerOnEveryStreamOfTheRecipient) {
  StartHub(Quiet());
  const auto first = ConnectLive(key_, 0);
  const auto second = Connect(key_, 1);
  const auto stranger = Connect(Key("bob"), 0);
  const absl::StatusOr<MarkReadResult> marked = store_.MarkReadUpTo(key_, 1);
  ASSERT_THAT(marked, testing::IsOk());
  hub_->OnLiveMessage({.key = key_, .payload = EncodeLiveUpdate(*marked->marker)});
  for (const auto& client : {first, second}) {
    ASSERT_TRUE(client->ReceivesEvents(1));
    EXPECT_EQ(client->events[0].read_marker().up_to_seq(), 1);
  }
  stranger->TakeAll();
  EXPECT_THAT(stranger->events, IsEmpty());
}

TEST_F(LiveHubTest, FindsChangesWithoutAnyHint) {
  LiveHub::Options options = Quiet();
  options.sweep_interval = absl::Milliseconds(20);
  StartHub(options);
  const auto client = ConnectLive(key_, 0);
  AppendMany(key_, 3);
  ASSERT_TRUE(client->ReceivesEvents(3));
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3, 4));
}

TEST_F(LiveHubTest, SweepsManyRecipientsInOneGo) {
  StartHub(Quiet());
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 1100; ++i) {
    clients.push_back(Connect(Key(absl::StrCat("user ", i)), 0));
    Append(Key(absl::StrCat("user ", i)));
  }
  hub_->SweepNow();
  for (const auto& client : clients) ASSERT_TRUE(client->ReceivesEvents(1));
}

TEST_F(LiveHubTest, GathersReadsWhileOneIsUnderWay) {
  LiveHub::Options options = Quiet();
  options.reader_threads = 1;
  StartHub(options);
  store_.SetBlocked(true);
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 61; ++i) {
    Append(Key(absl::StrCat("user ", i)));
    clients.push_back(Connect(Key(absl::StrCat("user ", i)), 0));
    ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() == 1; }));
  }
  store_.SetBlocked(false);
  for (const auto& client : clients) ASSERT_TRUE(client->ReceivesEvents(1));
  EXPECT_EQ(store_.backlog_reads(), 2);
}

TEST_F(LiveHubTest, ReadsOnlyTheHeadsOfManyThatHaveMissedNothing) {
  LiveHub::Options options = Quiet();
  options.reader_threads = 1;
  StartHub(options);
  constexpr int kClients = 500;
  const auto key = [](int i) { return Key(absl::StrCat("user ", i)); };
  for (int i = 0; i < kClients; ++i) AppendMany(key(i), 3);
  store_.SetBlocked(true);
  Connect(key_, 0);
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() == 1; }));
  std::vector<std::shared_ptr<Client>> clients;
  // Every tenth lacks an item, one is of another database.
  for (int i = 0; i < kClients; ++i) clients.push_back(Connect(key(i), i == 7 ? 99 : i % 10 == 0 ? 2 : 3));
  store_.SetBlocked(false);
  EXPECT_TRUE(clients[7]->Ends());
  for (int i = 0; i < kClients; i += 10) EXPECT_TRUE(clients[i]->ReceivesEvents(1));
  EXPECT_EQ(store_.backlog_requests(), 1 + kClients / 10);
  EXPECT_EQ(store_.backlog_reads(), 2);
  // The others follow from where they are.
  Announce(key(1), {Append(key(1))});
  EXPECT_TRUE(clients[1]->ReceivesEvents(1));
  EXPECT_EQ(store_.backlog_reads(), 2);
}

TEST_F(LiveHubTest, ReadsManyBacklogsInAFewQueries) {
  LiveHub::Options options = Quiet();
  options.reader_threads = 1;
  StartHub(options);
  constexpr int kClients = 1000;
  store_.SetBlocked(true);
  Connect(key_, 0);
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() == 1; }));
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    AppendMany(Key(absl::StrCat("user ", i)), 10);
    clients.push_back(Connect(Key(absl::StrCat("user ", i)), 0));
  }
  store_.SetBlocked(false);
  for (const auto& client : clients) ASSERT_TRUE(client->ReceivesEvents(10));
  EXPECT_THAT(store_.backlog_reads(), Le(1 + kClients / 200));
}

TEST_F(LiveHubTest, SharesOneRequestAmongStreamsAtOnePosition) {
  LiveHub::Options options = Quiet();
  options.reader_threads = 1;
  StartHub(options);
  Append(key_);
  store_.SetBlocked(true);
  Connect(Key("bob"), 0);
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() == 1; }));
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(Connect(key_, 0));
  store_.SetBlocked(false);
  for (const auto& client : clients) ASSERT_TRUE(client->ReceivesEvents(1));
  EXPECT_EQ(store_.backlog_requests(), 2);
}

TEST_F(LiveHubTest, RequiresResumeBelowTheFloor) {
  StartHub(Quiet());
  AppendMany(key_, 10);
  store_.Expire(key_, 5);
  const auto client = Connect(key_, 4);
  ASSERT_TRUE(client->Ends());
  EXPECT_THAT(*client->end, testing::IsOk());
  ASSERT_THAT(client->events, SizeIs(1));
  EXPECT_EQ(client->events[0].resume_required().cause(), v1::ResumeRequired::CAUSE_RETENTION);
}

TEST_F(LiveHubTest, StartsAtTheFloorOrFromTheOldestKept) {
  StartHub(Quiet());
  AppendMany(key_, 7);
  store_.Expire(key_, 5);
  for (const int64_t after_seq : {0, 5}) {
    const auto client = Connect(key_, after_seq);
    ASSERT_TRUE(client->ReceivesEvents(2));
    EXPECT_THAT(client->Numbers(), ElementsAre(6, 7));
  }
}

TEST_F(LiveHubTest, RequiresResumeAboveTheLastNumber) {
  StartHub(Quiet());
  AppendMany(key_, 3);
  const auto client = Connect(key_, 4);
  ASSERT_TRUE(client->Ends());
  ASSERT_THAT(client->events, SizeIs(1));
  EXPECT_EQ(client->events[0].resume_required().cause(), v1::ResumeRequired::CAUSE_UNKNOWN_SEQ);
  EXPECT_EQ(client->events[0].seq(), 3);
}

TEST_F(LiveHubTest, RequiresResumeWhenTheFeedGoesBack) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  store_.Forget(key_);
  hub_->SweepNow();
  ASSERT_TRUE(client->Ends());
  EXPECT_EQ(client->events.back().resume_required().cause(), v1::ResumeRequired::CAUSE_UNKNOWN_SEQ);
}

TEST_F(LiveHubTest, PagesALongBacklogInAsTheClientDrainsIt) {
  StartHub(Quiet());
  AppendMany(key_, 5000);
  const auto client = Connect(key_, 0);
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() == 2; }));
  // Two pages fill the buffer; further hints do not make it grow.
  for (int i = 0; i < 100; ++i) Announce(key_, {Append(key_)});
  EXPECT_EQ(store_.backlog_reads(), 2);
  ASSERT_TRUE(client->ReceivesEvents(5100));
  EXPECT_EQ(client->events.back().seq(), 5100);
  EXPECT_THAT(store_.backlog_reads(), Le(12));
}

TEST_F(LiveHubTest, EndsTheStreamOfAClientThatDoesNotDrainIt) {
  LiveHub::Options options = Quiet();
  options.timing.slow_client_grace = absl::Milliseconds(50);
  StartHub(options);
  const auto client = Connect(key_, 0);
  client->TakeAll();
  Announce(key_, {Append(key_)});
  // None is still on its way when those that follow are counted.
  ASSERT_TRUE(WaitFor([&] { return client->wake_ups == 1; }));
  ASSERT_TRUE(client->ReceivesEvents(1));
  for (size_t i = 0; i <= limits::kStreamBufferEvents; ++i) Announce(key_, {Append(key_)});
  // Woken once for the first event; the end of it is found by whoever takes next.
  EXPECT_TRUE(WaitFor([&] { return client->wake_ups == 2; }));
  ASSERT_TRUE(WaitFor([&] {
    client->Take(1);
    return client->events.back().has_resume_required();
  }));
  ASSERT_TRUE(client->Ends());
  EXPECT_EQ(client->wake_ups, 2);
  EXPECT_EQ(client->events.back().resume_required().cause(), v1::ResumeRequired::CAUSE_SLOW_CLIENT);
  // The client can tell from where it missed something.
  EXPECT_EQ(client->events.back().seq(), client->events[client->events.size() - 2].seq());
}

TEST_F(LiveHubTest, KeepsTheStreamOfAClientThatDrainsABurst) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  for (size_t i = 0; i < 3 * limits::kStreamBufferEvents; ++i) Announce(key_, {Append(key_)});
  ASSERT_TRUE(client->ReceivesEvents(3 * limits::kStreamBufferEvents));
  EXPECT_FALSE(client->end.has_value());
  for (size_t i = 0; i < client->events.size(); ++i) ASSERT_EQ(client->events[i].seq(), static_cast<int64_t>(i) + 2);
}

TEST_F(LiveHubTest, GivesUpOnClientsThatNeverTakeTheLastEvent) {
  LiveHub::Options options = Quiet();
  options.timing.abandoned_after = absl::Milliseconds(20);
  StartHub(options);
  const auto client = Connect(key_, 99);
  EXPECT_TRUE(WaitFor([&] { return client->abandoned.load(); }));
}

TEST_F(LiveHubTest, SendsHeartbeatsWhenNothingElseIsSent) {
  LiveHub::Options options = Quiet();
  options.timing.heartbeat_interval = absl::Milliseconds(30);
  StartHub(options);
  AppendMany(key_, 3);
  const auto client = Connect(key_, 0);
  // Three items and at least two heartbeats; some may come before the items.
  ASSERT_TRUE(WaitFor([&] {
    client->TakeAll();
    if (client->events.size() < 5) return false;
    return client->events.back().has_heartbeat() && client->events.back().seq() == 3;
  }));
}

TEST_F(LiveHubTest, KeepsStreamsOpenWhileTheStoreIsDown) {
  LiveHub::Options options = Quiet();
  options.timing.heartbeat_interval = absl::Milliseconds(30);
  StartHub(options);
  store_.SetFailure(error::BackendUnavailable("postgresql", "down"));
  Append(key_);
  const auto client = Connect(key_, 0);
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() >= 3; }));
  ASSERT_TRUE(client->ReceivesEvents(1));
  EXPECT_TRUE(client->events[0].has_heartbeat());
  EXPECT_EQ(client->events[0].seq(), 0);
  store_.SetFailure(absl::OkStatus());
  ASSERT_TRUE(WaitFor([&] {
    client->TakeAll();
    return client->events.back().has_item() || client->events.back().seq() == 1;
  }));
  EXPECT_FALSE(client->end.has_value());
}

TEST_F(LiveHubTest, EndsOnlyTheStreamsThatTheStoreRefuses) {
  StartHub(Quiet());
  store_.SetFailure(error::Internal("a fault"));
  const auto client = Connect(key_, 0);
  ASSERT_TRUE(client->Ends());
  EXPECT_THAT(*client->end, StatusIs(absl::StatusCode::kInternal));
}

TEST_F(LiveHubTest, IsNotMisledByAHintThatPromisesTooMuch) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  const int reads = store_.backlog_reads();
  FeedItem wrong = Append(key_);
  wrong.seq = 1'000'000;
  Announce(key_, {wrong});
  ASSERT_TRUE(client->ReceivesEvents(1));
  Announce(key_, {Append(key_)});
  ASSERT_TRUE(client->ReceivesEvents(2));
  EXPECT_THAT(client->Numbers(), ElementsAre(2, 3));
  EXPECT_EQ(store_.backlog_reads(), reads + 1);
}

TEST_F(LiveHubTest, IgnoresMalformedHints) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  hub_->OnLiveMessage({.key = key_, .payload = "not a protobuf message"});
  Announce(key_, {Append(key_)});
  EXPECT_TRUE(client->ReceivesEvents(1));
}

TEST_F(LiveHubTest, BoundsTheStreamsOfARecipientAndOfTheServer) {
  LiveHub::Options options = Quiet();
  options.max_streams = 3;
  options.max_streams_per_recipient = 2;
  StartHub(options);
  const auto first = Connect(key_, 0);
  Connect(key_, 0);
  const auto sink = std::make_shared<Client>(*hub_);
  EXPECT_THAT(hub_->Open(key_, 0, sink), StatusIs(absl::StatusCode::kResourceExhausted));
  Connect(Key("bob"), 0);
  EXPECT_THAT(hub_->Open(Key("eve"), 0, sink), StatusIs(absl::StatusCode::kResourceExhausted));
  first->Disconnect();
  EXPECT_EQ(hub_->stream_count(), 2u);
  Connect(key_, 0);
}

TEST_F(LiveHubTest, DoesNotBoundTheStreamsOfAPublicFeed) {
  LiveHub::Options options = Quiet();
  options.max_streams_per_recipient = 2;
  StartHub(options);
  const FeedKey topic = TopicFeedKey(AppId(7), "news");
  std::vector<std::shared_ptr<Client>> clients;
  for (int i = 0; i < 30; ++i) clients.push_back(Connect(topic, 0));
  Announce(topic, {Append(topic)});
  for (const auto& client : clients) EXPECT_TRUE(client->ReceivesEvents(1));
}

struct DeafSink final : StreamSink {
  void OnReady() override {}
  void OnAbandoned() override {}
};

TEST_F(LiveHubTest, BoundsTheStreamsThatAnEndUserHasOfPublicFeeds) {
  LiveHub::Options options = Quiet();
  options.max_streams_per_recipient = 2;
  StartHub(options);
  const auto open = [this](const char* topic, const char* user) {
    return hub_->Open(TopicFeedKey(AppId(7), topic), 0, std::make_shared<DeafSink>(), nullptr, user);
  };
  ASSERT_OK_AND_ASSIGN(const auto first, open("news", "ann"));
  ASSERT_OK_AND_ASSIGN(const auto second, open("weather", "ann"));
  EXPECT_THAT(open("sports", "ann"), StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_OK_AND_ASSIGN(const auto others, open("sports", "bob"));
  hub_->Close(first);
  ASSERT_OK_AND_ASSIGN(const auto third, open("sports", "ann"));
  for (const auto& stream : {second, others, third}) hub_->Close(stream);
  EXPECT_EQ(hub_->stream_count(), 0u);
}

TEST_F(LiveHubTest, ReadsOnlyWhenPublishersKnowOfTheStream) {
  LiveHub::Options options = Quiet();
  options.presence = &presence_;
  StartHub(options);
  AppendMany(key_, 2);
  const auto client = Connect(key_, 0);
  // Nothing of this starts the read: what is published now may not come here.
  client->TakeAll();
  Announce(key_, {Append(key_)});
  hub_->SweepNow();
  ASSERT_TRUE(WaitFor([&] { return store_.heads_read() > 0; }));
  EXPECT_EQ(store_.backlog_reads(), 0);
  Append(key_);
  presence_.Announce();
  ASSERT_TRUE(client->ReceivesEvents(4));
  EXPECT_THAT(client->Numbers(), ElementsAre(1, 2, 3, 4));
}

TEST_F(LiveHubTest, TellsPublishersOfEachStreamFromItsStartToItsEnd) {
  LiveHub::Options options = Quiet();
  options.presence = &presence_;
  StartHub(options);
  const auto first = Connect(key_, 0);
  Connect(key_, 0);
  EXPECT_EQ(presence_.streams(key_), 2);
  first->Disconnect();
  first->Disconnect();
  EXPECT_EQ(presence_.streams(key_), 1);
  // Announced after its end: nothing is read for it.
  clients_.back()->Disconnect();
  presence_.Announce();
  EXPECT_EQ(presence_.streams(key_), 0);
  Connect(Key("bob"), 0);
  presence_.Announce();
  ASSERT_TRUE(WaitFor([&] { return store_.backlog_reads() == 1; }));
  EXPECT_EQ(store_.backlog_requests(), 1);
}

TEST_F(LiveHubTest, LooksAtTheRecipientsOfAnAppThatHasASharedEvent) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  const FeedKey foreign{.app = AppId(8), .recipient = RecipientId("ada")};
  const auto stranger = ConnectLive(foreign, 0);
  Append(key_);
  Append(foreign);
  hub_->OnSharedEvent(AppId(7));
  ASSERT_TRUE(client->ReceivesEvents(1));
  EXPECT_EQ(store_.heads_read(), 1);
  EXPECT_EQ(metrics_.Counter("carillon_live_found_by_sweep_total", "").Value(), 0);
  stranger->TakeAll();
  EXPECT_THAT(stranger->events, IsEmpty());
}

TEST_F(LiveHubTest, LooksAFewTimesForABurstOfSharedEvents) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  for (int i = 0; i < 1000; ++i) hub_->OnSharedEvent(AppId(7));
  Append(key_);
  hub_->OnSharedEvent(AppId(7));
  ASSERT_TRUE(client->ReceivesEvents(1));
  EXPECT_THAT(store_.heads_read(), Le(10));
}

TEST_F(LiveHubTest, SweepsEverybodyThoughSharedEventsDoNotEnd) {
  LiveHub::Options options = Quiet();
  options.sweep_interval = absl::Milliseconds(20);
  StartHub(options);
  const auto client = ConnectLive(key_, 0);
  Append(key_);
  ASSERT_TRUE(WaitFor([&] {
    hub_->OnSharedEvent(AppId(8));
    client->TakeAll();
    return client->events.size() == 1;
  }));
}

TEST_F(LiveHubTest, EndsAllStreamsWhenItStops) {
  StartHub(Quiet());
  const auto client = ConnectLive(key_, 0);
  hub_->Stop();
  EXPECT_GT(client->wake_ups, 0);
  client->TakeAll();
  ASSERT_TRUE(client->end.has_value());
  EXPECT_THAT(*client->end, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(hub_->Open(key_, 0, client), StatusIs(absl::StatusCode::kUnavailable));
}

// Clients that take at their own pace, go away and come back at a number that they
// have seen, while items, in-place changes and markers are written, hints are lost,
// doubled and reordered, and the store fails now and then.
class LiveHubPropertyTest : public ::testing::TestWithParam<int> {};

class WanderingClient {
 public:
  WanderingClient(LiveHub& hub, FeedKey key) : hub_(hub), key_(std::move(key)) { Connect(); }
  ~WanderingClient() { client_->Disconnect(); }

  void Step(std::mt19937& random) {
    const uint32_t choice = random() % 100;
    if (choice < 5) {
      Reconnect(random() % 2 == 0 ? 0 : static_cast<size_t>(random()));
    } else {
      client_->Take(static_cast<int>(random() % 20));
      Collect();
    }
  }

  bool HasAll(const std::vector<int64_t>& expected) {
    return WaitFor([&] {
      client_->TakeAll();
      Collect();
      return std::includes(seen_.begin(), seen_.end(), expected.begin(), expected.end());
    });
  }
  const FeedKey& key() const { return key_; }

 private:
  void Connect() { client_ = Client::Connect(hub_, key_, seen_.empty() ? 0 : seen_.back()); }

  // Forgets some of what it has, as a client does that has not stored everything.
  void Reconnect(size_t forget) {
    client_->Disconnect();
    Collect();
    if (!seen_.empty()) seen_.resize(seen_.size() - forget % seen_.size());
    Connect();
  }

  void Collect() {
    for (const Event& event : client_->events) {
      ASSERT_FALSE(event.has_resume_required()) << event.DebugString();
      if (event.has_heartbeat()) continue;
      ASSERT_GT(event.seq(), seen_.empty() ? 0 : seen_.back());
      ASSERT_TRUE(!event.has_item() || event.item().seq() == event.seq());
      seen_.push_back(event.seq());
    }
    client_->events.clear();
  }

  LiveHub& hub_;
  const FeedKey key_;
  std::shared_ptr<Client> client_;
  std::vector<int64_t> seen_;
};

// Writes to the store, and announces as an unreliable bus does.
class UnreliableWriter {
 public:
  UnreliableWriter(InMemoryFeedStore& store, LiveHub& hub, uint32_t seed) : store_(store), hub_(hub), random_(seed) {}

  void Write(const FeedKey& key) {
    const uint32_t choice = random_() % 10;
    if (choice == 0) {
      const std::optional<FeedItem> item = store_.Supersede(key);
      if (item.has_value()) Announce(key, EncodeLiveUpdate({*item}));
    } else if (choice == 1) {
      const absl::StatusOr<MarkReadResult> result = store_.MarkReadUpTo(key, static_cast<int64_t>(random_() % 1000));
      if (result.ok() && result->marker.has_value()) Announce(key, EncodeLiveUpdate(*result->marker));
    } else {
      std::vector<FeedItem> items(1 + random_() % 5);
      for (FeedItem& item : items) item = store_.Append(key);
      Announce(key, EncodeLiveUpdate(items));
    }
  }

 private:
  void Announce(const FeedKey& key, std::string payload) {
    held_back_.push_back({.key = key, .payload = std::move(payload)});
    while (held_back_.size() > random_() % 4) {
      std::swap(held_back_[random_() % held_back_.size()], held_back_.back());
      const uint32_t fate = random_() % 10;
      if (fate != 0) hub_.OnLiveMessage(held_back_.back());
      if (fate == 1) hub_.OnLiveMessage(held_back_.back());
      held_back_.pop_back();
    }
  }

  InMemoryFeedStore& store_;
  LiveHub& hub_;
  std::mt19937 random_;
  std::vector<LiveMessage> held_back_;
};

TEST_P(LiveHubPropertyTest, EveryStreamSeesEachChangeOnceInOrderWithNothingMissing) {
  const uint32_t seed = static_cast<uint32_t>(GetParam());
  InMemoryFeedStore store(/*page=*/7);
  Metrics metrics;
  LiveHub::Options options;
  options.sweep_interval = absl::Milliseconds(20);
  options.timing.heartbeat_interval = absl::Milliseconds(10);
  options.timing.slow_client_grace = absl::Hours(1);
  LiveHub hub(store, metrics, options);
  hub.Start();
  // One thread a recipient: it writes, and is the recipient's clients.
  const auto run = [&](uint32_t number) {
    const FeedKey key = Key(absl::StrCat("user ", number));
    std::mt19937 random(seed * 10 + number);
    UnreliableWriter writer(store, hub, seed * 100 + number);
    std::vector<std::unique_ptr<WanderingClient>> clients;
    for (int i = 0; i < 4; ++i) clients.push_back(std::make_unique<WanderingClient>(hub, key));
    for (int n = 0; n < 1000; ++n) {
      const bool store_is_down = number == 0 && n >= 500 && n < 520;
      if (number == 0) store.SetFailure(store_is_down ? error::BackendUnavailable("store", "down") : absl::OkStatus());
      if (n % 97 == 0) hub.SweepNow();
      // Now and then a client is up to date, and takes live events.
      if (random() % 40 == 0 && !store_is_down) {
        ASSERT_TRUE(clients[random() % clients.size()]->HasAll(store.NumbersAfter(key, 0)));
      }
      if (random() % 3 == 0) {
        writer.Write(key);
      } else {
        clients[random() % clients.size()]->Step(random);
      }
    }
    store.SetFailure(absl::OkStatus());
    for (const auto& client : clients) ASSERT_TRUE(client->HasAll(store.NumbersAfter(key, 0)));
  };
  std::vector<std::thread> threads;
  for (uint32_t number = 0; number < 3; ++number) threads.emplace_back(run, number);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(hub.stream_count(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, LiveHubPropertyTest, ::testing::Range(1, 11));

}  // namespace
}  // namespace carillon
