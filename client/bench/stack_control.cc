#include "client/bench/stack_control.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace carillon::bench {
namespace {

// The launcher's own limits are shorter.
constexpr int kCommandSeconds = 300;
constexpr const char* kVirtualHost = "carillon";
constexpr const char* kRedisUrlVariable = "CARILLON_REDIS_URL";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Runs a program and waits for its end. What it prints is dropped, but for errors.
absl::Status Run(std::vector<std::string> command) {
  const std::string shown = absl::StrJoin(command, " ");
  command.insert(command.begin(), {"timeout", absl::StrCat(kCommandSeconds)});
  std::vector<char*> arguments;
  for (std::string& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return absl::ErrnoToStatus(error, shown);

  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("failed with status ", WEXITSTATUS(status), ": ", shown));
}

}  // namespace

StackControl::StackControl(std::string directory, std::string launcher)
    : directory_(std::filesystem::weakly_canonical(directory)), launcher_(std::move(launcher)) {}

absl::Status StackControl::Kill(const std::string& part) const {
  const int pid = std::atoi(ReadFile(absl::StrCat(directory_, "/pids/", part, ".pid")).c_str());
  // A pid that was given to a stranger is never taken for the part's.
  const std::string environment = pid > 0 ? ReadFile(absl::StrCat("/proc/", pid, "/environ")) : "";
  if (!absl::StrContains(environment, absl::StrCat("CARILLON_STACK=", directory_))) {
    return absl::FailedPreconditionError(absl::StrCat(part, " is not running"));
  }
  if (kill(pid, SIGKILL) != 0) return absl::ErrnoToStatus(errno, absl::StrCat("killing ", part));
  return absl::OkStatus();
}

absl::Status StackControl::Start(const std::string& part) const { return Launch("start", {part}); }

absl::Status StackControl::Stop(const std::string& part) const { return Launch("stop", {part}); }

absl::Status StackControl::FlushRedis() const {
  const char* url = std::getenv(kRedisUrlVariable);
  if (url == nullptr) return absl::FailedPreconditionError(absl::StrCat(kRedisUrlVariable, " is not set"));
  return Run({"redis-cli", "-u", url, "FLUSHALL"});
}

absl::Status StackControl::PurgeQueue(const std::string& queue) const {
  return Launch("rabbitmqctl", {"purge_queue", "-q", "-p", kVirtualHost, queue});
}

absl::Status StackControl::Launch(const std::string& command, std::vector<std::string> arguments) const {
  std::vector<std::string> words = {launcher_, command, "--dir", directory_};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Run(std::move(words));
}

}  // namespace carillon::bench
