// What kills, losses and restarts do to deliveries: none is lost, and what is sent twice
// is what was under way at a kill, with the id that it had before.
#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/integration/delivery_fixture.h"
#include "tests/kit/environment.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;
using Json = nlohmann::json;

constexpr v1::Channel kEmail = v1::CHANNEL_EMAIL;
constexpr v1::Channel kSms = v1::CHANNEL_SMS;
constexpr v1::Channel kApns = v1::CHANNEL_APNS;
constexpr v1::Channel kWebhook = v1::CHANNEL_WEBHOOK;

constexpr const char* kWorker = "worker-payment";
// Calls that a provider of it has under way: half of what a channel holds, which is,
// with a prefetch of one, its consumers.
constexpr int kUnderWay = 4;
constexpr const char* kUnderWayFlag = "--delivery-consumers=8";
// What the sandbox calls the channels that the kills are tried on.
constexpr const char* kProviders[] = {"smtp", "twilio", "apns", "webhook"};

const std::vector<v1::Channel> kAllChannels = {kEmail, kSms, kApns, kWebhook};
constexpr int kRounds = 3;
// Of a round.
constexpr int kPeople = 40;

class DeliveryFaults : public Deliveries {
 protected:
  static void SetUpTestSuite() {
    RunningStackOptions options;
    options.processes = {"server", "relay", kWorker, "worker-otp"};
    options.flags[kWorker] = {kUnderWayFlag};
    StartSystem(options);
  }
  void SetUp() override {
    Deliveries::SetUp();
    // Longer than any of these tests lets a call wait, but for those that are killed.
    const auto patient = [](const std::string& kind) {
      Json provider = sandbox().Provider(kind);
      provider["timeout"] = "20s";
      return provider;
    };
    app_.SetProviders(kEmail, {patient("smtp")});
    app_.SetProviders(kSms, {patient("twilio")});
    app_.SetProviders(kApns, {patient("apns")});
    app_.SetProviders(kWebhook, {patient("webhook")});
    for (const char* provider : kProviders) before_[provider] = sandbox().Count(provider);
  }

  std::vector<Person> AddPeople(int count) {
    static std::atomic<int> last_token = 0;
    std::vector<Person> people;
    for (int i = 0; i < count; ++i) {
      people.push_back(app_.AddPerson());
      app_.AddDevice(people.back(), kApns, absl::StrFormat("%064d", ++last_token));
    }
    return people;
  }
  static void ScriptAll(const Json& rule) {
    for (const char* provider : kProviders) sandbox().Script(provider, rule);
  }
  // Since this test began.
  SandboxCount Received(const std::string& provider) const {
    const SandboxCount now = sandbox().Count(provider);
    const SandboxCount& before = before_.at(provider);
    return {now.messages - before.messages, now.distinct - before.distinct, now.duplicates - before.duplicates};
  }
  bool AllHaveReceived(int count) const {
    return std::all_of(std::begin(kProviders), std::end(kProviders),
                       [&](const char* provider) { return Received(provider).messages >= count; });
  }
  bool WaitUntilAllSent(int count) {
    return WaitFor([&] { return app_.CountDeliveries("state IN ('sent', 'delivered')") == count; }, absl::Seconds(60));
  }
  // Every person was reached on every channel. A repeat with another id would be one
  // more that is distinct.
  void ExpectAllSent(int people, int most_repeats) {
    const int deliveries = people * static_cast<int>(kAllChannels.size());
    EXPECT_TRUE(WaitUntilAllSent(deliveries)) << app_.CountDeliveries("state IN ('sent', 'delivered')");
    for (const char* provider : kProviders) {
      const SandboxCount received = Received(provider);
      EXPECT_EQ(received.distinct, people) << provider;
      EXPECT_LE(received.duplicates, most_repeats) << provider;
      RecordProperty(absl::StrCat("repeats_", provider), received.duplicates);
    }
    EXPECT_THAT(app_.DeadLetters(), IsEmpty());
  }
  // In each round everything that the worker can have under way hangs, and it is killed.
  void KillWhileAllCallsHang(const char* mode) {
    for (int round = 1; round <= kRounds; ++round) {
      ScriptAll({{"mode", mode}, {"times", kUnderWay}});
      app_.SendToAll("payment.receipt", AddPeople(kPeople), kAllChannels);
      const auto all_hang = [round](const char* provider) { return sandbox().Uses(provider) == kUnderWay * round; };
      ASSERT_TRUE(WaitFor([&] { return std::all_of(std::begin(kProviders), std::end(kProviders), all_hang); }));
      Restart(kWorker);
      ASSERT_TRUE(WaitUntilAllSent(round * kPeople * static_cast<int>(kAllChannels.size())));
    }
  }
  static void Restart(const std::string& process) {
    stack().KillProcess(process);
    stack().StartProcess(process);
  }

