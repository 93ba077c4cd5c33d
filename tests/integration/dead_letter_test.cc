// Dead letters from their recording to their end, by the command line and by several admins.
#include <signal.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/rabbitmq/publisher.h"
#include "tests/integration/delivery_fixture.h"
#include "tests/kit/environment.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using Arguments = std::vector<std::string>;
using Json = nlohmann::json;

constexpr v1::Channel kSms = v1::CHANNEL_SMS;
// What Twilio says to them is final, and the recipient's number stays fine.
constexpr int kNoRoute = 21612, kNoCountry = 21408;

class DeadLetters : public Deliveries {
 protected:
  static void SetUpTestSuite() {
    StartSystem({.processes = {"server", "server-2", "relay", "worker-otp", "worker-social"}});
  }

  // So many people, whose codes die of this error.
  std::vector<Person> LetDie(int count, int code) {
    app_.SetProviders(kSms, {sandbox().Provider("twilio")});
    sandbox().Script("twilio", {{"mode", "error"}, {"code", code}});
    const int before = CountDead();
    std::vector<Person> people;
    for (int i = 0; i < count; ++i) people.push_back(app_.AddPerson());
    app_.SendToAll("otp.login", people, {kSms});
    EXPECT_TRUE(WaitFor([&] { return CountDead() == before + count; }));
    sandbox().Reset();
    return people;
  }
  int CountDead() {
    v1::SummarizeDeadLettersRequest request;
    request.mutable_filter()->set_app_key(app_.key());
    return static_cast<int>(app_.client().SummarizeDeadLetters(request)->total());
  }
  // How many times their code has arrived, and to how many of them.
  static std::pair<int, int> Arrived(const std::vector<Person>& people) {
    std::map<std::string, int> arrived;
    for (const Json& message : sandbox().Messages("twilio")) ++arrived[message["to"]];
    std::pair<int, int> counts;
    for (const Person& person : people) {
      counts.first += arrived[person.phone];
      counts.second += arrived[person.phone] > 0;
    }
    return counts;
  }

  v1::ReplayDeadLettersRequest Request(const std::string& error, int rate) {
    v1::ReplayDeadLettersRequest request;
    request.mutable_filter()->set_app_key(app_.key());
    request.mutable_filter()->set_error(error);
    request.set_rate(rate);
    request.set_reason("mended");
    return request;
  }
  // As another admin, whose app is the system's own.
  static v1::Replay Replay(const std::string& server, const v1::ReplayDeadLettersRequest& request,
                           absl::Status* status) {
    Client client = ClientOf(stack(), server);
    v1::Replay newest;
    *status = client.ReplayDeadLetters(request, [&](const v1::ReplayDeadLettersResponse& response) {
      newest = response.replay();
      return true;
    });
    return newest;
  }
  // The id of the run that is under way, once it has put back so many.
  static std::string WaitForReplayed(int count) {
    const char* const newest = "SELECT replay_id || ' ' || replayed FROM replays WHERE state = 'running' LIMIT 1";
    std::vector<std::string> run;
    EXPECT_TRUE(WaitFor([&] {
      run = absl::StrSplit(stack().database().Query(newest), ' ');
      return run.size() == 2 && std::stoi(run[1]) >= count;
    }));
    return run.empty() ? "" : run[0];
  }
  // Ctrl-C ends the command though its server does not move.
  void InterruptWhileNothingIsHeard() {
    const ScratchDirectory scratch;
    const std::string output = scratch.Path("output");
    const auto command =
        Process::Start({.command = {absl::StrCat(BinaryDirectory(), "/carillonctl"), "--address",
                                    stack().address("server-2"), "dlq", "replay", "--app", app_.key(), "--error",
                                    absl::StrCat(kNoRoute), "--rate", "20", "--yes", "--reason", "mended"},
                        .environment = stack().Environment(),
                        .output_file = output});
    ASSERT_OK(command);
    const std::string id = WaitForReplayed(3);
    stack().process("server-2").Signal(SIGSTOP);
    (*command)->Signal(SIGINT);
    EXPECT_EQ((*command)->WaitForExit(absl::Seconds(10)), 1);
    stack().process("server-2").Signal(SIGCONT);
    std::ifstream file(output);
    EXPECT_THAT(std::string(std::istreambuf_iterator<char>(file), {}),
                HasSubstr(absl::StrCat("to go on: carillonctl dlq replay --resume ", id, " --rate 20\n")));
    EXPECT_TRUE(WaitFor([&] {
      return stack().database().Query(absl::StrCat("SELECT state FROM replays WHERE replay_id = '", id, "'")) ==
             "interrupted";
    }));
  }
  CommandResult Run(Arguments arguments) {
    arguments.insert(arguments.begin(), "dlq");
    const auto result = stack().Carillonctl(arguments);
    EXPECT_OK(result);
    return result.ok() ? *result : CommandResult();
  }
};

