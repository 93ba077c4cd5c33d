// Receives wake-ups over Redis pub/sub.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <thread>

#include "carillon/ports/live_bus.h"
#include "carillon/ports/stop_signal.h"
#include "carillon/redis/connection.h"
#include "carillon/redis/options.h"

namespace carillon {

// Subscribes to notify:* on a thread and a connection of its own. As nothing can
// be asked on a subscribed connection, it also subscribes to a heartbeat channel
// that only it uses, publishes there over a second connection and reconnects, with
// backoff, when the beats do not come back.
//
// Start once; connected may be called from any thread.
class RedisLiveListener final : public LiveListener {
 public:
  // It takes a connection that is silent for two and a half intervals for dead.
  explicit RedisLiveListener(RedisOptions options, absl::Duration heartbeat_interval = absl::Seconds(2));
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
  void SendHeartbeat();

  const RedisOptions options_;
  const absl::Duration heartbeat_interval_;
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
