// Wake-ups between two servers: each gets what its own streams need.
#include <memory>

#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/private_redis.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAreArray;

constexpr int kRecipients = 20;
constexpr absl::string_view kReceived = "carillon_live_messages_received_total";
constexpr absl::string_view kWanted = "carillon_live_messages_wanted_total";

// Two servers with every other recipient's stream, and a Redis that nobody else uses.
class LiveRouting : public ::testing::Test {
 protected:
  void StartStack(const std::string& routing) {
    RunningStackOptions options;
    options.processes = {"server", "server-2", "relay", "worker-social"};
    for (const char* name : {"server", "server-2", "worker-social"}) {
      options.flags[name] = {absl::StrCat("--live-routing=", routing)};
    }
    options.redis_url = redis_.url();
    stack_ = std::make_unique<RunningStack>(options);
    clients_.emplace_back(new Client(ClientOf(*stack_)));
    clients_.emplace_back(new Client(ClientOf(*stack_, "server-2")));
    for (int i = 0; i < kRecipients; ++i) {
      streams_.push_back(std::make_unique<RecordedStream>(*clients_[i % 2], absl::StrCat("user-", i)));
    }
    for (const char* server : {"server", "server-2"}) {
      ASSERT_TRUE(WaitFor([&] { return Metric(server, "carillon_presence_entries") == kRecipients / 2; }));
    }
    // Known to Redis, too: a wake-up that finds no route goes to all servers.
    ASSERT_TRUE(WaitFor([&] {
      return redis_.Run({"EVAL", "return #redis.call('KEYS', 'carillon:presence:*')", "0"}) ==
                 absl::StrCat(kRecipients) &&
             redis_.Run({"PUBSUB", "NUMPAT"}) == "1";
    }));
  }

  void TearDown() override {
    streams_.clear();
    clients_.clear();
  }

  double Metric(const std::string& process, absl::string_view name) {
    return MetricSum(*stack_, process, std::string(name));
  }

  // So many to each recipient.
  void Send(int count) {
    v1::BatchSendNotificationsRequest batch;
    for (int i = 0; i < count * kRecipients; ++i) {
      *batch.add_requests() = Request("like", absl::StrCat("user-", i % kRecipients));
    }
    ASSERT_OK(clients_[0]->BatchSendNotifications(batch));
    sent_ += count;
  }

  double Published() { return Metric("worker-social", "carillon_live_published_total"); }
  double Received(const std::string& server) { return Metric(server, kReceived); }
  double Wanted(const std::string& server) { return Metric(server, kWanted); }
  // Counted a moment after the streams have it, and once for all of a recipient's that are
  // written together.
  bool EverySentOneIsCounted() {
    return Published() >= kRecipients && Wanted("server") + Wanted("server-2") == Published();
  }
  std::string Counts() {
    return absl::StrCat("received ", Received("server"), " and ", Received("server-2"), ", wanted ", Wanted("server"),
                        " and ", Wanted("server-2"), " of ", Published());
  }

  void ExpectAllOnEveryStream() {
    for (const auto& stream : streams_) {
      ASSERT_TRUE(stream->WaitForEvents(sent_));
      EXPECT_THAT(stream->seqs(), ElementsAreArray(CountUpTo(sent_)));
    }
  }

  PrivateRedis redis_;
  std::unique_ptr<RunningStack> stack_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<RecordedStream>> streams_;
  int sent_ = 0;
};

TEST_F(LiveRouting, DirectedSendsEachServerOnlyWhatItsStreamsNeed) {
  StartStack("directed");
  for (int i = 0; i < 5; ++i) Send(10);
  ExpectAllOnEveryStream();
  EXPECT_TRUE(WaitFor([&] { return EverySentOneIsCounted(); })) << Counts();
  for (const char* server : {"server", "server-2"}) {
    EXPECT_GT(Wanted(server), 0);
    EXPECT_EQ(Received(server), Wanted(server)) << Counts();
  }
}

TEST_F(LiveRouting, BroadcastSendsEverythingToAllServers) {
  StartStack("broadcast");
  for (int i = 0; i < 5; ++i) Send(10);
  ExpectAllOnEveryStream();
  EXPECT_TRUE(WaitFor([&] {
    return EverySentOneIsCounted() && Received("server") == Published() && Received("server-2") == Published();
  })) << Counts();
}

TEST_F(LiveRouting, LosesNothingWithRedisAndIsDirectedAgainAfterIt) {
  StartStack("directed");
  Send(5);
  ExpectAllOnEveryStream();
  redis_.Kill();
  Send(10);
  ExpectAllOnEveryStream();
  redis_.Start();
  const double before = Metric("server-2", kReceived);
  ASSERT_TRUE(WaitFor(
      [&] {
        Send(1);
        return Metric("server-2", kReceived) > before;
      },
      absl::Seconds(30)));
  ExpectAllOnEveryStream();
}

}  // namespace
}  // namespace carillon::testing
