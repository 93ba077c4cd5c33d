// The plans that the adapter's own statements were run with.
#pragma once

#include <gmock/gmock.h>

#include <iostream>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/upkeep_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {

// Keeps the plans that auto_explain sends as notices.
class PlanRecorder : public pqxx::errorhandler {
 public:
  using pqxx::errorhandler::errorhandler;
  bool operator()(const char* message) noexcept override {
    plans += message;
    return false;
  }
  std::string plans;
};

class PlanTest : public PostgresTest {
 protected:
  static void SetUpTestSuite() {
    PostgresTest::SetUpTestSuite();
    Query("SELECT ensure_slices(now() - interval '3 days', now() + interval '12 days')");
  }

  void SetUp() override {
    ASSERT_OK(pool_->With([&](PgSession& session) -> absl::Status {
      ASSIGN_OR_RETURN(pqxx::connection * connection, session.Connect());
      recorder_ = std::make_unique<PlanRecorder>(*connection);
      return session.Run([](pqxx::transaction_base& transaction) {
        transaction.exec(
            "LOAD 'auto_explain'; SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off;"
            "SET auto_explain.log_level = notice; SET client_min_messages = notice; SET auto_explain.log_min_duration "
            "= 0");
      });
    }));
    for (int i = 0; i < 20; ++i) items_.push_back(MakeKeyed(app_, absl::StrCat("key-", i)));
  }
  void TearDown() override {
    if (HasFailure()) std::cerr << recorder_->plans << std::endl;
    recorder_.reset();
  }

  // Forgets the plans so far.
  void Record() { recorder_->plans.clear(); }

  // The tables and slices that were read, of all whose name begins so.
  std::set<std::string> Read(const std::string& prefix) const {
    static const std::regex kScan(
        "(?:Index|Index Only|Seq|Bitmap Heap|Tid) Scan (?:Backward )?(?:using \\S+ )?on (\\S+)");
    std::set<std::string> tables;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(recorder_->plans, '\n'))) {
      std::smatch match;
      if (absl::StrContains(line, "never executed") || !std::regex_search(line, match, kScan)) continue;
      if (absl::StartsWith(match[1].str(), prefix)) tables.insert(match[1]);
    }
    return tables;
  }
  std::set<std::string> Slices(const std::string& parent, std::vector<int> classes, absl::Time time) const {
    std::set<std::string> names;
    for (const int days : classes) {
      names.insert(Query(absl::StrCat("SELECT slice_name FROM slices WHERE parent = '", parent,
                                      "' AND retention_days = ", days, " AND to_timestamp(", absl::ToUnixSeconds(time),
                                      ") >= starts_at AND to_timestamp(", absl::ToUnixSeconds(time), ") < ends_at")));
    }
    return names;
  }
  // Tables were read by index, and no row for nothing.
  void ExpectIndexesOnly() const {
    EXPECT_THAT(recorder_->plans, ::testing::HasSubstr("Query Text"));
    EXPECT_THAT(recorder_->plans, ::testing::Not(::testing::HasSubstr("Seq Scan")));
    std::string node;
    for (const std::string& line : std::vector<std::string>(absl::StrSplit(recorder_->plans, '\n'))) {
      if (absl::StrContains(line, "(cost=")) node = line;
      EXPECT_FALSE(absl::StrContains(line, "Rows Removed by Filter") && absl::StrContains(node, "Index"))
          << node << line;
    }
  }

  const AppId app_ = NewApp();
  const std::shared_ptr<PgPool> pool_ = MakePool(1);
  std::unique_ptr<PlanRecorder> recorder_;
  std::vector<NewNotification> items_;
  PostgresNotificationStore notifications_{pool_};
  PostgresFeedStore feeds_{pool_};
  PostgresUpkeepStore upkeep_{pool_};
};

}  // namespace carillon::testing
