#include "tests/kit/loopback.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <set>

#include "absl/base/const_init.h"
#include "absl/random/random.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace carillon::testing {
namespace {

constexpr int kFirstPort = 10'000;
constexpr int kLastPort = 19'999;
constexpr int kTries = 1000;

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool CanBind(int port) {
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  const bool bound = bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  close(descriptor);
  return bound;
}

// True the first time: whoever was given a port may not listen there yet.
bool Reserve(int port) {
  static absl::Mutex mutex(absl::kConstInit);
  static auto* const given = new std::set<int>();
  absl::MutexLock lock(&mutex);
  return given->insert(port).second;
}

}  // namespace

std::string FreeAddress() {
  absl::BitGen random;
  for (int i = 0; i < kTries; ++i) {
    const int port = absl::Uniform(absl::IntervalClosed, random, kFirstPort, kLastPort);
    if (CanBind(port) && Reserve(port)) return absl::StrCat("127.0.0.1:", port);
  }
  std::cerr << "no free port on 127.0.0.1" << std::endl;
  std::abort();
}

bool IsListening(const std::string& address) {
  int port = 0;
  if (!absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) return false;
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in target = Loopback(port);
  const bool connected = connect(descriptor, reinterpret_cast<const sockaddr*>(&target), sizeof target) == 0;
  close(descriptor);
  return connected;
}

}  // namespace carillon::testing
