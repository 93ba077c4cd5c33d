// Hears the wake-ups that PostgresOutboxWaker sends: one connection and one
// thread for all lanes of a relay, as every listening connection costs each NOTIFY.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "carillon/domain/lane.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/postgres/session.h"

namespace carillon {

// The channel on which a lane's relays are woken.
std::string WakeChannel(Lane lane);

class PostgresOutboxListener {
 public:
  // `on_wake` runs on the listener's thread for every wake-up, and for every lane
  // whenever a connection was made: wake-ups may have been lost before.
  PostgresOutboxListener(PgOptions options, std::function<void(Lane)> on_wake);
  // At most half a second, or a connection attempt.
  ~PostgresOutboxListener();

 private:
  class Receiver;

  void Run();
  // Listens until stop, or the connection is lost.
  absl::Status Listen();

  const std::function<void(Lane)> on_wake_;
  StopSignal stop_;
  PgSession session_;
  std::thread thread_;
};

}  // namespace carillon
