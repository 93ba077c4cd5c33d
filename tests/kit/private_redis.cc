#include "tests/kit/private_redis.h"

#include <gtest/gtest.h>

#include <csignal>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/kit/loopback.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {

PrivateRedis::PrivateRedis() : address_(FreeAddress()) { Start(); }

void PrivateRedis::Start() {
  const std::string port = address_.substr(address_.rfind(':') + 1);
  absl::StatusOr<std::unique_ptr<Process>> process =
      Process::Start({.command = {"redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly",
                                  "no", "--requirepass", "secret", "--dir", directory_.path()},
                      .environment = {},
                      .output_file = directory_.Path("log")});
  ASSERT_TRUE(process.ok()) << process.status();
  process_ = *std::move(process);
  EXPECT_TRUE(WaitFor([this] { return IsListening(address_); }));
}

void PrivateRedis::Freeze() { process_->Signal(SIGSTOP); }

void PrivateRedis::Thaw() { process_->Signal(SIGCONT); }

std::string PrivateRedis::Run(const std::vector<std::string>& command) const {
  const std::string port = address_.substr(address_.rfind(':') + 1);
  std::vector<std::string> words = {"redis-cli", "--no-auth-warning", "-p", port, "-a", "secret", "-n", "3"};
  words.insert(words.end(), command.begin(), command.end());
  const absl::StatusOr<CommandResult> result = RunCommand(words);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? std::string(absl::StripSuffix(result->output, "\n")) : "";
}

std::string PrivateRedis::url(const std::string& password) const {
  return absl::StrCat("redis://:", password, "@", address_, "/3");
}

}  // namespace carillon::testing
