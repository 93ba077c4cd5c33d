#include "tests/kit/environment.h"

#include <cstdlib>
#include <iostream>

namespace carillon::testing {
namespace {

std::string Required(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') {
    std::cerr << variable << " is not set: this test needs running backends.\n"
              << "Run './dev test', or './dev test -R NAME' for one test.\n";
    std::exit(2);
  }
  return value;
}

}  // namespace

const std::string& TestDatabaseServerUrl() {
  static const auto* const url = new std::string(Required("CARILLON_TEST_DATABASE_URL"));
  return *url;
}

const std::string& TestAmqpUrl() {
  static const auto* const url = new std::string(Required("CARILLON_TEST_AMQP_URL"));
  return *url;
}

const std::string& TestRedisUrl() {
  static const auto* const url = new std::string(Required("CARILLON_TEST_REDIS_URL"));
  return *url;
}

const std::string& TestStackDirectory() {
  static const auto* const directory = new std::string(Required("CARILLON_TEST_STACK"));
  return *directory;
}

std::string SourceDirectory() { return CARILLON_SOURCE_DIRECTORY; }
std::string BinaryDirectory() { return CARILLON_BINARY_DIRECTORY; }

}  // namespace carillon::testing
