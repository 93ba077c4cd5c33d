#include "server/api/dry_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// An audience, read as a sample; whoever writes to it fails.
class AudienceInMemory final : public EventStore {
 public:
  std::vector<std::string> members;  // Sorted.
  std::optional<int64_t> measured;   // How many there were then; absent: as many.
  std::string held_window;
  std::vector<size_t> pages;           // As they were read.
  std::function<void()> on_measuring;  // May be empty.

  absl::StatusOr<Measure> MeasureAudience(const Event&, int64_t, int64_t) override {
    if (on_measuring) on_measuring();
    return Measure{.size = measured.value_or(std::ssize(members)), .cuts = {}};
  }
  absl::StatusOr<bool> IsWindowHeld(const Event&, const std::string& key) override { return key == held_window; }
  absl::StatusOr<std::vector<std::string>> Sample(const Event&, const std::string& after, int64_t every,
                                                  int limit) override {
    std::vector<std::string> page;
    auto at = std::upper_bound(members.begin(), members.end(), after) - members.begin() + every - 1;
    for (; at < std::ssize(members) && std::ssize(page) < limit; at += every) page.push_back(members[at]);
    pages.push_back(page.size());
    return page;
  }

  absl::StatusOr<EventOutcome> Accept(const NewEvent&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Get(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Pause(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Resume(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Cancel(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<OpenPage> Open(const FanoutPage&) override { return NotHere(); }
  absl::StatusOr<bool> TakeWindow(const Event&, const std::string&, absl::Duration) override { return NotHere(); }
  absl::Status Suppress(const Uuid&, const std::string&) override { return NotHere(); }
  absl::Status BeginExpanding(const Event&, int64_t, absl::Span<const EventRange>) override { return NotHere(); }
  absl::Status StoreShared(const Event&, int64_t, const PageItems&) override { return NotHere(); }
  absl::StatusOr<int64_t> AddToTopicFeed(const Event&, const FeedItem&) override { return NotHere(); }
  absl::StatusOr<std::vector<std::string>> Members(const Event&, const EventRange&, int) override { return NotHere(); }
  absl::StatusOr<std::vector<WrittenItem>> WritePage(const Event&, const PageWrite&, const PageItems&) override {
    return NotHere();
  }
  absl::Status FinishIfDone(const Uuid&) override { return NotHere(); }
  absl::StatusOr<int> RequeueIdle(Lane, absl::Time, int) override { return NotHere(); }
  absl::StatusOr<int> Expire(absl::Time, int) override { return NotHere(); }

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }
};

class DryRuns : public ::testing::Test {
 protected:
  DryRuns() {
    types_->type.lane = Lane::kMarketing;
    types_->type.channels = {Channel::kInApp, Channel::kEmail};
    contacts_->everybody.has_email = true;
  }

  static v1::DryRunRequest Send(const std::string& user) {
    v1::DryRunRequest request;
    request.mutable_send()->set_type("marketing.discount");
    request.mutable_send()->set_user_id(user);
    request.mutable_send()->set_actor_id("shop");
    return request;
  }
  static v1::DryRunRequest ToFollowers() {
    v1::DryRunRequest request;
    request.mutable_event()->set_type("marketing.discount");
    request.mutable_event()->set_actor_id("shop");
    request.mutable_event()->mutable_audience()->set_followers_of("shop");
    return request;
  }
  void SetFollowers(int count) {
    for (int i = 0; i < count; ++i) events_->members.push_back(absl::StrFormat("user-%06d", i));
  }
  void Mute(const std::string& user) {
    decisions_.settings.of[user].mutes = {{.kind = MuteKind::kActor, .id = "shop"}};
  }

  absl::StatusOr<v1::DryRunResponse> Run(const v1::DryRunRequest& request) {
    EXPECT_OK(catalogue_.Refresh());
    v1::DryRunResponse response;
    const absl::Status status = runner_.Run(
        request, {.app = AppId(7), .time = clock_.Now(), .traceparent = "", .clock_offset = absl::ZeroDuration()},
        [this] { return late_; }, &response);
    if (!status.ok()) return status;
    return response;
  }
  // "in_app send 3", and the reason behind it.
  std::vector<std::string> Counts(const v1::DryRunRequest& request) {
    const auto response = Run(request);
    EXPECT_OK(response);
    std::vector<std::string> lines;
    if (!response.ok()) return lines;
    for (const v1::DryRunCount& count : response->counts()) {
      lines.push_back(absl::StrCat(ToString(static_cast<Channel>(count.channel())), " ", count.outcome(), " ",
                                   count.count(), count.reason().empty() ? "" : ": ", count.reason()));
    }
    return lines;
  }

  SimulatedClock clock_{absl::FromUnixSeconds(1'800'000'100)};
  std::shared_ptr<CatalogueOfOne> types_ = std::make_shared<CatalogueOfOne>();
  Catalogue catalogue_{types_};
  DecisionsInMemory decisions_{catalogue_, clock_};
  std::shared_ptr<AudienceInMemory> events_ = std::make_shared<AudienceInMemory>();
  std::shared_ptr<ContactsInMemory> contacts_ = std::make_shared<ContactsInMemory>();
  DryRunner runner_{
      {.catalogue = catalogue_, .decisions = decisions_.maker, .events = events_, .deliveries = contacts_}};
  absl::Status late_;
};

TEST_F(DryRuns, OfASendSayWhatEachChannelWouldDo) {
  EXPECT_THAT(Counts(Send("ann")), ElementsAre("in_app send 1", "email send 1"));
  Mute("ben");
  EXPECT_THAT(Counts(Send("ben")),
              ElementsAre("in_app suppress 1: actor is muted", "email suppress 1: actor is muted"));
}

TEST_F(DryRuns, PassOverWhoCanNotBeReached) {
  contacts_->everybody.has_email = false;
  EXPECT_THAT(Counts(Send("ann")),
              ElementsAre("in_app send 1", "email suppress 1: the recipient has no e-mail address"));
}

TEST_F(DryRuns, SayOfTypesThatGatherThatItIsToldWithOthers) {
  types_->type.policy.aggregation = Aggregation{.window = absl::Minutes(10), .sliding = false, .max_window = {}};
  v1::DryRunRequest request = Send("ann");
  request.mutable_send()->set_object_id("post-1");
  EXPECT_THAT(Counts(request), ElementsAre(HasSubstr("in_app send 1: with others about its object"),
                                           HasSubstr("elsewhere when their window of 10m ends")));
  request.mutable_send()->add_channels(v1::CHANNEL_EMAIL);
  EXPECT_THAT(Counts(request), ElementsAre("email send 1"));
}

TEST_F(DryRuns, UpNoCapHoweverOftenTheyAreRepeated) {
  types_->type.policy.caps = {{.channel = Channel::kEmail, .limit = 1, .window = absl::Hours(1)}};
  for (int i = 0; i < 3; ++i) EXPECT_THAT(Counts(Send("ann")), ElementsAre("in_app send 1", "email send 1"));
}

TEST_F(DryRuns, RefuseWhatTheDoorWouldNamingTheField) {
  v1::DryRunRequest request = Send("");
  EXPECT_THAT(Run(request), StatusIs(kInvalid, HasSubstr("send.user_id")));
  request = ToFollowers();
  request.mutable_event()->clear_audience();
  EXPECT_THAT(Run(request), StatusIs(kInvalid, HasSubstr("event.audience")));
  EXPECT_THAT(Run({}), StatusIs(kInvalid, HasSubstr("either send or event")));
}

TEST_F(DryRuns, OfAnEventCountItsAudienceByReason) {
  SetFollowers(30);
  for (int i = 0; i < 7; ++i) Mute(events_->members[i * 4]);
  EXPECT_THAT(Counts(ToFollowers()), ElementsAre("in_app send 23", "in_app suppress 7: actor is muted", "email send 23",
                                                 "email suppress 7: actor is muted"));
  const auto response = Run(ToFollowers());
  EXPECT_EQ(response->audience_size(), 30);
  EXPECT_EQ(response->decided(), 30);
}

TEST_F(DryRuns, GroupHoldsThatEndAtDifferentTimes) {
  SetFollowers(2);
  decisions_.settings.of[events_->members[0]].settings.do_not_disturb_until = clock_.Now() + absl::Hours(1);
  decisions_.settings.of[events_->members[1]].settings.do_not_disturb_until = clock_.Now() + absl::Hours(2);
  EXPECT_THAT(Counts(ToFollowers()), ElementsAre("in_app send 2", "email hold 2: do not disturb: hold"));
}

TEST_F(DryRuns, OfAListNeedNoStoredEvent) {
  v1::DryRunRequest request = ToFollowers();
  for (int i = 0; i < 1200; ++i)
    request.mutable_event()->mutable_audience()->mutable_users()->add_user_ids(absl::StrCat("u", i));
  Mute("u7");
  EXPECT_THAT(Counts(request), ElementsAre("in_app send 1199", "in_app suppress 1: actor is muted", "email send 1199",
                                           "email suppress 1: actor is muted"));
  EXPECT_THAT(events_->pages, IsEmpty());
}

TEST_F(DryRuns, TakeASampleOfALargeAudienceAtEvenDistances) {
  types_->type.channels = {Channel::kInApp};
  SetFollowers(25'001);
  for (int i = 0; i < 25'001; ++i) {
    if (i % 3 == 2) Mute(events_->members[i]);
  }
  const auto response = Run(ToFollowers());
  ASSERT_OK(response);
  EXPECT_EQ(response->audience_size(), 25'001);
  EXPECT_EQ(response->decided(), 8333);
  // Every third: those, and nobody else.
  ASSERT_EQ(response->counts_size(), 1);
  EXPECT_EQ(response->counts(0).outcome(), "suppress");
  EXPECT_EQ(response->counts(0).count(), 8333);
  for (const size_t page : events_->pages) EXPECT_LE(page, 500u);
}

TEST_F(DryRuns, StopAtTheLimitThoughAnAudienceGrowsMeanwhile) {
  types_->type.channels = {Channel::kInApp};
  SetFollowers(12'000);
  events_->measured = 10'000;
  const auto response = Run(ToFollowers());
  ASSERT_OK(response);
  EXPECT_EQ(response->decided(), limits::kMaxDryRunRecipients);
}

TEST_F(DryRuns, OfAnEventWithinAnothersWindowSayThatNobodyIsTold) {
  types_->type.dedupe_key = "{{actor_id}}";
  types_->type.dedupe_window = absl::Minutes(10);
  SetFollowers(3);
  EXPECT_THAT(Counts(ToFollowers()), ElementsAre("in_app send 3", "email send 3"));
  events_->held_window = "shop";
  EXPECT_THAT(Counts(ToFollowers()), ElementsAre(HasSubstr("in_app suppress 3: another event of its type with the key"),
                                                 HasSubstr("email suppress 3: another event")));
}

TEST_F(DryRuns, EndWhenTheirAnswerWouldComeTooLate) {
  SetFollowers(3);
  late_ = error::DeadlineExceeded();
  EXPECT_THAT(Run(ToFollowers()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(events_->pages, IsEmpty());
}

TEST_F(DryRuns, OfEventsLeaveRoomForOtherReads) {
  SetFollowers(1);
  std::vector<absl::StatusCode> codes;
  int depth = 0;
  // Each begins while the one before is under way.
  events_->on_measuring = [&] {
    if (++depth <= limits::kMaxDryRuns) codes.push_back(Run(ToFollowers()).status().code());
  };
  EXPECT_OK(Run(ToFollowers()));
  EXPECT_THAT(codes, ElementsAre(absl::StatusCode::kResourceExhausted, absl::StatusCode::kOk));
  EXPECT_OK(Run(ToFollowers()));
}

}  // namespace
}  // namespace carillon::testing
