// Which network addresses a webhook may lead to.
#pragma once

#include <sys/socket.h>

namespace carillon {

// True for a unicast address of the public Internet: not loopback, private, shared,
// link-local (cloud metadata), unique local, documentation, benchmarking, multicast or
// reserved, nor an IPv6 address that stands for such an IPv4 address. False for
// families other than IPv4 and IPv6. Pure.
bool IsPublicAddress(const sockaddr& address);

}  // namespace carillon
