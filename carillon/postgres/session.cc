#include "carillon/postgres/session.h"

#include <sys/socket.h>

#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "carillon/domain/errors.h"

namespace carillon {
namespace {

constexpr int kMaxAttempts = 3;

// What every session relies on. Plans must not depend on statistics: a fresh
// backlog has none, and with these off every hot statement has one plan, by index.
constexpr const char* kSettings[] = {
    "search_path=carillon",
    "TimeZone=UTC",
    "jit=off",
    "enable_hashjoin=off",
    "enable_mergejoin=off",
    "enable_seqscan=off",
    "enable_bitmapscan=off",
    "plan_cache_mode=force_generic_plan",
    "client_min_messages=warning",
    "idle_in_transaction_session_timeout=30s",
};

// The settings ride in the connection string, so that libpqxx's own reconnection
// could not lose them.
std::string ConnectionString(const PgOptions& options) {
  std::string settings = absl::StrCat("-c%20statement_timeout%3D", absl::ToInt64Milliseconds(options.statement_timeout),
                                      "%20-c%20lock_timeout%3D", absl::ToInt64Milliseconds(options.lock_timeout));
  for (const char* setting : kSettings) {
    absl::StrAppend(&settings, "%20-c%20", absl::StrReplaceAll(setting, {{"=", "%3D"}}));
  }
  return absl::StrCat(options.url, absl::StrContains(options.url, "?") ? "&" : "?",
                      "connect_timeout=", absl::ToInt64Seconds(options.connect_timeout),
                      "&application_name=", options.application_name,
                      "&tcp_user_timeout=5000&keepalives_idle=10&keepalives_interval=5&options=", settings);
}

// A statement may take all of its time, and its answer, or that it took too long, some more.
absl::Duration MostSilence(const PgOptions& options) {
  const bool may_last = options.statement_timeout == absl::ZeroDuration();
  return may_last ? absl::InfiniteDuration() : options.statement_timeout + options.answer_grace;
}

// True if the server has hung up on an idle connection, or said that it will:
// then nothing is sent on it, and nobody has to wonder what became of that.
// Notices and notifications may wait there as well.
bool WasClosedByServer(int socket) {
  char first = 0;
  const ssize_t received = recv(socket, &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (received < 0) return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
  // ErrorResponse: https://www.postgresql.org/docs/15/protocol-message-formats.html
  return received == 0 || first == 'E';
}

}  // namespace

bool PgSession::IsConnected() const {
  return connection_ != nullptr && connection_->is_open() && !WasClosedByServer(connection_->sock());
}

absl::StatusOr<pqxx::connection*> PgSession::Connect() {
  if (IsConnected()) return connection_.get();
  Disconnect();
  try {
    connection_ = std::make_unique<pqxx::connection>(ConnectionString(options_));
    watched_ = std::make_unique<WatchedSocket>(connection_->sock(), MostSilence(options_));
    return connection_.get();
  } catch (...) {
    return DescribePgException(std::current_exception()).status;
  }
}

void PgSession::Disconnect() {
  // Its descriptor first, or the server would learn of the end of the connection by that alone.
  watched_.reset();
  connection_.reset();
  prepared_.clear();
}

PgFault PgSession::Describe(std::exception_ptr exception) const {
  if (watched_ == nullptr || !watched_->was_shut()) return DescribePgException(std::move(exception));
  return {error::BackendUnavailable("postgresql",
                                    absl::StrCat("no answer for ", absl::FormatDuration(MostSilence(options_)))),
          /*connection_lost=*/true};
}

template <typename Body>
absl::Status PgSession::RunGuarded(Body body) {
  absl::Status status;
  for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
    absl::StatusOr<pqxx::connection*> connection = Connect();
    if (!connection.ok()) return connection.status();
    try {
      const WatchedSocket::Call call = WatchCall();
      return body(**connection);
    } catch (...) {
      PgFault fault = Describe(std::current_exception());
      status = std::move(fault.status);
      if (fault.connection_lost || !connection_->is_open()) Disconnect();
    }
    if (!absl::IsAborted(status)) return status;
  }
  return error::BackendUnavailable("postgresql", status.message());
}

absl::Status PgSession::Run(const std::function<void(pqxx::transaction_base&)>& body) {
  return RunGuarded([&](pqxx::connection& connection) {
    pqxx::nontransaction transaction(connection);
    body(transaction);
    return absl::OkStatus();
  });
}

absl::Status PgSession::RunTransaction(const std::function<absl::Status(pqxx::work&)>& body) {
  return RunGuarded([&](pqxx::connection& connection) {
    pqxx::work transaction(connection);
    absl::Status status = body(transaction);
    if (status.ok()) transaction.commit();
    return status;
  });
}

PgPool::PgPool(const PgOptions& options, int size) : lend_timeout_(options.lend_timeout) {
  for (int i = 0; i < size; ++i) idle_.push_back(std::make_unique<PgSession>(options));
}

absl::Status PgPool::With(const std::function<absl::Status(PgSession&)>& body) {
  std::unique_ptr<PgSession> session;
  {
    absl::MutexLock lock(&mutex_);
    const auto available = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !idle_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&available), lend_timeout_)) {
      return error::BackendUnavailable("postgresql", "all connections of this process are busy");
    }
    session = std::move(idle_.back());
    idle_.pop_back();
  }
  const auto give_back = absl::MakeCleanup([&] {
    absl::MutexLock lock(&mutex_);
    idle_.push_back(std::move(session));
  });
  return body(*session);
}

absl::Status PgPool::Run(const std::function<void(PgSession&, pqxx::transaction_base&)>& body) {
  return With([&](PgSession& session) {
    return session.Run([&](pqxx::transaction_base& transaction) { body(session, transaction); });
  });
}

absl::Status PgPool::RunTransaction(const std::function<absl::Status(PgSession&, pqxx::work&)>& body) {
  return With([&](PgSession& session) {
    return session.RunTransaction([&](pqxx::work& transaction) { return body(session, transaction); });
  });
}

}  // namespace carillon
