// Who follows whom and who subscribes to what, through the real processes.
#include <algorithm>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/domain/limits.h"
#include "tests/integration/system_fixture.h"
#include "tests/kit/environment.h"
#include "tests/kit/scratch_directory.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class AudienceGraph : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { stack_ = new RunningStack({.processes = {"server"}}); }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  // `pairs`: follower, followee.
  static v1::FollowRequest Follows(const std::vector<std::pair<std::string, std::string>>& pairs) {
    v1::FollowRequest request;
    for (const auto& [follower, followee] : pairs) {
      v1::FollowEdge& edge = *request.add_follows();
      edge.set_follower_id(follower);
      edge.set_followee_id(followee);
    }
    return request;
  }
  std::vector<std::string> FollowersOf(const std::string& followee, int page_size = 0) {
    std::vector<std::string> followers;
    v1::ListFollowersRequest request;
    request.set_followee_id(followee);
    request.set_page_size(page_size);
    do {
      const auto page = client_.ListFollowers(request);
      EXPECT_OK(page);
      if (!page.ok()) break;
      EXPECT_LE(page->follower_ids_size(), page_size == 0 ? 100 : page_size);
      followers.insert(followers.end(), page->follower_ids().begin(), page->follower_ids().end());
      request.set_page_token(page->next_page_token());
    } while (!request.page_token().empty());
    return followers;
  }
  // What carillonctl printed; the test fails if it failed.
  static std::string Ctl(const std::vector<std::string>& arguments) {
    const auto result = stack_->Carillonctl(arguments);
    EXPECT_OK(result);
    if (!result.ok()) return "";
    EXPECT_EQ(result->exit_status, 0) << result->errors;
    return result->output;
  }
  static Client ClientOfApp(const nlohmann::json& app) {
    return Client({.address = stack_->address(),
                   .app_key = app["app"]["app_key"].get<std::string>(),
                   .app_secret = app["app_secret"].get<std::string>()});
  }

  static RunningStack* stack_;
  Client client_ = ClientOf(*stack_);
};

RunningStack* AudienceGraph::stack_ = nullptr;

TEST_F(AudienceGraph, FollowsAndUnfollowsInBatches) {
  ASSERT_OK_AND_ASSIGN(const auto followed,
                       client_.Follow(Follows({{"ann", "cleo"}, {"bob", "cleo"}, {"ann", "cleo"}, {"ann", "dan"}})));
  EXPECT_EQ(followed.added(), 3);
  ASSERT_OK_AND_ASSIGN(const auto again, client_.Follow(Follows({{"ann", "cleo"}, {"eve", "cleo"}})));
  EXPECT_EQ(again.added(), 1);
  EXPECT_THAT(FollowersOf("cleo"), ElementsAre("ann", "bob", "eve"));
  v1::UnfollowRequest request;
  *request.mutable_follows() = Follows({{"bob", "cleo"}, {"nobody", "cleo"}, {"bob", "cleo"}}).follows();
  ASSERT_OK_AND_ASSIGN(const auto unfollowed, client_.Unfollow(request));
  EXPECT_EQ(unfollowed.removed(), 1);
  EXPECT_THAT(FollowersOf("cleo"), ElementsAre("ann", "eve"));
  EXPECT_THAT(FollowersOf("dan"), ElementsAre("ann"));
}

TEST_F(AudienceGraph, TakesAThousandFollowsAndListsThemByPages) {
  v1::FollowRequest request;
  for (int i = 0; i < limits::kMaxBatchSize; ++i) {
    request.add_follows()->set_follower_id(absl::StrCat("fan-", 10'000 + i));
    request.mutable_follows(i)->set_followee_id("star");
  }
  ASSERT_OK_AND_ASSIGN(const auto followed, client_.Follow(request));
  EXPECT_EQ(followed.added(), 1000);
  const std::vector<std::string> by_default = FollowersOf("star");
  EXPECT_THAT(by_default, SizeIs(1000));
  EXPECT_TRUE(std::is_sorted(by_default.begin(), by_default.end()));
  EXPECT_EQ(FollowersOf("star", 7), by_default);
  EXPECT_EQ(FollowersOf("star", 1000), by_default);
  *request.add_follows() = request.follows(0);
  EXPECT_THAT(client_.Follow(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("follows: must be 1")));
}

TEST_F(AudienceGraph, NamesEveryFaultOfABatchAndWritesNothingOfIt) {
  v1::FollowRequest request =
      Follows({{"fine", "faulty"}, {"", "faulty"}, {"a\nb", "faulty"}, {"self", "self"}, {"x", ""}});
  request.add_follows()->set_follower_id(std::string(256, 'x'));
  EXPECT_THAT(client_.Follow(request),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("follows[1].follower_id"), HasSubstr("follows[2].follower_id"),
                             HasSubstr("follows[3].followee_id"), HasSubstr("follows[4].followee_id"),
                             HasSubstr("follows[5].follower_id"), Not(HasSubstr("follows[0]")))));
  EXPECT_THAT(FollowersOf("faulty"), SizeIs(0));
  EXPECT_THAT(client_.Follow({}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("follows")));
  EXPECT_THAT(client_.Unfollow({}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("follows")));
  v1::AddTopicSubscriptionsRequest subscriptions;
  subscriptions.add_subscriptions()->set_user_id("ann");
  EXPECT_THAT(client_.AddTopicSubscriptions(subscriptions),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("subscriptions[0].topic_id")));
}