TEST_F(DeadLetters, EachIsSentOnceThoughCommandsAndServersAreKilledAndTwoReplayAtOnce) {
  const std::vector<Person> no_country = LetDie(60, kNoCountry);
  const std::vector<Person> no_route = LetDie(200, kNoRoute);

  // The command is killed in the middle.
  {
    const auto command = Process::Start(
        {.command = {absl::StrCat(BinaryDirectory(), "/carillonctl"), "dlq", "replay", "--app", app_.key(), "--error",
                     absl::StrCat(kNoRoute), "--rate", "100", "--yes", "--reason", "mended", "--json"},
         .environment = stack().Environment(),
         .output_file = "/dev/null"});
    ASSERT_OK(command);
    WaitForReplayed(30);
    (*command)->Kill();
  }
  ASSERT_TRUE(WaitFor([] {
    return stack().database().Query("SELECT state FROM replays ORDER BY replay_id DESC LIMIT 1") == "interrupted";
  }));
  InterruptWhileNothingIsHeard();
  const int before = std::stoi(stack().database().Query("SELECT sum(replayed) FROM replays"));
  EXPECT_LT(before, 200);

  // Two admins on two servers at once.
  v1::Replay runs[2];
  absl::Status ends[2];
  std::thread other([&] { runs[1] = Replay("server-2", Request(absl::StrCat(kNoRoute), 500), &ends[1]); });
  runs[0] = Replay("server", Request(absl::StrCat(kNoRoute), 500), &ends[0]);
  other.join();
  for (int i = 0; i < 2; ++i) {
    EXPECT_OK(ends[i]);
    EXPECT_EQ(runs[i].state(), v1::REPLAY_STATE_DONE);
  }
  EXPECT_EQ(before + runs[0].replayed() + runs[1].replayed(), 200);
  EXPECT_TRUE(WaitFor([&] { return Arrived(no_route).second == 200; }));

  // The server is killed in the middle; another one goes on with the same run.
  absl::Status lost;
  std::thread doomed([&] { Replay("server-2", Request(absl::StrCat(kNoCountry), 20), &lost); });
  const std::string id = WaitForReplayed(5);
  stack().KillProcess("server-2");
  doomed.join();
  EXPECT_FALSE(lost.ok());
  v1::ReplayDeadLettersRequest resume;
  resume.set_replay_id(id);
  resume.set_rate(500);
  absl::Status resumed;
  v1::Replay last;
  ASSERT_TRUE(WaitFor([&] {
    last = Replay("server", resume, &resumed);
    return resumed.ok();
  })) << resumed;
  EXPECT_EQ(last.state(), v1::REPLAY_STATE_DONE);
  EXPECT_EQ(last.replayed(), 60);
  EXPECT_TRUE(WaitFor([&] { return Arrived(no_country).second == 60; }));

  EXPECT_EQ(Arrived(no_route), std::pair(200, 200));
  EXPECT_EQ(Arrived(no_country), std::pair(60, 60));
  EXPECT_EQ(app_.CountDeliveries("state IN ('sent', 'delivered')"), 260);
  EXPECT_EQ(CountDead(), 0);
  stack().StartProcess("server-2");
}

TEST_F(DeadLetters, TheCommandLineShowsReplaysAndDeletesThem) {
  const std::vector<Person> people = LetDie(5, kNoRoute);
  const Arguments ours = {"--app", app_.key()};
  const auto with = [&](Arguments arguments) {
    arguments.insert(arguments.end(), ours.begin(), ours.end());
    return Run(arguments);
  };
  // They are another app's.
  for (const Arguments& list : {Arguments{"list", "--queue", "otp.sms"}, {"list", "--each", "--queue", "otp.sms"}}) {
    EXPECT_THAT(Run(list).output, HasSubstr("0 dead letters of this app; 5 of all apps: --all-apps"));
  }
  EXPECT_THAT(Run({"list", "--each", "--all-apps"}).output, AllOf(HasSubstr(" APP "), HasSubstr(app_.key())));
  EXPECT_THAT(with({"list"}).output, AllOf(HasSubstr("otp.sms"), HasSubstr("twilio"), HasSubstr("5 dead letters")));
  const Json listed = Json::parse(with({"list", "--json", "--type", "otp.login"}).output);
  ASSERT_THAT(listed["dead_letters"], SizeIs(5));
  const std::string id = listed["dead_letters"][0]["dead_letter_id"];
  EXPECT_THAT(Run({"show", id}).output, AllOf(HasSubstr("21612"), HasSubstr("***"), Not(HasSubstr("123456"))));
  EXPECT_THAT(Run({"show", id, "--unmasked", "--reason", "the customer asked"}).output, HasSubstr("123456"));
  EXPECT_THAT(with({"export"}).output, Not(HasSubstr("123456")));
  // They are codes, and nobody is there to say yes.
  const CommandResult refused = with({"replay", "--reason", "mended"});
  EXPECT_EQ(refused.exit_status, 1);
  EXPECT_THAT(refused.errors, HasSubstr("5 of these 5 are of payment and otp: add --yes"));
  EXPECT_THAT(with({"replay", "--dry-run"}).output, HasSubstr("would replay 5 of 5"));
  EXPECT_EQ(CountDead(), 5);
  EXPECT_THAT(with({"replay", "--id", id, "--yes", "--reason", "mended"}).output, HasSubstr("replayed 1 of 1"));
  EXPECT_THAT(with({"purge", "--yes", "--reason", "too old", "--limit", "3"}).output,
              HasSubstr("3 dead letters deleted"));
  EXPECT_EQ(CountDead(), 1);
  EXPECT_THAT(Run({"audit", "--limit", "3"}).output,
              AllOf(HasSubstr("too old"), HasSubstr("mended"), HasSubstr("the customer asked")));
  EXPECT_TRUE(WaitFor([&] { return Arrived(people).first == 1; }));
}

