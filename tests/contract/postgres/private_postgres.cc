#include "tests/contract/postgres/private_postgres.h"

#include <cstdlib>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "tests/kit/environment.h"
#include "tests/kit/process.h"

namespace carillon::testing {
namespace {

// The value of NAME in a file of lines "export NAME='value'".
std::string ReadVariable(const std::string& file, const std::string& name) {
  std::ifstream stream(file);
  const std::string prefix = absl::StrCat("export ", name, "=");
  for (std::string line; std::getline(stream, line);) {
    if (line.rfind(prefix, 0) == 0) return absl::StrReplaceAll(line.substr(prefix.size()), {{"'", ""}});
  }
  std::cerr << "no " << name << " in " << file << std::endl;
  std::abort();
}

}  // namespace

PrivatePostgres::PrivatePostgres() : directory_(scratch_.Path("stack")) {
  Stack({"up", "--dir", directory_, "--parts=postgres"});
  url_ = ReadVariable(directory_ + "/env", "CARILLON_DATABASE_URL");
}

PrivatePostgres::~PrivatePostgres() { Stack({"down", "--dir", directory_}); }

void PrivatePostgres::Kill() { Stack({"kill", "--dir", directory_, "postgres"}); }

void PrivatePostgres::Start() { Stack({"start", "--dir", directory_, "postgres"}); }

void PrivatePostgres::Stack(const std::vector<std::string>& arguments) const {
  std::vector<std::string> command = {"/usr/bin/python3", absl::StrCat(SourceDirectory(), "/deploy/local/stack.py")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const absl::StatusOr<CommandResult> result = RunCommand(command, {}, absl::Minutes(1));
  if (result.ok() && result->exit_status == 0) return;
  std::cerr << arguments[0] << ": " << (result.ok() ? result->output + result->errors : result.status().ToString())
            << std::endl;
  std::abort();
}

}  // namespace carillon::testing
