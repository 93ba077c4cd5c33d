#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/redis/connection.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using testing::StatusIs;

TEST(ParseRedisUrl, TakesDefaultsForWhatIsLeftOut) {
  const absl::StatusOr<RedisAddress> address = ParseRedisUrl("redis://localhost");
  ASSERT_THAT(address, testing::IsOk());
  EXPECT_EQ(address->host, "localhost");
  EXPECT_EQ(address->port, 6379);
  EXPECT_EQ(address->user, "");
  EXPECT_EQ(address->password, "");
  EXPECT_EQ(address->database, 0);
}

TEST(ParseRedisUrl, ReadsEveryPart) {
  const absl::StatusOr<RedisAddress> address = ParseRedisUrl("redis://bell:p%40ss%3aword@[::1]:7000/15");
  ASSERT_THAT(address, testing::IsOk());
  EXPECT_EQ(address->host, "::1");
  EXPECT_EQ(address->port, 7000);
  EXPECT_EQ(address->user, "bell");
  EXPECT_EQ(address->password, "p@ss:word");
  EXPECT_EQ(address->database, 15);
}

TEST(ParseRedisUrl, NeedsNoUserForAPassword) {
  const absl::StatusOr<RedisAddress> address = ParseRedisUrl("redis://:secret@127.0.0.1:6380/");
  ASSERT_THAT(address, testing::IsOk());
  EXPECT_EQ(address->user, "");
  EXPECT_EQ(address->password, "secret");
}

TEST(ParseRedisUrl, RefusesWhatIsMalformedWithoutRepeatingIt) {
  for (const char* const url :
       {"", "localhost:6379", "rediss://localhost", "redis://", "redis://:6379", "redis://host:0", "redis://host:65536",
        "redis://host:x", "redis://host/x", "redis://host/-1", "redis://secret@host", "redis://:secret%4@host",
        "redis://:secret@[::1", "redis://:secret@[::1]x"}) {
    const absl::StatusOr<RedisAddress> address = ParseRedisUrl(url);
    EXPECT_THAT(address, StatusIs(absl::StatusCode::kInvalidArgument)) << url;
    EXPECT_THAT(std::string(address.status().message()), Not(HasSubstr("secret"))) << url;
  }
}

}  // namespace
}  // namespace carillon
