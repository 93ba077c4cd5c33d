// What must survive: kills, losses, outages, and a message that kills its worker.
#include <atomic>
#include <csignal>
#include <optional>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"
#include "tests/kit/test_vhost.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAreArray;
using ::testing::SizeIs;

int CountDeadLetters(const RunningStack& stack) {
  int count = -1;
  EXPECT_TRUE(
      absl::SimpleAtoi(const_cast<RunningStack&>(stack).database().Query("SELECT count(*) FROM dead_letters"), &count));
  return count;
}

void SendBatch(Client& client, const std::string& type, const std::string& user, int count) {
  v1::BatchSendNotificationsRequest batch;
  for (int i = 0; i < count; ++i) *batch.add_requests() = Request(type, user);
  ASSERT_OK(client.BatchSendNotifications(batch));
}

// A recipient in whose feed nothing can be written without the session that does
// so hanging: whoever handles such a message is killed while it does.
constexpr const char* kHangOnPoison = R"sql(
  CREATE FUNCTION hang_on_poison() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF NEW.recipient_id = 'poison' THEN PERFORM pg_sleep(60); END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER hang_on_poison BEFORE INSERT ON feed_items FOR EACH ROW EXECUTE FUNCTION hang_on_poison())sql";

bool SomeoneHangs(const RunningStack& stack) {
  return const_cast<RunningStack&>(stack).database().Query(
             "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
             " AND datname = current_database()") != "0";
}

// A session does not see that its client is gone while it hangs.
void EndWhoHangs(RunningStack& stack) {
  stack.database().Query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
      " AND datname = current_database()");
}

// Kills the worker each time that it hangs, until something is dead. Returns how often.
int KillUntilSomethingIsDead(RunningStack& stack, const std::string& worker) {
  int kills = 0;
  const bool dead = WaitFor(
      [&] {
        if (CountDeadLetters(stack) > 0) return true;
        if (SomeoneHangs(stack)) {
          stack.KillProcess(worker);
          EndWhoHangs(stack);
          ++kills;
          stack.StartProcess(worker);
        }
        return false;
      },
      absl::Seconds(120));
  EXPECT_TRUE(dead) << kills << " kills";
  return kills;
}

// As the broker has it; nothing if nobody knows.
std::optional<v1::Queue> FindQueue(Client& client, const std::string& name) {
  const auto queues = client.ListQueues({});
  if (!queues.ok()) return std::nullopt;
  for (const v1::Queue& queue : queues->queues()) {
    if (queue.name() == name) return queue;
  }
  return std::nullopt;
}

// Ready in the broker; negative if nobody knows.
int64_t MessagesIn(Client& client, const std::string& name) {
  const std::optional<v1::Queue> queue = FindQueue(client, name);
  return queue.has_value() ? queue->messages() : -1;
}

int64_t ConsumersOf(Client& client, const std::string& name) {
  const std::optional<v1::Queue> queue = FindQueue(client, name);
  return queue.has_value() ? queue->consumers() : -1;
}

TEST(Faults, AMessageThatKillsItsWorkerDiesAloneAndItsNeighboursAreDelivered) {
  RunningStackOptions options;
  options.flags["relay"] = {"--pack=1"};
  RunningStack stack(options);
  Client client = ClientOf(stack);
  stack.database().Query(kHangOnPoison);
  ASSERT_EQ(stack.StopProcess("worker-marketing"), 0);
  SendBatch(client, "marketing.discount", "neighbour", 25);
  ASSERT_OK_AND_ASSIGN(const auto poison, client.SendNotification(Request("marketing.discount", "poison")));
  SendBatch(client, "marketing.discount", "neighbour", 24);
  stack.StartProcess("worker-marketing");

  EXPECT_GE(KillUntilSomethingIsDead(stack, "worker-marketing"), 2);
  EXPECT_TRUE(WaitFor([&] { return WholeFeed(client, "neighbour").size() == 49; }));
  EXPECT_EQ(CountDeadLetters(stack), 1);
  EXPECT_EQ(StateOf(client, poison.notification().notification_id()), v1::STATE_DEAD);
  EXPECT_EQ(stack.database().Query("SELECT reason FROM dead_letters"), "delivery_limit");
}

