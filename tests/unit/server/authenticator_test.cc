#include "server/api/authenticator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/runtime/secrets.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon {
namespace {

using testing::IsOk;
using testing::SimulatedClock;
using testing::StatusIs;
using testing::WaitFor;

constexpr Access kUsersToo = Access::WithUsers("feed");

// Knows the app ck_7, which tests change. Thread-safe.
class AppsInMemory final : public AppStore {
 public:
  absl::StatusOr<AppCredentials> Find(const std::string& app_key) override {
    absl::MutexLock lock(&mutex_);
    ++lookups_;
    mutex_.Await(absl::Condition(
        +[](bool* hangs) { return !*hangs; }, &hangs_));
    if (is_away_) return absl::UnavailableError("away");
    if (app_key != "ck_7" || !exists_) return absl::NotFoundError("no such app");
    return AppCredentials{.app = {.id = AppId(7), .name = "app", .key = app_key, .scopes = scopes_, .create_time = {}},
                          .secret_hashes = secret_hashes_};
  }
  absl::StatusOr<App> Create(const App&, const std::string&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<App> Update(const std::string&, const AppChanges&) override { return absl::UnimplementedError(""); }
  absl::Status AddSecret(const std::string&, const std::string& hash) override {
    absl::MutexLock lock(&mutex_);
    secret_hashes_ = {hash, secret_hashes_.front()};
    return absl::OkStatus();
  }
  absl::StatusOr<MovedClock> AdvanceClock(AppId, absl::Duration) override { return absl::UnimplementedError(""); }
  absl::StatusOr<bool> HasUndecided(AppId) override { return absl::UnimplementedError(""); }

  void SetScopes(std::vector<std::string> scopes) {
    absl::MutexLock lock(&mutex_);
    scopes_ = std::move(scopes);
  }
  void SetExists(bool exists) {
    absl::MutexLock lock(&mutex_);
    exists_ = exists;
  }
  // Looks that come from now on wait until it does not.
  void SetHangs(bool hangs) {
    absl::MutexLock lock(&mutex_);
    hangs_ = hangs;
  }
  void SetAway(bool away) {
    absl::MutexLock lock(&mutex_);
    is_away_ = away;
  }
  int lookups() {
    absl::MutexLock lock(&mutex_);
    return lookups_;
  }

 private:
  absl::Mutex mutex_;
  bool exists_ ABSL_GUARDED_BY(mutex_) = true;
  bool is_away_ ABSL_GUARDED_BY(mutex_) = false;
  bool hangs_ ABSL_GUARDED_BY(mutex_) = false;
  int lookups_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::string> scopes_ ABSL_GUARDED_BY(mutex_) = {"feed", "send"};
  std::vector<std::string> secret_hashes_ ABSL_GUARDED_BY(mutex_) = {HashSecret("secret")};
};

class AuthenticatorTest : public ::testing::Test {
 protected:
  absl::StatusOr<Caller> Authenticate(Credentials credentials, Access access) {
    absl::StatusOr<Caller> result;
    absl::Notification done;
    authenticator_.Authenticate(std::move(credentials), access, [&](absl::StatusOr<Caller> caller) {
      result = std::move(caller);
      done.Notify();
    });
    done.WaitForNotification();
    return result;
  }
  absl::StatusOr<Caller> App(const std::string& secret, Access access = kUsersToo) {
    return Authenticate({.app_key = "ck_7", .app_secret = secret, .authorization = ""}, access);
  }
  absl::StatusOr<Caller> User(const std::string& token, Access access = kUsersToo) {
    return Authenticate({.app_key = "", .app_secret = "", .authorization = "Bearer " + token}, access);
  }
  // A token of somebody who came with this secret.
  std::string TokenOf(const std::string& user, const std::string& secret = "secret",
                      absl::Duration ttl = absl::Minutes(15)) {
    const Caller app = *App(secret);
    return *tokens_.Issue({.app_key = app.app_key,
                           .secret_id = app.secret_id,
                           .user = user,
                           .issue_time = clock_.Now(),
                           .expire_time = clock_.Now() + ttl});
  }
  // How each of so many calls at once ends that come while a look is under way, which ends by `go_on`.
  std::vector<absl::StatusOr<Caller>> MeetALook(int calls, absl::AnyInvocable<void()> go_on) {
    const int lookups = apps_->lookups();
    apps_->SetHangs(true);
    std::vector<absl::StatusOr<Caller>> results(static_cast<size_t>(calls) + 1);
    absl::BlockingCounter left(calls + 1);
    const auto call = [&](absl::StatusOr<Caller>& result) {
      authenticator_.Authenticate("ck_7", "second", "feed", [&](absl::StatusOr<Caller> caller) {
        result = std::move(caller);
        left.DecrementCount();
      });
    };
    call(results.back());
    EXPECT_TRUE(WaitFor([&] { return apps_->lookups() == lookups + 1; }));
    for (int i = 0; i < calls; ++i) call(results[static_cast<size_t>(i)]);
    go_on();
    apps_->SetHangs(false);
    left.Wait();
    results.pop_back();
    return results;
  }
  // What is cached is taken at its word no more.
  void Doubt() { clock_.Advance(absl::Milliseconds(50)); }
  // What is cached is too old from now on.
  void ForgetCache() { clock_.Advance(absl::Seconds(11)); }

