#include "server/http/http_server.h"

#include <netinet/tcp.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <exception>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "server/http/http_connection.h"

namespace carillon {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

// How long to wait before another try when there are no more file descriptors.
constexpr absl::Duration kAcceptPause = absl::Milliseconds(100);
// A peer that answers nothing any more, though it never said that it goes.
constexpr int kPeerTimeoutMilliseconds = 30'000;
constexpr int kKeepAliveIdleSeconds = 30;
constexpr int kKeepAliveIntervalSeconds = 10;
constexpr int kKeepAliveProbes = 3;

// Of the process, besides the port's connections.
constexpr rlim_t kOtherFiles = 1000;

template <int kName>
using TcpOption = asio::detail::socket_option::integer<IPPROTO_TCP, kName>;

// What it does not take is no fault: the connection works without.
void SetOptions(Tcp::socket& socket) {
  error_code ignored;
  // Small pieces of a stream do not wait for the one before.
  socket.set_option(Tcp::no_delay(true), ignored);
  socket.set_option(TcpOption<TCP_USER_TIMEOUT>(kPeerTimeoutMilliseconds), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  socket.set_option(TcpOption<TCP_KEEPIDLE>(kKeepAliveIdleSeconds), ignored);
  socket.set_option(TcpOption<TCP_KEEPINTVL>(kKeepAliveIntervalSeconds), ignored);
  socket.set_option(TcpOption<TCP_KEEPCNT>(kKeepAliveProbes), ignored);
}

// Systems let a process have some 1000 open files unless it asks for more.
void RaiseFileLimit(size_t connections) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = connections + kOtherFiles;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted) {
    log::Warn("http.few_files", {{"limit", limit.rlim_cur}, {"wanted", wanted}});
  }
}

absl::StatusOr<Tcp::endpoint> ParseEndpoint(absl::string_view listen) {
  const size_t colon = listen.rfind(':');
  absl::string_view host = listen.substr(0, colon);
  const bool is_bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  error_code failure;
  const asio::ip::address address = asio::ip::make_address(std::string(host), failure);
  int port = 0;
  if (colon == absl::string_view::npos || failure || address.is_v6() != is_bracketed ||
      !absl::SimpleAtoi(listen.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return absl::InvalidArgumentError(absl::StrCat("not an address and a port: ", listen));
  }
  return Tcp::endpoint(address, static_cast<uint16_t>(port));
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpServerOptions options, HttpHandler& handler, HttpMetrics& metrics, const Clock& clock)
      : options_(std::move(options)), context_{options_, handler, metrics, clock}, acceptor_(io_), pause_(io_) {}

  absl::StatusOr<int> Start() {
    ASSIGN_OR_RETURN(const Tcp::endpoint endpoint, ParseEndpoint(options_.listen));
    RaiseFileLimit(options_.max_connections);
    error_code failure;
    acceptor_.open(endpoint.protocol(), failure);
    if (!failure) acceptor_.set_option(Tcp::acceptor::reuse_address(true), failure);
    if (!failure) acceptor_.bind(endpoint, failure);
    if (!failure) acceptor_.listen(asio::socket_base::max_listen_connections, failure);
    if (failure)
      return absl::UnavailableError(absl::StrCat("can't listen on ", options_.listen, ": ", failure.message()));
    const int port = acceptor_.local_endpoint(failure).port();
    asio::post(accepting_, [this] { Accept(); });
    for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Run(); });
    return port;
  }

  void Stop() {
    if (threads_.empty()) return;
    context_.draining = true;
    // On the thread that accepts: nothing is accepted after it.
    asio::post(accepting_, [this] {
      error_code ignored;
      acceptor_.close(ignored);
      pause_.cancel();
    });
    DrainAll();
    const size_t left = WaitForConnections();
    if (left > 0) log::Warn("http.drain_overdue", {{"connections", left}});
    io_.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void Run() {
    while (!io_.stopped()) {
      try {
        io_.run();
      } catch (const std::exception& failure) {
        log::Error("http.unexpected_exception", {{"error", failure.what()}});
      }
    }
  }

  void Accept() {
    acceptor_.async_accept(asio::make_strand(io_),
                           asio::bind_executor(accepting_, [this](error_code failure, Tcp::socket socket) {
                             if (context_.draining || failure == asio::error::operation_aborted) return;
                             if (failure) return PauseAccepting();
                             Admit(std::move(socket));
                             Accept();
                           }));
  }

  void PauseAccepting() {
    pause_.expires_after(absl::ToChronoMilliseconds(kAcceptPause));
    pause_.async_wait(asio::bind_executor(accepting_, [this](error_code failure) {
      if (!failure && !context_.draining) Accept();
    }));
  }

  void Admit(Tcp::socket socket) {
    SetOptions(socket);
    std::shared_ptr<HttpConnection> connection;
    {
      absl::MutexLock lock(&mutex_);
      if (connections_.size() < options_.max_connections) {
        const int64_t id = ++last_id_;
        connection = std::make_shared<HttpConnection>(std::move(socket), context_, [this, id] { Forget(id); });
        connections_[id] = connection;
      }
    }
    if (connection == nullptr) return context_.metrics.refused().Increment();
    context_.metrics.connections().Increment();
    connection->Start();
  }

  void Forget(int64_t id) {
    context_.metrics.connections().Decrement();
    absl::MutexLock lock(&mutex_);
    connections_.erase(id);
  }

  // Returns how many there are still when the time is over.
  size_t WaitForConnections() {
    absl::MutexLock lock(&mutex_);
    const auto is_empty = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return connections_.empty(); };
    mutex_.AwaitWithTimeout(absl::Condition(&is_empty), options_.drain_time);
    return connections_.size();
  }

  void DrainAll() {
    std::vector<std::shared_ptr<HttpConnection>> open;
    {
      absl::MutexLock lock(&mutex_);
      for (const auto& [id, connection] : connections_) {
        if (auto alive = connection.lock()) open.push_back(std::move(alive));
      }
    }
    for (const auto& connection : open) connection->Drain();
  }

  const HttpServerOptions options_;
  HttpConnectionContext context_;
  absl::Mutex mutex_;
  std::map<int64_t, std::weak_ptr<HttpConnection>> connections_ ABSL_GUARDED_BY(mutex_);
  int64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  // After what the connections use that are destroyed with it.
  asio::io_context io_;
  // A request that waits for its answer is no work of the context's own.
  const asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  asio::strand<asio::io_context::executor_type> accepting_ = asio::make_strand(io_);
  Tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::vector<std::thread> threads_;
};

HttpServer::HttpServer(HttpServerOptions options, HttpHandler& handler, HttpMetrics& metrics, const Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), handler, metrics, clock)) {}

HttpServer::~HttpServer() { Stop(); }

absl::StatusOr<int> HttpServer::Start() { return impl_->Start(); }
void HttpServer::Stop() { impl_->Stop(); }

}  // namespace carillon