TEST(Faults, AnItemThatKillsItsWorkerLeavesItsPackAndDiesAlone) {
  RunningStack stack;
  Client client = ClientOf(stack);
  stack.database().Query(kHangOnPoison);
  ASSERT_EQ(stack.StopProcess("worker-marketing"), 0);
  v1::BatchSendNotificationsRequest batch;
  for (int i = 0; i < 50; ++i) {
    *batch.add_requests() = Request("marketing.discount", i == 25 ? "poison" : absl::StrCat("neighbour-", i % 7));
  }
  ASSERT_OK_AND_ASSIGN(const auto sent, client.BatchSendNotifications(batch));
  ASSERT_TRUE(WaitFor([&] { return MessagesIn(client, "marketing") == 1; }));
  stack.StartProcess("worker-marketing");

  EXPECT_GE(KillUntilSomethingIsDead(stack, "worker-marketing"), 2);
  const auto in_state = [&](const char* state) {
    return stack.database().Query(absl::StrCat("SELECT count(*) FROM notifications WHERE state = '", state, "'"));
  };
  EXPECT_TRUE(WaitFor([&] { return in_state("delivered") == "49"; })) << in_state("delivered");
  EXPECT_EQ(CountDeadLetters(stack), 1);
  EXPECT_EQ(StateOf(client, sent.responses(25).notification().notification_id()), v1::STATE_DEAD);
  EXPECT_EQ(stack.database().Query("SELECT reason FROM dead_letters"), "delivery_limit");
}

TEST(Faults, WhatADeadWorkerHeldIsDeliveredByItsNeighboursAndNothingDies) {
  // Few, so that both workers have some of a dozen messages.
  const std::vector<std::string> flags = {"--consumers=4", "--threads=2"};
  RunningStackOptions options;
  options.flags["worker-payment"] = flags;
  RunningStack stack(options);
  Client client = ClientOf(stack);
  SlowDownFeeds(stack, absl::Seconds(60));
  const auto start_second_worker = [&] {
    auto started =
        Process::Start({.command = {BinaryDirectory() + "/carillon-worker", "--lane=payment", flags[0], flags[1]},
                        .environment = stack.Environment(),
                        .output_file = "/dev/null"});
    EXPECT_OK(started);
    return *std::move(started);
  };
  const auto consumers = [&] { return ConsumersOf(client, "payment"); };
  for (int round = 0; round < 3; ++round) {
    // First those of the one that was killed are gone, then both have some.
    ASSERT_TRUE(WaitFor([&] { return consumers() == 4; }, absl::Seconds(30))) << consumers();
    const std::unique_ptr<Process> second = start_second_worker();
    ASSERT_TRUE(WaitFor([&] { return consumers() == 8; }, absl::Seconds(30))) << consumers();
    // While the first stands still, whoever writes is the second.
    stack.process("worker-payment").Signal(SIGSTOP);
    stack.database().Query("ALTER TABLE feed_items ENABLE TRIGGER take_a_while");
    std::vector<std::string> ids;
    for (int i = 0; i < 12; ++i) {
      ASSERT_OK_AND_ASSIGN(const auto sent,
                           client.SendNotification(Request("payment.receipt", absl::StrCat("slow-", round, "-", i))));
      ids.push_back(sent.notification().notification_id());
    }
    ASSERT_TRUE(WaitFor([&] { return SomeoneHangs(stack); }, absl::Seconds(30)));
    second->Kill();
    EndWhoHangs(stack);
    stack.database().Query("ALTER TABLE feed_items DISABLE TRIGGER take_a_while");
    stack.process("worker-payment").Signal(SIGCONT);
    for (const std::string& id : ids) {
      EXPECT_TRUE(WaitFor([&] { return StateOf(client, id) == v1::STATE_DELIVERED; }, absl::Seconds(60))) << id;
    }
  }
  EXPECT_EQ(CountDeadLetters(stack), 0);
}

