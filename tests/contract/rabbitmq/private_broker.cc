#include "tests/contract/rabbitmq/private_broker.h"

#include <cstdlib>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "tests/kit/environment.h"
#include "tests/kit/process.h"

namespace carillon::testing {
namespace {

constexpr absl::Duration kLimit = absl::Minutes(3);

// The value of NAME in a file of lines "export NAME=value".
std::string ReadVariable(const std::string& file, const std::string& name) {
  std::ifstream stream(file);
  const std::string prefix = absl::StrCat("export ", name, "=");
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind(prefix, 0) == 0) return line.substr(prefix.size());
  }
  std::cerr << "no " << name << " in " << file << std::endl;
  std::abort();
}

}  // namespace

PrivateBroker::PrivateBroker() : directory_(scratch_.Path("stack")) {
  Stack({"up", "--dir", directory_, "--parts=rabbitmq"});
  url_ = ReadVariable(directory_ + "/env", "CARILLON_AMQP_URL");
}

PrivateBroker::~PrivateBroker() { Stack({"down", "--dir", directory_}); }

void PrivateBroker::Kill() { Stack({"kill", "--dir", directory_, "rabbitmq"}); }

void PrivateBroker::Start() { Stack({"start", "--dir", directory_, "rabbitmq"}); }

void PrivateBroker::SetMemoryAlarm(bool on) {
  Stack({"rabbitmqctl", "--dir", directory_, "set_vm_memory_high_watermark", on ? "0.00001" : "0.4"});
  const std::string alarms = on ? "[]" : "[_ | _]";
  // The alarm follows the watermark at the next look at the memory.
  Stack({"rabbitmqctl", "--dir", directory_, "eval",
         absl::StrCat("F = fun(F, 0) -> exit(no_change); (F, N) -> case rabbit_alarm:get_alarms() of ", alarms,
                      " -> timer:sleep(100), F(F, N - 1); _ -> ok end end, ok = F(F, 600).")});
}

std::string PrivateBroker::Stack(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {"/usr/bin/python3", absl::StrCat(SourceDirectory(), "/deploy/local/stack.py")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const absl::StatusOr<CommandResult> result = RunCommand(command, {}, kLimit);
  if (!result.ok() || result->exit_status != 0) {
    std::cerr << arguments[0] << ": " << (result.ok() ? result->output + result->errors : result.status().ToString())
              << std::endl;
    std::abort();
  }
  return result->output;
}

}  // namespace carillon::testing
