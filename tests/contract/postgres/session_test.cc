#include "carillon/postgres/session.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/contract/postgres/private_postgres.h"
#include "tests/kit/loopback.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;

constexpr PgStatement kAddOne = {"add_one", "SELECT $1::int + 1"};

class SessionTest : public PostgresTest {
 protected:
  static absl::StatusOr<int> AddOne(PgSession& session, int number) {
    int sum = 0;
    RETURN_IF_ERROR(session.Run([&](pqxx::transaction_base& transaction) {
      sum = session.Execute(transaction, kAddOne, number)[0][0].as<int>();
    }));
    return sum;
  }
  static absl::Status Exec(PgSession& session, const std::string& sql) {
    return session.Run([&](pqxx::transaction_base& transaction) { transaction.exec(sql); });
  }
  // Returns when the connections of this name are gone.
  static void Terminate(const std::string& name) {
    const std::string of_name = " FROM pg_stat_activity WHERE application_name = '" + name + "'";
    Query("SELECT pg_terminate_backend(pid)" + of_name);
    EXPECT_TRUE(WaitFor([&] { return Query("SELECT count(*)" + of_name) == "0"; }));
  }
  static std::string Setting(PgSession& session, const std::string& name) {
    std::string value;
    EXPECT_OK(session.Run([&](pqxx::transaction_base& transaction) {
      value = transaction.exec("SHOW " + name)[0][0].as<std::string>();
    }));
    return value;
  }
};

TEST_F(SessionTest, HasTheSettingsThatTheStatementsRelyOn) {
  PgOptions options = Options();
  options.statement_timeout = absl::Milliseconds(1234);
  options.lock_timeout = PgOptions().lock_timeout;
  PgSession session(options);
  EXPECT_EQ(Setting(session, "search_path"), "carillon");
  EXPECT_EQ(Setting(session, "TimeZone"), "UTC");
  EXPECT_EQ(Setting(session, "statement_timeout"), "1234ms");
  EXPECT_EQ(Setting(session, "lock_timeout"), "2s");
  EXPECT_EQ(Setting(session, "idle_in_transaction_session_timeout"), "30s");
  EXPECT_EQ(Setting(session, "plan_cache_mode"), "force_generic_plan");
  EXPECT_EQ(Setting(session, "enable_seqscan"), "off");
  EXPECT_EQ(Setting(session, "jit"), "off");
  EXPECT_EQ(Setting(session, "application_name"), "contract_test");
}