TEST_F(DeadLetters, TheCommandLineRefusesWhatWouldDoOtherThanItSays) {
  struct Case {
    Arguments arguments;
    int exit_status;
    const char* says;
  };
  const std::string id = "0198b4a1-0000-7000-8000-000000000000";
  for (const Case& refused : {
           Case{{"replay", "--resume", id, "--limit", "5"}, 2, "--limit: goes not with --resume"},
           Case{{"replay", "--resume", id, "--max-replays", "5"}, 2, "--max-replays: goes not with --resume"},
           Case{{"replay", "--reason", "again", "--resume", id}, 2, "--reason: goes not with --resume"},
           Case{{"replay", "--resume", id, "--no-provider"}, 2, "goes not with --resume"},
           Case{{"replay", "--resume", id, "--rate", "5", "--stop-after", "3", "--operator", "ann"}, 1, "NOT_FOUND"},
           Case{{"replay", "--resume", "999"}, 1, "replay_id: must be the id of a replay, a UUID"},
           Case{{"replay", "--limit", "-1"}, 2, "--limit: must not be negative\n"},
           Case{{"replay"}, 1, "--reason is missing"},
           Case{{"purge"}, 1, "--reason is missing"},
           Case{{"list", "--older-than", "10m", "--newer-than", "5m"}, 1, "must be less than filter.newer_than"},
           Case{{"list", "--lane", "payment", "--queue", "otp.sms"}, 1, "must be that of filter.queue: otp"},
       }) {
    const CommandResult result = Run(refused.arguments);
    EXPECT_EQ(result.exit_status, refused.exit_status);
    EXPECT_THAT(result.errors, HasSubstr(refused.says));
  }
}

TEST_F(DeadLetters, WhatOthersPutThereIsReplayableUntilItHasDiedTooOften) {
  RabbitPublisher publisher({.url = stack().vhost().url(), .client_name = "somebody"});
  OutboundMessage message{.exchange = "", .routing_key = "social.dlq", .type = "odd"};
  message.body = "no envelope";
  ASSERT_OK(publisher.Publish({message}, absl::Seconds(10)));
  const auto letters = [&] { return Json::parse(Run({"list", "--json", "--type", "odd"}).output)["dead_letters"]; };
  ASSERT_TRUE(WaitFor([&] { return letters().size() == 1; }));
  EXPECT_EQ(letters()[0]["queue"], "social");
  EXPECT_EQ(letters()[0]["replay_count"], 0);
  EXPECT_THAT(Run({"replay", "--type", "odd", "--reason", "try", "--max-replays", "1"}).output,
              HasSubstr("replayed 1 of 1"));
  // No worker can read it.
  ASSERT_TRUE(WaitFor([&] { return letters().size() == 1 && letters()[0]["replay_count"] == 1; }));
  EXPECT_EQ(letters()[0]["reason"], "permanent");
  EXPECT_EQ(letters()[0]["notification_id"], "");
  EXPECT_THAT(Run({"replay", "--type", "odd", "--reason", "try", "--max-replays", "1"}).output,
              HasSubstr("replayed 0 of 1; left: 1 replayed too often"));
  // An app does not say which.
  for (const char* what : {"purge", "replay"}) {
    const CommandResult asked = Run({what, "--app", app_.key(), "--reason", "a slip of the hand"});
    EXPECT_EQ(asked.exit_status, 1);
    EXPECT_THAT(asked.errors, HasSubstr("nothing is said of which"));
  }
}

}  // namespace
}  // namespace carillon::testing
