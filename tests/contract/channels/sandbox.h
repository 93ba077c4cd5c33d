// The stand-in for the providers (deploy/sandbox), as the tests drive it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace carillon::testing {

// One that runs; where is in CARILLON_TEST_SANDBOX_URL, _HTTP, _SMTP, _APNS and
// _DIRECTORY. A call that fails ends the program. Not thread-safe.
class Sandbox {
 public:
  static std::string HttpUrl();
  static std::string ApnsUrl();
  static int SmtpPort();
  // A file of its directory: ca.pem, tls.key, apns.p8, fcm-service-account.json. Its
  // path, and what it holds.
  static std::string Path(const std::string& name);
  static std::string File(const std::string& name);

  // Forgets all messages and scripts.
  static void Reset();
  // Adds rules; see `carillon-sandbox help`.
  static void Script(const std::string& provider, const nlohmann::json& rules);
  static void ResetScripts(const std::string& provider);
  // What a provider has received, oldest first.
  static std::vector<nlohmann::json> Messages(const std::string& provider);
};

// What a script of tests/clients prints about an input; the test fails if it refuses it.
nlohmann::json RunNodeScript(const std::string& name, const std::string& input);

}  // namespace carillon::testing
