// Hears what NOTIFY tells: one connection and one thread for all channels of an
// owner, as every listening connection costs each NOTIFY.
#pragma once

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "carillon/domain/backoff.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/postgres/session.h"

namespace carillon {

class PgListener {
 public:
  // All run on the listener's thread.
  struct Callbacks {
    // On which channel, by its place in the list, and what was told.
    std::function<void(size_t channel, const std::string& payload)> on_told;
    // From now on all channels are heard; whatever was told before may have been missed.
    std::function<void()> on_open;
    // Once whenever it begins to fail: nothing is heard until on_open.
    std::function<void(const absl::Status&)> on_loss;
  };

  PgListener(PgOptions options, std::vector<std::string> channels, Callbacks callbacks);
  // At most half a second, or a connection attempt. Tells nobody.
  ~PgListener();

 private:
  class Receiver;

  void Run();
  // Listens until stop, or the connection is lost.
  absl::Status Listen();
  absl::Status HearUntilStop(pqxx::connection& connection);

  const std::vector<std::string> channels_;
  const Callbacks callbacks_;
  Backoff backoff_;
  StopSignal stop_;
  PgSession session_;
  std::thread thread_;
};

}  // namespace carillon
