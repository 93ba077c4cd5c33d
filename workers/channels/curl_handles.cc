#include "workers/channels/curl_handles.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <mutex>

#include "workers/channels/public_address.h"

namespace carillon {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Seconds(3);
// So that providers can move; libcurl's own default is twice as long.
constexpr long kDnsCacheSeconds = 30;
// Servers close idle connections, and a call that meets the closing is one whose
// outcome nobody knows.
constexpr long kIdleSeconds = 30;
// A peer that vanished: what was written to it is not acknowledged.
constexpr unsigned kUnacknowledgedMilliseconds = 10'000;
// Of the first packet of a connection: after 1 s, and given up after 3.
constexpr int kConnectRetries = 1;

curl_socket_t OpenSocket(void* data, curlsocktype purpose, curl_sockaddr* address) {
  CurlGuard* guard = static_cast<CurlGuard*>(data);
  if (purpose != CURLSOCKTYPE_IPCXN || (guard->forbid_private_addresses && !IsPublicAddress(address->addr))) {
    guard->refused = true;
    return CURL_SOCKET_BAD;
  }
  const int socket = ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if (socket < 0) return CURL_SOCKET_BAD;
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnacknowledgedMilliseconds, sizeof(kUnacknowledgedMilliseconds));
  setsockopt(socket, IPPROTO_TCP, TCP_SYNCNT, &kConnectRetries, sizeof(kConnectRetries));
  return socket;
}

}  // namespace

std::string CurlGuard::Describe(CURLcode code) const {
  if (refused) return "the host is at an address that is not public";
  return error[0] != '\0' ? error : curl_easy_strerror(code);
}

void InitializeCurl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

void SetCommonOptions(CurlSetup& setup, const CallOptions& options, absl::Duration timeout, CurlGuard* guard) {
  guard->forbid_private_addresses = options.forbid_private_addresses;
  setup.Set(CURLOPT_ERRORBUFFER, guard->error);
  setup.Set(CURLOPT_OPENSOCKETFUNCTION, &OpenSocket);
  setup.Set(CURLOPT_OPENSOCKETDATA, guard);
  setup.Set(CURLOPT_NOSIGNAL, 1L);
  // A thread that still resolves a name is not waited for.
  setup.Set(CURLOPT_QUICK_EXIT, 1L);
  setup.Set(CURLOPT_PROXY, "");
  setup.Set(CURLOPT_FOLLOWLOCATION, 0L);
  setup.Set(CURLOPT_DNS_CACHE_TIMEOUT, kDnsCacheSeconds);
  setup.Set(CURLOPT_MAXAGE_CONN, kIdleSeconds);
  setup.Set(CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(timeout)));
  setup.Set(CURLOPT_CONNECTTIMEOUT_MS,
            static_cast<long>(absl::ToInt64Milliseconds(std::min(timeout, kConnectTimeout))));
  setup.Set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  setup.Set(CURLOPT_SSL_VERIFYPEER, 1L);
  setup.Set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (options.ca_pem.empty()) return;
  curl_blob authorities = {const_cast<char*>(options.ca_pem.data()), options.ca_pem.size(), CURL_BLOB_NOCOPY};
  setup.Set(CURLOPT_CAINFO_BLOB, &authorities);
  // Those and no others.
  setup.Set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
}

}  // namespace carillon
