#include "carillon/postgres/outbox_waker.h"

#include "absl/strings/str_cat.h"
#include "carillon/postgres/outbox_listener.h"

namespace carillon {
namespace {
constexpr absl::Duration kMinInterval = absl::Milliseconds(2);
// With PostgreSQL away: the relays poll anyway when it is back.
constexpr absl::Duration kFailurePause = absl::Milliseconds(500);
}  // namespace

PostgresOutboxWaker::PostgresOutboxWaker(PgOptions options)
    : session_(std::move(options)), thread_([this] { Run(); }) {}

PostgresOutboxWaker::~PostgresOutboxWaker() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }
  thread_.join();
}

void PostgresOutboxWaker::Wake(Lane lane) {
  absl::MutexLock lock(&mutex_);
  pending_.insert(lane);
}

void PostgresOutboxWaker::Run() {
  while (true) {
    std::set<Lane> lanes;
    {
      absl::MutexLock lock(&mutex_);
      const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || !pending_.empty(); };
      mutex_.Await(absl::Condition(&ready));
      if (pending_.empty()) return;
      lanes.swap(pending_);
    }
    std::string statement;
    for (const Lane lane : lanes) absl::StrAppend(&statement, "NOTIFY ", WakeChannel(lane), ";");
    const absl::Status sent = session_.Run([&](pqxx::transaction_base& transaction) { transaction.exec(statement); });
    // More wake-ups gather meanwhile; the end of the process is waited for at once.
    absl::MutexLock lock(&mutex_);
    const auto stopped = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_; };
    mutex_.AwaitWithTimeout(absl::Condition(&stopped), sent.ok() ? kMinInterval : kFailurePause);
  }
}

}  // namespace carillon
