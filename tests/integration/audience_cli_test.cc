// carillonctl on events, topics and reactions: the program itself, run against
// the real processes.
#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"
#include "tests/kit/scratch_directory.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;
using Arguments = std::vector<std::string>;

constexpr const char* kUnknownId = "01890000-0000-7000-8000-000000000000";

// A command in the background, and what it has printed. Not thread-safe.
class BackgroundCommand {
 public:
  BackgroundCommand(const RunningStack& stack, Arguments arguments) {
    arguments.insert(arguments.begin(), absl::StrCat(BinaryDirectory(), "/carillonctl"));
    auto process = Process::Start({std::move(arguments), stack.Environment(), output_file_});
    EXPECT_OK(process);
    if (process.ok()) process_ = *std::move(process);
  }

  // Whole lines, those on standard error included.
  Arguments lines() const {
    std::ifstream file(output_file_);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    Arguments lines = absl::StrSplit(text, '\n');
    lines.pop_back();
    return lines;
  }
  bool WaitForLines(size_t count) const {
    return WaitFor([&] { return lines().size() >= count; });
  }
  std::optional<int> WaitForExit() { return process_->WaitForExit(absl::Seconds(20)); }
  void Terminate() { process_->Terminate(); }

 private:
  const ScratchDirectory scratch_;
  const std::string output_file_ = scratch_.Path("output");
  std::unique_ptr<Process> process_;
};

class AudienceCli : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    stack_ = new RunningStack(
        {.processes = {"server", "relay", "worker-social", "worker-fanout"}, .flags = {}, .wrappers = {}});
  }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static CommandResult Run(const Arguments& arguments) {
    const auto result = stack_->Carillonctl(arguments);
    EXPECT_OK(result);
    return result.ok() ? *result : CommandResult{-1, "", ""};
  }
  // What it prints when all is well.
  static std::string Output(const Arguments& arguments) {
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, 0) << result.errors;
    return result.output;
  }
  // The same for programs: one document on one line.
  static nlohmann::json Document(Arguments arguments) {
    arguments.push_back("--json");
    const std::string output = Output(arguments);
    EXPECT_EQ(std::count(output.begin(), output.end(), '\n'), 1) << output;
    return nlohmann::json::parse(output, nullptr, false);
  }
  // What it says on standard error when it fails for another reason than its usage.
  static std::string Failure(const Arguments& arguments) {
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_THAT(result.output, IsEmpty());
    return result.errors;
  }
  static std::string Publish(const Arguments& audience) {
    Arguments arguments = {"event", "publish", "--type", "comment", "--actor", "bob"};
    arguments.insert(arguments.end(), {"--object", "post-1", "--data", R"({"actor_name": "Bob"})"});
    arguments.insert(arguments.end(), audience.begin(), audience.end());
    return Document(arguments)["event"]["event_id"];
  }
  // To the end of the event; the last line of the watch.
  static std::string Watch(const std::string& event_id) {
    const Arguments lines = absl::StrSplit(Output({"event", "watch", event_id}), '\n', absl::SkipEmpty());
    return lines.empty() ? "" : lines.back();
  }
  static std::string StateOf(const nlohmann::json& document) { return document["event"]["state"]; }

  static RunningStack* stack_;
};

RunningStack* AudienceCli::stack_ = nullptr;

TEST_F(AudienceCli, SaysWhatIsWrongWithItsUsage) {
  const std::vector<std::pair<Arguments, std::string>> uses = {
      {{"event"}, "A subcommand is required"},
      {{"event", "explode", "1"}, "A subcommand is required"},
      {{"event", "get"}, "ID is required"},
      {{"event", "publish", "--everyone"}, "--type is required"},
      {{"event", "publish", "--type", "comment"}, "Exactly 1 option from [--followers-of,--topic,--users,--everyone]"},
      {{"event", "publish", "--type", "comment", "--everyone", "--topic", "news"}, "2 were given"},
      {{"topics", "subscribe", "--topic", "news"}, "--user is required"},
      {{"topics", "feed", "--topic", "news", "--limit", "0"}, "--limit: Value 0 not in range"},
      {{"topics", "watch"}, "--topic is required"},
      {{"topics", "watch", "--topic", ""}, "--topic: must not be empty"},
      {{"topics", "watch", "--topic", "news", "--user", "ann"}, "arguments were not expected"},
      {{"topics", "watch", "--topic", "news", "--after", "-1"}, "--after: must not be negative"},
      {{"topics", "watch", "--topic", "news", "--count", "few"}, "--count = few"},
      {{"watch", "--topic", "news"}, "--user is required"},
      {{"watch", "--user", ""}, "--user: must not be empty"},
      {{"watch", "--user", "ann", "--timeout", "-0.5"}, "--timeout: must not be negative"},
      {{"react", "--actor", "ann", "--object", "post-1"}, "--kind is required"},
      {{"counters"}, "OBJECT is required"},
      {{"app", "set", "--app-key", "ck_1"}, "At least 1 option from [--shared-audience-threshold,--default-locale]"},
      {{"app", "set", "--app-key", "ck_1", "--shared-audience-threshold", "many"}, "many"}};
  for (const auto& [arguments, message] : uses) {
    const CommandResult result = Run(arguments);
    EXPECT_EQ(result.exit_status, 2) << ::testing::PrintToString(arguments);
    EXPECT_THAT(result.errors, AllOf(HasSubstr(message), HasSubstr("Run with --help")));
    EXPECT_THAT(result.output, IsEmpty());
  }
}

