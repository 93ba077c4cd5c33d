// Hears the wake-ups that PostgresOutboxWaker sends, for all lanes of a relay.
#pragma once

#include <functional>
#include <string>

#include "carillon/domain/lane.h"
#include "carillon/postgres/listener.h"

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

 private:
  PgListener listener_;
};

}  // namespace carillon
