// Hears the wake-ups that PostgresOutboxWaker sends: one connection and one
// thread for all lanes of a relay, as every listening connection costs each NOTIFY.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "carillon/domain/backoff.h"
#include "carillon/domain/lane.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/postgres/session.h"

namespace carillon {

// The channel on which a lane's relays are woken.
std::string WakeChannel(Lane lane);

class PostgresOutboxListener {
 public:
  // Both run on the listener's thread. `on_wake` for every wake-up, and for every
  // lane whenever a connection was made: wake-ups may have been lost before.
  // `on_loss` once whenever it begins to fail: until it hears again relays only poll.
  PostgresOutboxListener(PgOptions options, std::function<void(Lane)> on_wake,
                         std::function<void(const absl::Status&)> on_loss);
  // At most half a second, or a connection attempt.
  ~PostgresOutboxListener();

 private:
  class Receiver;

  void Run();
  // Listens until stop, or the connection is lost.
  absl::Status Listen();

  const std::function<void(Lane)> on_wake_;
  const std::function<void(const absl::Status&)> on_loss_;
  Backoff backoff_;
  StopSignal stop_;
  PgSession session_;
  std::thread thread_;
};

}  // namespace carillon