  std::map<std::string, SandboxCount> before_;
};

TEST_F(DeliveryFaults, AWorkerThatDiesBeforeItsProvidersAcceptSendsNothingTwice) {
  KillWhileAllCallsHang("hang");
  ExpectAllSent(kRounds * kPeople, /*most_repeats=*/0);
}

TEST_F(DeliveryFaults, AWorkerThatDiesBeforeItHearsOfAnAcceptanceRepeatsWhatWasUnderWayWithTheSameId) {
  // Without receipts, which would say that they arrived.
  sandbox().Script("twilio", {{"mode", "callback"}, {"status", "off"}});
  KillWhileAllCallsHang("hang_after_accept");
  ExpectAllSent(kRounds * kPeople, /*most_repeats=*/kRounds * kUnderWay);
  EXPECT_EQ(Received("smtp").duplicates, kRounds * kUnderWay);
  EXPECT_EQ(Received("twilio").duplicates, 0) << "it was asked what it had accepted";
}

TEST_F(DeliveryFaults, AWorkerThatDiesInTheMiddleOfItsWorkLosesNothingAndRepeatsLittle) {
  constexpr int kMany = 200;
  ScriptAll({{"mode", "slow"}, {"delay_ms", 20}});
  app_.SendToAll("payment.receipt", AddPeople(kMany), kAllChannels);
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(WaitFor([&] { return AllHaveReceived(30 + round * 50); }));
    Restart(kWorker);
  }
  // A kill during a Record repeats the calls that had ended and those that had begun in
  // their place.
  ExpectAllSent(kMany, /*most_repeats=*/kRounds * 2 * kUnderWay);
}

TEST_F(DeliveryFaults, KillsOfTheRelaySendNothingTwice) {
  constexpr int kMany = 200;
  const std::vector<Person> people = AddPeople(kMany);
  std::thread sender([&] {
    for (int i = 0; i < kMany; i += 10) {
      app_.SendToAll("payment.receipt", {people.begin() + i, people.begin() + i + 10}, kAllChannels);
    }
  });
  for (int round = 0; round < kRounds; ++round) {
    EXPECT_TRUE(WaitFor([&] { return AllHaveReceived(10 + round * 50); }));
    Restart("relay");
  }
  sender.join();
  ExpectAllSent(kMany, /*most_repeats=*/0);
}

TEST_F(DeliveryFaults, AWorkerThatIsToldToStopSendsNothingTwice) {
  constexpr int kMany = 200;
  ScriptAll({{"mode", "slow"}, {"delay_ms", 50}});
  app_.SendToAll("payment.receipt", AddPeople(kMany), kAllChannels);
  for (int round = 0; round < kRounds; ++round) {
    ASSERT_TRUE(WaitFor([&] { return AllHaveReceived(10 + round * 50); }));
    EXPECT_EQ(stack().StopProcess(kWorker), 0);
    stack().StartProcess(kWorker);
  }
  ExpectAllSent(kMany, /*most_repeats=*/0);
  // No stop ran into its bound, and left calls that had not ended.
  const auto found = RunCommand({"grep", "deliveries.left", stack().log_file(kWorker)});
  ASSERT_OK(found);
  EXPECT_EQ(found->exit_status, 1) << found->output;
}

TEST_F(DeliveryFaults, ARestartOfPostgresDuringCallsSendsNothingTwice) {
  ScriptAll({{"mode", "slow"}, {"delay_ms", 200}});
  app_.SendToAll("payment.receipt", AddPeople(kPeople), kAllChannels);
  ASSERT_TRUE(WaitFor([&] { return AllHaveReceived(2 * kUnderWay); }));
  RestartPostgres();
  ExpectAllSent(kPeople, /*most_repeats=*/0);
}

