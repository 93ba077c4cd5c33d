// What is sent again and again, by two real servers.
#include <atomic>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// So that none comes by itself while a test runs.
constexpr const char* kYearly = "0 0 1 1 *";

class Recurrences : public CommandLineTest {
 protected:
  static void SetUpTestSuite() {
    stack_ = new RunningStack(
        {.processes = {"server", "server-2", "relay", "worker-social", "worker-fanout"}, .flags = {}, .wrappers = {}});
  }

  static std::string NewUser() {
    static std::atomic<int> count = 0;
    return absl::StrCat("reader-", ++count);
  }
  // Its id.
  static std::string Create(Arguments more, const std::string& type = "comment") {
    Arguments arguments = {"recurrences", "create", "--cron", kYearly, "--type", type, "--data", R"({"text": "Hi"})"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Document(arguments)["recurrence"]["recurrence_id"];
  }
  static nlohmann::json Find(const std::string& id) {
    const nlohmann::json listed = Document({"recurrences", "list"});
    for (const nlohmann::json& one : listed["recurrences"]) {
      if (one["recurrence_id"] == id) return one;
    }
    return nullptr;
  }
  static void MakeDue(const std::string& id) {
    stack_->database().Query(absl::StrCat(
        "UPDATE recurrences SET next_at = date_trunc('minute', now()) - interval '3 days' WHERE recurrence_id = '", id,
        "'"));
  }
  // Whether its next time is in the future.
  static std::string IsAhead(const std::string& id) {
    return stack_->database().Query(
        absl::StrCat("SELECT next_at > now() FROM recurrences WHERE recurrence_id = '", id, "'"));
  }
  static bool WaitUntilAhead(const std::string& id) {
    return WaitFor([&] { return IsAhead(id) == "t"; });
  }
  static std::string CountSent(const std::string& user) {
    return stack_->database().Query(
        absl::StrCat("SELECT count(*) FROM notifications WHERE recipient_id = '", user, "'"));
  }

  Client client_ = ClientOf(*stack_, "server-2");
};

TEST_F(Recurrences, AreCreatedListedAndDeleted) {
  const Arguments create = {"recurrences",   "create", "--cron", "0 9 * * mon-fri", "--zone",
                            "Europe/Berlin", "--type", "like",   "--user",          "ana"};
  const nlohmann::json created = Document(create)["recurrence"];
  EXPECT_EQ(created["cron"], "0 9 * * mon-fri");
  const std::string id = created["recurrence_id"];
  EXPECT_EQ(Find(id)["next_time"], created["next_time"]);
  EXPECT_THAT(Output({"recurrences", "list"}),
              AllOf(HasSubstr("NEXT"), HasSubstr(id), HasSubstr("Europe/Berlin"), HasSubstr("ana")));
  EXPECT_EQ(Output({"recurrences", "delete", id}), "deleted\n");
  EXPECT_EQ(Output({"recurrences", "delete", id}), "there was none\n");
  EXPECT_EQ(Find(id), nullptr);
}

TEST_F(Recurrences, SayWhatIsWrongWithThem) {
  const auto refused = stack_->Carillonctl(
      {"recurrences", "create", "--cron", "61 9 * * *", "--zone", "Berlin", "--type", "none", "--user", "ana"});
  ASSERT_OK(refused);
  EXPECT_EQ(refused->exit_status, 1);
  EXPECT_THAT(refused->errors, AllOf(HasSubstr("recurrence.cron"), HasSubstr("minute"),
                                     HasSubstr("recurrence.time_zone"), HasSubstr("send.type")));
}

TEST_F(Recurrences, SendOneForAllThatWereMissedAndGoOn) {
  const std::string user = NewUser();
  const std::string id = Create({"--user", user});
  MakeDue(id);
  ASSERT_TRUE(WaitUntilAhead(id));
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client_, user).size() == 1; }));
  EXPECT_EQ(CountSent(user), "1");
  EXPECT_EQ(Find(id)["last_error"], "");
}

TEST_F(Recurrences, AreGatheredIfTheirTypeIs) {
  const std::string user = NewUser();
  v1::ApplyTypesRequest types;
  v1::Type& type = *types.add_types();
  type.set_name("gathered");
  type.set_weight(v1::WEIGHT_SOCIAL);
  type.set_routing_key("social.gathered");
  type.add_channels(v1::CHANNEL_IN_APP);
  type.mutable_in_app()->set_title("Something happened");
  type.mutable_aggregation()->mutable_window()->set_seconds(36'000);
  ASSERT_OK(client_.ApplyTypes(types));
  Client other = ClientOf(*stack_);
  ASSERT_TRUE(WaitFor([&] {
    return client_.SendNotification(Request("gathered", "nobody")).ok() &&
           other.SendNotification(Request("gathered", "nobody")).ok();
  }));
  const std::string id = Create({"--user", user, "--actor", "star", "--object", "post-1"}, "gathered");
  MakeDue(id);
  ASSERT_TRUE(WaitUntilAhead(id));
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client_, user).size() == 1; }));
  EXPECT_EQ(WholeFeed(client_, user)[0].actor_count(), 1);
}

