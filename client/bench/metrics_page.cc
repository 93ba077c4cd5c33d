#include "client/bench/metrics_page.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(20);
constexpr timeval kTimeout = {.tv_sec = 3, .tv_usec = 0};

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

absl::StatusOr<std::string> Exchange(int connection, const std::string& request) {
  if (send(connection, request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) {
    return absl::ErrnoToStatus(errno, "asking for the metrics");
  }
  std::string answer;
  char part[16 * 1024];
  ssize_t received = 0;
  while ((received = recv(connection, part, sizeof(part), 0)) > 0) answer.append(part, static_cast<size_t>(received));
  if (received < 0) return absl::ErrnoToStatus(errno, "reading the metrics");
  return answer;
}

}  // namespace

absl::StatusOr<std::string> FetchMetrics(const std::string& url) {
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
  // HTTP/1.0: the end of the page is the end of the connection.
  absl::StatusOr<std::string> answer =
      Exchange(connection, absl::StrCat("GET ", place->path, " HTTP/1.0\r\nConnection: close\r\n\r\n"));
  if (answer.ok() && !absl::StrContains(answer->substr(0, answer->find('\n')), " 200 ")) {
    return absl::UnavailableError(absl::StrCat(url, " answers ", answer->substr(0, answer->find('\r'))));
  }
  return answer;
}

double SumOf(absl::string_view page, absl::string_view metric, absl::string_view label) {
  double sum = 0;
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    if (!absl::StartsWith(line, metric) || line.size() <= metric.size()) continue;
    if (line[metric.size()] != '{' && line[metric.size()] != ' ') continue;
    const size_t end = line.rfind(' ');
    double value = 0;
    if (!absl::StrContains(line.substr(0, end), label)) continue;
    if (absl::SimpleAtod(absl::StripAsciiWhitespace(line.substr(end + 1)), &value)) sum += value;
  }
  return sum;
}

absl::StatusOr<double> MetricOf(const std::string& url, absl::string_view metric, absl::string_view label) {
  const absl::StatusOr<std::string> page = FetchMetrics(url);
  if (!page.ok()) return page.status();
  return SumOf(*page, metric, label);
}

absl::StatusOr<double> WaitForMetric(const std::string& url, absl::string_view metric, absl::string_view label,
                                     double least, absl::Duration timeout) {
  const absl::Duration deadline = MonotonicNow() + timeout;
  while (true) {
    const absl::StatusOr<double> value = MetricOf(url, metric, label);
    if (value.ok() && *value >= least) return value;
    if (MonotonicNow() > deadline) {
      return value.ok() ? absl::DeadlineExceededError(absl::StrCat(metric, " stands at ", *value)) : value.status();
    }
    absl::SleepFor(kLook);
  }
}

std::string MetricsUrlOf(const std::string& part) {
  const std::string name = absl::StrCat("CARILLON_METRICS_", absl::AsciiStrToUpper(part));
  const char* url = std::getenv(absl::StrReplaceAll(name, {{"-", "_"}}).c_str());
  return url == nullptr ? "" : url;
}

}  // namespace carillon::bench
