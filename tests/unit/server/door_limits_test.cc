#include "server/ingest/door_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using testing::IsOk;
using ::testing::Pair;
using testing::StatusIs;
using testing::WaitFor;
using Limit = RateAnswer::Limit;

// Lets everything in, or answers as it is told; can be held, and can be away.
class FakeLimiter final : public RateLimiter {
 public:
  absl::StatusOr<std::vector<RateAnswer>> Take(absl::Span<const RateRequest> requests) override {
    ++calls;
    {
      absl::MutexLock lock(&mutex_);
      last_senders_ = requests.back().senders;
    }
    if (hold_) released_.WaitForNotification();
    if (away) return error::BackendUnavailable("redis", "away");
    std::vector<RateAnswer> answers(requests.size(), answer);
    for (size_t i = 0; i < requests.size(); ++i) {
      if (requests[i].limits.runaway_per_minute > 0) answers[i].counts.assign(requests[i].senders.size(), count);
    }
    return answers;
  }
  void Hold() { hold_ = true; }
  void Release() {
    hold_ = false;
    released_.Notify();
  }

  // Of the last call that was asked about.
  std::vector<RateRequest::Sender> last_senders() const {
    absl::MutexLock lock(&mutex_);
    return last_senders_;
  }

  RateAnswer answer;
  std::atomic<int64_t> count = 1;
  std::atomic<bool> away = false;
  std::atomic<int> calls = 0;

 private:
  std::atomic<bool> hold_ = false;
  absl::Notification released_;
  mutable absl::Mutex mutex_;
  std::vector<RateRequest::Sender> last_senders_ ABSL_GUARDED_BY(mutex_);
};

using Senders = std::vector<std::pair<std::string, int64_t>>;

Senders Places(const std::vector<RateRequest::Sender>& senders) {
  Senders places;
  for (const RateRequest::Sender& sender : senders) places.emplace_back(sender.id, sender.places);
  return places;
}

// What the servers share: the trips, and by them the policy of app 7.
class FakeStores final : public TripStore, public CatalogStore {
 public:
  absl::Status Trip(absl::Span<const TrippedSender> senders) override {
    if (away) return error::BackendUnavailable("postgresql", "away");
    absl::MutexLock lock(&mutex_);
    ++version_;
    for (const TrippedSender& sender : senders) tripped_.insert(sender.sender_id);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<TrippedSender>> List(const std::string&, int) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<bool> Lift(const std::string&, const std::string& sender_id) override {
    absl::MutexLock lock(&mutex_);
    ++version_;
    return tripped_.erase(sender_id) > 0;
  }

  absl::StatusOr<int64_t> Version() override {
    absl::MutexLock lock(&mutex_);
    return version_;
  }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override { return std::vector<NotificationType>(); }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override {
    absl::MutexLock lock(&mutex_);
    return std::vector<AppPolicy>{
        {.app = AppId(7), .limits = {.app_rate = 5, .runaway_per_minute = 100}, .tripped = tripped_}};
  }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::UnimplementedError(""); }

  std::set<std::string, std::less<>> tripped() const {
    absl::MutexLock lock(&mutex_);
    return tripped_;
  }

  std::atomic<bool> away = false;

 private:
  mutable absl::Mutex mutex_;
  int64_t version_ ABSL_GUARDED_BY(mutex_) = 1;
  std::set<std::string, std::less<>> tripped_ ABSL_GUARDED_BY(mutex_);
};

class DoorLimitsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(catalogue_.Refresh());
    Make();
  }
  void Make(DoorLimits::Options options = {}) {
    limits_.reset();
    limits_ = std::make_unique<DoorLimits>(options, DoorLimits::Deps{.shared = shared_,
                                                                     .trips = stores_,
                                                                     .catalogue = catalogue_,
                                                                     .executor = executor_,
                                                                     .clock = clock_,
                                                                     .metrics = metrics_});
  }
  static DoorLimits::Call Call(int64_t places = 1, bool urgent = false) {
    return {.senders = {{.id = "ann", .places = places}}, .urgent = urgent, .done = nullptr};
  }
  // Does not wait for the answer.
  void Begin(DoorLimits::Call call, std::function<void(const absl::Status&)> done) {
    call.done = std::move(done);
    limits_->Admit(*catalogue_.PolicyOf(AppId(7)), std::move(call));
  }
  absl::Status Admit(DoorLimits::Call call) {
    absl::Status answer;
    absl::Notification answered;
    Begin(std::move(call), [&](const absl::Status& status) {
      answer = status;
      answered.Notify();
    });
    answered.WaitForNotification();
    return answer;
  }
  // So that what follows waits.
  void HoldTheLimiter(bool urgent) {
    shared_.Hold();
    const int calls = shared_.calls;
    Begin(Call(1, urgent), [](const absl::Status&) {});
    ASSERT_TRUE(WaitFor([&] { return shared_.calls > calls; }));
  }

  testing::SimulatedClock clock_;
  Metrics metrics_;
  FakeLimiter shared_;
  const std::shared_ptr<FakeStores> stores_ = std::make_shared<FakeStores>();
  Catalogue catalogue_{stores_};
  Executor executor_{1, 10};
  std::unique_ptr<DoorLimits> limits_;
};

