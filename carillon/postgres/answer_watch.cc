#include "carillon/postgres/answer_watch.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "carillon/ports/monotonic.h"
#include "carillon/ports/stop_signal.h"

namespace carillon {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(500);

int64_t MonotonicNanoseconds() { return absl::ToInt64Nanoseconds(Monotonic()); }

// How long nothing has gone either way; zero if that can't be known.
absl::Duration Silence(int socket) {
  tcp_info info = {};
  socklen_t size = sizeof(info);
  if (getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return absl::ZeroDuration();
  return absl::Milliseconds(std::min(info.tcpi_last_data_sent, info.tcpi_last_data_recv));
}

}  // namespace

// One for the process, and one thread: connections are few and looks cheap. It lasts as long as the process.
class AnswerWatch {
 public:
  static AnswerWatch& OfProcess() {
    static AnswerWatch* const watch = new AnswerWatch;
    return *watch;
  }

  AnswerWatch() {
    std::thread([this] {
      while (!never_.WaitFor(kInterval)) LookAtAll();
    }).detach();
  }

  void Add(WatchedSocket* socket) {
    absl::MutexLock lock(&mutex_);
    sockets_.insert(socket);
  }
  void Remove(WatchedSocket* socket) {
    absl::MutexLock lock(&mutex_);
    sockets_.erase(socket);
  }

 private:
  void LookAtAll() {
    absl::MutexLock lock(&mutex_);
    for (WatchedSocket* socket : sockets_) socket->Look();
  }

  StopSignal never_;
  absl::Mutex mutex_;
  absl::flat_hash_set<WatchedSocket*> sockets_ ABSL_GUARDED_BY(mutex_);
};

WatchedSocket::WatchedSocket(int socket, absl::Duration bound)
    : socket_(fcntl(socket, F_DUPFD_CLOEXEC, 0)), bound_(bound) {
  AnswerWatch::OfProcess().Add(this);
}

WatchedSocket::~WatchedSocket() {
  AnswerWatch::OfProcess().Remove(this);
  if (socket_ >= 0) close(socket_);
}

WatchedSocket::Call::Call(WatchedSocket& socket) : socket_(socket) { socket_.call_began_ = MonotonicNanoseconds(); }

WatchedSocket::Call::~Call() { socket_.call_began_ = 0; }

void WatchedSocket::Look() {
  const int64_t began = call_began_;
  // A call that has only just begun may have sent nothing yet, on a connection that was idle for long.
  if (began == 0 || absl::Nanoseconds(MonotonicNanoseconds() - began) < bound_) return;
  if (Silence(socket_) < bound_) return;
  was_shut_ = true;
  shutdown(socket_, SHUT_RDWR);
}

}  // namespace carillon