TEST_F(AudienceCli, FailsWithTheReason) {
  const std::vector<std::pair<Arguments, std::string>> uses = {
      {{"event", "get", kUnknownId}, "carillonctl: NOT_FOUND: "},
      {{"event", "watch", kUnknownId}, "carillonctl: NOT_FOUND: "},
      {{"event", "cancel", "not an id"}, "carillonctl: INVALID_ARGUMENT: "},
      {{"event", "publish", "--type", "otp.login", "--everyone"}, "type:"},
      {{"event", "publish", "--type", "comment", "--everyone", "--data", "[1]"}, "--data must be a JSON object"},
      {{"react", "--actor", "ann", "--object", "post-1", "--kind", "Not A Name"}, "kind:"},
      {{"react", "--actor", "ann", "--object", "post-1", "--kind", "like", "--data", "{"}, "--data must be a JSON"},
      {{"topics", "feed", "--topic", ""}, "topic_id:"},
      {{"topics", "watch", "--topic", "quiet", "--count", "1", "--timeout", "0.1"},
       "carillonctl: DEADLINE_EXCEEDED: only 0 of 1 items came in time"},
      {{"app", "set", "--app-key", "ck_nobody", "--shared-audience-threshold", "5"}, "carillonctl: NOT_FOUND: "},
      {{"app", "set", "--app-key", stack_->app_key(), "--shared-audience-threshold", "-1"}, "INVALID_ARGUMENT"}};
  for (const auto& [arguments, message] : uses) {
    EXPECT_THAT(Failure(arguments), AllOf(StartsWith("carillonctl: "), HasSubstr(message)))
        << ::testing::PrintToString(arguments);
  }
}

TEST_F(AudienceCli, SaysThatItsCredentialsAreMissingOrWrong) {
  std::map<std::string, std::string> environment = stack_->Environment();
  const Arguments watch = {
      absl::StrCat(BinaryDirectory(), "/carillonctl"), "topics", "watch", "--topic", "news", "--after", "0"};
  for (const auto& [secret, message] : {std::pair("", "CARILLON_APP_SECRET is not set"),
                                        std::pair("not the secret", "carillonctl: UNAUTHENTICATED: ")}) {
    environment["CARILLON_APP_SECRET"] = secret;
    ASSERT_OK_AND_ASSIGN(const CommandResult result, RunCommand(watch, environment));
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_THAT(result.errors, HasSubstr(message));
  }
}

TEST_F(AudienceCli, SteersAnEventToItsEnd) {
  // Nothing is told until its worker is back.
  stack_->KillProcess("worker-fanout");
  for (const char* fan : {"fan-1", "fan-2"}) Output({"follows", "add", "--follower", fan, "--followee", "star"});
  const Arguments publish = {"event",    "publish", "--type",         "comment", "--actor", "star",
                             "--object", "post-1",  "--followers-of", "star",    "--key",   "star-1"};
  const nlohmann::json published = Document(publish);
  EXPECT_EQ(StateOf(published), "EVENT_STATE_ACCEPTED");
  EXPECT_EQ(published["duplicate"], false);
  const std::string id = published["event"]["event_id"];
  EXPECT_EQ(Output(publish), absl::StrCat(id, " accepted (the key was used before: this is the first answer)\n"));
  EXPECT_THAT(Output({"event", "get", id}),
              AllOf(StartsWith(absl::StrCat(id, "  comment  accepted\n")), HasSubstr("  published 20")));
  EXPECT_EQ(StateOf(Document({"event", "pause", id})), "EVENT_STATE_PAUSED");
  BackgroundCommand watch(*stack_, {"event", "watch", id});
  ASSERT_TRUE(watch.WaitForLines(1));
  EXPECT_THAT(watch.lines(), ElementsAre("paused"));
  EXPECT_THAT(Output({"event", "resume", id}), AllOf(HasSubstr(id), Not(HasSubstr("paused"))));

  stack_->StartProcess("worker-fanout");
  EXPECT_EQ(watch.WaitForExit(), 0);
  EXPECT_EQ(watch.lines().back(), "done  2/2");
  const nlohmann::json done = Document({"event", "watch", id});
  EXPECT_EQ(StateOf(done), "EVENT_STATE_DONE");
  EXPECT_EQ(done["event"]["expanded"], "2");
  EXPECT_EQ(done["event"]["audience_size"], "2");
  EXPECT_THAT(Output({"event", "get", id}), HasSubstr("  ended     20"));
  for (const char* verb : {"pause", "resume", "cancel"}) {
    EXPECT_THAT(Failure({"event", verb, id}), StartsWith("carillonctl: FAILED_PRECONDITION: ")) << verb;
  }
}

