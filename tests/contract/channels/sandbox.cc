#include "tests/contract/channels/sandbox.h"

#include <curl/curl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/kit/environment.h"
#include "tests/kit/process.h"
#include "tests/kit/scratch_directory.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using nlohmann::json;

std::string Variable(const std::string& name) {
  const char* value = std::getenv(absl::StrCat("CARILLON_TEST_SANDBOX_", name).c_str());
  if (value == nullptr) {
    std::cerr << "CARILLON_TEST_SANDBOX_" << name
              << " is not set: this test needs a running sandbox; run './dev test'\n";
    std::exit(2);
  }
  return value;
}

size_t Append(char* data, size_t size, size_t count, void* text) {
  static_cast<std::string*>(text)->append(data, size * count);
  return size * count;
}

json Control(const char* method, const std::string& path, const std::string& body = "") {
  const std::unique_ptr<CURL, void (*)(CURL*)> easy(curl_easy_init(), &curl_easy_cleanup);
  const std::string url = Variable("URL") + path;
  std::string answer;
  long status = 0;
  curl_easy_setopt(easy.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy.get(), CURLOPT_CUSTOMREQUEST, method);
  curl_easy_setopt(easy.get(), CURLOPT_TIMEOUT, 10L);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEFUNCTION, &Append);
  curl_easy_setopt(easy.get(), CURLOPT_WRITEDATA, &answer);
  if (!body.empty()) curl_easy_setopt(easy.get(), CURLOPT_POSTFIELDS, body.c_str());
  const CURLcode code = curl_easy_perform(easy.get());
  curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
  if (code != CURLE_OK || status >= 300) {
    std::cerr << method << " " << path << ": " << curl_easy_strerror(code) << " " << status << " " << answer << "\n";
    std::exit(2);
  }
  return json::parse(answer);
}

std::string ReadFile(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

std::string Sandbox::HttpUrl() { return Variable("HTTP"); }
std::string Sandbox::ApnsUrl() { return Variable("APNS"); }

int Sandbox::SmtpPort() {
  const std::string address = Variable("SMTP");
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port));
  return port;
}

std::string Sandbox::Path(const std::string& name) { return absl::StrCat(Variable("DIRECTORY"), "/", name); }
std::string Sandbox::File(const std::string& name) { return ReadFile(Path(name)); }

void Sandbox::Reset() {
  Control("DELETE", "/scripts");
  Control("DELETE", "/messages");
}

void Sandbox::Script(const std::string& provider, const json& rules) {
  Control("POST", absl::StrCat("/scripts/", provider), rules.dump());
}

void Sandbox::ResetScripts(const std::string& provider) { Control("DELETE", absl::StrCat("/scripts/", provider)); }

std::vector<json> Sandbox::Messages(const std::string& provider) {
  return Control("GET", absl::StrCat("/messages?provider=", provider))["messages"].get<std::vector<json>>();
}

json RunNodeScript(const std::string& name, const std::string& input) {
  const ScratchDirectory scratch;
  std::ofstream(scratch.Path("input"), std::ios::binary) << input;
  const std::string script = absl::StrCat(SourceDirectory(), "/tests/clients/", name);
  const absl::StatusOr<CommandResult> result =
      RunCommand({"/bin/sh", "-c", "exec node \"$0\" < \"$1\"", script, scratch.Path("input")});
  EXPECT_OK(result);
  if (!result.ok()) return {};
  EXPECT_EQ(result->exit_status, 0) << result->errors;
  return json::parse(result->output, nullptr, /*allow_exceptions=*/false);
}

}  // namespace carillon::testing
