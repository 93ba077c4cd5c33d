#include "tests/contract/rabbitmq/tcp_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "tests/kit/loopback.h"

namespace carillon::testing {
namespace {

constexpr int kPollMilliseconds = 20;

int PortOf(const std::string& address) {
  int port = 0;
  if (!absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) std::abort();
  return port;
}

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int Listen(int port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = Loopback(port);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) std::abort();
  if (listen(listener, 16) != 0) std::abort();
  return listener;
}

}  // namespace

TcpProxy::TcpProxy(const std::string& target)
    : address_(FreeAddress()),
      target_port_(PortOf(target)),
      listener_(Listen(PortOf(address_))),
      thread_([this] { Run(); }) {}

TcpProxy::~TcpProxy() {
  stopping_ = true;
  thread_.join();
  close(listener_);
  for (const auto& [client, server] : pairs_) {
    close(client);
    close(server);
  }
}

void TcpProxy::Run() {
  while (!stopping_) {
    if (frozen_) {
      absl::SleepFor(absl::Milliseconds(kPollMilliseconds));
      continue;
    }
    std::vector<pollfd> entries = {{.fd = listener_, .events = POLLIN, .revents = 0}};
    for (const auto& [client, server] : pairs_) {
      entries.push_back({.fd = client, .events = POLLIN, .revents = 0});
      entries.push_back({.fd = server, .events = POLLIN, .revents = 0});
    }
    if (poll(entries.data(), entries.size(), kPollMilliseconds) <= 0 || frozen_) continue;
    std::vector<std::pair<int, int>> open;
    for (size_t i = 0; i < pairs_.size(); ++i) {
      const auto [client, server] = pairs_[i];
      const bool from_client = entries[1 + 2 * i].revents == 0 || Forward(client, server);
      const bool from_server = entries[2 + 2 * i].revents == 0 || Forward(server, client);
      if (from_client && from_server) {
        open.push_back(pairs_[i]);
      } else {
        close(client);
        close(server);
      }
    }
    pairs_ = std::move(open);
    if (entries[0].revents != 0) Accept();
  }
}

void TcpProxy::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in target = Loopback(target_port_);
  if (connect(server, reinterpret_cast<const sockaddr*>(&target), sizeof target) == 0) {
    pairs_.emplace_back(client, server);
  } else {
    close(client);
    close(server);
  }
}

bool TcpProxy::Forward(int from, int to) {
  std::array<char, 65536> buffer;
  const ssize_t received = recv(from, buffer.data(), buffer.size(), 0);
  if (received <= 0) return false;
  return send(to, buffer.data(), static_cast<size_t>(received), MSG_NOSIGNAL) == received;
}

}  // namespace carillon::testing
