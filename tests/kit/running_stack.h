// The real programs, run by a test against its own database and vhost.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tests/kit/process.h"
#include "tests/kit/scratch_directory.h"
#include "tests/kit/test_database.h"
#include "tests/kit/test_vhost.h"

namespace carillon::testing {

struct RunningStackOptions {
  // Of server, server-<n> (more servers), relay and worker-<lane>; started in this order.
  std::vector<std::string> processes = {
      "server", "relay", "worker-payment", "worker-otp", "worker-social", "worker-marketing", "worker-fanout"};
  // More flags of a process, by its name.
  std::map<std::string, std::vector<std::string>> flags;
  // Put in front of a process's command, by its name: {"faketime", "-f", "+1d"}.
  std::map<std::string, std::vector<std::string>> wrappers;
  // A Redis of the test's own. Empty: the one that all tests share.
  std::string redis_url;
  // The server has an HTTP port, links in messages lead to it, and providers and
  // webhooks may be on this machine.
  bool external_channels = false;
};

// A whole system of one test. Its processes are killed with it; if the test has
// failed, the ends of their logs are printed first. Not thread-safe.
class RunningStack {
 public:
  // Starts everything and waits until it answers. Ends the program if that fails.
  explicit RunningStack(RunningStackOptions options = {});
  ~RunningStack();

  const std::string& address() const { return addresses_.at("server"); }
  const std::string& address(const std::string& server) const { return addresses_.at(server); }
  const std::string& app_key() const { return app_key_; }
  const std::string& app_secret() const { return app_secret_; }
  // host:port of the server's HTTP port, with external_channels.
  const std::string& http_address() const { return http_address_; }
  TestDatabase& database() { return database_; }
  TestVhost& vhost() { return vhost_; }
  // host:port of a process's metrics.
  const std::string& metrics_address(const std::string& process) const { return metrics_addresses_.at(process); }
  std::string log_file(const std::string& process) const { return scratch_.Path(process + ".log"); }

  // One that was started and not stopped.
  Process& process(const std::string& name) { return *processes_.at(name); }
  // Starts one that does not run, on the same ports, and waits until it answers.
  void StartProcess(const std::string& name);
  // SIGTERM; returns its exit status, or nothing if it was still there after 30 s.
  std::optional<int> StopProcess(const std::string& name);
  void KillProcess(const std::string& name);

  // Another app on this system: {"app": {"app_key", …}, "app_secret"}.
  nlohmann::json CreateApp(const std::string& name, const std::string& scopes = "send,feed,catalog,admin");
  // Runs carillonctl as the stack's app.
  absl::StatusOr<CommandResult> Carillonctl(const std::vector<std::string>& arguments);
  // What every program needs to find this system.
  std::map<std::string, std::string> Environment() const;

 private:
  std::vector<std::string> Command(const std::string& name) const;

  const RunningStackOptions options_;
  const ScratchDirectory scratch_;
  TestDatabase database_;
  TestVhost vhost_;
  // Of servers: host:port of the API.
  std::map<std::string, std::string> addresses_;
  std::string http_address_;
  std::map<std::string, std::string> metrics_addresses_;
  std::string app_key_;
  std::string app_secret_;
  std::map<std::string, std::unique_ptr<Process>> processes_;
};

}  // namespace carillon::testing