TEST(Faults, AFailureOfItsOwnIsRetriedThreeTimesAndThenRecordedAsDead) {
  RunningStack stack;
  Client client = ClientOf(stack);
  stack.database().Query(
      "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " IF NEW.recipient_id = 'refused' THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$;"
      "CREATE TRIGGER refuse BEFORE INSERT ON feed_items FOR EACH ROW EXECUTE FUNCTION refuse()");
  ASSERT_OK_AND_ASSIGN(const auto sent, client.SendNotification(Request("payment.receipt", "refused")));
  const std::string id = sent.notification().notification_id();
  SendBatch(client, "payment.receipt", "fine", 20);
  EXPECT_TRUE(WaitFor([&] { return WholeFeed(client, "fine").size() == 20; }));
  ASSERT_TRUE(WaitFor([&] { return StateOf(client, id) == v1::STATE_DEAD; }, absl::Seconds(120)));

  v1::GetNotificationRequest get;
  get.set_notification_id(id);
  ASSERT_OK_AND_ASSIGN(const auto got, client.GetNotification(get));
  const auto& timeline = got.notification().timeline();
  std::vector<int> attempts;
  std::vector<double> times;
  for (const v1::TimelineEntry& entry : timeline) {
    if (entry.attempt() == 0) continue;
    attempts.push_back(entry.attempt());
    times.push_back(static_cast<double>(entry.time().seconds()) + entry.time().nanos() / 1e9);
    EXPECT_THAT(entry.detail(), ::testing::HasSubstr("not this one"));
  }
  ASSERT_THAT(attempts, ::testing::ElementsAre(1, 2, 3, 4));
  EXPECT_GE(times[1] - times[0], 5);
  EXPECT_GE(times[2] - times[1], 10);
  EXPECT_GE(times[3] - times[2], 20);
  ASSERT_OK_AND_ASSIGN(const auto letters, client.ListDeadLetters({}));
  ASSERT_EQ(letters.dead_letters_size(), 1);
  EXPECT_EQ(letters.dead_letters(0).notification_id(), id);
  EXPECT_EQ(letters.dead_letters(0).reason(), "retries_exhausted");
  EXPECT_EQ(letters.dead_letters(0).retry_count(), 3);
}

TEST(Faults, WhatAPurgedQueueHeldArrivesAllTheSame) {
  RunningStackOptions options;
  options.flags["relay"] = {"--idle-bound=5s"};
  RunningStack stack(options);
  Client client = ClientOf(stack);
  ASSERT_EQ(stack.StopProcess("worker-social"), 0);
  SendBatch(client, "like", "purged", 1000);
  ASSERT_TRUE(WaitFor([&] { return stack.database().Query("SELECT count(*) FROM outbox") == "0"; }));
  ASSERT_TRUE(WaitFor([&] { return MessagesIn(client, "social.like") > 0; }));
  Rabbitmqctl({"purge_queue", "-p", stack.vhost().name(), "social.like"});
  stack.StartProcess("worker-social");
  EXPECT_TRUE(WaitFor([&] { return WholeFeed(client, "purged").size() == 1000; }, absl::Seconds(60)));
  EXPECT_EQ(CountDeadLetters(stack), 0);
}

TEST(Faults, ItemsArriveWithoutRedis) {
  RunningStackOptions options;
  // A port where nothing listens.
  for (const char* process : {"server", "worker-social"}) {
    options.flags[process] = {"--redis-url=redis://127.0.0.1:1"};
  }
  RunningStack stack(options);
  Client client = ClientOf(stack);
  RecordedStream stream(client, "lonely");
  SendBatch(client, "like", "lonely", 50);
  ASSERT_TRUE(stream.WaitForEvents(50));
  EXPECT_THAT(stream.seqs(), ElementsAreArray(CountUpTo(50)));
}

