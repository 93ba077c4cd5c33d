// The providers' stand-in (deploy/sandbox), one of the test's own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/kit/process.h"
#include "tests/kit/scratch_directory.h"

namespace carillon::testing {

// What a provider has received. A duplicate has the id of one that came before it.
struct SandboxCount {
  int messages = 0;
  int distinct = 0;
  int duplicates = 0;
};

// On ports of its own choice. deploy/sandbox/README.md has its providers, rules and
// messages. Ends the program if it can't be run or asked. Not thread-safe.
class PrivateSandbox {
 public:
  PrivateSandbox();

  // A carillon.v1.Provider that leads to it, named as its kind: smtp, sendgrid, twilio,
  // vonage, apns, fcm or webhook. Gives up a call after two seconds.
  nlohmann::json Provider(const std::string& kind) const;

  // Puts a rule behind those that the provider has.
  void Script(const std::string& provider, const nlohmann::json& rule) const;
  // How many requests the provider's rules have decided about, since they were set.
  int Uses(const std::string& provider) const;
  // No rules any more.
  void Reset() const;

  // Those to an address, a number, a token or a path, or all; oldest first.
  std::vector<nlohmann::json> Messages(const std::string& provider, const std::string& to = "") const;
  // Since it was started.
  SandboxCount Count(const std::string& provider) const;

 private:
  nlohmann::json Ask(const std::string& method, const std::string& path, const std::string& body = "") const;
  std::string Url(const std::string& port, const std::string& scheme = "http") const;
  std::string ReadFile(const std::string& name) const;

  const ScratchDirectory directory_;
  std::unique_ptr<Process> process_;
  nlohmann::json ports_;
};

}  // namespace carillon::testing
