// Contacts, devices, suppressions, export and erasing through the real processes,
// by the client and by carillonctl.
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/integration/system_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class RecipientTest : public CommandLineTest {
 protected:
  static void SetUpTestSuite() {
    stack_ = new RunningStack({.processes = {"server", "relay", "worker-social"}, .flags = {}, .wrappers = {}});
  }

  // The tables that somebody's export names.
  static std::vector<std::string> ExportedTables(const std::string& user) {
    std::vector<std::string> tables;
    for (const absl::string_view line :
         absl::StrSplit(Output({"recipients", "export", user, "--json"}), '\n', absl::SkipEmpty())) {
      tables.push_back(nlohmann::json::parse(line, nullptr, false)["table"]);
    }
    return tables;
  }

  Client client_ = ClientOf(*stack_);
};

TEST_F(RecipientTest, SetsClearsAndShowsContacts) {
  EXPECT_THAT(Failure({"recipients", "get", "ann"}), StartsWith("carillonctl: NOT_FOUND: no recipient ann"));
  EXPECT_THAT(Output({"recipients", "set", "ann", "--email", "Ann@example.org", "--phone", "+49 151 12345678"}),
              AllOf(StartsWith("ann\n"), HasSubstr("Ann@example.org"), HasSubstr("+4915112345678")));
  Output({"recipients", "set", "ann", "--locale", "ES-mx", "--clear", "phone"});
  const nlohmann::json ann = Document({"recipients", "get", "ann"})["recipient"];
  EXPECT_EQ(ann["email"], "Ann@example.org");
  EXPECT_EQ(ann["phone"], "");
  EXPECT_EQ(ann["locale"], "es-MX");
}

TEST_F(RecipientTest, SaysWhatIsWrongWithAContact) {
  for (const auto& [option, value, field] :
       {std::tuple("--email", "ann", "recipient.email:"), std::tuple("--phone", "12", "recipient.phone:"),
        std::tuple("--locale", "es_MX", "recipient.locale:"),
        std::tuple("--time-zone", "../etc/passwd", "recipient.time_zone:")}) {
    EXPECT_THAT(Failure({"recipients", "set", "ann", option, value}),
                AllOf(StartsWith("carillonctl: INVALID_ARGUMENT: "), HasSubstr(field)));
  }
}

TEST_F(RecipientTest, MovesADeviceToWhoeverRegistersItLast) {
  const std::string token(64, 'A');
  const std::string id = Document({"devices", "add", "dan", "--apns", token})["device"]["device_id"];
  EXPECT_EQ(Output({"devices", "add", "eve", "--apns", token}), id + "\n");
  EXPECT_THAT(Document({"recipients", "get", "dan"})["recipient"]["devices"], IsEmpty());
  EXPECT_THAT(Output({"recipients", "get", "eve"}), AllOf(HasSubstr(id), HasSubstr("apns")));
  EXPECT_EQ(Output({"devices", "remove", "eve", id}), "removed\n");
  EXPECT_EQ(Output({"devices", "remove", "eve", id}), "there was no such device\n");
  EXPECT_THAT(Failure({"devices", "add", "eve", "--apns", "abc"}), HasSubstr("device.token: must be 64 to 200 hex"));
  EXPECT_EQ(Run({"devices", "add", "eve"}).exit_status, 2);
}

TEST_F(RecipientTest, SuppressesAddresses) {
  const Arguments address = {"--email", "Gone@example.org"};
  const auto with = [&](Arguments command) {
    command.insert(command.end(), address.begin(), address.end());
    return command;
  };
  EXPECT_EQ(Output(with({"suppressions", "add", "--reason", "hard bounce"})), "suppressed\n");
  EXPECT_EQ(Output(with({"suppressions", "add"})), "was suppressed already\n");
  EXPECT_THAT(Output({"suppressions", "list"}), AllOf(HasSubstr("gone@example.org"), HasSubstr("hard bounce")));
  EXPECT_THAT(Document({"suppressions", "list", "--phone", "+4915112345678"})["suppressions"], IsEmpty());
  EXPECT_EQ(Output(with({"suppressions", "remove"})), "not suppressed any more\n");
  EXPECT_EQ(Output(with({"suppressions", "remove"})), "was not suppressed\n");
}

TEST_F(RecipientTest, ExportsAndErasesSomebodyWhoWasBusy) {
  Output({"recipients", "set", "ada", "--email", "ada@example.org"});
  Output({"devices", "add", "ada", "--fcm", "token-of-ada"});
  Output({"suppressions", "add", "--email", "ada@example.org"});
  Output({"follows", "add", "--follower", "ada", "--followee", "bea"});
  Output({"react", "--actor", "ada", "--object", "post-of-bea", "--kind", "like", "--user", "bea", "--data",
          R"({"actor_name": "Ada"})"});
  Output({"send", "--type", "comment", "--user", "ada", "--actor", "bea", "--data", R"({"actor_name": "Bea"})"});
  Output({"send", "--type", "comment", "--user", "bea", "--actor", "ada", "--data", R"({"actor_name": "Ada"})"});
  ASSERT_TRUE(WaitFor([&] { return WholeFeed(client_, "ada").size() == 1 && WholeFeed(client_, "bea").size() == 2; }));
  for (const char* table :
       {"recipients", "devices", "suppressions", "feed_items", "notifications", "memberships", "reactions"}) {
    EXPECT_THAT(ExportedTables("ada"), Contains(table));
  }
  EXPECT_THAT(Output({"recipients", "export", "ada"}), HasSubstr("token-of-ada"));

  EXPECT_EQ(Run({"recipients", "erase", "ada"}).exit_status, 2) << "without --yes";
  EXPECT_THAT(Output({"recipients", "erase", "ada", "--yes"}), StartsWith("ada is erased: "));
  EXPECT_THAT(ExportedTables("ada"), IsEmpty());
  EXPECT_THAT(WholeFeed(client_, "ada"), IsEmpty());
  const std::vector<v1::FeedItem> left = WholeFeed(client_, "bea");
  ASSERT_THAT(left, SizeIs(1)) << "the like was taken back";
  EXPECT_EQ(left[0].title(), "Someone commented on your post");
  EXPECT_EQ(left[0].actor().actor_id(), "");
  EXPECT_EQ(Document({"counters", "post-of-bea"})["counters"], nlohmann::json::array());
  EXPECT_THAT(Output({"suppressions", "list"}), AllOf(HasSubstr("(erased)"), Not(HasSubstr("ada@example.org"))));
  EXPECT_EQ(Document({"recipients", "erase", "ada", "--yes"})["rows"], "0") << "nothing was left";
}

}  // namespace
}  // namespace carillon::testing
