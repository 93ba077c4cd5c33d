// Where the tests' backends are. ./dev test starts them and exports these
// variables; a test that needs one and has none ends the program, for a test
// that silently skips looks like one that passes.
#pragma once

#include <string>

namespace carillon::testing {

// CARILLON_TEST_DATABASE_URL: a database server where databases may be created.
const std::string& TestDatabaseServerUrl();
// CARILLON_TEST_AMQP_URL: a broker, with the vhost that all tests share.
const std::string& TestAmqpUrl();
// CARILLON_TEST_REDIS_URL
const std::string& TestRedisUrl();
// CARILLON_TEST_STACK: the directory of the stack that these belong to.
const std::string& TestStackDirectory();

// The root of the source tree, and the directory of the built programs.
std::string SourceDirectory();
std::string BinaryDirectory();

}  // namespace carillon::testing