  const std::shared_ptr<AppsInMemory> apps_ = std::make_shared<AppsInMemory>();
  SimulatedClock clock_;
  const UserTokens tokens_{*MasterKey::FromHex(std::string(64, 'a')), TokenAlgorithm::kHs256};
  Executor executor_{1, 100};
  Authenticator authenticator_{apps_, executor_, clock_, tokens_};
};

TEST_F(AuthenticatorTest, LetsAppsInByTheirSecret) {
  ASSERT_OK_AND_ASSIGN(const Caller caller, App("secret"));
  EXPECT_EQ(caller.app, AppId(7));
  EXPECT_EQ(caller.app_key, "ck_7");
  EXPECT_EQ(caller.user, std::nullopt);
  EXPECT_EQ(caller.expires, absl::InfiniteFuture());
  EXPECT_EQ(App("other").status(), error::InvalidCredentials());
  EXPECT_EQ(App("").status(), error::InvalidCredentials());
  EXPECT_EQ(Authenticate({}, kUsersToo).status(), error::InvalidCredentials());
  const int lookups = apps_->lookups();
  for (const char* key : {"\xff", "ck\t7", "ck\x7f"}) {
    EXPECT_EQ(Authenticate({.app_key = key, .app_secret = "secret", .authorization = ""}, kUsersToo).status(),
              error::InvalidCredentials());
  }
  EXPECT_EQ(apps_->lookups(), lookups);
  EXPECT_EQ(App("secret", "admin").status(), error::MissingScope("admin"));
}

TEST_F(AuthenticatorTest, LetsUsersInByTheirToken) {
  ASSERT_OK_AND_ASSIGN(const Caller caller, User(TokenOf("ada")));
  EXPECT_EQ(caller.app, AppId(7));
  EXPECT_EQ(caller.user, "ada");
  EXPECT_EQ(caller.expires, clock_.Now() + absl::Minutes(15) + limits::kTokenLeeway);
  EXPECT_THAT(Authenticate({.app_key = "", .app_secret = "", .authorization = "bEARER   " + TokenOf("ada")}, kUsersToo),
              IsOk());
}

TEST_F(AuthenticatorTest, RefusesUsersWhereNobodySaysThatTheyMayCall) {
  EXPECT_EQ(User(TokenOf("ada"), "feed").status(), error::NotYours());
  EXPECT_EQ(User(TokenOf("ada"), "admin").status(), error::NotYours());
  // Whoever has no good token is told nothing of it.
  EXPECT_EQ(User("x", "admin").status(), error::InvalidToken());
}

TEST_F(AuthenticatorTest, RefusesBothKindsOfCredentialsAtOnce) {
  for (const Credentials& both :
       {Credentials{.app_key = "ck_7", .app_secret = "secret", .authorization = "Bearer " + TokenOf("ada")},
        Credentials{.app_key = "ck_7", .app_secret = "", .authorization = "Bearer " + TokenOf("ada")},
        Credentials{.app_key = "", .app_secret = "x", .authorization = "Bearer " + TokenOf("ada")},
        Credentials{.app_key = "ck_7", .app_secret = "secret", .authorization = "Bearer x"}}) {
    EXPECT_EQ(Authenticate(both, kUsersToo).status(), error::TwoCredentials());
  }
  // Another scheme is somebody else's, as a proxy's on the way.
  EXPECT_THAT(Authenticate({.app_key = "ck_7", .app_secret = "secret", .authorization = "Basic eDp5"}, kUsersToo),
              IsOk());
  EXPECT_EQ(Authenticate({.app_key = "", .app_secret = "", .authorization = "Basic eDp5"}, kUsersToo).status(),
            error::InvalidCredentials());
}

TEST_F(AuthenticatorTest, TellsExpiredTokensFromBadOnes) {
  const std::string token = TokenOf("ada", "secret", absl::Minutes(1));
  clock_.Advance(absl::Minutes(1) + limits::kTokenLeeway - absl::Seconds(1));
  EXPECT_THAT(User(token), IsOk());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(User(token).status(), error::TokenExpired());
  EXPECT_EQ(User(token, "admin").status(), error::TokenExpired());
  apps_->SetExists(false);
  ForgetCache();
  EXPECT_EQ(User(token).status(), error::InvalidToken());
}

TEST_F(AuthenticatorTest, RefusesTokensOfAppsThatAreGoneOrMayNotUseFeeds) {
  const std::string token = TokenOf("ada");
  apps_->SetScopes({"send"});
  ForgetCache();
  EXPECT_EQ(User(token).status(), error::MissingScope("feed"));
  apps_->SetExists(false);
  ForgetCache();
  EXPECT_EQ(User(token).status(), error::InvalidToken());
}

TEST_F(AuthenticatorTest, EndsTokensWithTheSecretThatTheyWereIssuedBy) {
  const std::string token = TokenOf("ada");
  ASSERT_THAT(apps_->AddSecret("ck_7", HashSecret("second")), IsOk());
  ForgetCache();
  EXPECT_THAT(User(token), IsOk());
  const std::string newer = TokenOf("ada", "second");
  ASSERT_THAT(apps_->AddSecret("ck_7", HashSecret("third")), IsOk());
  ForgetCache();
  EXPECT_EQ(User(token).status(), error::InvalidToken());
  EXPECT_THAT(User(newer), IsOk());
}

TEST_F(AuthenticatorTest, LetsANewSecretInAtOnceAndWhatItIssues) {
  ASSERT_THAT(App("secret"), IsOk());
  EXPECT_EQ(App("second").status(), error::InvalidCredentials());
  ASSERT_THAT(apps_->AddSecret("ck_7", HashSecret("second")), IsOk());
  Doubt();
  EXPECT_THAT(App("second"), IsOk());
  EXPECT_THAT(App("secret"), IsOk());
  // Another server has known the third secret for longer than this one, and has issued a token by it.
  ASSERT_THAT(apps_->AddSecret("ck_7", HashSecret("third")), IsOk());
  Executor executor(1, 100);
  Authenticator other(apps_, executor, clock_);
  absl::StatusOr<Caller> app;
  absl::Notification done;
  other.Authenticate("ck_7", "third", "feed", [&](absl::StatusOr<Caller> caller) {
    app = std::move(caller);
    done.Notify();
  });
  done.WaitForNotification();
  ASSERT_THAT(app, IsOk());
  Doubt();
  EXPECT_THAT(User(*tokens_.Issue({.app_key = "ck_7",
                                   .secret_id = app->secret_id,
                                   .user = "ada",
                                   .issue_time = clock_.Now(),
                                   .expire_time = clock_.Now() + absl::Minutes(15)})),
              IsOk());
}

TEST_F(AuthenticatorTest, LetsANewAppInThatWasAskedForBefore) {
  apps_->SetExists(false);
  EXPECT_EQ(App("secret").status(), error::InvalidCredentials());
  apps_->SetExists(true);
  Doubt();
  EXPECT_THAT(App("secret"), IsOk());
}

TEST_F(AuthenticatorTest, LooksForWrongSecretsSeldom) {
  ASSERT_THAT(App("secret"), IsOk());
  const int lookups = apps_->lookups();
  for (int round = 0; round < 3; ++round) {
    Doubt();
    for (int i = 0; i < 10; ++i) EXPECT_EQ(App("other").status(), error::InvalidCredentials());
    EXPECT_EQ(apps_->lookups(), lookups + round + 1);
  }
}

TEST_F(AuthenticatorTest, LooksOnceForAllThatComeDuringALook) {
  ASSERT_THAT(App("secret"), IsOk());
  Doubt();
  const int lookups = apps_->lookups();
  // The first look may have begun before the secret was there: it decides for those alone who were there first.
  for (const absl::StatusOr<Caller>& caller : MeetALook(20, [] {})) {
    EXPECT_EQ(caller.status(), error::InvalidCredentials());
  }
  EXPECT_EQ(apps_->lookups(), lookups + 2);
  Doubt();
  ASSERT_THAT(apps_->AddSecret("ck_7", HashSecret("second")), IsOk());
  for (const absl::StatusOr<Caller>& caller : MeetALook(20, [] {})) EXPECT_THAT(caller, IsOk());
  EXPECT_EQ(apps_->lookups(), lookups + 4);
}

TEST_F(AuthenticatorTest, TellsAllThatWaitWhenTheStoreIsAway) {
  ASSERT_THAT(App("secret"), IsOk());
  Doubt();
  const int lookups = apps_->lookups();
  for (const absl::StatusOr<Caller>& caller : MeetALook(20, [&] { apps_->SetAway(true); })) {
    EXPECT_THAT(caller, StatusIs(absl::StatusCode::kUnavailable));
  }
  EXPECT_EQ(apps_->lookups(), lookups + 1);
  // Whoever is known is let in.
  EXPECT_THAT(App("secret"), IsOk());
}

TEST_F(AuthenticatorTest, RefusesTokensWhereThereAreNone) {
  Authenticator apps_only(apps_, executor_, clock_);
  absl::Status status;
  apps_only.Authenticate({.app_key = "", .app_secret = "", .authorization = "Bearer " + TokenOf("ada")}, kUsersToo,
                         [&](absl::StatusOr<Caller> caller) { status = caller.status(); });
  EXPECT_EQ(status, error::InvalidToken());
}

TEST_F(AuthenticatorTest, PermitsStreamsUntilTheTokenEnds) {
  const StreamPermit permit = authenticator_.PermitFor(*User(TokenOf("ada", "secret", absl::Minutes(1))), "feed");
  EXPECT_THAT(permit(), IsOk());
  clock_.Advance(absl::Minutes(1) + limits::kTokenLeeway - absl::Seconds(1));
  EXPECT_THAT(permit(), IsOk());
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(permit(), error::TokenExpired());
}

TEST_F(AuthenticatorTest, PermitsStreamsUntilTheScopeOrTheSecretIsTakenAway) {
  const StreamPermit of_user = authenticator_.PermitFor(*User(TokenOf("ada")), "feed");
  const StreamPermit of_app = authenticator_.PermitFor(*App("secret"), "feed");
  const auto end_with = [&](const absl::Status& user_end, const absl::Status& app_end) {
    clock_.Advance(absl::Seconds(6));
    return WaitFor([&] { return of_user() == user_end && of_app() == app_end; });
  };
  apps_->SetScopes({"send"});
  EXPECT_TRUE(end_with(error::MissingScope("feed"), error::MissingScope("feed")));
  apps_->SetScopes({"feed"});
  EXPECT_TRUE(end_with(absl::OkStatus(), absl::OkStatus()));
  ASSERT_THAT(apps_->AddSecret("ck_7", HashSecret("second")), IsOk());
  EXPECT_TRUE(end_with(absl::OkStatus(), absl::OkStatus()));
  ASSERT_THAT(apps_->AddSecret("ck_7", HashSecret("third")), IsOk());
  EXPECT_TRUE(end_with(error::InvalidToken(), error::InvalidCredentials()));
}

TEST_F(AuthenticatorTest, PermitsStreamsWhileTheStoreIsAway) {
  const StreamPermit permit = authenticator_.PermitFor(*App("secret"), "feed");
  apps_->SetAway(true);
  const int lookups = apps_->lookups();
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(20));
    EXPECT_TRUE(WaitFor([&] { return permit().ok() && apps_->lookups() > lookups + i; }));
  }
}

}  // namespace
}  // namespace carillon