TEST_F(SessionTest, SaysUnavailableWhereNothingListens) {
  PgSession session({.url = absl::StrCat("postgresql://carillon@", FreeAddress(), "/carillon")});
  EXPECT_THAT(AddOne(session, 1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(session.RunTransaction([](pqxx::work&) { return absl::OkStatus(); }),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SessionTest, SaysUnavailableWhenAStatementTakesTooLongAndGoesOn) {
  PgOptions options = Options();
  options.statement_timeout = absl::Seconds(1);
  PgSession session(options);
  EXPECT_THAT(Exec(session, "SELECT pg_sleep(60)"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_TRUE(WaitFor([&] { return AddOne(session, 1).ok(); }));
}

TEST_F(SessionTest, SaysUnavailableWhenALockIsNotGivenInTime) {
  Query("CREATE TABLE locked (a int)");
  pqxx::connection holder(database().url());
  pqxx::work holding(holder);
  holding.exec("LOCK TABLE locked");
  PgSession session(Options());
  ASSERT_OK(Exec(session, "SET lock_timeout = '50ms'"));
  EXPECT_THAT(Exec(session, "SELECT * FROM locked"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(AddOne(session, 1), IsOkAndHolds(2));
}

TEST_F(SessionTest, ReplacesAConnectionThatWasTerminatedWhileIdle) {
  PgOptions options = Options();
  options.application_name = "terminated";
  PgSession session(options);
  ASSERT_THAT(AddOne(session, 1), IsOkAndHolds(2));
  Terminate("terminated");
  EXPECT_THAT(AddOne(session, 1), IsOkAndHolds(2));
}

TEST_F(SessionTest, SaysUnavailableWhenItsConnectionIsTerminatedInATransaction) {
  Query("CREATE TABLE unwritten (a int)");
  PgOptions options = Options();
  options.application_name = "terminated";
  PgSession session(options);
  EXPECT_THAT(session.RunTransaction([&](pqxx::work& transaction) {
    transaction.exec("INSERT INTO unwritten VALUES (1)");
    Terminate("terminated");
    transaction.exec("INSERT INTO unwritten VALUES (2)");
    return absl::OkStatus();
  }),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Query("SELECT count(*) FROM unwritten"), "0");
  EXPECT_THAT(AddOne(session, 1), IsOkAndHolds(2));
}

TEST_F(SessionTest, SaysUnavailableWhenItsConnectionIsTerminatedBeforeTheCommit) {
  PgOptions options = Options();
  options.application_name = "terminated";
  PgSession session(options);
  EXPECT_THAT(session.RunTransaction([&](pqxx::work& transaction) {
    transaction.exec("SELECT 1");
    Terminate("terminated");
    return absl::OkStatus();
  }),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SessionTest, CommitsWhatEndsWellAndNothingElse) {
  Query("CREATE TABLE written (a int)");
  PgSession session(Options());
  const auto write = [&](int number, const absl::Status& end) {
    return session.RunTransaction([&](pqxx::work& transaction) {
      transaction.exec_params("INSERT INTO written VALUES ($1)", number);
      return end;
    });
  };
  EXPECT_OK(write(1, absl::OkStatus()));
  EXPECT_THAT(write(2, absl::NotFoundError("x")), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(session.RunTransaction([&](pqxx::work& transaction) {
    transaction.exec("INSERT INTO written VALUES (3)");
    transaction.exec("SELECT nonsense");
    return absl::OkStatus();
  }),
              StatusIs(absl::StatusCode::kInternal));
  EXPECT_EQ(Query("SELECT string_agg(a::text, ' ') FROM written"), "1");
}

TEST_F(SessionTest, RunsATransactionAgainAfterADeadlock) {
  Query("CREATE TABLE counters (id int PRIMARY KEY, value int); INSERT INTO counters VALUES (1, 0), (2, 0)");
  std::atomic<int> runs = 0;
  std::atomic<int> first_locks = 0;
  std::atomic<bool> one_ended = false;
  RunThreads(2, [&](int thread) {
    PgSession session(Options());
    ASSERT_OK(Exec(session, "SET deadlock_timeout = '10ms'"));
    const absl::Status status = session.RunTransaction([&](pqxx::work& transaction) {
      // The one that gave way comes again when the other has what it waits for.
      EXPECT_TRUE(++runs <= 2 || WaitFor([&] { return one_ended.load(); }));
      const int first = 1 + thread;
      transaction.exec_params("UPDATE counters SET value = value + 1 WHERE id = $1", first);
      ++first_locks;
      EXPECT_TRUE(WaitFor([&] { return first_locks >= 2; }));
      transaction.exec_params("UPDATE counters SET value = value + 1 WHERE id = $1", 3 - first);
      return absl::OkStatus();
    });
    EXPECT_OK(status);
    one_ended = true;
  });
  EXPECT_EQ(Query("SELECT string_agg(value::text, ' ') FROM counters"), "2 2");
  EXPECT_EQ(runs, 3);
}

TEST_F(SessionTest, SaysUnavailableIfEveryAttemptIsRolledBack) {
  PgSession session(Options());
  int runs = 0;
  EXPECT_THAT(session.RunTransaction([&](pqxx::work& transaction) {
    ++runs;
    transaction.exec("DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END $$");
    return absl::OkStatus();
  }),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("again")));
  EXPECT_EQ(runs, 3);
}

TEST_F(SessionTest, PoolLendsEachSessionToOneAtATime) {
  constexpr int kSize = 3;
  const std::shared_ptr<PgPool> pool = MakePool(kSize);
  std::atomic<int> lent = 0;
  std::atomic<int> most = 0;
  RunThreads(8, [&](int) {
    for (int i = 0; i < 20; ++i) {
      EXPECT_OK(pool->With([&](PgSession& session) {
        most = std::max(most.load(), ++lent);
        EXPECT_THAT(AddOne(session, i), IsOkAndHolds(i + 1));
        --lent;
        return absl::OkStatus();
      }));
    }
  });
  EXPECT_LE(most, kSize);
  EXPECT_EQ(lent, 0);
}

TEST_F(SessionTest, PoolSaysUnavailableIfNoSessionComesBack) {
  PgOptions options = Options();
  options.lend_timeout = absl::Milliseconds(50);
  const auto pool = std::make_shared<PgPool>(options, 1);
  EXPECT_OK(pool->With([&](PgSession&) {
    EXPECT_THAT(pool->With([](PgSession&) { return absl::OkStatus(); }), StatusIs(absl::StatusCode::kUnavailable));
    return absl::OkStatus();
  }));
  EXPECT_OK(pool->With([](PgSession&) { return absl::OkStatus(); }));
}

// A backend that stands still, as all do whose host does.
class SilentServerTest : public SessionTest {
 protected:
  static PgOptions ImpatientOptions() {
    PgOptions options = Options();
    options.statement_timeout = absl::Seconds(1);
    options.answer_grace = absl::Milliseconds(500);
    return options;
  }
  void Freeze(pqxx::transaction_base& transaction) {
    frozen_ = transaction.exec("SELECT pg_backend_pid()")[0][0].as<pid_t>();
    ASSERT_EQ(kill(frozen_, SIGSTOP), 0);
  }
  void TearDown() override {
    if (frozen_ > 0) kill(frozen_, SIGCONT);
    SessionTest::TearDown();
  }

 private:
  pid_t frozen_ = 0;
};

TEST_F(SilentServerTest, SaysUnavailableAndGoesOnWithAnotherConnection) {
  PgSession session(ImpatientOptions());
  ASSERT_OK(session.Run([&](pqxx::transaction_base& transaction) { Freeze(transaction); }));
  EXPECT_THAT(AddOne(session, 1), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no answer for 1.5s")));
  EXPECT_THAT(AddOne(session, 1), IsOkAndHolds(2));
}

TEST_F(SilentServerTest, EndsATransactionInTheMiddle) {
  PgSession session(ImpatientOptions());
  EXPECT_THAT(session.RunTransaction([&](pqxx::work& transaction) {
    transaction.exec("SELECT 1");
    Freeze(transaction);
    transaction.exec("SELECT 2");
    return absl::OkStatus();
  }),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no answer for 1.5s")));
}

TEST_F(SilentServerTest, LeavesAloneWhatMovesOrWasIdle) {
  PgOptions options = Options();
  options.statement_timeout = absl::Seconds(2);
  options.answer_grace = absl::ZeroDuration();
  PgSession session(options);
  // The body lasts longer than the server may be silent, and each statement is far from that.
  EXPECT_OK(session.RunTransaction([&](pqxx::work& transaction) {
    for (int i = 0; i < 4; ++i) transaction.exec("SELECT pg_sleep(0.7)");
    return absl::OkStatus();
  }));
  absl::SleepFor(absl::Seconds(3));
  EXPECT_THAT(AddOne(session, 1), IsOkAndHolds(2));
}

TEST(PrivateServer, IsUsedAgainWhenItCameBack) {
  PrivatePostgres server;
  const auto pool = std::make_shared<PgPool>(
      PgOptions{.url = server.url(), .connect_timeout = absl::Seconds(30), .statement_timeout = absl::Minutes(2)}, 2);
  const auto add_one = [&](int number) -> absl::StatusOr<int> {
    int sum = 0;
    RETURN_IF_ERROR(pool->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
      sum = session.Execute(transaction, kAddOne, number)[0][0].as<int>();
    }));
    return sum;
  };
  // Both sessions have a connection with the statement prepared.
  ASSERT_OK(pool->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    session.Execute(transaction, kAddOne, 1);
    EXPECT_THAT(add_one(1), IsOkAndHolds(2));
  }));

  // One is in the middle of a statement when the server dies.
  absl::Notification sleeping;
  std::thread sleeper([&] {
    EXPECT_THAT(pool->RunTransaction([&](PgSession&, pqxx::work& transaction) {
      transaction.exec("SELECT 1");
      sleeping.Notify();
      // Ends with its server.
      transaction.exec("SELECT pg_sleep(60)");
      return absl::OkStatus();
    }),
                StatusIs(absl::StatusCode::kUnavailable));
  });
  sleeping.WaitForNotification();
  server.Kill();
  sleeper.join();
  EXPECT_THAT(add_one(1), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(add_one(1), StatusIs(absl::StatusCode::kUnavailable));

  server.Start();
  EXPECT_TRUE(WaitFor([&] { return add_one(1).ok(); }));
  for (int i = 0; i < 4; ++i) EXPECT_THAT(add_one(i), IsOkAndHolds(i + 1));
}

}  // namespace
}  // namespace carillon::testing