TEST_F(Recurrences, TellAudiences) {
  const std::string fan = NewUser();
  const std::string star = NewUser();
  v1::FollowRequest follow;
  follow.add_follows()->set_follower_id(fan);
  follow.mutable_follows(0)->set_followee_id(star);
  ASSERT_OK(client_.Follow(follow));
  const std::string id = Create({"--followers-of", star, "--actor", star});
  EXPECT_EQ(Find(id)["user_id"], "");
  MakeDue(id);
  ASSERT_TRUE(WaitUntilAhead(id));
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client_, fan).size() == 1; }));
  EXPECT_EQ(WholeFeed(client_, fan)[0].actor().actor_id(), star);
}

TEST_F(Recurrences, TellWhyTheLastOneWasRefused) {
  const std::string user = NewUser();
  v1::ApplyTypesRequest types;
  v1::Type& type = *types.add_types();
  type.set_name("passing");
  type.set_weight(v1::WEIGHT_SOCIAL);
  type.set_routing_key("social.passing");
  type.add_channels(v1::CHANNEL_IN_APP);
  type.mutable_in_app()->set_title("Here today");
  ASSERT_OK(client_.ApplyTypes(types));
  Client other = ClientOf(*stack_);
  const auto is_known = [&](Client& client) { return client.SendNotification(Request("passing", "nobody")).ok(); };
  ASSERT_TRUE(WaitFor([&] { return is_known(client_) && is_known(other); }));
  const std::string id = Create({"--user", user}, "passing");
  stack_->database().Query(
      "DELETE FROM types WHERE name = 'passing'; UPDATE catalogue_version SET version = version + 1");
  ASSERT_TRUE(WaitFor([&] { return !is_known(client_) && !is_known(other); }));
  MakeDue(id);
  ASSERT_TRUE(WaitUntilAhead(id));
  EXPECT_THAT(std::string(Find(id)["last_error"]), HasSubstr("passing"));
  EXPECT_EQ(CountSent(user), "0");
}

TEST_F(Recurrences, ComeByTheClockOfASandbox) {
  const nlohmann::json app = stack_->CreateApp("recurring sandbox");
  const std::string key = app["app"]["app_key"];
  Output({"app", "sandbox", key});
  Client client({.address = stack_->address("server-2"), .app_key = key, .app_secret = app["app_secret"]});
  v1::CreateRecurrenceRequest request;
  request.mutable_recurrence()->set_cron(kYearly);
  request.mutable_recurrence()->set_time_zone("Asia/Kathmandu");
  *request.mutable_send() = Request("like", "ann");
  ASSERT_OK_AND_ASSIGN(const v1::CreateRecurrenceResponse created, client.CreateRecurrence(request));
  v1::AdvanceClockRequest advance;
  advance.mutable_by()->set_seconds(366 * 24 * 3600);
  ASSERT_OK_AND_ASSIGN(const v1::AdvanceClockResponse moved, client.AdvanceClock(advance));
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client, "ann").size() == 1; }));
  ASSERT_OK_AND_ASSIGN(const v1::ListRecurrencesResponse listed, client.ListRecurrences({}));
  ASSERT_EQ(listed.recurrences_size(), 1);
  EXPECT_GT(listed.recurrences(0).next_time().seconds(), moved.app_time().seconds());
  EXPECT_EQ(stack_->database().Query("SELECT count(*) FROM notifications WHERE recipient_id = 'ann'"), "1");
}

// Servers accept it and can't say that they have, until one is killed.
TEST_F(Recurrences, AreSentOnceThoughAServerIsKilledBetweenSendingAndSayingSo) {
  const std::string user = NewUser();
  const std::string id = Create({"--user", user});
  stack_->database().Query(
      "CREATE FUNCTION no_turn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      " IF current_setting('application_name') LIKE 'carillon-server%' THEN"
      " RAISE EXCEPTION 'not now' USING ERRCODE = 'lock_not_available'; END IF; RETURN NEW; END $$;"
      "CREATE TRIGGER no_turn BEFORE UPDATE ON recurrences FOR EACH ROW EXECUTE FUNCTION no_turn()");
  MakeDue(id);
  ASSERT_TRUE(WaitFor([&] { return CountSent(user) == "1"; }));
  stack_->KillProcess("server");
  EXPECT_EQ(IsAhead(id), "f");
  stack_->database().Query("DROP TRIGGER no_turn ON recurrences; DROP FUNCTION no_turn()");
  ASSERT_TRUE(WaitUntilAhead(id));
  EXPECT_EQ(CountSent(user), "1");
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client_, user).size() == 1; }));
  stack_->StartProcess("server");
}

}  // namespace
}  // namespace carillon::testing