TEST_F(DoorLimitsTest, DoNotConcernAppsWithoutAny) {
  EXPECT_FALSE(DoorLimits::Concern({}));
  EXPECT_FALSE(DoorLimits::Concern({.sandbox = true}));
  EXPECT_TRUE(DoorLimits::Concern({.limits = {.app_rate = 1}}));
  EXPECT_TRUE(DoorLimits::Concern({.limits = {.sender_rate = 1}}));
  EXPECT_TRUE(DoorLimits::Concern({.limits = {.runaway_per_minute = 1}}));
  EXPECT_TRUE(DoorLimits::Concern({.tripped = {"ann"}}));
}

TEST_F(DoorLimitsTest, SayWhoseRateRefusesAndWhenThereIsRoom) {
  EXPECT_OK(Admit(Call()));
  shared_.answer = {.refused_by = Limit::kSender, .wait = absl::Milliseconds(250)};
  const absl::Status refused = Admit(Call());
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(DetailsOf(refused).reason, "RATE_LIMITED");
  EXPECT_EQ(DetailsOf(refused).metadata["limit"], "sender");
  EXPECT_EQ(DetailsOf(refused).retry_delay, absl::Milliseconds(250));
  shared_.answer = {.refused_by = Limit::kApp, .wait = absl::InfiniteDuration()};
  const absl::Status never = limits_->AdmitNow(*catalogue_.PolicyOf(AppId(7)), Call());
  EXPECT_EQ(DetailsOf(never).metadata["limit"], "app");
  EXPECT_EQ(DetailsOf(never).retry_delay, std::nullopt);
}

TEST(SendersOfTest, CountsEachSendersNotifications) {
  std::vector<NewNotification> items(4);
  items[0].notification.actor_id = "bob";
  items[2].notification.actor_id = "ann";
  items[3].notification.actor_id = "bob";
  EXPECT_THAT(Places(SendersOf(items)), ElementsAre(Pair("", 1), Pair("ann", 1), Pair("bob", 2)));
}

TEST(SendersOfTest, CountsReactionsThatTellSomebody) {
  const auto reaction = [](const std::string& actor, const std::string& recipient) {
    Reaction made;
    made.actor_id = actor;
    made.recipient = recipient;
    return made;
  };
  const std::vector<Reaction> reactions = {reaction("bob", "ann"), reaction("cyd", ""), reaction("bob", ""),
                                           reaction("bob", "dan")};
  EXPECT_THAT(Places(SendersOf(reactions)), ElementsAre(Pair("bob", 2), Pair("cyd", 0)));
}

TEST_F(DoorLimitsTest, AskOnlyWhetherASenderWithoutPlacesIsShutOut) {
  shared_.answer = {.refused_by = Limit::kApp, .wait = absl::Seconds(1)};
  EXPECT_OK(Admit(Call(0)));
  EXPECT_OK(limits_->AdmitNow(*catalogue_.PolicyOf(AppId(7)), Call(0)));
  EXPECT_EQ(shared_.calls, 0);
  const TrippedSender ann{.sender_id = "ann"};
  ASSERT_OK(stores_->Trip({&ann, 1}));
  ASSERT_OK(catalogue_.Refresh());
  EXPECT_EQ(DetailsOf(Admit(Call(0))).reason, "SENDER_TRIPPED");
}

TEST_F(DoorLimitsTest, TakePlacesOfThoseWhoHaveSomeOnly) {
  EXPECT_OK(Admit({.senders = {{.id = "ann", .places = 0}, {.id = "bob", .places = 3}}, .done = nullptr}));
  EXPECT_THAT(Places(shared_.last_senders()), ElementsAre(Pair("bob", 3)));
}

TEST_F(DoorLimitsTest, AskAboutWhatGatheredInOneTrip) {
  HoldTheLimiter(/*urgent=*/false);
  absl::BlockingCounter answers(100);
  for (int i = 0; i < 100; ++i) {
    Begin(Call(), [&](const absl::Status& status) {
      EXPECT_OK(status);
      answers.DecrementCount();
    });
  }
  shared_.Release();
  answers.Wait();
  EXPECT_EQ(shared_.calls, 2);
}

TEST_F(DoorLimitsTest, KeepNoMoreWaitingThanTheQueueMayHold) {
  Make({.queue_items = 10});
  HoldTheLimiter(/*urgent=*/false);
  absl::BlockingCounter answers(2);
  const auto count = [&](const absl::Status& status) {
    EXPECT_OK(status);
    answers.DecrementCount();
  };
  Begin(Call(4), count);
  Begin(Call(6), count);
  const absl::Status refused = Admit(Call());
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(DetailsOf(refused).reason, "OVERLOADED");
  shared_.Release();
  answers.Wait();
}

