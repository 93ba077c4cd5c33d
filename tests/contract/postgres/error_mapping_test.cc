#include "carillon/postgres/error_mapping.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pqxx/pqxx>
#include <stdexcept>

#include "carillon/domain/errors.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

template <typename Exception>
PgFault Describe(const Exception& exception) {
  return DescribePgException(std::make_exception_ptr(exception));
}

TEST(PgErrorMapping, MapsEveryKindOfException) {
  const struct {
    std::exception_ptr exception;
    absl::StatusCode expected;
    bool connection_lost;
  } kCases[] = {
      {std::make_exception_ptr(pqxx::broken_connection("x")), absl::StatusCode::kUnavailable, true},
      {std::make_exception_ptr(pqxx::in_doubt_error("x")), absl::StatusCode::kUnavailable, true},
      {std::make_exception_ptr(pqxx::statement_completion_unknown("x")), absl::StatusCode::kUnavailable, true},
      {std::make_exception_ptr(pqxx::transaction_rollback("x")), absl::StatusCode::kAborted, false},
      {std::make_exception_ptr(pqxx::serialization_failure("x")), absl::StatusCode::kAborted, false},
      {std::make_exception_ptr(pqxx::deadlock_detected("x")), absl::StatusCode::kAborted, false},
      {std::make_exception_ptr(pqxx::unique_violation("x", "q", "23505")), absl::StatusCode::kAlreadyExists, false},
      {std::make_exception_ptr(pqxx::check_violation("x", "q", "23514")), absl::StatusCode::kInternal, false},
      {std::make_exception_ptr(pqxx::disk_full("x", "q", "53100")), absl::StatusCode::kResourceExhausted, false},
      {std::make_exception_ptr(pqxx::undefined_table("x", "q", "42P01")), absl::StatusCode::kInternal, false},
      {std::make_exception_ptr(pqxx::usage_error("x")), absl::StatusCode::kInternal, true},
      {std::make_exception_ptr(pqxx::conversion_error("x")), absl::StatusCode::kInternal, true},
      {std::make_exception_ptr(std::runtime_error("x")), absl::StatusCode::kInternal, true},
  };
  for (const auto& [exception, expected, connection_lost] : kCases) {
    const PgFault fault = DescribePgException(exception);
    EXPECT_THAT(fault.status, StatusIs(expected)) << &exception - &kCases[0].exception;
    EXPECT_EQ(fault.connection_lost, connection_lost) << fault.status;
  }
}

TEST(PgErrorMapping, MapsSqlStates) {
  const struct {
    const char* state;
    absl::StatusCode expected;
    bool connection_lost;
  } kCases[] = {
      {"08006", absl::StatusCode::kUnavailable, true},         // connection_failure
      {"57P01", absl::StatusCode::kUnavailable, true},         // admin_shutdown
      {"57P02", absl::StatusCode::kUnavailable, true},         // crash_shutdown
      {"57P03", absl::StatusCode::kUnavailable, true},         // cannot_connect_now
      {"57P05", absl::StatusCode::kUnavailable, true},         // idle_session_timeout
      {"25P03", absl::StatusCode::kUnavailable, true},         // idle_in_transaction_session_timeout
      {"25006", absl::StatusCode::kUnavailable, true},         // read_only_sql_transaction
      {"57014", absl::StatusCode::kUnavailable, false},        // query_canceled
      {"55P03", absl::StatusCode::kUnavailable, false},        // lock_not_available
      {"58030", absl::StatusCode::kUnavailable, false},        // io_error
      {"40001", absl::StatusCode::kAborted, false},            // serialization_failure
      {"40P01", absl::StatusCode::kAborted, false},            // deadlock_detected
      {"53000", absl::StatusCode::kResourceExhausted, false},  // insufficient_resources
      {"53100", absl::StatusCode::kResourceExhausted, false},  // disk_full
      {"53200", absl::StatusCode::kResourceExhausted, false},  // out_of_memory
      {"53300", absl::StatusCode::kResourceExhausted, false},  // too_many_connections
      {"23505", absl::StatusCode::kAlreadyExists, false},      // unique_violation
      {"23503", absl::StatusCode::kInternal, false},           // foreign_key_violation
      {"22021", absl::StatusCode::kInternal, false},           // character_not_in_repertoire
      {"42601", absl::StatusCode::kInternal, false},           // syntax_error
      {"XX000", absl::StatusCode::kInternal, false},           // internal_error
      {"", absl::StatusCode::kInternal, false},
  };
  for (const auto& [state, expected, connection_lost] : kCases) {
    const PgFault fault = Describe(pqxx::sql_error("x", "q", state));
    EXPECT_THAT(fault.status, StatusIs(expected)) << state;
    EXPECT_EQ(fault.connection_lost, connection_lost) << state;
  }
}

TEST(PgErrorMapping, NamesTheReasonAndWhenToTryAgain) {
  const absl::Status unavailable = Describe(pqxx::broken_connection("gone")).status;
  EXPECT_EQ(DetailsOf(unavailable).reason, "BACKEND_UNAVAILABLE");
  EXPECT_NE(DetailsOf(unavailable).retry_delay, std::nullopt);
  EXPECT_TRUE(IsInfrastructureFailure(unavailable));
  EXPECT_NE(DetailsOf(Describe(pqxx::disk_full("x", "q", "53100")).status).retry_delay, std::nullopt);
}

TEST(PgErrorMapping, LeavesOutLinesThatQuoteData) {
  const absl::Status status =
      Describe(pqxx::check_violation("ERROR:  violates check\nDETAIL:  Failing row contains (secret).", "q", "23514"))
          .status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("violates check"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace carillon::testing
