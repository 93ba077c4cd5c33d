#include "carillon/postgres/listener.h"

#include <memory>
#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

// How long the end of the process may have to wait for the thread to look up.
constexpr int64_t kSliceMicroseconds = 250'000;

}  // namespace

class PgListener::Receiver : public pqxx::notification_receiver {
 public:
  Receiver(pqxx::connection& connection, const PgListener& owner, size_t channel)
      : pqxx::notification_receiver(connection, owner.channels_[channel]), owner_(owner), channel_(channel) {}
  void operator()(const std::string& payload, int) override { owner_.callbacks_.on_told(channel_, payload); }

 private:
  const PgListener& owner_;
  const size_t channel_;
};

PgListener::PgListener(PgOptions options, std::vector<std::string> channels, Callbacks callbacks)
    : channels_(std::move(channels)),
      callbacks_(std::move(callbacks)),
      backoff_(absl::Milliseconds(100), absl::Seconds(2)),
      session_(std::move(options)),
      thread_([this] { Run(); }) {}

PgListener::~PgListener() {
  stop_.Set();
  thread_.join();
}

void PgListener::Run() {
  while (!stop_.is_set()) {
    const absl::Status status = Listen();
    if (status.ok()) return;
    if (backoff_.failures() == 0) callbacks_.on_loss(status);
    // Whatever it was, the answer is to connect again.
    session_.Disconnect();
    stop_.WaitFor(backoff_.Next());
  }
}

absl::Status PgListener::Listen() {
  ASSIGN_OR_RETURN(pqxx::connection * connection, session_.Connect());
  try {
    std::vector<std::unique_ptr<Receiver>> receivers;
    {
      const WatchedSocket::Call call = session_.WatchCall();
      for (size_t i = 0; i < channels_.size(); ++i)
        receivers.push_back(std::make_unique<Receiver>(*connection, *this, i));
    }
    absl::Status status = HearUntilStop(*connection);
    // They say UNLISTEN.
    const WatchedSocket::Call call = session_.WatchCall();
    receivers.clear();
    return status;
  } catch (...) {
    return session_.Describe(std::current_exception()).status;
  }
}

// libpqxx passes over a connection that breaks at LISTEN, and makes a lost one anew by
// itself: what was told in between nobody would know of. So it is looked at first.
absl::Status PgListener::HearUntilStop(pqxx::connection& connection) {
  if (!connection.is_open()) return error::BackendUnavailable("postgresql", "the connection was lost");
  backoff_.Reset();
  callbacks_.on_open();
  while (!stop_.is_set()) {
    if (!connection.is_open()) return error::BackendUnavailable("postgresql", "the connection was lost");
    connection.await_notification(0, kSliceMicroseconds);
  }
  return absl::OkStatus();
}

}  // namespace carillon