TEST_F(DoorLimitsTest, LetPaymentAndOtpPassAQueueThatIsFull) {
  Make({.queue_items = 1});
  HoldTheLimiter(/*urgent=*/true);
  absl::Notification answered;
  Begin(Call(1, /*urgent=*/true), [&](const absl::Status&) { answered.Notify(); });
  EXPECT_OK(Admit(Call(1, /*urgent=*/true)));
  shared_.Release();
  answered.WaitForNotification();
}

TEST_F(DoorLimitsTest, BeginNothingAfterItsDeadline) {
  HoldTheLimiter(/*urgent=*/false);
  DoorLimits::Call call = Call();
  call.deadline = clock_.Now() + absl::Seconds(1);
  absl::Status answer;
  absl::Notification answered;
  Begin(std::move(call), [&](const absl::Status& status) {
    answer = status;
    answered.Notify();
  });
  clock_.Advance(absl::Seconds(2));
  shared_.Release();
  answered.WaitForNotification();
  EXPECT_THAT(answer, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(shared_.calls, 1);
}

TEST_F(DoorLimitsTest, LimitByThisProcessWhileTheSharedStateIsAway) {
  for (int i = 0; i < 2; ++i) EXPECT_OK(Admit(Call()));
  shared_.away = true;
  for (int i = 0; i < 3; ++i) EXPECT_OK(Admit(Call())) << i;
  const absl::Status refused = Admit(Call());
  EXPECT_EQ(DetailsOf(refused).reason, "RATE_LIMITED");
  EXPECT_EQ(DetailsOf(refused).retry_delay, absl::Milliseconds(200));
  clock_.Advance(absl::Milliseconds(200));
  EXPECT_OK(Admit(Call()));
}

TEST_F(DoorLimitsTest, RefusePaymentAndOtpOnlyByTheSharedState) {
  shared_.away = true;
  for (int i = 0; i < 20; ++i) EXPECT_OK(Admit(Call(1, /*urgent=*/true))) << i;
  EXPECT_THAT(Admit(Call()), StatusIs(absl::StatusCode::kResourceExhausted));
  shared_.away = false;
  shared_.answer = {.refused_by = Limit::kApp, .wait = absl::Seconds(1)};
  EXPECT_THAT(Admit(Call(1, /*urgent=*/true)), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(DoorLimitsTest, ShutARunawayOutUntilItIsLifted) {
  shared_.count = 100;
  EXPECT_OK(Admit(Call()));
  shared_.count = 101;
  const absl::Status refused = Admit(Call());
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_EQ(DetailsOf(refused).reason, "SENDER_TRIPPED");
  EXPECT_EQ(DetailsOf(refused).metadata["sender_id"], "ann");
  EXPECT_EQ(DetailsOf(refused).retry_delay, std::nullopt);
  shared_.count = 1;
  EXPECT_THAT(Admit(Call()), StatusIs(absl::StatusCode::kPermissionDenied));
  ASSERT_TRUE(WaitFor([&] { return catalogue_.PolicyOf(AppId(7))->tripped.contains("ann"); }));
  EXPECT_THAT(Admit(Call()), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_OK(Admit({.senders = {{.id = "bob"}}, .done = nullptr}));
  ASSERT_OK(stores_->Lift("", "ann"));
  ASSERT_TRUE(WaitFor([&] { return catalogue_.Refresh().ok() && Admit(Call()).ok(); }));
}

TEST_F(DoorLimitsTest, ShutOutPaymentAndOtpTooAndWithoutTheSharedState) {
  shared_.away = true;
  EXPECT_OK(Admit(Call(100, /*urgent=*/true)));
  EXPECT_THAT(Admit(Call(1, /*urgent=*/true)), StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(DoorLimitsTest, RefuseARunawayWhileItCanNotBeWrittenDown) {
  stores_->away = true;
  shared_.count = 101;
  EXPECT_THAT(Admit(Call()), StatusIs(absl::StatusCode::kPermissionDenied));
  shared_.count = 1;
  for (int i = 0; i < 3; ++i) {
    limits_->Attend();
    EXPECT_THAT(Admit(Call()), StatusIs(absl::StatusCode::kPermissionDenied));
  }
  EXPECT_TRUE(stores_->tripped().empty());
  stores_->away = false;
  EXPECT_TRUE(WaitFor([&] {
    limits_->Attend();
    return stores_->tripped().contains("ann");
  }));
}

TEST_F(DoorLimitsTest, AnswerWhatWaitsWhenTheyAreStopped) {
  HoldTheLimiter(/*urgent=*/false);
  absl::Notification answered;
  Begin(Call(), [&](const absl::Status& status) {
    EXPECT_OK(status);
    answered.Notify();
  });
  shared_.Release();
  limits_->Stop();
  EXPECT_TRUE(answered.HasBeenNotified());
  EXPECT_THAT(Admit(Call()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Admit(Call(1, /*urgent=*/true)), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace carillon
