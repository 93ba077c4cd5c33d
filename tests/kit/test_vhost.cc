#include "tests/kit/test_vhost.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/kit/environment.h"
#include "tests/kit/process.h"

namespace carillon::testing {
namespace {

std::string UniqueName() {
  static std::atomic<int> count = 0;
  return absl::StrFormat("test-%d-%d", getpid(), ++count);
}

std::string UserOf(const std::string& url) {
  const size_t begin = url.find("://") + 3;
  return url.substr(begin, url.find(':', begin) - begin);
}

std::string WithVhost(const std::string& url, const std::string& vhost) {
  const size_t path = url.find('/', url.find("://") + 3);
  return absl::StrCat(url.substr(0, path), "/", vhost);
}

}  // namespace

std::string Rabbitmqctl(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {"/usr/bin/python3", absl::StrCat(SourceDirectory(), "/deploy/local/stack.py"),
                                      "rabbitmqctl", "--dir", TestStackDirectory()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const absl::StatusOr<CommandResult> result = RunCommand(command);
  if (!result.ok() || result->exit_status != 0) {
    std::cerr << "rabbitmqctl " << arguments[0] << ": "
              << (result.ok() ? result->output + result->errors : result.status().ToString()) << std::endl;
    std::abort();
  }
  return result->output;
}

TestVhost::TestVhost() : name_(UniqueName()), url_(WithVhost(TestAmqpUrl(), name_)) {
  // One call instead of two: each starts an Erlang machine.
  Rabbitmqctl({"eval", absl::StrFormat("ok = rabbit_vhost:add(<<\"%s\">>, <<\"test\">>),"
                                       "rabbit_auth_backend_internal:set_permissions(<<\"%s\">>, <<\"%s\">>,"
                                       "<<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>).",
                                       name_, UserOf(url_), name_)});
}

TestVhost::~TestVhost() { Rabbitmqctl({"delete_vhost", name_}); }

void TestVhost::CloseConnections() const { Rabbitmqctl({"close_all_connections", "--vhost", name_, "test"}); }

}  // namespace carillon::testing
