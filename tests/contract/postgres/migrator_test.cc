#include "carillon/postgres/migrator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <pqxx/pqxx>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/environment.h"
#include "tests/kit/scratch_directory.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/test_database.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Every table, column, constraint, index and function of the schema, as text.
// Slices go by the day they were made: they are not part of it.
constexpr char kSchema[] = R"sql(
  WITH relations AS (
    SELECT oid, relname, relkind, coalesce(reloptions::text, '') AS options, pg_get_expr(relpartbound, oid) AS bound
    FROM pg_class WHERE relnamespace = 'carillon'::regnamespace AND relkind IN ('r', 'p', 'i', 'I', 'S')
      AND relname !~ '_[0-9]{8}'
  )
  SELECT string_agg(line, E'\n' ORDER BY line) FROM (
    SELECT concat_ws(' ', relkind, relname, options, bound) AS line FROM relations
    UNION ALL SELECT concat_ws(' ', relname, attname, format_type(atttypid, atttypmod), attnotnull, attidentity)
      FROM relations JOIN pg_attribute ON attrelid = relations.oid WHERE attnum > 0 AND relkind IN ('r', 'p')
    UNION ALL SELECT concat_ws(' ', relname, pg_get_expr(adbin, adrelid)) 
      FROM relations JOIN pg_attrdef ON adrelid = relations.oid
    UNION ALL SELECT concat_ws(' ', relname, conname, pg_get_constraintdef(c.oid))
      FROM relations JOIN pg_constraint c ON conrelid = relations.oid
    UNION ALL SELECT concat_ws(' ', pg_get_indexdef(oid)) FROM relations WHERE relkind IN ('i', 'I')
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'carillon'::regnamespace
  ) AS lines
)sql";

class MigratorTest : public ::testing::Test {
 protected:
  std::string Migrations() { return absl::StrCat(SourceDirectory(), "/migrations"); }
  // How many there are.
  int CountFiles(const std::string& directory) {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      count += entry.path().string().ends_with(".up.sql");
    }
    return count;
  }
  std::string CopyOfMigrations() {
    const std::string copy = scratch_.Path("migrations");
    std::filesystem::copy(Migrations(), copy);
    return copy;
  }
  void Append(const std::string& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }
  std::string CountTables() {
    return database_.Query(
        "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('carillon') AND relkind IN ('r', 'p')");
  }

  ScratchDirectory scratch_;
  TestDatabase database_;
};

TEST_F(MigratorTest, GivesTheSameSchemaDownAndUpAgain) {
  const int count = CountFiles(Migrations());
  const std::string schema = database_.Query(kSchema);
  EXPECT_THAT(schema, AllOf(HasSubstr("outbox_payment_ready"), HasSubstr("PRIMARY KEY")));
  ASSERT_OK(MigrateDown(database_.url(), Migrations(), count));
  // Its own record is all that is left.
  EXPECT_EQ(CountTables(), "1");
  EXPECT_EQ(database_.Query("SELECT count(*) FROM pg_proc WHERE pronamespace = 'carillon'::regnamespace"), "0");
  EXPECT_THAT(Migrate(database_.url(), Migrations()), IsOkAndHolds(count));
  EXPECT_EQ(database_.Query(kSchema), schema);
}

// While indexes are built on what died, nothing is locked that sends need.
TEST_F(MigratorTest, SendsWaitForNoDeadLetters) {
  constexpr int kFirst = 25;
  ASSERT_OK(MigrateDown(database_.url(), Migrations(), CountFiles(Migrations()) - kFirst + 1));
  database_.Query(
      "INSERT INTO dead_letters (state, queue, reason, error, payload) VALUES ('dead', 'otp', 'permanent', 'no 7', "
      "'x')");
  pqxx::connection reader(database_.url());
  pqxx::work reading(reader);
  reading.exec("SELECT FROM carillon.dead_letters");
  std::thread migration([&] { EXPECT_OK(Migrate(database_.url(), Migrations())); });
  EXPECT_TRUE(WaitFor([&] {
    return database_.Query("SELECT count(*) FROM pg_locks WHERE relation = 'dead_letters'::regclass AND NOT granted") !=
           "0";
  }));
  EXPECT_EQ(database_.Query("SELECT string_agg(DISTINCT relation::regclass::text, ' ') FROM pg_locks"
                            " WHERE mode = 'AccessExclusiveLock' AND granted AND relation IN"
                            " (SELECT oid FROM pg_class WHERE relname ~ '^(outbox|deliveries|notifications)')"),
            "");
  reading.commit();
  migration.join();
  EXPECT_EQ(database_.Query("SELECT error_kind FROM dead_letters"), "no <number>");
}

TEST_F(MigratorTest, HasNothingToDoTwice) { EXPECT_THAT(Migrate(database_.url(), Migrations()), IsOkAndHolds(0)); }

TEST_F(MigratorTest, RefusesAFileThatChangedSinceItWasApplied) {
  const std::string copy = CopyOfMigrations();
  Append(copy + "/0001_apps.up.sql", "-- changed\n");
  EXPECT_THAT(Migrate(database_.url(), copy), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("0001_apps")));
  EXPECT_THAT(MigrateDown(database_.url(), copy, 1), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(MigratorTest, RefusesADatabaseThatIsNewer) {
  const std::string copy = CopyOfMigrations();
  Append(copy + "/9999_later.up.sql", "CREATE TABLE later (a int);");
  Append(copy + "/9999_later.down.sql", "DROP TABLE later;");
  ASSERT_THAT(Migrate(database_.url(), copy), IsOkAndHolds(1));
  EXPECT_THAT(Migrate(database_.url(), Migrations()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("9999_later")));
  ASSERT_OK(MigrateDown(database_.url(), copy, 1));
  EXPECT_THAT(Migrate(database_.url(), Migrations()), IsOkAndHolds(0));
}

TEST_F(MigratorTest, LeavesNothingOfAFileThatFails) {
  const std::string copy = CopyOfMigrations();
  Append(copy + "/9998_good.up.sql", "CREATE TABLE good (a int);");
  Append(copy + "/9998_good.down.sql", "DROP TABLE good;");
  Append(copy + "/9999_bad.up.sql", "CREATE TABLE half (a int); SELECT nonsense;");
  Append(copy + "/9999_bad.down.sql", "");
  EXPECT_THAT(Migrate(database_.url(), copy), Not(IsOk()));
  EXPECT_EQ(database_.Query("SELECT to_regclass('good') IS NOT NULL AND to_regclass('half') IS NULL"), "t");
}

TEST_F(MigratorTest, SaysWhereItFoundNoFiles) {
  EXPECT_THAT(Migrate(database_.url(), scratch_.Path("none")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
}

TEST_F(MigratorTest, MayBeStartedManyTimesAtOnce) {
  const int count = CountFiles(Migrations());
  ASSERT_OK(MigrateDown(database_.url(), Migrations(), count));
  database_.Query("DROP SCHEMA carillon CASCADE");
  std::atomic<int> applied = 0;
  RunThreads(3, [&](int) {
    const absl::StatusOr<int> own = Migrate(database_.url(), Migrations());
    ASSERT_OK(own);
    applied += *own;
  });
  EXPECT_EQ(applied, count);
}

}  // namespace
}  // namespace carillon::testing
