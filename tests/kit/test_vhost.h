// A RabbitMQ vhost of a test's own.
#pragma once

#include <string>
#include <vector>

namespace carillon::testing {

// Made and deleted by rabbitmqctl, about a second each: share one per suite.
// Ends the program if it can't be made. Not thread-safe.
class TestVhost {
 public:
  TestVhost();
  ~TestVhost();
  TestVhost(const TestVhost&) = delete;
  TestVhost& operator=(const TestVhost&) = delete;

  const std::string& name() const { return name_; }
  // As CARILLON_AMQP_URL.
  const std::string& url() const { return url_; }

  // Closes every connection to this vhost, as an operator or a failing network would.
  void CloseConnections() const;

 private:
  std::string name_;
  std::string url_;
};

// Runs rabbitmqctl on the tests' node and returns its output. Ends the program
// if it fails.
std::string Rabbitmqctl(const std::vector<std::string>& arguments);

}  // namespace carillon::testing
