// Ends calls that PostgreSQL does not answer. A server that stands still (its host out of memory, its disk away, its
// processes stopped) keeps its connections: its kernel acknowledges what is sent, so tcp_user_timeout and keepalives
// see nothing wrong; statement_timeout is the server's own; and libpq waits for an answer without bound.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/time/time.h"

namespace carillon {

// A connection's socket. A thread of the process looks twice a second; when a call lasts and nothing has gone
// either way for `bound`, it shuts the connection down, and whoever waits for it is told that it is lost.
// Sockets that are not TCP are not watched. Owner thread only.
class WatchedSocket {
 public:
  WatchedSocket(int socket, absl::Duration bound);
  ~WatchedSocket();
  WatchedSocket(const WatchedSocket&) = delete;
  WatchedSocket& operator=(const WatchedSocket&) = delete;

  // While it lives the owner may wait for answers. One at a time.
  class Call {
   public:
    explicit Call(WatchedSocket& socket);
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    WatchedSocket& socket_;
  };

  // The connection was shut down for want of an answer.
  bool was_shut() const { return was_shut_; }

 private:
  friend class AnswerWatch;
  // On the watch's thread.
  void Look();

  // A descriptor of its own: libpq closes the other whenever it likes, and its number may be somebody else's then.
  const int socket_;
  const absl::Duration bound_;
  std::atomic<int64_t> call_began_ = 0;  // Nanoseconds, monotonic; 0: none is under way.
  std::atomic<bool> was_shut_ = false;
};

}  // namespace carillon
