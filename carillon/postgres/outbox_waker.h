// OutboxWaker on PostgreSQL: NOTIFY from a thread and a connection of its own.
// NOTIFY takes a lock on the whole cluster until its commit, so it is kept out of
// every transaction that writes rows, and is sent at most every 2 ms.
#pragma once

#include <set>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/outbox_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PostgresOutboxWaker final : public OutboxWaker {
 public:
  explicit PostgresOutboxWaker(PgOptions options);
  // Sends what is pending, then ends.
  ~PostgresOutboxWaker() override;

  void Wake(Lane lane) override;

 private:
  void Run();

  PgSession session_;
  absl::Mutex mutex_;
  std::set<Lane> pending_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace carillon