TEST(Faults, ATerminatedWorkerGivesNothingBack) {
  RunningStack stack;
  Client client = ClientOf(stack);
  std::atomic<bool> done = false;
  std::thread sender([&] {
    for (int i = 0; i < 60; ++i) SendBatch(client, i % 2 == 0 ? "like" : "marketing.discount", "steady", 50);
    done = true;
  });
  int stops = 0;
  do {
    for (const char* worker : {"worker-social", "worker-marketing"}) {
      EXPECT_EQ(stack.StopProcess(worker), 0);
      stack.StartProcess(worker);
      ++stops;
    }
  } while (!done);
  sender.join();
  EXPECT_GT(stops, 1);
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client, "steady").size() == 3000; }, absl::Seconds(60)));
  for (const char* worker : {"worker-social", "worker-marketing"}) {
    EXPECT_EQ(MetricSum(stack, worker, "carillon_redelivered_total"), 0) << worker;
  }
  EXPECT_EQ(stack.StopProcess("server"), 0);
  EXPECT_EQ(stack.StopProcess("relay"), 0);
}

TEST(Faults, AStreamFollowsItsFeedThroughKillsOfEveryProcess) {
  RunningStack stack;
  Client client = ClientOf(stack);
  RecordedStream stream(client, "patient");
  constexpr int kRounds = 12;
  for (int i = 0; i < kRounds; ++i) {
    v1::BatchSendNotificationsRequest batch;
    for (int k = 0; k < 100; ++k) *batch.add_requests() = Request("like", "patient", absl::StrCat(i, "/", k));
    // A server that was killed may be away for longer than a client tries by itself.
    ASSERT_TRUE(WaitFor([&] { return client.BatchSendNotifications(batch).ok(); }));
    const std::string victim = std::vector<std::string>{"server", "relay", "worker-social"}[i % 3];
    stack.KillProcess(victim);
    stack.StartProcess(victim);
  }
  ASSERT_TRUE(stream.WaitForEvents(kRounds * 100, absl::Seconds(60)));
  EXPECT_THAT(stream.seqs(), ElementsAreArray(CountUpTo(kRounds * 100)));
  EXPECT_THAT(WholeFeed(client, "patient"), SizeIs(kRounds * 100));
  EXPECT_EQ(CountDeadLetters(stack), 0);
}

// An event to so many followers of "star", told in pages of 50.
constexpr int kFollowers = 20'000;

class EventFaults : public ::testing::Test {
 protected:
  explicit EventFaults(const std::vector<std::string>& relay_flags = {}) : stack_(Options(relay_flags)) {
    const std::string fans = absl::StrCat("SELECT app_id, 'fan-' || n FROM apps, generate_series(1, ", kFollowers,
                                          ") AS n WHERE name = 'test'");
    stack_.database().Query("INSERT INTO feed_heads (app_id, recipient_id) " + fans);
    stack_.database().Query(
        "INSERT INTO memberships (app_id, member_id, kind, group_id, since_position)"
        " SELECT *, 'followers', 'star', 0 FROM (" +
        fans + ") AS fans");
  }

  static RunningStackOptions Options(const std::vector<std::string>& relay_flags) {
    RunningStackOptions options;
    options.processes = {"server", "relay", "worker-fanout"};
    options.flags["worker-fanout"] = {"--page=50"};
    options.flags["relay"] = relay_flags;
    return options;
  }
  void Publish() {
    v1::PublishEventRequest request;
    request.set_type("comment");
    request.set_actor_id("star");
    request.mutable_audience()->set_followers_of("star");
    const auto published = client_.PublishEvent(request);
    ASSERT_OK(published);
    id_ = published->event().event_id();
  }
  v1::Event Get() {
    v1::GetEventRequest request;
    request.set_event_id(id_);
    const auto got = client_.GetEvent(request);
    return got.ok() ? got->event() : v1::Event();
  }
  bool WaitUntilExpanded(int64_t count) {
    return WaitFor([&] { return Get().expanded() >= count; }, absl::Seconds(60));
  }
  // Of the event and what carries it.
  std::string Where() {
    return absl::StrCat(Get().ShortDebugString(), "; shard, cursor, done: ",
                        stack_.database().Query("SELECT shard || ' ' || cursor || ' ' || done FROM event_shards"),
                        "; outbox: ", stack_.database().Query("SELECT count(*) FROM outbox"),
                        "; queue: ", MessagesIn(client_, "fanout.social"));
  }
  void ExpectEverybodyToldOnce() {
    EXPECT_TRUE(WaitFor([&] { return Get().state() == v1::EVENT_STATE_DONE; }, absl::Seconds(90))) << Where();
    EXPECT_EQ(Get().expanded(), kFollowers);
    EXPECT_EQ(stack_.database().Query("SELECT count(*) || ' ' || count(DISTINCT recipient_id) FROM feed_items"),
              absl::StrCat(kFollowers, " ", kFollowers));
    EXPECT_EQ(stack_.database().Query("SELECT count(*) FROM feed_heads WHERE last_seq = 1 AND unread = 1"),
              absl::StrCat(kFollowers));
    EXPECT_EQ(CountDeadLetters(stack_), 0);
  }

