// A connection to PostgreSQL that is made when needed and made anew after a
// loss, and a pool of them. Exceptions of libpqxx end here: every body runs
// inside one place that turns them into a status (error_mapping.h).
#pragma once

#include <functional>
#include <memory>
#include <pqxx/pqxx>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/postgres/answer_watch.h"
#include "carillon/postgres/error_mapping.h"

namespace carillon {

struct PgOptions {
  std::string url;  // postgresql://user:password@host:port/database?option=value
  std::string application_name = "carillon";
  absl::Duration connect_timeout = absl::Seconds(3);
  absl::Duration statement_timeout = absl::Seconds(5);
  absl::Duration lend_timeout = absl::Seconds(5);  // How long a pool waits for a free session.
  absl::Duration lock_timeout = absl::Seconds(2);  // How long a statement waits for a lock.
  // How much longer than a statement may take a server may be silent before the connection is given up.
  absl::Duration answer_grace = absl::Seconds(3);
};

// A statement with a name: prepared on a connection when it is first used there.
struct PgStatement {
  const char* name;
  const char* sql;
};

// One connection. Owner thread only.
class PgSession {
 public:
  explicit PgSession(PgOptions options) : options_(std::move(options)) {}

  // Runs statements that each commit by themselves; one round trip each. A
  // deadlock or serialisation failure runs the body again, up to three times.
  // UNAVAILABLE if the server is away; then the outcome may be unknown.
  // So it is if the server is silent for statement_timeout and answer_grace (answer_watch.h).
  absl::Status Run(const std::function<void(pqxx::transaction_base&)>& body);
  // Runs the body in a transaction and commits if it returns OK.
  absl::Status RunTransaction(const std::function<absl::Status(pqxx::work&)>& body);

  // Executes a prepared statement. Throws as libpqxx does: call it in a body.
  template <typename... Arguments>
  pqxx::result Execute(pqxx::transaction_base& transaction, const PgStatement& statement,
                       const Arguments&... arguments) {
    if (prepared_.insert(statement.name).second) connection_->prepare(statement.name, statement.sql);
    return transaction.exec_prepared(statement.name, arguments...);
  }

  // The open connection, made if need be; for what needs more than the calls above.
  // Nothing of an earlier one may be left when it is not connected any more.
  absl::StatusOr<pqxx::connection*> Connect();
  // While it lives a silent server ends what is done with the open connection, as it ends the calls above.
  [[nodiscard]] WatchedSocket::Call WatchCall() { return WatchedSocket::Call(*watched_); }
  // What was thrown by what was done with it.
  PgFault Describe(std::exception_ptr exception) const;
  // False before the first use and after a loss.
  bool IsConnected() const;
  // Drops the connection; the next call makes another.
  void Disconnect();

 private:
  template <typename Body>
  absl::Status RunGuarded(Body body);

  const PgOptions options_;
  std::unique_ptr<pqxx::connection> connection_;
  std::unique_ptr<WatchedSocket> watched_;  // The connection's.
  absl::flat_hash_set<std::string> prepared_;
};

// A fixed number of sessions, lent out one at a time. Thread-safe.
class PgPool {
 public:
  PgPool(const PgOptions& options, int size);

  // Waits up to lend_timeout for a free session (UNAVAILABLE if none comes), runs
  // the body with it and gives it back.
  absl::Status With(const std::function<absl::Status(PgSession&)>& body);

  // PgSession::Run and RunTransaction on a borrowed session.
  absl::Status Run(const std::function<void(PgSession&, pqxx::transaction_base&)>& body);
  absl::Status RunTransaction(const std::function<absl::Status(PgSession&, pqxx::work&)>& body);

 private:
  const absl::Duration lend_timeout_;
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<PgSession>> idle_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace carillon
