// A second carillon-server beside the local system's own.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client/bench/child_process.h"
#include "client/bench/options.h"

namespace carillon::bench {

// The name under which its CPU is shown.
inline constexpr const char* kExtraServer = "server-2";

// Owner thread only.
class ExtraServer {
 public:
  // Starts it on free ports, with the backends of our environment; returns when it
  // serves. It ends with this.
  static absl::StatusOr<std::unique_ptr<ExtraServer>> Start(const BenchOptions& options);

  const std::string& address() const { return address_; }
  const std::string& metrics_url() const { return metrics_url_; }
  pid_t pid() const { return process_->pid(); }

 private:
  ExtraServer() = default;

  std::string address_;
  std::string metrics_url_;
  std::unique_ptr<ChildProcess> process_;
};

// A port of 127.0.0.1 that nobody listens on now.
absl::StatusOr<int> FreePort();

}  // namespace carillon::bench
