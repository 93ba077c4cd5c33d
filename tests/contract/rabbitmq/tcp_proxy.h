// A link to the broker that a test can freeze: connections stay open and
// nothing passes, as when a firewall forgets them.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace carillon::testing {

// Forwards 127.0.0.1:port to a target. Forwards from a thread of its own, which
// ends with the object; Freeze and Thaw may be called from any thread.
class TcpProxy {
 public:
  // Target: 127.0.0.1:port. Ends the program if it can't listen.
  explicit TcpProxy(const std::string& target);
  ~TcpProxy();
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;

  const std::string& address() const { return address_; }
  // From now on nothing is read or accepted, and nothing is closed.
  void Freeze() { frozen_ = true; }
  void Thaw() { frozen_ = false; }

 private:
  void Run();
  void Accept();
  // Forwards what one of a pair has sent; false if the pair is over.
  static bool Forward(int from, int to);

  std::string address_;
  int target_port_ = 0;
  int listener_ = -1;
  std::vector<std::pair<int, int>> pairs_;  // Forwarding thread only.
  std::atomic<bool> frozen_ = false;
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace carillon::testing
