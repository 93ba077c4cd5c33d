#include "tests/kit/test_database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace carillon::testing {
namespace {

TEST(TestDatabase, HoldsTheMigratedSchema) {
  const TestDatabase database;
  EXPECT_EQ(database.Query("SELECT count(*) FROM apps"), "0");
  EXPECT_NE(database.Query("SELECT count(*) FROM types"), "0");
}

TEST(TestDatabase, IsOfOneTestOnly) {
  const TestDatabase one;
  const TestDatabase other;
  one.Query("INSERT INTO apps (name, app_key, scopes) VALUES ('a', 'k', '{send}')");
  EXPECT_EQ(one.Query("SELECT count(*) FROM apps"), "1");
  EXPECT_EQ(other.Query("SELECT count(*) FROM apps"), "0");
}

}  // namespace
}  // namespace carillon::testing
