#include "carillon/postgres/error_mapping.h"

#include <pqxx/except>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "carillon/domain/errors.h"

namespace carillon {
namespace {

// The first line says it; DETAIL lines may quote user data.
std::string FirstLine(absl::string_view text) {
  return std::string(absl::StripAsciiWhitespace(text.substr(0, text.find('\n'))));
}

absl::Status Unavailable(absl::string_view why) { return error::BackendUnavailable("postgresql", FirstLine(why)); }

PgFault DescribeSqlError(const pqxx::sql_error& failure) {
  const std::string& state = failure.sqlstate();
  const std::string message = FirstLine(failure.what());
  // 08: connection; 57P0x: shutdown, crash, cannot connect now; 25P03: idle in a
  // transaction for too long; 25006: a server that became a standby.
  // https://www.postgresql.org/docs/15/errcodes-appendix.html
  if (absl::StartsWith(state, "08") || absl::StartsWith(state, "57P") || state == "25P03" || state == "25006") {
    return {Unavailable(message), /*connection_lost=*/true};
  }
  // 57014, 55P03: statement or lock timeout; 58: the server's own system fails.
  if (state == "57014" || state == "55P03" || absl::StartsWith(state, "58")) return {Unavailable(message)};
  if (absl::StartsWith(state, "40")) return {absl::AbortedError(message)};
  if (absl::StartsWith(state, "53")) {
    return {MakeError(absl::StatusCode::kResourceExhausted, absl::StrCat("postgresql: ", message),
                      {.reason = "OVERLOADED",
                       .metadata = {{"backend", "postgresql"}},
                       .violations = {},
                       .retry_delay = absl::Seconds(5)})};
  }
  if (state == "23505") return {absl::AlreadyExistsError(message)};
  return {error::Internal(absl::StrCat("postgresql ", state, ": ", message))};
}

}  // namespace

PgFault DescribePgException(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const pqxx::broken_connection& failure) {
    return {Unavailable(failure.what()), /*connection_lost=*/true};
  } catch (const pqxx::in_doubt_error& failure) {
    return {Unavailable(failure.what()), /*connection_lost=*/true};
  } catch (const pqxx::statement_completion_unknown& failure) {
    return {Unavailable(failure.what()), /*connection_lost=*/true};
  } catch (const pqxx::transaction_rollback& failure) {
    // These carry no SQLSTATE in libpqxx 6: they are not sql_errors.
    return {absl::AbortedError(FirstLine(failure.what()))};
  } catch (const pqxx::sql_error& failure) {
    return DescribeSqlError(failure);
  } catch (const std::exception& failure) {
    return {error::Internal(absl::StrCat("postgresql: ", FirstLine(failure.what()))), /*connection_lost=*/true};
  }
}

}  // namespace carillon
