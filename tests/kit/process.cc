#include "tests/kit/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/domain/status_macros.h"
#include "tests/kit/scratch_directory.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

constexpr int kExecFailed = 127;

std::vector<std::string> MergedEnvironment(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> merged;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!changes.contains(text.substr(0, text.find('=')))) merged.push_back(text);
  }
  for (const auto& [name, value] : changes) {
    if (!value.empty()) merged.push_back(absl::StrCat(name, "=", value));
  }
  return merged;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

int OpenForAppend(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

// Runs in the child between fork and exec: async-signal-safe calls only.
[[noreturn]] void Become(char* const* command, char* const* environment, int output, int errors, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExecFailed);  // The parent died before prctl.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  if (output >= 0) dup2(output, STDOUT_FILENO);
  if (errors >= 0) dup2(errors, STDERR_FILENO);
  execvpe(command[0], command, environment);
  static constexpr char kMessage[] = "exec failed\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kMessage, sizeof kMessage - 1);
  _exit(kExecFailed);
}

pid_t Spawn(const ProcessOptions& options, int output, int errors) {
  std::vector<std::string> command = options.command;
  std::vector<std::string> environment = MergedEnvironment(options.environment);
  const std::vector<char*> arguments = Pointers(command);
  const std::vector<char*> variables = Pointers(environment);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) Become(arguments.data(), variables.data(), output, errors, parent);
  return pid;
}

std::string ReadFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const ProcessOptions& options) {
  const int output = options.output_file.empty() ? -1 : OpenForAppend(options.output_file);
  if (!options.output_file.empty() && output < 0) {
    return absl::InternalError(absl::StrCat(options.output_file, ": ", std::strerror(errno)));
  }
  const pid_t pid = Spawn(options, output, output);
  const int fork_error = errno;
  if (output >= 0) close(output);
  if (pid < 0) return absl::InternalError(absl::StrCat("fork: ", std::strerror(fork_error)));
  return std::make_unique<Process>(pid);
}

Process::~Process() { Kill(); }

bool Process::IsRunning() { return !WaitForExit(absl::ZeroDuration()).has_value(); }

void Process::Kill() {
  Signal(SIGKILL);
  WaitForExit(absl::Seconds(30));
}

void Process::Terminate() { Signal(SIGTERM); }

void Process::Signal(int number) {
  // Not after its end was seen: the pid may be someone else's by then.
  if (!exit_status_.has_value()) kill(pid_, number);
}

std::optional<int> Process::WaitForExit(absl::Duration limit) {
  WaitFor(
      [this] {
        int status = 0;
        if (!exit_status_.has_value() && waitpid(pid_, &status, WNOHANG) == pid_) {
          exit_status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
        }
        return exit_status_.has_value();
      },
      limit);
  return exit_status_;
}

absl::StatusOr<CommandResult> RunCommand(const std::vector<std::string>& command,
                                         const std::map<std::string, std::string>& environment, absl::Duration limit) {
  const ScratchDirectory scratch;
  const std::string output_file = scratch.Path("output");
  const std::string errors_file = scratch.Path("errors");
  const int output = OpenForAppend(output_file);
  const int errors = OpenForAppend(errors_file);
  const pid_t pid = Spawn({.command = command, .environment = environment}, output, errors);
  close(output);
  close(errors);
  if (pid < 0) return absl::InternalError("fork failed");
  Process process(pid);
  const std::optional<int> exit_status = process.WaitForExit(limit);
  if (!exit_status.has_value()) {
    return absl::DeadlineExceededError(absl::StrCat(absl::StrJoin(command, " "), " still ran after ",
                                                    absl::FormatDuration(limit), "\n", ReadFile(errors_file)));
  }
  return CommandResult{*exit_status, ReadFile(output_file), ReadFile(errors_file)};
}

}  // namespace carillon::testing