TEST_F(AudienceGraph, ChecksPagesOfFollowers) {
  ASSERT_OK(client_.Follow(Follows({{"p1", "paged"}, {"p2", "paged"}, {"p1", "other"}})));
  v1::ListFollowersRequest request;
  EXPECT_THAT(client_.ListFollowers(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("followee_id")));
  request.set_followee_id("paged");
  request.set_page_size(-1);
  EXPECT_THAT(client_.ListFollowers(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_size")));
  request.set_page_size(1);
  ASSERT_OK_AND_ASSIGN(const auto first, client_.ListFollowers(request));
  request.set_followee_id("other");
  request.set_page_token(first.next_page_token());
  EXPECT_THAT(client_.ListFollowers(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")));
}

TEST_F(AudienceGraph, SubscribesToTopicsApartFromFollows) {
  v1::AddTopicSubscriptionsRequest add;
  for (const std::string user : {"ann", "bob", "ann"}) {
    add.add_subscriptions()->set_user_id(user);
    add.mutable_subscriptions()->rbegin()->set_topic_id("news");
  }
  ASSERT_OK_AND_ASSIGN(const auto added, client_.AddTopicSubscriptions(add));
  EXPECT_EQ(added.added(), 2);
  v1::ListTopicSubscribersRequest list;
  list.set_topic_id("news");
  ASSERT_OK_AND_ASSIGN(auto subscribers, client_.ListTopicSubscribers(list));
  EXPECT_THAT(subscribers.user_ids(), ElementsAre("ann", "bob"));
  EXPECT_THAT(FollowersOf("news"), SizeIs(0));
  v1::RemoveTopicSubscriptionsRequest remove;
  *remove.add_subscriptions() = add.subscriptions(1);
  ASSERT_OK_AND_ASSIGN(const auto removed, client_.RemoveTopicSubscriptions(remove));
  EXPECT_EQ(removed.removed(), 1);
  ASSERT_OK_AND_ASSIGN(subscribers, client_.ListTopicSubscribers(list));
  EXPECT_THAT(subscribers.user_ids(), ElementsAre("ann"));
}

TEST_F(AudienceGraph, KeepsAppsApartAndAsksForTheScope) {
  ASSERT_OK(client_.Follow(Follows({{"ann", "mine"}})));
  Client stranger = ClientOfApp(stack_->CreateApp("stranger"));
  v1::ListFollowersRequest request;
  request.set_followee_id("mine");
  ASSERT_OK_AND_ASSIGN(const auto seen, stranger.ListFollowers(request));
  EXPECT_EQ(seen.follower_ids_size(), 0);
  Client sender = ClientOfApp(stack_->CreateApp("sender", "send"));
  EXPECT_THAT(sender.Follow(Follows({{"a", "b"}})), StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("feed")));
}

TEST_F(AudienceGraph, ChangesAnAppsThreshold) {
  const nlohmann::json app = stack_->CreateApp("threshold");
  EXPECT_EQ(app["app"]["shared_audience_threshold"], "100000");
  v1::UpdateAppRequest request;
  request.set_app_key(app["app"]["app_key"].get<std::string>());
  request.mutable_shared_audience_threshold()->set_value(-1);
  EXPECT_THAT(client_.UpdateApp(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("shared_audience_threshold")));
  request.mutable_shared_audience_threshold()->set_value(0);
  ASSERT_OK_AND_ASSIGN(auto updated, client_.UpdateApp(request));
  EXPECT_EQ(updated.app().shared_audience_threshold(), 0);
  EXPECT_EQ(updated.app().name(), "threshold");
  const nlohmann::json set = nlohmann::json::parse(
      Ctl({"app", "set", "--app-key", request.app_key(), "--shared-audience-threshold", "17", "--json"}));
  EXPECT_EQ(set["app"]["shared_audience_threshold"], "17");
  request.clear_shared_audience_threshold();
  ASSERT_OK_AND_ASSIGN(updated, client_.UpdateApp(request));
  EXPECT_EQ(updated.app().shared_audience_threshold(), 17);
  request.set_app_key("ck_unknown");
  EXPECT_THAT(client_.UpdateApp(request), StatusIs(absl::StatusCode::kNotFound));
}

v1::ApplyTypesRequest TypeWithDedupe(const std::string& key, int64_t seconds) {
  v1::ApplyTypesRequest request;
  v1::Type& type = *request.add_types();
  type.set_name("match.started");
  type.set_weight(v1::WEIGHT_SOCIAL);
  type.set_routing_key("social.match_started");
  type.add_channels(v1::CHANNEL_IN_APP);
  type.mutable_in_app()->set_title("It begins");
  type.mutable_dedupe()->set_key(key);
  type.mutable_dedupe()->mutable_window()->set_seconds(seconds);
  return request;
}

TEST_F(AudienceGraph, ChecksDedupeWindowsOfTypes) {
  EXPECT_OK(client_.ApplyTypes(TypeWithDedupe("{{actor_id}}/{{data.match}}", 1)));
  EXPECT_OK(client_.ApplyTypes(TypeWithDedupe("match", 30 * 24 * 3600)));
  EXPECT_OK(client_.ApplyTypes(TypeWithDedupe("{{data.user_id}}", 1)));
  for (const std::string key : {"", "{{#actor_id}}x{{/actor_id}}", "{{{ user_id }}}", "x{{user_id"}) {
    EXPECT_THAT(client_.ApplyTypes(TypeWithDedupe(key, 60)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("types[0].dedupe.key")))
        << key;
  }
  EXPECT_THAT(client_.ApplyTypes(TypeWithDedupe(std::string(501, 'x'), 60)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("types[0].dedupe.key")));
  for (const int64_t seconds : {0, -1, 30 * 24 * 3600 + 1}) {
    EXPECT_THAT(client_.ApplyTypes(TypeWithDedupe("{{actor_id}}", seconds)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("types[0].dedupe.window")))
        << seconds;
  }
}

TEST_F(AudienceGraph, CarriesDedupeWindowsThroughTheCataloguesFile) {
  const auto find = [](const nlohmann::json& types, const std::string& name) {
    for (const nlohmann::json& type : types["types"]) {
      if (type["name"] == name) return type;
    }
    return nlohmann::json();
  };
  const nlohmann::json shipped = nlohmann::json::parse(Ctl({"types", "list", "--json"}));
  nlohmann::json type = find(shipped, "stream.start");
  EXPECT_EQ(type["dedupe"]["key"], "{{actor_id}}");
  EXPECT_EQ(type["dedupe"]["window"], "600s");
  EXPECT_FALSE(find(shipped, "like").contains("dedupe") && !find(shipped, "like")["dedupe"].is_null());
  type["dedupe"]["window"] = "90.500s";
  const ScratchDirectory scratch;
  std::ofstream(scratch.Path("types.json")) << nlohmann::json::array({type});
  Ctl({"types", "apply", scratch.Path("types.json")});
  const nlohmann::json own = find(nlohmann::json::parse(Ctl({"types", "list", "--json"})), "stream.start");
  EXPECT_EQ(own["dedupe"]["key"], "{{actor_id}}");
  EXPECT_EQ(own["dedupe"]["window"], "90.500s");
  EXPECT_EQ(own["shipped"], false);
}

TEST_F(AudienceGraph, IsKeptFromTheCommandLine) {
  EXPECT_EQ(Ctl({"follows", "add", "--follower", "ann", "--followee", "ctl"}), "ann follows ctl\n");
  EXPECT_EQ(Ctl({"follows", "add", "--follower", "ann", "--followee", "ctl"}), "ann already follows ctl\n");
  Ctl({"follows", "add", "--follower", "bob", "--followee", "ctl"});
  EXPECT_EQ(Ctl({"follows", "list", "--followee", "ctl"}), "ann\nbob\n");
  EXPECT_EQ(nlohmann::json::parse(Ctl({"follows", "remove", "--follower", "ann", "--followee", "ctl", "--json"})),
            nlohmann::json::parse(R"({"removed": 1})"));
  EXPECT_EQ(Ctl({"follows", "list", "--followee", "ctl", "--limit", "1"}), "bob\n");
  Ctl({"topics", "subscribe", "--topic", "ctl", "--user", "eve"});
  EXPECT_EQ(nlohmann::json::parse(Ctl({"topics", "subscribers", "--topic", "ctl", "--json"}))["user_ids"],
            nlohmann::json::array({"eve"}));
  EXPECT_EQ(Ctl({"topics", "unsubscribe", "--topic", "ctl", "--user", "eve"}), "eve no longer subscribes to ctl\n");
  ASSERT_OK_AND_ASSIGN(const CommandResult wrong,
                       stack_->Carillonctl({"follows", "add", "--follower", "x", "--followee", "x"}));
  EXPECT_EQ(wrong.exit_status, 1);
  EXPECT_THAT(wrong.errors, HasSubstr("followee_id"));
}

class FollowsImport : public AudienceGraph {
 protected:
  // A file of its own for each test.
  std::string Write(const std::string& text) {
    const std::string path = scratch_.Path("follows.tsv");
    std::ofstream(path) << text;
    return path;
  }
  static absl::StatusOr<CommandResult> Import(const std::string& path, std::vector<std::string> more = {}) {
    std::vector<std::string> command = {"follows", "import", path, "--json"};
    command.insert(command.end(), more.begin(), more.end());
    return stack_->Carillonctl(command);
  }
  static int64_t Positions() {
    int64_t count = -1;
    EXPECT_TRUE(absl::SimpleAtoi(stack_->database().Query("SELECT count(*) FROM import_positions"), &count));
    return count;
  }

  const ScratchDirectory scratch_;
};

TEST_F(FollowsImport, BringsInWhatIsMissing) {
  ASSERT_OK(client_.Follow(Follows({{"ann", "imported"}})));
  // The last line has no end.
  const std::string path = Write("ann\timported\nbob\timported\nbob\timported\nd'an \\N ä\timported");
  ASSERT_OK_AND_ASSIGN(const CommandResult result, Import(path));
  ASSERT_EQ(result.exit_status, 0) << result.errors;
  const nlohmann::json counts = nlohmann::json::parse(result.output);
  EXPECT_EQ(counts["lines"], 4);
  EXPECT_EQ(counts["added"], 2);
  EXPECT_EQ(counts["skipped"], 0);
  EXPECT_THAT(FollowersOf("imported"), ElementsAre("ann", "bob", "d'an \\N ä"));
  EXPECT_EQ(Positions(), 0);
  // Done is done: another time it begins at the beginning.
  ASSERT_OK_AND_ASSIGN(const CommandResult again, Import(path));
  EXPECT_THAT(again.errors, Not(HasSubstr("resuming")));
  EXPECT_EQ(nlohmann::json::parse(again.output)["added"], 0);
}

TEST_F(FollowsImport, ReadsStandardInputOnce) {
  const std::string path = Write("ann\tpiped\nbob\tpiped\n");
  const std::string command = absl::StrCat("cat ", path, " | ", BinaryDirectory(), "/carillonctl follows import -");
  ASSERT_OK_AND_ASSIGN(const CommandResult result, RunCommand({"/bin/sh", "-c", command}, stack_->Environment()));
  EXPECT_EQ(result.exit_status, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("2 new follows"));
  EXPECT_THAT(FollowersOf("piped"), ElementsAre("ann", "bob"));
}

TEST_F(FollowsImport, NamesABadLineAndWritesNothingOfItsChunk) {
  const std::string path = Write("a\tbad\nb\tbad\nc\tbad\nd\tbad\ne bad\nf\tbad\n");
  ASSERT_OK_AND_ASSIGN(const CommandResult result, Import(path, {"--chunk", "3"}));
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.errors, HasSubstr("line 5: must be follower_id, a tab, followee_id; 3 lines before it are in"));
  EXPECT_THAT(FollowersOf("bad"), ElementsAre("a", "b", "c"));
  ASSERT_OK_AND_ASSIGN(const CommandResult skipping, Import(path, {"--skip-bad"}));
  EXPECT_EQ(skipping.exit_status, 0);
  EXPECT_THAT(skipping.errors, AllOf(HasSubstr("resuming at line 4"), HasSubstr("skipped line 5")));
  const nlohmann::json counts = nlohmann::json::parse(skipping.output);
  EXPECT_EQ(counts["skipped"], 1);
  EXPECT_EQ(counts["resumed_after_line"], 3);
  EXPECT_EQ(counts["added"], 5);
  EXPECT_THAT(FollowersOf("bad"), ElementsAre("a", "b", "c", "d", "f"));
}

TEST_F(FollowsImport, SaysWhatIsWrongWithALine) {
  const std::pair<std::string, std::string> cases[] = {
      {"\tx", "follower_id must be 1 to 255 bytes"},
      {"x\t", "followee_id must be 1 to 255 bytes"},
      {"", "must be follower_id, a tab"},
      {"x\ty\r", "followee_id has control characters"},
      {"x\ty\tz", "followee_id has control characters"},
      {"x\txx\xff", "followee_id is not UTF-8"},
      {"x\tx", "nobody follows themselves"},
      {absl::StrCat(std::string(256, 'x'), "\ty"), "follower_id must be 1 to 255 bytes, not 256"},
  };
  for (const auto& [line, fault] : cases) {
    ASSERT_OK_AND_ASSIGN(const CommandResult result, Import(Write(absl::StrCat(line, "\n"))));
    EXPECT_EQ(result.exit_status, 1);
    EXPECT_THAT(result.errors, HasSubstr(absl::StrCat("line 1: ", fault)));
  }
  ASSERT_OK_AND_ASSIGN(const CommandResult missing, Import(scratch_.Path("none")));
  EXPECT_EQ(missing.exit_status, 1);
  ASSERT_OK_AND_ASSIGN(const CommandResult empty, Import(Write("")));
  EXPECT_EQ(empty.exit_status, 0) << empty.errors;
}

TEST_F(FollowsImport, GoesOnWhereItWasKilled) {
  constexpr int kLines = 60'000;
  std::vector<std::string> lines;
  for (int i = 0; i < kLines; ++i) lines.push_back(absl::StrCat("fan-", i % 50'000, "\tkilled-", i / 50'000));
  const std::string path = Write(absl::StrCat(absl::StrJoin(lines, "\n"), "\n"));
  for (const int after : {2, 10, 25}) {
    ASSERT_OK_AND_ASSIGN(
        const auto import,
        Process::Start({{BinaryDirectory() + "/carillonctl", "follows", "import", path, "--chunk", "50"},
                        stack_->Environment(),
                        scratch_.Path("log")}));
    ASSERT_TRUE(WaitFor([&] {
      return stack_->database().Query(absl::StrCat("SELECT line_count >= ", after * 50, " FROM import_positions")) ==
             "t";
    }));
    EXPECT_TRUE(import->IsRunning());
    import->Kill();
  }
  ASSERT_OK_AND_ASSIGN(const CommandResult result, Import(path));
  ASSERT_EQ(result.exit_status, 0) << result.errors;
  EXPECT_THAT(result.errors, HasSubstr("resuming at line"));
  const nlohmann::json counts = nlohmann::json::parse(result.output);
  EXPECT_GE(counts["resumed_after_line"].get<int64_t>(), 25 * 50);
  EXPECT_EQ(counts["lines"], kLines);
  EXPECT_EQ(counts["added"], kLines) << "each line was counted once, in the end";
  EXPECT_EQ(stack_->database().Query("SELECT count(*) FROM memberships WHERE group_id LIKE 'killed-%'"),
            absl::StrCat(kLines));
  EXPECT_EQ(Positions(), 0);
}

TEST_F(FollowsImport, BeginsAnewWithAFileThatHasChanged) {
  // The same size and first line, but not what was read then.
  ASSERT_OK_AND_ASSIGN(const CommandResult first,
                       Import(Write("a\tchanged\nb\tchanged\nbad line\n"), {"--chunk", "2"}));
  EXPECT_EQ(first.exit_status, 1);
  ASSERT_OK_AND_ASSIGN(const CommandResult second, Import(Write("a\tchanged\nc\tchanged\nd\tchange\n")));
  EXPECT_EQ(second.exit_status, 0) << second.errors;
  EXPECT_THAT(second.errors, HasSubstr("has changed"));
  EXPECT_THAT(FollowersOf("changed"), ElementsAre("a", "b", "c"));
}

}  // namespace
}  // namespace carillon::testing