  RunningStack stack_;
  Client client_ = ClientOf(stack_);
  std::string id_;
};

class ImpatientEventFaults : public EventFaults {
 protected:
  ImpatientEventFaults() : EventFaults({"--idle-bound=3s"}) {}

  // With nobody to take them, all pages under way wait in the queue. Loses them.
  void LoseQueuedPages() {
    ASSERT_TRUE(WaitFor(
        [&] {
          return stack_.database().Query("SELECT count(*) FROM outbox") == "0" &&
                 MessagesIn(client_, "fanout.social") > 0;
        },
        absl::Seconds(30)))
        << Where();
    Rabbitmqctl({"purge_queue", "-p", stack_.vhost().name(), "fanout.social"});
  }
};

TEST_F(EventFaults, KillsOfTheFanoutWorkerLeaveNobodyOutAndTellNobodyTwice) {
  // No kill comes after the end.
  StandStillAt(stack_, "star", 11'000);
  Publish();
  for (int kill = 1; kill <= 5; ++kill) {
    ASSERT_TRUE(WaitUntilExpanded(kill * 2000));
    stack_.KillProcess("worker-fanout");
    stack_.StartProcess("worker-fanout");
  }
  StandStillAt(stack_, "star", kFollowers);
  ExpectEverybodyToldOnce();
}

TEST_F(EventFaults, KillsOfTheRelayAndLostConnectionsLeaveNobodyOutAndTellNobodyTwice) {
  Publish();
  for (int round = 1; round <= 2; ++round) {
    ASSERT_TRUE(WaitUntilExpanded(round * 4000 - 2000));
    stack_.KillProcess("relay");
    stack_.StartProcess("relay");
    ASSERT_TRUE(WaitUntilExpanded(round * 4000));
    stack_.vhost().CloseConnections();
    stack_.database().Query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()");
  }
  ExpectEverybodyToldOnce();
}

TEST_F(ImpatientEventFaults, APagesMessageThatIsLostIsSentAgain) {
  StandStillAt(stack_, "star", 2000);
  Publish();
  for (int round = 1; round <= 2; ++round) {
    ASSERT_TRUE(WaitUntilExpanded(round * 2000));
    stack_.KillProcess("worker-fanout");
    LoseQueuedPages();
    StandStillAt(stack_, "star", (round + 1) * 2000);
    stack_.StartProcess("worker-fanout");
    ASSERT_TRUE(WaitUntilExpanded(round * 2000 + 1)) << Where();
  }
  StandStillAt(stack_, "star", kFollowers);
  ExpectEverybodyToldOnce();
}

// The last page is written, and the worker dies before it ends the event; then its
// message is lost too.
TEST_F(ImpatientEventFaults, AnEventOfWhichAllIsToldEndsWithoutAMessage) {
  stack_.database().Query(
      "CREATE FUNCTION hang_at_the_end() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " IF NEW.state = 'done' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;"
      "CREATE TRIGGER hang_at_the_end BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION hang_at_the_end()");
  Publish();
  ASSERT_TRUE(WaitFor([&] { return SomeoneHangs(stack_); }, absl::Seconds(60)));
  stack_.KillProcess("worker-fanout");
  // The relay, too, may hang in it: nobody does so again.
  stack_.database().Query(
      "CREATE OR REPLACE FUNCTION hang_at_the_end() RETURNS trigger LANGUAGE plpgsql AS $$"
      " BEGIN RETURN NEW; END $$");
  EndWhoHangs(stack_);
  LoseQueuedPages();
  ExpectEverybodyToldOnce();
}

}  // namespace
}  // namespace carillon::testing
