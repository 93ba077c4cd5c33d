#include "tests/kit/running_stack.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/kit/environment.h"
#include "tests/kit/loopback.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

constexpr absl::Duration kStartLimit = absl::Seconds(30);
constexpr absl::Duration kStopLimit = absl::Seconds(30);
constexpr size_t kLogLines = 40;

void PrintEndOfLog(const std::string& name, const std::string& path) {
  std::ifstream file(path);
  std::deque<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
    if (lines.size() > kLogLines) lines.pop_front();
  }
  std::cerr << "--- the end of the log of " << name << "\n";
  for (const std::string& line : lines) std::cerr << line << "\n";
}

bool IsServer(absl::string_view name) { return name == "server" || absl::StartsWith(name, "server-"); }

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "RunningStack: " << what << std::endl;
  std::abort();
}

}  // namespace

RunningStack::RunningStack(RunningStackOptions options) : options_(std::move(options)) {
  addresses_["server"] = FreeAddress();
  for (const std::string& name : options_.processes) {
    if (IsServer(name)) addresses_.try_emplace(name, FreeAddress());
  }
  if (options_.external_channels) http_address_ = FreeAddress();
  const nlohmann::json created = CreateApp("test");
  app_key_ = created["app"]["app_key"];
  app_secret_ = created["app_secret"];
  for (const std::string& name : options_.processes) {
    metrics_addresses_[name] = FreeAddress();
    StartProcess(name);
  }
}

RunningStack::~RunningStack() {
  processes_.clear();
  if (!::testing::Test::HasFailure()) return;
  for (const std::string& name : options_.processes) PrintEndOfLog(name, log_file(name));
}

void RunningStack::StartProcess(const std::string& name) {
  auto process = Process::Start({Command(name), Environment(), log_file(name)});
  if (!process.ok()) Die(process.status().ToString());
  processes_[name] = *std::move(process);
  const bool is_ready = WaitFor(
      [&] {
        return !processes_[name]->IsRunning() ||
               (IsListening(metrics_addresses_[name]) && (!IsServer(name) || IsListening(addresses_[name])));
      },
      kStartLimit);
  if (is_ready && processes_[name]->IsRunning()) return;
  PrintEndOfLog(name, log_file(name));
  Die(absl::StrCat(name, " does not start"));
}

std::optional<int> RunningStack::StopProcess(const std::string& name) {
  process(name).Terminate();
  const std::optional<int> exit_status = process(name).WaitForExit(kStopLimit);
  processes_.erase(name);
  return exit_status;
}

void RunningStack::KillProcess(const std::string& name) {
  process(name).Kill();
  processes_.erase(name);
}

nlohmann::json RunningStack::CreateApp(const std::string& name, const std::string& scopes) {
  absl::StatusOr<CommandResult> result;
  // Where it could not connect nothing was made.
  WaitFor([&] {
    result = Carillonctl({"app", "create", name, "--direct", "--scopes", scopes, "--json"});
    return !result.ok() || result->exit_status == 0 || !absl::StrContains(result->errors, "UNAVAILABLE");
  });
  if (!result.ok()) Die(result.status().ToString());
  if (result->exit_status != 0) Die(result->errors);
  return nlohmann::json::parse(result->output);
}

absl::StatusOr<CommandResult> RunningStack::Carillonctl(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {absl::StrCat(BinaryDirectory(), "/carillonctl")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return RunCommand(command, Environment());
}

std::map<std::string, std::string> RunningStack::Environment() const {
  return {{"CARILLON_ADDRESS", address()},
          {"CARILLON_APP_KEY", app_key_},
          {"CARILLON_APP_SECRET", app_secret_},
          {"CARILLON_DATABASE_URL", database_.url()},
          {"CARILLON_AMQP_URL", vhost_.url()},
          {"CARILLON_MASTER_KEY", std::string(64, '5')},
          {"CARILLON_PUBLIC_URL", http_address_.empty() ? "" : absl::StrCat("http://", http_address_)},
          {"CARILLON_REDIS_URL", options_.redis_url.empty() ? TestRedisUrl() : options_.redis_url}};
}

std::vector<std::string> RunningStack::Command(const std::string& name) const {
  std::vector<std::string> command;
  if (const auto found = options_.wrappers.find(name); found != options_.wrappers.end()) command = found->second;
  absl::string_view lane = name;
  const bool is_worker = absl::ConsumePrefix(&lane, "worker-");
  const std::string program = is_worker ? "worker" : IsServer(name) ? "server" : name;
  command.push_back(absl::StrCat(BinaryDirectory(), "/carillon-", program));
  if (is_worker) command.push_back(absl::StrCat("--lane=", lane));
  if (IsServer(name)) command.push_back(absl::StrCat("--listen=", addresses_.at(name)));
  if (options_.external_channels && is_worker) command.push_back("--allow-private-webhooks");
  if (options_.external_channels && name == "server") command.push_back(absl::StrCat("--http-listen=", http_address_));
  command.push_back(absl::StrCat("--metrics-address=", metrics_addresses_.at(name)));
  if (const auto found = options_.flags.find(name); found != options_.flags.end()) {
    command.insert(command.end(), found->second.begin(), found->second.end());
  }
  return command;
}

}  // namespace carillon::testing
