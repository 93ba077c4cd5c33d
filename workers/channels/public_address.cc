#include "workers/channels/public_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace carillon {
namespace {

struct Network4 {
  uint32_t prefix;
  int bits;
};

// RFC 6890 and its registry, and multicast.
constexpr Network4 kNotPublic4[] = {
    {0x00000000, 8},   // This network.
    {0x0A000000, 8},   // Private.
    {0x64400000, 10},  // Shared by carriers.
    {0x7F000000, 8},   // Loopback.
    {0xA9FE0000, 16},  // Link-local: metadata services.
    {0xAC100000, 12},  // Private.
    {0xC0000000, 24},  // Protocol assignments.
    {0xC0000200, 24},  // Documentation.
    {0xC0586300, 24},  // 6to4 relays.
    {0xC0A80000, 16},  // Private.
    {0xC6120000, 15},  // Benchmarking.
    {0xC6336400, 24},  // Documentation.
    {0xCB007100, 24},  // Documentation.
    {0xE0000000, 4},   // Multicast.
    {0xF0000000, 4},   // Reserved, broadcast.
};

bool IsPublic4(uint32_t address) {
  return std::none_of(std::begin(kNotPublic4), std::end(kNotPublic4), [address](const Network4& network) {
    return (address ^ network.prefix) >> (32 - network.bits) == 0;
  });
}

using Bytes6 = std::array<uint8_t, 16>;

struct Network6 {
  Bytes6 prefix;
  int bits;
};

// Only 2000::/3 is assigned to the public; within it, these are not.
constexpr Network6 kNotPublic6[] = {
    {{0x20, 0x01}, 23},              // Protocol assignments: Teredo, benchmarking, ORCHID.
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // Documentation.
    {{0x20, 0x02}, 16},              // 6to4: an IPv4 address in disguise.
    {{0x3f, 0xff}, 20},              // Documentation.
};

bool IsWithin(const Bytes6& address, const Network6& network) {
  for (int bit = 0; bit < network.bits; ++bit) {
    if (((address[bit / 8] ^ network.prefix[bit / 8]) >> (7 - bit % 8) & 1) != 0) return false;
  }
  return true;
}

// Also refuses ::1, fe80::/10, fc00::/7, ff00::/8 and whatever carries an IPv4
// address: ::ffff:0:0/96, 64:ff9b::/96, 64:ff9b:1::/48. None is in 2000::/3.
bool IsPublic6(const Bytes6& address) {
  constexpr Network6 kGlobal = {{0x20}, 3};
  return IsWithin(address, kGlobal) &&
         std::none_of(std::begin(kNotPublic6), std::end(kNotPublic6),
                      [&address](const Network6& network) { return IsWithin(address, network); });
}

}  // namespace

bool IsPublicAddress(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof(v4));
    return IsPublic4(ntohl(v4.sin_addr.s_addr));
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  Bytes6 bytes;
  std::copy(std::begin(v6.sin6_addr.s6_addr), std::end(v6.sin6_addr.s6_addr), bytes.begin());
  return IsPublic6(bytes);
}

}  // namespace carillon