TEST_F(AudienceCli, CancelsAnEventThatNobodyWasTold) {
  stack_->KillProcess("worker-fanout");
  const std::string id = Publish({"--users", "cancel-1,cancel-2"});
  EXPECT_THAT(Output({"event", "cancel", id}), AllOf(StartsWith(id), HasSubstr("cancelled"), HasSubstr("ended")));
  EXPECT_THAT(Watch(id), StartsWith("cancelled"));
  EXPECT_EQ(StateOf(Document({"event", "cancel", id})), "EVENT_STATE_CANCELLED");
  stack_->StartProcess("worker-fanout");
}

TEST_F(AudienceCli, TellsEachKindOfAudience) {
  Output({"topics", "subscribe", "--topic", "chess", "--user", "cli-ann"});
  EXPECT_EQ(Watch(Publish({"--users", "cli-ann,cli-ben,cli-ann"})), "done  2/2");
  EXPECT_EQ(Watch(Publish({"--topic", "chess"})), "done  1/1");
  EXPECT_THAT(Watch(Publish({"--everyone"})), StartsWith("done  "));
  EXPECT_THAT(Document({"feed", "--user", "cli-ann"})["items"], SizeIs(3));
  EXPECT_THAT(Document({"feed", "--user", "cli-ben"})["items"], SizeIs(2));
}

TEST_F(AudienceCli, SubscribesToTopicsAndListsWhoDoes) {
  const auto change = [](const char* verb) { return Output({"topics", verb, "--topic", "go", "--user", "ann"}); };
  EXPECT_EQ(change("subscribe"), "ann subscribes to go\n");
  EXPECT_EQ(change("subscribe"), "ann already subscribes to go\n");
  EXPECT_EQ(Output({"topics", "subscribers", "--topic", "go"}), "ann\n");
  EXPECT_EQ(Document({"topics", "subscribers", "--topic", "go"}),
            nlohmann::json({{"user_ids", {"ann"}}, {"next_page_token", ""}}));
  EXPECT_EQ(change("unsubscribe"), "ann no longer subscribes to go\n");
  EXPECT_EQ(change("unsubscribe"), "ann did not subscribe to go\n");
  EXPECT_EQ(Document({"topics", "subscribe", "--topic", "go", "--user", "ben"}), nlohmann::json({{"added", 1}}));
}

TEST_F(AudienceCli, ListsATopicsPublicFeed) {
  EXPECT_EQ(Output({"topics", "feed", "--topic", "radio"}), "radio: last seq 0\n");
  const std::string first = Publish({"--topic", "radio"});
  const std::string second = Publish({"--topic", "radio"});
  nlohmann::json feed;
  ASSERT_TRUE(WaitFor([&] {
    feed = Document({"topics", "feed", "--topic", "radio"});
    return feed["last_seq"] == "2";
  }));
  ASSERT_THAT(feed["items"], SizeIs(2));
  EXPECT_EQ(feed["items"][0]["seq"], "2");
  EXPECT_EQ(feed["items"][1]["seq"], "1");
  const std::string newest = feed["items"][0]["notification_id"];
  EXPECT_TRUE(newest == first || newest == second) << newest;
  EXPECT_THAT(Document({"topics", "feed", "--topic", "radio", "--limit", "1"})["items"], SizeIs(1));
  EXPECT_THAT(Output({"topics", "feed", "--topic", "radio"}),
              AllOf(StartsWith("radio: last seq 2\n     2  20"), HasSubstr("\n     1  20"), HasSubstr("comment")));
}

