// Receives wake-ups over Redis pub/sub.
#pragma once

#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "carillon/ports/live_bus.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/redis/connection.h"
#include "carillon/redis/options.h"

namespace carillon {

// Subscribes on a thread and a connection of its own: to what is sent to this
// server, to shared events, and to notify:*, which is used where presence can't be
// read and by sites that publish that way. As nothing can be asked on a subscribed
// connection, it also subscribes to a heartbeat channel that only it uses,
// publishes there over a second connection and reconnects, with backoff, when the
// beats do not come back.
//
// Start once; connected may be called from any thread.
class RedisLiveListener final : public LiveListener {
 public:
  struct Options {
    std::string server;
    // A connection that is silent for two and a half of these is taken for dead.
    absl::Duration heartbeat_interval = absl::Seconds(2);
    // How many updates came, for this server or for all; on the listener's thread.
    std::function<void(LiveRouting, size_t)> on_received;
  };

  RedisLiveListener(RedisOptions redis, Options options);
  ~RedisLiveListener() override { Stop(); }

  void Start(Callbacks callbacks) override;
  void Stop() override;
  bool connected() const override { return connected_; }

 private:
  void Run();
  // Subscribed, until the connection fails or Stop is called.
  absl::Status Listen();
  absl::StatusOr<RedisConnection> Subscribe();
  // True if it was our heartbeat.
  bool HandleReply(const redisReply& reply);
  void HandleBatch(absl::string_view payload);
  void HandleBroadcast(absl::string_view channel, absl::string_view payload);
  void HandleSharedEvent(absl::string_view payload);
  void Deliver(LiveRouting routing, LiveMessage message);
  void SendHeartbeat();

  const RedisOptions redis_;
  const Options options_;
  const std::string server_channel_;
  const std::string heartbeat_channel_;
  Callbacks callbacks_;

  std::atomic<bool> connected_ = false;
  StopSignal stop_;
  bool stop_called_ = false;
  std::thread thread_;
  // The thread's own.
  std::optional<RedisConnection> heartbeat_connection_;
};

}  // namespace carillon
