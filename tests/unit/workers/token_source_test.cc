// Tokens that are shared, cached and replaced.
#include "workers/channels/token_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using testing::SimulatedClock;
using testing::StatusIs;
using testing::WaitFor;

// What PostgreSQL would keep.
class FakeTokenStore final : public TokenStore {
 public:
  absl::StatusOr<std::optional<SharedToken>> Find(AppId, const std::string& key) override {
    absl::MutexLock lock(&mutex_);
    ++finds_;
    if (!status_.ok()) return status_;
    const auto found = tokens_.find(key);
    if (found == tokens_.end()) return std::nullopt;
    return found->second;
  }
  absl::StatusOr<SharedToken> Put(AppId, const std::string& key, const SharedToken& token,
                                  absl::Time older_than) override {
    absl::MutexLock lock(&mutex_);
    const auto [found, added] = tokens_.emplace(key, token);
    if (found->second.expire_time <= token.mint_time || found->second.mint_time < older_than) found->second = token;
    return found->second;
  }

  void set_status(absl::Status status) {
    absl::MutexLock lock(&mutex_);
    status_ = std::move(status);
  }
  int finds() const {
    absl::MutexLock lock(&mutex_);
    return finds_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, SharedToken> tokens_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  int finds_ ABSL_GUARDED_BY(mutex_) = 0;
};

class TokenSourceTest : public ::testing::Test {
 protected:
  std::unique_ptr<TokenSource> MakeSource() {
    return std::make_unique<TokenSource>(
        &store_, &executor_, &clock_,
        TokenSource::Options{.app = AppId(1),
                             .token_key = "key",
                             .min_age = absl::Minutes(20),
                             .mint = [this](absl::Time now, TokenSource::Done done) {
                               const int number = ++minted_;
                               done(SharedToken{absl::StrCat("token", number), now, now + absl::Minutes(50)});
                             }});
  }

  static absl::StatusOr<SharedToken> Get(TokenSource& source) {
    absl::Notification told;
    absl::StatusOr<SharedToken> got = absl::UnknownError("");
    source.Get([&](absl::StatusOr<SharedToken> token) {
      got = std::move(token);
      told.Notify();
    });
    EXPECT_TRUE(told.WaitForNotificationWithTimeout(absl::Seconds(5)));
    return got;
  }
  static std::string TokenOf(TokenSource& source) {
    const absl::StatusOr<SharedToken> token = Get(source);
    return token.ok() ? token->token : std::string(token.status().message());
  }

  SimulatedClock clock_;
  FakeTokenStore store_;
  std::atomic<int> minted_ = 0;
  Executor executor_{1, 100};
};

TEST_F(TokenSourceTest, AsksTheStoreOncePerToken) {
  const auto source = MakeSource();
  EXPECT_EQ(TokenOf(*source), "token1");
  EXPECT_EQ(TokenOf(*source), "token1");
  EXPECT_EQ(store_.finds(), 1);
}

TEST_F(TokenSourceTest, SharesTheTokenOfAnother) {
  const auto one = MakeSource();
  const auto other = MakeSource();
  EXPECT_EQ(TokenOf(*one), "token1");
  EXPECT_EQ(TokenOf(*other), "token1");
  EXPECT_EQ(minted_, 1);
}

TEST_F(TokenSourceTest, ReplacesATokenWhenItExpires) {
  const auto source = MakeSource();
  EXPECT_EQ(TokenOf(*source), "token1");
  clock_.Advance(absl::Minutes(50));
  EXPECT_EQ(TokenOf(*source), "token2");
}

TEST_F(TokenSourceTest, KeepsARefusedTokenThatIsTooYoungToReplace) {
  const auto source = MakeSource();
  ASSERT_OK_AND_ASSIGN(const SharedToken token, Get(*source));
  clock_.Advance(absl::Minutes(19));
  source->Refuse(token);
  EXPECT_EQ(TokenOf(*source), "token1");
}

TEST_F(TokenSourceTest, ReplacesARefusedTokenThatIsOldEnough) {
  const auto source = MakeSource();
  ASSERT_OK_AND_ASSIGN(const SharedToken token, Get(*source));
  clock_.Advance(absl::Minutes(21));
  source->Refuse(token);
  EXPECT_EQ(TokenOf(*source), "token2");
  // The same refusal from a call that was slower.
  source->Refuse(token);
  EXPECT_EQ(TokenOf(*source), "token2");
}

TEST_F(TokenSourceTest, WaitsForOneFetchTogether) {
  absl::Notification go;
  ASSERT_TRUE(executor_.Submit([&] { go.WaitForNotification(); }));
  const auto source = MakeSource();
  std::atomic<int> told = 0;
  for (int i = 0; i < 1000; ++i) {
    source->Get([&](const absl::StatusOr<SharedToken>& token) { told += token.ok() ? 1 : 0; });
  }
  // No more can wait.
  EXPECT_THAT(Get(*source), StatusIs(absl::StatusCode::kResourceExhausted));
  go.Notify();
  EXPECT_TRUE(WaitFor([&] { return told == 1000; }));
  EXPECT_EQ(minted_, 1);
}

TEST_F(TokenSourceTest, SaysThatTheStoreIsAway) {
  store_.set_status(error::BackendUnavailable("postgresql", "away"));
  const auto source = MakeSource();
  EXPECT_THAT(Get(*source), StatusIs(absl::StatusCode::kUnavailable));
  store_.set_status(absl::OkStatus());
  EXPECT_EQ(TokenOf(*source), "token1");
}

TEST_F(TokenSourceTest, TellsEverybodyWhenItStops) {
  const auto source = MakeSource();
  executor_.Stop();
  EXPECT_THAT(Get(*source), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace carillon
