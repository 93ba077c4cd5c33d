// What the tests of the whole system share: a client, a stream that remembers,
// and short ways to say common things.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/carillon/client.h"
#include "tests/kit/running_stack.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {

// Follows a feed and keeps what came. Thread-safe.
class RecordedStream {
 public:
  RecordedStream(Client& client, const std::string& user_id, int64_t after_seq = 0);

  std::vector<v1::SubscribeResponse> events() const;
  // The seqs of all items and read markers, in the order in which they came.
  std::vector<int64_t> seqs() const;
  bool WaitForEvents(size_t count, absl::Duration limit = absl::Seconds(60)) const;

 private:
  mutable absl::Mutex mutex_;
  std::vector<v1::SubscribeResponse> events_ ABSL_GUARDED_BY(mutex_);
  // Last: it calls back until it is gone.
  std::unique_ptr<FeedSubscription> subscription_;
};

// Of a suite whose tests share a system, which its SetUpTestSuite starts, and run
// carillonctl on it as the system's own app.
class CommandLineTest : public ::testing::Test {
 protected:
  using Arguments = std::vector<std::string>;

  static void TearDownTestSuite();
  static CommandResult Run(const Arguments& arguments);
  // Of one that must succeed: its standard output, as text and as JSON.
  static std::string Output(const Arguments& arguments);
  static nlohmann::json Document(Arguments arguments);
  // Of one that must fail: its standard error.
  static std::string Failure(const Arguments& arguments);

  static inline RunningStack* stack_ = nullptr;
};

Client ClientOf(const RunningStack& stack, const std::string& server = "server");
v1::SendNotificationRequest Request(const std::string& type, const std::string& user, const std::string& key = "");
// 1, 2, ... count.
std::vector<int64_t> CountUpTo(int64_t count);
v1::State StateOf(Client& client, const std::string& notification_id);
// The whole feed, newest first.
std::vector<v1::FeedItem> WholeFeed(Client& client, const std::string& user);
// The sum of a metric over its labels, read from a process; 0 if it has none.
double MetricSum(const RunningStack& stack, const std::string& process, const std::string& name);
// From now on every statement that adds items to feeds takes so much longer. Once for a
// system.
void SlowDownFeeds(RunningStack& stack, absl::Duration time);
// From now on nothing is told of events to this audience past `count` recipients: their
// pages are tried again and again. Another call moves the mark; a large one lifts it.
void StandStillAt(RunningStack& stack, const std::string& audience, int64_t count);

}  // namespace carillon::testing