TEST_F(AudienceCli, WatchesATopicAcrossARestartOfTheServer) {
  Watch(Publish({"--topic", "regatta"}));
  Watch(Publish({"--topic", "regatta"}));
  BackgroundCommand all(*stack_, {"topics", "watch", "--topic", "regatta", "--after", "0", "--count", "4", "--json"});
  BackgroundCommand late(*stack_, {"topics", "watch", "--topic", "regatta", "--after", "2", "--count", "2"});
  ASSERT_TRUE(all.WaitForLines(2));
  Watch(Publish({"--topic", "regatta"}));
  ASSERT_TRUE(all.WaitForLines(3));
  ASSERT_TRUE(late.WaitForLines(1));

  stack_->KillProcess("server");
  stack_->StartProcess("server");
  Watch(Publish({"--topic", "regatta"}));
  EXPECT_EQ(all.WaitForExit(), 0);
  EXPECT_EQ(late.WaitForExit(), 0);
  std::vector<std::string> seqs;
  for (const std::string& line : all.lines()) {
    const nlohmann::json event = nlohmann::json::parse(line, nullptr, false);
    EXPECT_EQ(event["item"]["type"], "comment") << line;
    seqs.push_back(event["seq"]);
  }
  EXPECT_THAT(seqs, ElementsAre("1", "2", "3", "4"));
  EXPECT_THAT(late.lines(), ElementsAre(StartsWith("     3  "), StartsWith("     4  ")));
}

TEST_F(AudienceCli, WatchesATopicFromNowOnUntilItIsTold) {
  Watch(Publish({"--topic", "evening"}));
  const auto is_listed = [] { return Document({"topics", "feed", "--topic", "evening"})["last_seq"] == "1"; };
  ASSERT_TRUE(WaitFor(is_listed));
  EXPECT_THAT(Output({"topics", "watch", "--topic", "evening", "--timeout", "0.1"}), IsEmpty());
  BackgroundCommand watch(*stack_, {"topics", "watch", "--topic", "evening", "--after", "0"});
  ASSERT_TRUE(watch.WaitForLines(1));
  watch.Terminate();
  EXPECT_EQ(watch.WaitForExit(), 0);
  EXPECT_THAT(watch.lines(), SizeIs(1));
}

TEST_F(AudienceCli, CountsReactionsAndTakesThemBack) {
  const auto react = [](Arguments more) {
    more.insert(more.begin(), {"react", "--object", "song-1", "--kind", "like"});
    more.insert(more.end(), {"--user", "singer", "--data", R"({"actor_name": "Fan"})"});
    return Output(more);
  };
  const auto counted = [](const std::string& table) {
    return WaitFor([&] { return Output({"counters", "song-1", "song-2"}) == table; });
  };
  EXPECT_EQ(react({"--actor", "fan-1"}), "accepted\n");
  EXPECT_EQ(react({"--actor", "fan-2", "--json"}), "{}\n");
  EXPECT_TRUE(counted("OBJECT  KIND  COUNT\nsong-1  like  2\n"));
  EXPECT_EQ(Document({"counters", "song-1"}),
            nlohmann::json({{"counters", {{{"object_id", "song-1"}, {"kind", "like"}, {"count", "2"}}}}}));
  react({"--actor", "fan-1", "--retract"});
  EXPECT_TRUE(counted("OBJECT  KIND  COUNT\nsong-1  like  1\n"));
  react({"--actor", "fan-2", "--retract"});
  EXPECT_TRUE(counted("OBJECT  KIND  COUNT\n"));
  EXPECT_EQ(Document({"counters", "song-1"}), nlohmann::json({{"counters", nlohmann::json::array()}}));
  EXPECT_THAT(Document({"feed", "--user", "singer"})["items"], IsEmpty());
}

TEST_F(AudienceCli, SetsFromWhichAudienceOnEventsAreStoredOnce) {
  const auto set = [](const std::string& size, Arguments more = {}) {
    more.insert(more.begin(), {"app", "set", "--app-key", stack_->app_key(), "--shared-audience-threshold", size});
    return more;
  };
  for (const char* fan : {"nova-1", "nova-2"}) Output({"follows", "add", "--follower", fan, "--followee", "nova"});
  EXPECT_EQ(Output(set("1")), "app test: events for more than 1 recipients are stored once; default locale en\n");
  EXPECT_EQ(Watch(Publish({"--followers-of", "nova"})), "done  stored once for all, 2 recipients counted");
  EXPECT_THAT(Document({"feed", "--user", "nova-1"})["items"], SizeIs(1));
  const nlohmann::json app = Document(set("100000"))["app"];
  EXPECT_EQ(app["shared_audience_threshold"], "100000");
  EXPECT_EQ(app["app_key"], stack_->app_key());
  EXPECT_EQ(Watch(Publish({"--followers-of", "nova"})), "done  2/2");
}

}  // namespace
}  // namespace carillon::testing
