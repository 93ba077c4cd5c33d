#include "server/feed/read_cache.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

SharedBytes Bytes(size_t size) { return std::make_shared<const std::string>(size, 'x'); }

void Put(ReadCache& cache, const std::string& key, size_t size = 1) {
  cache.Put(key, Bytes(size), kStart, kStart + absl::Seconds(1));
}

bool Has(ReadCache& cache, const std::string& key) { return cache.Find(key, kStart) != nullptr; }

TEST(ReadCache, GivesWhatWasPutUntilItsTimeIsOver) {
  ReadCache cache(10, 10'000);
  const SharedBytes value = Bytes(3);
  cache.Put("a", value, kStart, kStart + absl::Seconds(1));
  EXPECT_EQ(cache.Find("a", kStart + absl::Seconds(1)), value);
  EXPECT_EQ(cache.Find("b", kStart), nullptr);
  EXPECT_EQ(cache.Find("a", kStart + absl::Milliseconds(1001)), nullptr);
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.bytes(), 0u);
}

TEST(ReadCache, DoesNotTrustAnAnswerFromTheFuture) {
  ReadCache cache(10, 10'000);
  Put(cache, "a");
  EXPECT_EQ(cache.Find("a", kStart - absl::Milliseconds(1)), nullptr);
}

TEST(ReadCache, DropsWhatWasAskedForLongestAgo) {
  ReadCache cache(2, 10'000);
  Put(cache, "a");
  Put(cache, "b");
  EXPECT_TRUE(Has(cache, "a"));
  Put(cache, "c");
  EXPECT_TRUE(Has(cache, "a"));
  EXPECT_FALSE(Has(cache, "b"));
  EXPECT_TRUE(Has(cache, "c"));
}

TEST(ReadCache, HoldsNoMoreBytesThanItMay) {
  ReadCache cache(1000, 10'000);
  for (int i = 0; i < 100; ++i) {
    Put(cache, absl::StrCat("key ", i), 1000);
    EXPECT_LE(cache.bytes(), 10'000u);
  }
  EXPECT_TRUE(Has(cache, "key 99"));
  EXPECT_FALSE(Has(cache, "key 0"));
}

TEST(ReadCache, DoesNotEmptyItselfForWhatIsTooLarge) {
  ReadCache cache(10, 10'000);
  Put(cache, "a");
  Put(cache, "b", 10'001);
  EXPECT_TRUE(Has(cache, "a"));
  EXPECT_FALSE(Has(cache, "b"));
}

TEST(ReadCache, ReplacesAnAnswerByANewerOne) {
  ReadCache cache(10, 10'000);
  Put(cache, "a", 100);
  const size_t bytes = cache.bytes();
  Put(cache, "a", 100);
  EXPECT_EQ(cache.bytes(), bytes);
  EXPECT_EQ(cache.size(), 1u);
}

}  // namespace
}  // namespace carillon
