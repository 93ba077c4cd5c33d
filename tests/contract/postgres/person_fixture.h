// A person in every table, for the tests of what is kept about people.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "carillon/postgres/person_store.h"
#include "tests/contract/postgres/postgres_fixture.h"

namespace carillon::testing {

class PersonTest : public PostgresTest {
 public:
  static constexpr const char* kMe = "zq-ada-77";
  static constexpr const char* kName = "Ada (Lovelace)";
  static constexpr const char* kEmail = "Ada.Lovelace@example.org";
  static constexpr const char* kPhone = "+4915112345678";
  static constexpr const char* kToken = "fcm-token-of-ada";

 protected:
  static void SetUpTestSuite();
  // The next test looks for the person in whole tables.
  void TearDown() override { Erase(); }

  // Puts the person into every table that may name people, in partitions of the past
  // and the future: as recipient, as actor, as member and as one who is followed.
  void Fill() { FillAs(app_); }
  void FillAs(AppId app);
  // Statements on the app, with {app}, {me}, {name}, {email}, {phone}, {token} and
  // {id:-2} (a UUIDv7 of two days ago) replaced.
  std::string Sql(const std::string& statements) { return Sql(app_, statements); }
  static std::string Sql(AppId app, const std::string& statements);

  // Takes steps to the end, or until there were so many.
  int64_t Erase(int max_steps = 1'000'000);
  std::vector<ExportedRow> Export(int page_size = 1000);

  // Tables of the schema, partitions included, with a row of which the text, or the
  // bytes of a column, hold `text`.
  static std::set<std::string> TablesWith(const std::string& text);
  // Of the tables with a column that by its name says who somebody is.
  static std::set<std::string> TablesOfPeople();

  const AppId app_ = NewApp();
  const FeedKey key_{app_, RecipientId(kMe)};
  PostgresPersonStore store_{MakePool(4)};
};

}  // namespace carillon::testing
