// What tests of deliveries share: a system whose providers are a sandbox, and an app
// of each test's own on it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/system_fixture.h"
#include "tests/kit/private_sandbox.h"

namespace carillon::testing {

// Somebody with an address and a number that nobody else has.
struct Person {
  std::string user;
  std::string email;
  std::string phone;
};

// An app, and short ways to say what its backend would. What fails fails the test.
// Its methods may be called side by side, but for those that set something.
class DeliveryApp {
 public:
  // A new app of this system.
  explicit DeliveryApp(RunningStack& stack);

  Client& client() { return client_; }
  // As x-app-key.
  const std::string& key() const { return key_; }
  const std::string& secret() const { return secret_; }

  // Each a carillon.v1.Provider in JSON, in the order in which they are asked.
  void SetProviders(v1::Channel channel, const std::vector<nlohmann::json>& providers);
  v1::ProviderStatus GetProvider(v1::Channel channel, const std::string& name);

  // `locale`: empty, none.
  Person AddPerson(const std::string& locale = "");
  // Returns the device's id.
  std::string AddDevice(const Person& person, v1::Channel channel, const std::string& token);

  // Returns the notification's id. A ttl of zero: the type's.
  std::string Send(const std::string& type, const Person& person, const std::vector<v1::Channel>& channels,
                   absl::Duration ttl = absl::ZeroDuration());
  // One to each, in batches.
  std::vector<std::string> SendToAll(const std::string& type, const std::vector<Person>& people,
                                     const std::vector<v1::Channel>& channels);

  v1::Notification Get(const std::string& id);
  // The only one on this channel.
  v1::Delivery Delivery(const std::string& id, v1::Channel channel);
  // True once the only delivery of the channel is in this state.
  bool WaitFor(const std::string& id, v1::Channel channel, v1::DeliveryState state,
               absl::Duration limit = absl::Seconds(60));
  // A receipt may be known before the call that it is of.
  bool WaitForOutcomes(const std::string& id, v1::Channel channel, const std::string& outcomes);
  // How many of its deliveries fulfil a condition in SQL.
  int CountDeliveries(const std::string& condition) const;
  // What became of it, for messages of failed tests.
  std::string Story(const std::string& id) { return Get(id).ShortDebugString(); }
  std::vector<v1::DeadLetter> DeadLetters();

 private:
  DeliveryApp(RunningStack& stack, const nlohmann::json& created);

  RunningStack& stack_;
  const std::string key_;
  const std::string secret_;
  Client client_;
};

absl::Time ToTime(const google::protobuf::Timestamp& time);
// Of a message that a sandbox has received.
absl::Time ArrivalTime(const nlohmann::json& message);
// What has come to a person by SMS. Vonage writes numbers without the plus.
std::vector<nlohmann::json> Sms(const PrivateSandbox& sandbox, const std::string& provider, const Person& person);
// "retryable,accepted": of all attempts, in order.
std::string Outcomes(const v1::Delivery& delivery);

// One system for all tests of a program, with everything but providers set. Each test
// finds an app of its own and a sandbox without rules.
class Deliveries : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { StartSystem({}); }
  static void TearDownTestSuite();
  static void StartSystem(RunningStackOptions options);
  void SetUp() override { sandbox().Reset(); }

  static PrivateSandbox& sandbox() { return *sandbox_; }
  static RunningStack& stack() { return *stack_; }
  DeliveryApp app_{stack()};

 private:
  static PrivateSandbox* sandbox_;
  static RunningStack* stack_;
};

}  // namespace carillon::testing
