#include "tests/kit/private_sandbox.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/kit/environment.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using Json = nlohmann::json;

constexpr absl::Duration kStartLimit = absl::Seconds(30);

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "PrivateSandbox: " << what << std::endl;
  std::abort();
}

// The line of JSON that it prints when it is ready; null before.
Json FindPorts(const std::string& log) {
  std::ifstream file(log);
  for (std::string line; std::getline(file, line);) {
    const Json ports = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (ports.is_object()) return ports;
  }
  return nullptr;
}

}  // namespace

PrivateSandbox::PrivateSandbox() {
  const std::string log = directory_.Path("log");
  absl::StatusOr<std::unique_ptr<Process>> process =
      Process::Start({.command = {"node", absl::StrCat(SourceDirectory(), "/deploy/sandbox/carillon-sandbox"), "serve",
                                  "--directory", directory_.path()},
                      .environment = {},
                      .output_file = log});
  if (!process.ok()) Die(process.status().ToString());
  process_ = *std::move(process);
  const bool ready = WaitFor(
      [&] {
        ports_ = FindPorts(log);
        return !ports_.is_null() || !process_->IsRunning();
      },
      kStartLimit);
  if (!ready || ports_.is_null()) Die(absl::StrCat("it does not start: ", ReadFile("log")));
}

Json PrivateSandbox::Provider(const std::string& kind) const {
  Json settings;
  if (kind == "smtp") {
    settings = {{"host", "127.0.0.1"},   {"port", ports_["smtp"]},         {"security", "SMTP_SECURITY_NONE"},
                {"username", "sandbox"}, {"password", "sandbox-password"}, {"from_address", "carillon@example.test"}};
  } else if (kind == "sendgrid") {
    settings = {{"endpoint", Url("http")}, {"api_key", "SG.sandbox"}, {"from_address", "carillon@example.test"}};
  } else if (kind == "twilio") {
    settings = {{"endpoint", Url("http")},
                {"account_sid", "ACsandbox"},
                {"password", "sandbox-token"},
                {"from", "+15005550006"}};
  } else if (kind == "vonage") {
    settings = {
        {"endpoint", Url("http")}, {"api_key", "sandbox"}, {"api_secret", "sandbox-secret"}, {"from", "Carillon"}};
  } else if (kind == "apns") {
    settings = {{"endpoint", Url("apns", "https")},
                {"team_id", "SANDBOXTID"},
                {"key_id", "SANDBOXKID"},
                {"private_key_pem", ReadFile("apns.p8")},
                {"topic", "test.carillon.app"}};
  } else if (kind == "fcm") {
    settings = {{"endpoint", Url("http")}, {"service_account_json", ReadFile("fcm-service-account.json")}};
  } else {
    settings = {{"url", absl::StrCat(Url("http"), "/webhook/test")},
                {"secrets", {"whsec_dGhlIHNlY3JldCBvZiBhIHRlc3QgYXBw"}}};
  }
  Json provider = {{"name", kind}, {"timeout", "20s"}, {kind, settings}};
  if (kind == "apns") provider["ca_pem"] = ReadFile("ca.pem");
  return provider;
}

void PrivateSandbox::Script(const std::string& provider, const Json& rule) const {
  Ask("POST", absl::StrCat("/scripts/", provider), rule.dump());
}

int PrivateSandbox::Uses(const std::string& provider) const {
  const Json rules = Ask("GET", absl::StrCat("/scripts/", provider));
  int uses = 0;
  for (const Json& rule : rules[provider]) {
    if (rule["mode"] != "callback") uses += rule["used"].get<int>();
  }
  return uses;
}

void PrivateSandbox::Reset() const { Ask("DELETE", "/scripts"); }

std::vector<Json> PrivateSandbox::Messages(const std::string& provider, const std::string& to) const {
  std::string path = absl::StrCat("/messages?provider=", provider);
  if (!to.empty()) absl::StrAppend(&path, "&to=", absl::StrReplaceAll(to, {{"+", "%2B"}, {"@", "%40"}}));
  return Ask("GET", path)["messages"];
}

SandboxCount PrivateSandbox::Count(const std::string& provider) const {
  const Json count = Ask("GET", absl::StrCat("/messages/count?provider=", provider))[provider];
  return {count["messages"], count["distinct"], count["duplicates"]};
}

Json PrivateSandbox::Ask(const std::string& method, const std::string& path, const std::string& body) const {
  std::vector<std::string> command = {
      "curl", "-sS", "--fail-with-body", "--max-time", "20", "-X", method, absl::StrCat(Url("control"), path)};
  if (!body.empty()) command.insert(command.end(), {"--data-binary", body});
  const absl::StatusOr<CommandResult> result = RunCommand(command);
  if (!result.ok()) Die(result.status().ToString());
  if (result->exit_status != 0) Die(absl::StrCat(method, " ", path, ": ", result->errors, result->output));
  return Json::parse(result->output);
}

std::string PrivateSandbox::Url(const std::string& port, const std::string& scheme) const {
  return absl::StrCat(scheme, "://127.0.0.1:", ports_.at(port).get<int>());
}

std::string PrivateSandbox::ReadFile(const std::string& name) const {
  std::ostringstream text;
  text << std::ifstream(directory_.Path(name)).rdbuf();
  return text.str();
}

}  // namespace carillon::testing
