// Ports on 127.0.0.1.
#pragma once

#include <string>

namespace carillon::testing {

// 127.0.0.1:port, where nothing listens, another one each time. Below the range that
// the system takes for outgoing connections, so it stays free while a process is
// restarted. Thread-safe.
std::string FreeAddress();
// True if something accepts connections there.
bool IsListening(const std::string& address);

}  // namespace carillon::testing
