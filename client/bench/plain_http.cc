#include "client/bench/plain_http.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace carillon::bench {
namespace {

constexpr timeval kTimeout = {.tv_sec = 3, .tv_usec = 0};
constexpr char kEndOfHead[] = "\r\n\r\n";

struct Place {
  sockaddr_in address{};
  std::string path;
};

absl::StatusOr<Place> ParseUrl(absl::string_view url) {
  constexpr absl::string_view kScheme = "http://";
  const absl::Status fault = absl::InvalidArgumentError(absl::StrCat("not http://IPV4:port/path: '", url, "'"));
  if (!absl::StartsWith(url, kScheme)) return fault;
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(url.substr(kScheme.size()), absl::MaxSplits('/', 1));
  const std::pair<std::string, std::string> host_port = absl::StrSplit(parts.first, absl::MaxSplits(':', 1));
  int port = 0;
  Place place{.path = absl::StrCat("/", parts.second)};
  place.address.sin_family = AF_INET;
  if (!absl::SimpleAtoi(host_port.second, &port)) return fault;
  place.address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host_port.first.c_str(), &place.address.sin_addr) != 1) return fault;
  return place;
}

// HTTP/1.0: the end of the answer is the end of the connection.
std::string RequestText(absl::string_view method, absl::string_view path, absl::string_view body) {
  return absl::StrCat(method, " ", path, " HTTP/1.0\r\nConnection: close\r\n",
                      body.empty() ? "" : "Content-Type: application/json\r\n", "Content-Length: ", body.size(),
                      kEndOfHead, body);
}

absl::StatusOr<std::string> Exchange(int connection, const std::string& request) {
  if (send(connection, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return absl::ErrnoToStatus(errno, "asking over HTTP");
  }
  std::string answer;
  char part[16 * 1024];
  ssize_t received = 0;
  while ((received = recv(connection, part, sizeof(part), 0)) > 0) answer.append(part, static_cast<size_t>(received));
  if (received < 0) return absl::ErrnoToStatus(errno, "reading an answer over HTTP");
  return answer;
}

}  // namespace

absl::StatusOr<std::string> AskOverHttp(absl::string_view method, absl::string_view url, absl::string_view body) {
  const absl::StatusOr<Place> place = ParseUrl(url);
  if (!place.ok()) return place.status();
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) return absl::ErrnoToStatus(errno, "socket");
  const auto closer = absl::MakeCleanup([connection] { close(connection); });
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &kTimeout, sizeof(kTimeout));
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &kTimeout, sizeof(kTimeout));
  if (connect(connection, reinterpret_cast<const sockaddr*>(&place->address), sizeof(place->address)) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("connecting to ", url));
  }
  const absl::StatusOr<std::string> answer = Exchange(connection, RequestText(method, place->path, body));
  if (!answer.ok()) return answer;
  const size_t head = answer->find(kEndOfHead);
  if (!absl::StrContains(answer->substr(0, answer->find('\n')), " 20") || head == std::string::npos) {
    return absl::UnavailableError(absl::StrCat(url, " answers ", answer->substr(0, answer->find('\r'))));
  }
  return answer->substr(head + sizeof(kEndOfHead) - 1);
}

}  // namespace carillon::bench
