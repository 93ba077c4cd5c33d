#include "server/api/dead_letter_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "carillon/wire/envelope.h"
#include "server/api/dead_letter_view.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::SimulatedClock;
using testing::StatusIs;

Notification LoginCode() {
  static const Uuid id = NewUuid7(absl::FromUnixSeconds(1'800'000'000));
  Notification item;
  item.id = id;
  item.app = AppId(7);
  item.type = "otp.login";
  item.recipient = RecipientId("ann");
  item.data_json = R"({"code": 482910, "nested": {"words": ["secret"]}, "urgent": true})";
  item.create_time = absl::FromUnixSeconds(1'800'000'000);
  return item;
}

nlohmann::json Shown(const std::string& payload, bool masked) {
  return nlohmann::json::parse(PayloadJson(payload, masked, 1'000'000));
}

TEST(DeadLetterPayload, HidesTextsAndNumbersButNotIds) {
  const std::string payload = EncodeEnvelope(LoginCode());
  const nlohmann::json masked = Shown(payload, true)["notifications"][0];
  EXPECT_EQ(masked["data"]["code"], "***");
  EXPECT_EQ(masked["data"]["nested"]["words"][0], "***");
  EXPECT_EQ(masked["data"]["urgent"], true);
  EXPECT_EQ(masked["user_id"], "ann");
  EXPECT_EQ(masked["notification_id"], LoginCode().id.ToString());
  EXPECT_EQ(masked["accept_time"], "2027-01-15T08:00:00+00:00");
  EXPECT_THAT(PayloadJson(payload, true, 1'000'000), Not(HasSubstr("482910")));
  EXPECT_EQ(Shown(payload, false)["notifications"][0]["data"]["code"], 482910);
}

TEST(DeadLetterPayload, ShowsDeliveriesWithWhatTheySay) {
  const Delivery delivery{
      .id = LoginCode().id, .channel = Channel::kSms, .device_id = "", .item = LoginCode(), .decide_time = {}};
  const nlohmann::json shown = Shown(EncodeEnvelope(delivery), true)["deliveries"][0];
  EXPECT_EQ(shown["channel"], "sms");
  EXPECT_EQ(shown["notification"]["data"]["code"], "***");
}

TEST(DeadLetterPayload, ShowsNothingOfWhatIsNoneOfOurs) {
  EXPECT_EQ(Shown(std::string("\0\xff", 2), true), "***");
  EXPECT_EQ(Shown(std::string("\0\xff", 2), false), "AP8=");
  EXPECT_THAT(PayloadJson(std::string(20, 'x'), false, 10), HasSubstr("too long to be shown: 20 bytes"));
}

TEST(DeadLetterPayload, DoesNotWalkIntoWhatSomebodyMadeTooDeep) {
  Notification item = LoginCode();
  const std::string deep(200'000, '[');
  item.data_json = deep + "\"secret\"" + std::string(deep.size(), ']');
  EXPECT_EQ(Shown(EncodeEnvelope(item), true)["notifications"][0]["data"], "***");
  EXPECT_EQ(Shown(EncodeEnvelope(item), false)["notifications"][0]["data"], item.data_json);
}

class LettersOfOneApp final : public DeadLetterStore {
 public:
  absl::Status Record(absl::Span<const DeadLetter>) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<DeadLetter>> List(const ListQuery& query) override {
    asked = query;
    std::vector<DeadLetter> letters(query.limit);
    for (size_t i = 0; i < letters.size(); ++i) {
      letters[i].id = 1000 - static_cast<int64_t>(i);
      letters[i].payload = EncodeEnvelope(LoginCode());
    }
    return letters;
  }
  absl::StatusOr<DeadLetter> Get(int64_t) override { return DeadLetter(); }
  absl::StatusOr<Summary> Summarize(const DeadLetterFilter&, int) override { return Summary(); }
  absl::StatusOr<std::vector<int64_t>> Count(absl::Span<const std::string>, int64_t) override {
    return std::vector<int64_t>();
  }
  absl::StatusOr<int> Forget(absl::Time, int) override { return 0; }

  ListQuery asked;
};

class NotesOnly final : public ReplayStore {
 public:
  absl::StatusOr<ReplayRun> Begin(const ReplayOrder&) override { return ReplayRun(); }
  absl::StatusOr<ReplayRun> Rehearse(const ReplayOrder&) override { return ReplayRun(); }
  absl::StatusOr<ReplayRun> Resume(const Uuid&, const std::string&) override { return ReplayRun(); }
  absl::StatusOr<std::vector<Lane>> Step(ReplayRun&, int) override { return std::vector<Lane>(); }
  absl::StatusOr<int> PurgeStep(ReplayRun&, int) override { return 0; }
  absl::StatusOr<bool> HasMore(const ReplayRun&) override { return false; }
  absl::StatusOr<bool> Attend(ReplayRun&, int) override { return false; }
  absl::Status Finish(ReplayRun&, ReplayState, const std::string&) override { return absl::OkStatus(); }
  absl::StatusOr<Uuid> NoteShown(const ReplayOrder& order, std::optional<Uuid> id, int letters) override {
    notes.push_back(absl::StrCat(order.operator_name, " ", order.reason, " ", letters, id.has_value() ? " more" : ""));
    return LoginCode().id;
  }
  absl::StatusOr<std::vector<Replay>> List(std::optional<Uuid>, int) override { return std::vector<Replay>(); }

  std::vector<std::string> notes;
};

class DeadLetterRequestsTest : public ::testing::Test {
 protected:
  SimulatedClock clock_;
  const std::shared_ptr<LettersOfOneApp> letters_ = std::make_shared<LettersOfOneApp>();
  const std::shared_ptr<NotesOnly> replays_ = std::make_shared<NotesOnly>();
  DeadLetterRequests requests_{{.letters = letters_, .replays = replays_, .apps = nullptr, .clock = clock_}};
};

TEST_F(DeadLetterRequestsTest, AsksForTheCallersLettersAndThoseOfNoApp) {
  v1::ListDeadLettersRequest request;
  v1::ListDeadLettersResponse response;
  request.mutable_filter()->mutable_older_than()->set_seconds(60);
  ASSERT_OK(requests_.List(AppId(7), request, &response));
  EXPECT_EQ(letters_->asked.filter.app, AppId(7));
  EXPECT_TRUE(letters_->asked.filter.or_of_no_app);
  EXPECT_EQ(letters_->asked.filter.died_before, clock_.Now() - absl::Minutes(1));
  EXPECT_EQ(response.dead_letters(0).payload_json(), "");
  request.mutable_filter()->set_app_key("*");
  ASSERT_OK(requests_.List(AppId(7), request, &response));
  EXPECT_EQ(letters_->asked.filter.app, std::nullopt);
}

TEST_F(DeadLetterRequestsTest, RecordsWhoLooksAtPayloadsAsTheyAre) {
  v1::ListDeadLettersRequest request;
  v1::ListDeadLettersResponse response;
  request.set_unmasked(true);
  EXPECT_THAT(requests_.List(AppId(7), request, &response), StatusIs(absl::StatusCode::kInvalidArgument));
  request.set_reason("asked by the customer");
  request.set_operator_("ann");
  request.set_page_size(500);
  ASSERT_OK(requests_.List(AppId(7), request, &response));
  EXPECT_EQ(response.dead_letters_size(), 50);
  EXPECT_THAT(response.dead_letters(0).payload_json(), HasSubstr("482910"));
  request.set_page_token(response.next_page_token());
  ASSERT_OK(requests_.List(AppId(7), request, &response));
  EXPECT_THAT(replays_->notes,
              ::testing::ElementsAre("ann asked by the customer 50", "ann asked by the customer 50 more"));
  EXPECT_EQ(letters_->asked.older_than, 951);
}

TEST_F(DeadLetterRequestsTest, NamesEveryFaultOfAReplay) {
  v1::ReplayDeadLettersRequest request;
  request.set_rate(10'001);
  request.set_max_replays(101);
  request.set_limit(-1);
  request.mutable_filter()->add_dead_letter_ids("x");
  request.mutable_filter()->set_lane("sms");
  const absl::Status status = requests_.PlanReplay(AppId(7), request).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  for (const char* field : {"rate", "max_replays", "limit", "reason", "filter.dead_letter_ids[0]", "filter.lane"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  }
}

TEST_F(DeadLetterRequestsTest, RefusesFiltersThatNoLetterCanMeet) {
  const auto fault = [&](const v1::DeadLetterFilter& filter) {
    v1::SummarizeDeadLettersRequest request;
    v1::SummarizeDeadLettersResponse response;
    *request.mutable_filter() = filter;
    return std::string(requests_.Summarize(AppId(7), request, &response).message());
  };
  v1::DeadLetterFilter ages;
  ages.mutable_older_than()->set_seconds(600);
  ages.mutable_newer_than()->set_seconds(600);
  EXPECT_THAT(fault(ages), HasSubstr("filter.older_than: must be less than filter.newer_than"));
  ages.mutable_newer_than()->set_seconds(601);
  EXPECT_EQ(fault(ages), "");
  ages.clear_older_than();
  ages.mutable_newer_than()->set_seconds(0);
  EXPECT_THAT(fault(ages), HasSubstr("filter.newer_than: must be more than 0 s"));

  v1::DeadLetterFilter queue;
  queue.set_lane("payment");
  queue.set_queue("otp.sms");
  EXPECT_THAT(fault(queue), HasSubstr("filter.lane: must be that of filter.queue: otp"));
  queue.set_queue("unrouted");
  EXPECT_THAT(fault(queue), HasSubstr("filter.lane: must be that of filter.queue: none"));
  // It may have been there when they died.
  for (const char* const fine : {"payment.sms", "payment.fax"}) {
    queue.set_queue(fine);
    EXPECT_EQ(fault(queue), "");
  }
}

TEST_F(DeadLetterRequestsTest, TakesOneGroupExactly) {
  v1::ReplayDeadLettersRequest request;
  request.set_reason("fixed");
  request.mutable_filter()->set_error_kind("timeout after <number> ms");
  request.mutable_filter()->set_without_provider(true);
  ASSERT_OK_AND_ASSIGN(const ReplayPlan plan, requests_.PlanReplay(AppId(7), request));
  EXPECT_EQ(plan.order.filter.error_kind, "timeout after <number> ms");
  EXPECT_TRUE(plan.order.filter.without_provider);
  // It is told as it was asked for.
  Replay replay;
  replay.order = plan.order;
  v1::Replay told;
  ToProto(replay, &told);
  EXPECT_EQ(told.filter().error_kind(), "timeout after <number> ms");
  EXPECT_TRUE(told.filter().without_provider());
  request.mutable_filter()->set_provider("twilio");
  request.mutable_filter()->set_error_kind(std::string(256, 'x'));
  const absl::Status status = requests_.PlanReplay(AppId(7), request).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  for (const char* field : {"filter.without_provider", "filter.error_kind"}) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(field));
  }
}

TEST_F(DeadLetterRequestsTest, PlansWithDefaults) {
  v1::ReplayDeadLettersRequest request;
  request.set_reason("fixed");
  ASSERT_OK_AND_ASSIGN(ReplayPlan plan, requests_.PlanReplay(AppId(7), request));
  EXPECT_EQ(plan.rate, 100);
  EXPECT_EQ(plan.stop_after_failures, 20);
  EXPECT_EQ(plan.order.max_replays, 5);
  request.set_replay_id(LoginCode().id.ToString());
  ASSERT_OK_AND_ASSIGN(plan, requests_.PlanReplay(AppId(7), request));
  EXPECT_EQ(plan.resumed, LoginCode().id);
  request.set_dry_run(true);
  EXPECT_THAT(requests_.PlanReplay(AppId(7), request), StatusIs(absl::StatusCode::kInvalidArgument));
  request.set_dry_run(false);
  request.set_replay_id("999");
  EXPECT_THAT(requests_.PlanReplay(AppId(7), request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must be the id of a replay, a UUID")));
}

}  // namespace
}  // namespace carillon
