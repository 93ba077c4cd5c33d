#include "carillon/postgres/outbox_listener.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

// How long the end of the process may have to wait for the thread to look up.
constexpr int64_t kSliceMicroseconds = 250'000;

}  // namespace

std::string WakeChannel(Lane lane) { return absl::StrCat("carillon_outbox_", ToString(lane)); }

class PostgresOutboxListener::Receiver : public pqxx::notification_receiver {
 public:
  Receiver(pqxx::connection& connection, Lane lane, const std::function<void(Lane)>& on_wake)
      : pqxx::notification_receiver(connection, WakeChannel(lane)), lane_(lane), on_wake_(on_wake) {}
  void operator()(const std::string&, int) override { on_wake_(lane_); }

 private:
  const Lane lane_;
  const std::function<void(Lane)>& on_wake_;
};

PostgresOutboxListener::PostgresOutboxListener(PgOptions options, std::function<void(Lane)> on_wake,
                                               std::function<void(const absl::Status&)> on_loss)
    : on_wake_(std::move(on_wake)),
      on_loss_(std::move(on_loss)),
      backoff_(absl::Milliseconds(100), absl::Seconds(2)),
      session_(std::move(options)),
      thread_([this] { Run(); }) {}

PostgresOutboxListener::~PostgresOutboxListener() {
  stop_.Set();
  thread_.join();
}

void PostgresOutboxListener::Run() {
  while (!stop_.is_set()) {
    const absl::Status status = Listen();
    if (status.ok()) return;
    if (backoff_.failures() == 0) on_loss_(status);
    // Whatever it was, the answer is to connect again.
    session_.Disconnect();
    stop_.WaitFor(backoff_.Next());
  }
}

absl::Status PostgresOutboxListener::Listen() {
  ASSIGN_OR_RETURN(pqxx::connection * connection, session_.Connect());
  try {
    std::vector<std::unique_ptr<Receiver>> receivers;
    for (const Lane lane : kAllLanes) receivers.push_back(std::make_unique<Receiver>(*connection, lane, on_wake_));
    for (const Lane lane : kAllLanes) on_wake_(lane);
    backoff_.Reset();
    while (!stop_.is_set()) connection->await_notification(0, kSliceMicroseconds);
    return absl::OkStatus();
  } catch (...) {
    return DescribePgException(std::current_exception()).status;
  }
}

}  // namespace carillon
