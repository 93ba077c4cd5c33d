// A socket that speaks HTTP by hand.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"

namespace carillon::testing {

inline constexpr absl::Duration kPatience = absl::Seconds(10);

// A client that says exactly what it is told to.
class RawClient {
 public:
  explicit RawClient(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawClient() { close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // As much of it as the server takes.
  void Send(absl::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<size_t>(sent));
    }
  }

  // Everything up to the end of the connection, or until it holds `until`.
  std::string Read(absl::string_view until = "") {
    const absl::Time deadline = absl::Now() + kPatience;
    std::string text;
    while (until.empty() || !absl::StrContains(text, until)) {
      pollfd waiting{socket_, POLLIN, 0};
      const int left = static_cast<int>(absl::ToInt64Milliseconds(deadline - absl::Now()));
      if (left <= 0 || poll(&waiting, 1, left) <= 0) {
        ADD_FAILURE() << "nothing more came after: " << text;
        return text;
      }
      char buffer[4096];
      const ssize_t read = recv(socket_, buffer, sizeof(buffer), 0);
      if (read <= 0) return text;
      text.append(buffer, static_cast<size_t>(read));
    }
    return text;
  }

 private:
  const int socket_;
};

}  // namespace carillon::testing
