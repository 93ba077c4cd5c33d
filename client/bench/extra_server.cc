#include "client/bench/extra_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "client/carillon/client.h"

namespace carillon::bench {

absl::StatusOr<int> FreePort() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return absl::ErrnoToStatus(errno, "socket");
  const auto closer = absl::MakeCleanup([listener] { close(listener); });
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return absl::ErrnoToStatus(errno, "finding a free port");
  }
  return ntohs(address.sin_port);
}

absl::StatusOr<std::unique_ptr<ExtraServer>> ExtraServer::Start(const BenchOptions& options) {
  ASSIGN_OR_RETURN(const int port, FreePort());
  ASSIGN_OR_RETURN(const int metrics_port, FreePort());
  auto server = std::unique_ptr<ExtraServer>(new ExtraServer());
  server->address_ = absl::StrCat("127.0.0.1:", port);
  server->metrics_url_ = absl::StrCat("http://127.0.0.1:", metrics_port, "/metrics");
  ASSIGN_OR_RETURN(server->process_,
                   ChildProcess::Start({ProgramBeside("carillon-server"), absl::StrCat("--listen=", server->address_),
                                        absl::StrCat("--metrics-address=127.0.0.1:", metrics_port)},
                                       absl::StrCat(options.stack_directory, "/logs/server-bench.log")));
  // The client's own repeats wait until it is there.
  ClientOptions client = options.client;
  client.address = server->address_;
  client.retry.max_attempts = 100;
  client.retry.max_backoff = absl::Milliseconds(200);
  if (const auto answer = Client(client).ListTypes({}); !answer.ok()) return answer.status();
  return server;
}

}  // namespace carillon::bench