TEST_F(DeliveryFaults, AProviderThatHangsHoldsUpNoOtherChannelAndNoStop) {
  const auto longest_on_the_way = [this](const std::string& type) {
    absl::Duration longest;
    for (int i = 0; i < 20; ++i) {
      const Person person = app_.AddPerson();
      const std::string id = app_.Send(type, person, {kEmail});
      EXPECT_TRUE(WaitFor([&] { return !sandbox().Messages("smtp", person.email).empty(); })) << app_.Story(id);
      const std::vector<Json> mails = sandbox().Messages("smtp", person.email);
      if (mails.empty()) return absl::InfiniteDuration();
      longest = std::max(longest, ArrivalTime(mails[0]) - ToTime(app_.Get(id).create_time()));
    }
    return longest;
  };
  Json twilio = sandbox().Provider("twilio");
  twilio["timeout"] = "30s";
  app_.SetProviders(kSms, {twilio});
  sandbox().Script("twilio", {{"mode", "hang"}, {"delay_ms", 0}});
  constexpr int kMany = 100;
  app_.SendToAll("otp.login", AddPeople(kMany), {kSms});
  ASSERT_TRUE(WaitFor([] { return sandbox().Uses("twilio") > 0; }));
  // Less than what the calls that hang are given.
  EXPECT_LT(longest_on_the_way("otp.login"), absl::Seconds(20));
  EXPECT_LT(longest_on_the_way("payment.receipt"), absl::Seconds(20));

  // A call that has just begun: those above may be near their time-outs by now.
  DeliveryApp late(stack());
  Json vonage = sandbox().Provider("vonage");
  vonage["timeout"] = "30s";
  late.SetProviders(kSms, {vonage});
  sandbox().Script("vonage", {{"mode", "hang"}, {"delay_ms", 0}});
  late.Send("otp.login", late.AddPerson(), {kSms});
  ASSERT_TRUE(WaitFor([] { return sandbox().Uses("vonage") >= 1; }));
  const absl::Time told = absl::Now();
  EXPECT_EQ(stack().StopProcess("worker-otp"), 0);
  EXPECT_LT(absl::Now() - told, absl::Seconds(25));
  sandbox().Reset();
  stack().StartProcess("worker-otp");
  EXPECT_TRUE(WaitUntilAllSent(kMany + 40)) << app_.CountDeliveries("state IN ('sent', 'delivered')");
  EXPECT_EQ(Received("twilio").messages, kMany);
}

TEST(DeliveryQueues, WhatAPurgedOneHeldIsSentAllTheSameAndOnce) {
  const PrivateSandbox sandbox;
  RunningStackOptions options;
  options.processes = {"server", "relay", kWorker};
  options.flags["relay"] = {"--idle-bound=3s"};
  options.flags[kWorker] = {"--queues=payment"};
  options.external_channels = true;
  RunningStack stack(options);
  DeliveryApp app(stack);
  app.SetProviders(kEmail, {sandbox.Provider("smtp")});
  constexpr int kMany = 100;
  std::vector<Person> people;
  for (int i = 0; i < kMany; ++i) people.push_back(app.AddPerson());
  app.SendToAll("payment.receipt", people, {kEmail});
  const auto waiting = [&] {
    const auto queues = app.client().ListQueues({});
    for (const v1::Queue& queue : queues.ok() ? queues->queues() : google::protobuf::RepeatedPtrField<v1::Queue>()) {
      if (queue.name() == "payment.email") return queue.messages();
    }
    return int64_t{-1};
  };
  ASSERT_TRUE(WaitFor([&] { return waiting() == kMany; })) << waiting();
  Rabbitmqctl({"purge_queue", "-p", stack.vhost().name(), "payment.email"});

  const auto sender = Process::Start({.command = {BinaryDirectory() + "/carillon-worker", "--lane=payment",
                                                  "--queues=payment.email", "--allow-private-webhooks"},
                                      .environment = stack.Environment(),
                                      .output_file = "/dev/null"});
  ASSERT_OK(sender);
  EXPECT_TRUE(WaitFor([&] { return app.CountDeliveries("state = 'sent'") == kMany; }))
      << app.CountDeliveries("state = 'sent'");
  EXPECT_EQ(sandbox.Count("smtp").messages, kMany);
  EXPECT_THAT(app.DeadLetters(), IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
