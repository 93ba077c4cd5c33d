// TokenStore on PostgreSQL.
#include "carillon/postgres/token_store.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/test_database.h"

namespace carillon {
namespace {

using testing::TestDatabase;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

PostgresTokenStore::Sealer SealedBy(char key) {
  return {.seal = [key](absl::string_view plain,
                        absl::string_view context) { return absl::StrCat(std::string(1, key), context, "=", plain); },
          .open = [key](absl::string_view sealed, absl::string_view context) -> absl::StatusOr<std::string> {
            const std::string prefix = absl::StrCat(std::string(1, key), context, "=");
            if (sealed.substr(0, prefix.size()) != prefix) return absl::FailedPreconditionError("another key");
            return std::string(sealed.substr(prefix.size()));
          }};
}

class PostgresTokenStoreTest : public ::testing::Test {
 protected:
  PostgresTokenStore MakeStore(char key = 'k') {
    return PostgresTokenStore(
        std::make_shared<PgPool>(PgOptions{.url = database_.url(), .connect_timeout = absl::Seconds(30)}, 1),
        SealedBy(key));
  }
  static SharedToken Token(const std::string& text, absl::Time minted) {
    return {.token = text, .mint_time = minted, .expire_time = minted + absl::Minutes(50)};
  }

  TestDatabase database_;
};

TEST_F(PostgresTokenStoreTest, KeepsAToken) {
  PostgresTokenStore store = MakeStore();
  ASSERT_OK_AND_ASSIGN(const std::optional<SharedToken> none, store.Find(AppId(1), "apns:a"));
  EXPECT_EQ(none, std::nullopt);
  ASSERT_OK_AND_ASSIGN(const SharedToken put, store.Put(AppId(1), "apns:a", Token("one", kNow), absl::InfinitePast()));
  EXPECT_EQ(put.token, "one");
  ASSERT_OK_AND_ASSIGN(const std::optional<SharedToken> found, store.Find(AppId(1), "apns:a"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->token, "one");
  EXPECT_EQ(found->mint_time, kNow);
  EXPECT_EQ(found->expire_time, kNow + absl::Minutes(50));
  // Neither another app's nor another account's.
  EXPECT_EQ(*store.Find(AppId(2), "apns:a"), std::nullopt);
  EXPECT_EQ(*store.Find(AppId(1), "apns:b"), std::nullopt);
}

TEST_F(PostgresTokenStoreTest, WhoComesSecondTakesTheFirstOnes) {
  PostgresTokenStore store = MakeStore();
  ASSERT_OK(store.Put(AppId(1), "k", Token("one", kNow), absl::InfinitePast()));
  EXPECT_EQ(store.Put(AppId(1), "k", Token("two", kNow + absl::Minutes(1)), absl::InfinitePast())->token, "one");
}

TEST_F(PostgresTokenStoreTest, ReplacesOneThatHasExpiredOrIsTooOld) {
  PostgresTokenStore store = MakeStore();
  ASSERT_OK(store.Put(AppId(1), "k", Token("one", kNow), absl::InfinitePast()));
  EXPECT_EQ(store.Put(AppId(1), "k", Token("two", kNow + absl::Minutes(50)), absl::InfinitePast())->token, "two");
  EXPECT_EQ(store.Put(AppId(1), "k", Token("three", kNow + absl::Minutes(75)), kNow + absl::Minutes(55))->token,
            "three");
  EXPECT_EQ(store.Put(AppId(1), "k", Token("four", kNow + absl::Minutes(76)), kNow + absl::Minutes(75))->token,
            "three");
}

TEST_F(PostgresTokenStoreTest, OfManyAtOnceAllGetTheSame) {
  std::vector<std::thread> threads;
  std::vector<std::string> got(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      PostgresTokenStore store = MakeStore();
      got[i] = store.Put(AppId(1), "k", Token(absl::StrCat("token", i), kNow), absl::InfinitePast())->token;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), 1u);
}

TEST_F(PostgresTokenStoreTest, ReplacesWhatCantBeOpenedAnyMore) {
  PostgresTokenStore before = MakeStore('a');
  PostgresTokenStore after = MakeStore('b');
  ASSERT_OK(before.Put(AppId(1), "k", Token("one", kNow), absl::InfinitePast()));
  ASSERT_OK_AND_ASSIGN(const std::optional<SharedToken> unreadable, after.Find(AppId(1), "k"));
  EXPECT_EQ(unreadable, std::nullopt);
  EXPECT_EQ(after.Put(AppId(1), "k", Token("two", kNow), absl::InfinitePast())->token, "two");
  EXPECT_EQ((*after.Find(AppId(1), "k"))->token, "two");
}

TEST_F(PostgresTokenStoreTest, KeepsItSealed) {
  PostgresTokenStore store = MakeStore();
  ASSERT_OK(store.Put(AppId(1), "k", Token("secret", kNow), absl::InfinitePast()));
  // Nothing but what the sealer made of it; ours only puts its context in front.
  EXPECT_EQ(database_.Query("SELECT convert_from(sealed, 'UTF8') FROM provider_tokens"), "kprovider_tokens/1/k=secret");
}

}  // namespace
}  // namespace carillon
