#include "tests/integration/system_fixture.h"

#include <numeric>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace carillon::testing {

RecordedStream::RecordedStream(Client& client, const std::string& user_id, int64_t after_seq)
    : subscription_(client.Subscribe({.user_id = user_id, .after_seq = after_seq},
                                     {.on_event =
                                          [this](const v1::SubscribeResponse& event) {
                                            if (event.has_heartbeat()) return;
                                            absl::MutexLock lock(&mutex_);
                                            events_.push_back(event);
                                          },
                                      .on_disconnect = nullptr,
                                      .on_resume = nullptr})) {}

std::vector<v1::SubscribeResponse> RecordedStream::events() const {
  absl::MutexLock lock(&mutex_);
  return events_;
}

std::vector<int64_t> RecordedStream::seqs() const {
  std::vector<int64_t> seqs;
  for (const v1::SubscribeResponse& event : events()) seqs.push_back(event.seq());
  return seqs;
}

bool RecordedStream::WaitForEvents(size_t count, absl::Duration limit) const {
  return WaitFor([&] { return events().size() >= count; }, limit);
}

void CommandLineTest::TearDownTestSuite() {
  delete stack_;
  stack_ = nullptr;
}

CommandResult CommandLineTest::Run(const Arguments& arguments) {
  const auto result = stack_->Carillonctl(arguments);
  EXPECT_OK(result);
  return result.ok() ? *result : CommandResult{-1, "", ""};
}

std::string CommandLineTest::Output(const Arguments& arguments) {
  const CommandResult result = Run(arguments);
  EXPECT_EQ(result.exit_status, 0) << result.errors;
  return result.output;
}

nlohmann::json CommandLineTest::Document(Arguments arguments) {
  arguments.push_back("--json");
  return nlohmann::json::parse(Output(arguments), nullptr, false);
}

std::string CommandLineTest::Failure(const Arguments& arguments) {
  const CommandResult result = Run(arguments);
  EXPECT_EQ(result.exit_status, 1) << result.output;
  return result.errors;
}

Client ClientOf(const RunningStack& stack, const std::string& server) {
  return Client({.address = stack.address(server), .app_key = stack.app_key(), .app_secret = stack.app_secret()});
}

v1::SendNotificationRequest Request(const std::string& type, const std::string& user, const std::string& key) {
  v1::SendNotificationRequest request;
  request.set_type(type);
  request.set_user_id(user);
  request.set_actor_id("bob");
  request.set_object_id("post-1");
  request.set_idempotency_key(key);
  (*request.mutable_data()->mutable_fields())["actor_name"].set_string_value("Bob");
  return request;
}

std::vector<int64_t> CountUpTo(int64_t count) {
  std::vector<int64_t> numbers(count);
  std::iota(numbers.begin(), numbers.end(), 1);
  return numbers;
}

v1::State StateOf(Client& client, const std::string& notification_id) {
  v1::GetNotificationRequest request;
  request.set_notification_id(notification_id);
  const auto got = client.GetNotification(request);
  return got.ok() ? got->notification().state() : v1::STATE_UNSPECIFIED;
}

std::vector<v1::FeedItem> WholeFeed(Client& client, const std::string& user) {
  std::vector<v1::FeedItem> items;
  v1::ListFeedRequest request;
  request.set_user_id(user);
  request.set_page_size(100);
  do {
    const auto page = client.ListFeed(request);
    if (!page.ok()) {
      ADD_FAILURE() << page.status();
      break;
    }
    items.insert(items.end(), page->items().begin(), page->items().end());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return items;
}

double MetricSum(const RunningStack& stack, const std::string& process, const std::string& name) {
  const auto page = RunCommand(
      {"curl", "-fsS", "--max-time", "20", absl::StrCat("http://", stack.metrics_address(process), "/metrics")});
  if (!page.ok() || page->exit_status != 0) {
    ADD_FAILURE() << "no metrics of " << process;
    return 0;
  }
  double sum = 0;
  for (const absl::string_view line : absl::StrSplit(page->output, '\n')) {
    if (!absl::StartsWith(line, absl::StrCat(name, "{")) && !absl::StartsWith(line, absl::StrCat(name, " "))) continue;
    double value = 0;
    if (absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) sum += value;
  }
  return sum;
}

// A trigger of the partitioned table itself, which every statement names.
void SlowDownFeeds(RunningStack& stack, absl::Duration time) {
  stack.database().Query(
      absl::StrCat("CREATE FUNCTION take_a_while() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(",
                   absl::ToDoubleSeconds(time),
                   "); RETURN NULL; END $$;"
                   "CREATE TRIGGER take_a_while BEFORE INSERT ON feed_items"
                   " FOR EACH STATEMENT EXECUTE FUNCTION take_a_while()"));
}

// A lock that can't be had is a reason to try again.
void StandStillAt(RunningStack& stack, const std::string& audience, int64_t count) {
  stack.database().Query(absl::StrCat(
      "CREATE OR REPLACE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.expanded > ", count,
      " AND (SELECT audience_id FROM events WHERE event_id = NEW.event_id) = '", audience,
      "' THEN RAISE EXCEPTION 'stands still' USING ERRCODE = 'lock_not_available'; END IF; RETURN NEW; END $$;"
      "CREATE OR REPLACE TRIGGER stand_still BEFORE UPDATE ON event_shards"
      " FOR EACH ROW EXECUTE FUNCTION stand_still()"));
}

}  // namespace carillon::testing
