#include "server/api/watch_notification.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using ::carillon::testing::SimulatedClock;
using ::carillon::testing::StatusIs;
using ::carillon::testing::WaitFor;

const AppId kApp(7);
const Uuid kId = NewUuid7(absl::FromUnixSeconds(1'700'000'000));

// Notifications by id, and what each looks like.
class NotificationsInMemory final : public NotificationStore, public WatchStore {
 public:
  absl::StatusOr<NotificationRecord> Get(AppId, const NotificationId& id) override {
    absl::MutexLock lock(&mutex_);
    ++reads_;
    const auto found = records_.find(id);
    if (found == records_.end()) return error::NotFound("notification", id.ToString());
    return found->second;
  }
  absl::StatusOr<std::vector<std::string>> Look(absl::Span<const WatchKey> keys) override {
    absl::MutexLock lock(&mutex_);
    ++looks_;
    if (!status_.ok()) return status_;
    std::vector<std::string> looks;
    for (const WatchKey& key : keys) {
      looks.push_back(records_.contains(key.id) ? std::string(ToString(records_[key.id].state)) : "");
    }
    return looks;
  }
  absl::StatusOr<std::vector<AcceptOutcome>> Accept(absl::Span<const NewNotification>, bool) override {
    return status_;
  }
  absl::StatusOr<std::vector<NotificationRecord>> List(const ListQuery&) override { return status_; }
  absl::Status Cancel(AppId, const NotificationId&) override { return absl::OkStatus(); }
  absl::Status RecordAttempts(absl::Span<const FailedAttempt>) override { return absl::OkStatus(); }

  void Put(const Uuid& id, State state, Lane lane = Lane::kSocial) {
    absl::MutexLock lock(&mutex_);
    NotificationRecord& record = records_[id];
    record.notification.id = id;
    record.notification.lane = lane;
    record.notification.create_time = id.time();
    record.state = state;
  }
  void Erase(const Uuid& id) {
    absl::MutexLock lock(&mutex_);
    records_.erase(id);
  }
  void Fail(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    status_ = std::move(status);
  }
  int reads() const {
    absl::MutexLock lock(&mutex_);
    return reads_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<Uuid, NotificationRecord> records_;
  absl::Status status_;
  int reads_ = 0;
  int looks_ = 0;
};

class NoDeliveries final : public DeliveryStore {
 public:
  absl::StatusOr<std::vector<Contacts>> ReadContacts(absl::Span<const FeedKey>) override { return nothing_; }
  absl::StatusOr<int> DecideAgain(absl::Span<const Redecision>) override { return 0; }
  absl::StatusOr<std::vector<ClaimResult>> Claim(absl::Span<const ClaimRequest>, absl::Duration) override {
    return nothing_;
  }
  absl::Status Record(absl::Span<const DeliveryUpdate>) override { return nothing_; }
  absl::StatusOr<int> ReleaseHeld(AppId, Channel, Lane, int) override { return 0; }
  absl::StatusOr<std::vector<AppId>> AppsWithHeld(Channel, Lane) override { return nothing_; }
  absl::StatusOr<std::vector<DeliveryRecord>> List(AppId, const NotificationId&) override {
    return std::vector<DeliveryRecord>();
  }
  absl::StatusOr<int> RequeueIdle(Lane, Channel, absl::Time, int) override { return 0; }
  absl::StatusOr<int> ForgetKept(absl::Time, int) override { return 0; }

 private:
  const absl::Status nothing_ = absl::UnimplementedError("not asked here");
};

class Listener final : public WatchListener {
 public:
  void OnReady() override { ++calls; }
  std::atomic<int> calls = 0;
};

class WatchNotificationTest : public ::testing::Test {
 protected:
  NotificationWatches::WatchPtr Open(const Uuid& id = kId) {
    const auto watch = watches_.Open(kApp, id, listener_);
    EXPECT_OK(watch);
    return *watch;
  }
  // The state that comes next; unspecified: nothing does.
  v1::State Next(const NotificationWatches::WatchPtr& watch) {
    const auto step = watches_.Take(watch);
    return step.has_value() && step->response.has_value() ? step->response->notification().state()
                                                          : v1::STATE_UNSPECIFIED;
  }
  // A look at lanes of which social is so far behind, and marketing is not.
  void Behind(absl::Duration oldest, std::optional<absl::Duration> wait) {
    auto sample = std::make_shared<PressureSample>();
    for (const Lane lane : kAllLanes) sample->lanes.push_back({.lane = lane, .estimated_wait = {}});
    LaneSample& social = sample->lanes[static_cast<size_t>(Lane::kSocial)];
    social.delayed = oldest > absl::ZeroDuration();
    social.oldest_age = oldest;
    social.estimated_wait = wait;
    sample_ = std::move(sample);
  }

  std::shared_ptr<NotificationsInMemory> store_ = std::make_shared<NotificationsInMemory>();
  std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
  std::shared_ptr<const PressureSample> sample_;
  SimulatedClock clock_;
  Metrics metrics_;
  NotificationWatches watches_{store_,
                               NotificationReader(
                                   store_, std::make_shared<NoDeliveries>(), [this] { return sample_; }, clock_),
                               metrics_};
};

TEST_F(WatchNotificationTest, TellsTheStateAtOnceEachChangeAndTheEnd) {
  store_->Put(kId, State::kAccepted);
  const auto watch = Open();
  EXPECT_EQ(watches_.Take(watch), std::nullopt);
  watches_.Look(/*fresh_only=*/true);
  EXPECT_EQ(Next(watch), v1::STATE_ACCEPTED);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(watches_.Take(watch), std::nullopt);
  store_->Put(kId, State::kQueued);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(Next(watch), v1::STATE_QUEUED);
  store_->Put(kId, State::kDelivered);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(Next(watch), v1::STATE_DELIVERED);
  const auto end = watches_.Take(watch);
  ASSERT_TRUE(end.has_value());
  EXPECT_FALSE(end->response.has_value());
  EXPECT_OK(end->status);
  EXPECT_EQ(listener_->calls, 3);
}

TEST_F(WatchNotificationTest, ReadsOnlyWhatHasChanged) {
  store_->Put(kId, State::kQueued);
  Open();
  for (int i = 0; i < 10; ++i) watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(store_->reads(), 1);
}

TEST_F(WatchNotificationTest, ASlowReaderGetsTheNewestOnly) {
  store_->Put(kId, State::kAccepted);
  const auto watch = Open();
  watches_.Look(/*fresh_only=*/true);
  store_->Put(kId, State::kDelivered);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(Next(watch), v1::STATE_DELIVERED);
  EXPECT_OK(watches_.Take(watch)->status);
}

TEST_F(WatchNotificationTest, OfOneThatIsNotThereOrWasErasedItSaysSo) {
  const auto unknown = Open();
  watches_.Look(/*fresh_only=*/true);
  EXPECT_THAT(watches_.Take(unknown)->status, StatusIs(absl::StatusCode::kNotFound));
  store_->Put(kId, State::kQueued);
  const auto erased = Open();
  watches_.Look(/*fresh_only=*/true);
  EXPECT_EQ(Next(erased), v1::STATE_QUEUED);
  store_->Erase(kId);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_THAT(watches_.Take(erased)->status, StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(WatchNotificationTest, EndsWithWhatItsCallerWasLetInBy) {
  store_->Put(kId, State::kQueued);
  const auto watch = watches_.Open(kApp, kId, listener_, [] { return error::InvalidCredentials(); });
  ASSERT_OK(watch);
  watches_.Look(/*fresh_only=*/true);
  EXPECT_EQ(Next(*watch), v1::STATE_QUEUED);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_THAT(watches_.Take(*watch)->status, StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST_F(WatchNotificationTest, AnOutageEndsThoseThatWereNotAnsweredAndNoOthers) {
  store_->Put(kId, State::kQueued);
  const auto answered = Open();
  watches_.Look(/*fresh_only=*/true);
  EXPECT_EQ(Next(answered), v1::STATE_QUEUED);
  store_->Fail(error::BackendUnavailable("postgresql", "away"));
  const auto fresh = Open();
  watches_.Look(/*fresh_only=*/false);
  EXPECT_THAT(watches_.Take(fresh)->status, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(watches_.Take(answered), std::nullopt);
  store_->Fail(absl::OkStatus());
  store_->Put(kId, State::kDelivered);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(Next(answered), v1::STATE_DELIVERED);
}

TEST_F(WatchNotificationTest, TellsOfADelayThatComesMovesAndGoes) {
  clock_.Set(kId.time() + absl::Seconds(1));
  store_->Put(kId, State::kQueued);
  const auto watch = Open();
  watches_.Look(/*fresh_only=*/true);
  EXPECT_FALSE(watches_.Take(watch)->response->notification().has_delay());
  Behind(absl::Minutes(2), std::nullopt);
  watches_.Look(/*fresh_only=*/false);
  auto step = watches_.Take(watch);
  ASSERT_TRUE(step.has_value());
  EXPECT_EQ(step->response->notification().delay().queue(), "social");
  EXPECT_FALSE(step->response->notification().delay().has_estimated_time());
  Behind(absl::Minutes(2), absl::Minutes(3));
  watches_.Look(/*fresh_only=*/false);
  step = watches_.Take(watch);
  ASSERT_TRUE(step.has_value());
  EXPECT_EQ(step->response->notification().delay().estimated_time().seconds(),
            absl::ToUnixSeconds(kId.time() + absl::Minutes(3)));
  // Some seconds more are no news; half a minute is.
  Behind(absl::Minutes(2), absl::Seconds(185));
  watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(watches_.Take(watch), std::nullopt);
  Behind(absl::Minutes(2), absl::Seconds(210));
  watches_.Look(/*fresh_only=*/false);
  EXPECT_TRUE(watches_.Take(watch).has_value());
  Behind(absl::ZeroDuration(), std::nullopt);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_FALSE(watches_.Take(watch)->response->notification().has_delay());
  EXPECT_EQ(store_->reads(), 1);
}

TEST_F(WatchNotificationTest, AnAppHasSoManyAtOnce) {
  std::vector<NotificationWatches::WatchPtr> open;
  for (size_t i = 0; i < limits::kMaxWatchesPerApp; ++i) open.push_back(Open());
  const auto refused = watches_.Open(kApp, kId, listener_);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_TRUE(DetailsOf(refused.status()).retry_delay.has_value());
  EXPECT_OK(watches_.Open(AppId(8), kId, listener_));
  watches_.Close(open.front());
  EXPECT_OK(watches_.Open(kApp, kId, listener_));
}

TEST_F(WatchNotificationTest, LetsGoOfWhoeverHasGone) {
  const auto watch = Open();
  EXPECT_EQ(listener_.use_count(), 2);
  watches_.Close(watch);
  watches_.Close(watch);
  EXPECT_EQ(listener_.use_count(), 1);
  watches_.Look(/*fresh_only=*/false);
  EXPECT_EQ(listener_->calls, 0);
}

TEST_F(WatchNotificationTest, WhenItStopsAllAreToldToComeToAnotherServer) {
  watches_.Start();
  store_->Put(kId, State::kQueued);
  const auto watch = Open();
  ASSERT_TRUE(WaitFor([&] { return listener_->calls > 0; }));
  EXPECT_EQ(Next(watch), v1::STATE_QUEUED);
  watches_.Stop();
  EXPECT_EQ(DetailsOf(watches_.Take(watch)->status).reason, "DRAINING");
  EXPECT_EQ(DetailsOf(watches_.Open(kApp, kId, listener_).status()).reason, "DRAINING");
}

TEST_F(WatchNotificationTest, ItsThreadSeesAChangeWithinASecond) {
  watches_.Start();
  store_->Put(kId, State::kQueued);
  const auto watch = Open();
  ASSERT_TRUE(WaitFor([&] { return Next(watch) == v1::STATE_QUEUED; }));
  store_->Put(kId, State::kDelivered);
  EXPECT_TRUE(WaitFor([&] { return Next(watch) == v1::STATE_DELIVERED; }, absl::Seconds(20)));
}

}  // namespace
}  // namespace carillon
