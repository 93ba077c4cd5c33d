#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/rabbitmq/consumer.h"
#include "carillon/rabbitmq/publisher.h"
#include "carillon/rabbitmq/topology_admin.h"
#include "tests/contract/rabbitmq/private_broker.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;

// The tests share a broker and its topology; each uses queues of its own.
class RabbitBrokerFaultTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    broker_ = new PrivateBroker;
    RabbitTopologyAdmin admin(Options());
    ASSERT_OK(admin.Declare(CarillonTopology()));
  }
  static void TearDownTestSuite() {
    delete broker_;
    broker_ = nullptr;
  }

  static RabbitOptions Options() {
    return {.url = broker_->url(),
            .client_name = "fault-test",
            .connect_timeout = absl::Seconds(30),
            .heartbeat = absl::Seconds(2)};
  }
  static std::vector<OutboundMessage> Messages(const std::string& queue, int count, size_t body_bytes = 100) {
    std::vector<OutboundMessage> messages;
    for (int i = 0; i < count; ++i) {
      messages.push_back({.routing_key = queue, .message_id = absl::StrCat(i), .body = std::string(body_bytes, 'x')});
    }
    return messages;
  }

  static PrivateBroker* broker_;
};

PrivateBroker* RabbitBrokerFaultTest::broker_ = nullptr;

TEST_F(RabbitBrokerFaultTest, PublishesNothingWhileTheBrokerIsShortOfMemoryAndRecovers) {
  RabbitPublisher publisher(Options());
  ASSERT_THAT(publisher.Publish(Messages("otp", 1), absl::Seconds(10)), IsOkAndHolds(Each(PublishOutcome::kConfirmed)));
  RabbitOptions patient = Options();
  // Nobody sends its heartbeats while the alarm is set.
  patient.heartbeat = absl::Seconds(60);
  RabbitConsumer consumer(patient);
  ASSERT_OK(consumer.Open({"otp"}, {.prefetch = 10}));

  broker_->SetMemoryAlarm(true);
  // Consumers are served as ever.
  ASSERT_OK_AND_ASSIGN(const std::vector<InboundMessage> received, consumer.Receive(1, absl::Seconds(10)));
  ASSERT_EQ(received.size(), 1u);
  EXPECT_OK(consumer.Ack(received));

  // First into the broker's arms, then, for longer than two heartbeats, knowing of the alarm.
  for (int i = 0; i < 4; ++i) {
    const absl::Time start = absl::Now();
    // The broker says that it is blocked when it is sent something.
    const absl::Duration limit = absl::Seconds(i == 0 ? 12 : 2);
    EXPECT_THAT(publisher.Publish(Messages("otp", 1000, 2000), limit),
                IsOkAndHolds(Contains(PublishOutcome::kUnknown)));
    // Less than with a call that waits for its answer besides: that has 10 s.
    EXPECT_LT(absl::Now() - start, limit + absl::Seconds(9));
    EXPECT_THAT(publisher.EnsureBinding({std::string(kDirectExchange), "otp.new", "otp"}),
                StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_OK(publisher.Service());
  }

  broker_->SetMemoryAlarm(false);
  EXPECT_THAT(publisher.Publish(Messages("otp", 1000), absl::Seconds(30)),
              IsOkAndHolds(Each(PublishOutcome::kConfirmed)));
}

TEST_F(RabbitBrokerFaultTest, ReturnsInTimeWhenTheBrokerStopsReadingInTheMidstOfLargeMessages) {
  RabbitPublisher publisher(Options());
  broker_->SetMemoryAlarm(true);
  const absl::Time start = absl::Now();
  // More than all socket buffers hold.
  EXPECT_THAT(publisher.Publish(Messages("social.email", 4, 32 * 1024 * 1024), absl::Seconds(3)),
              IsOkAndHolds(Contains(PublishOutcome::kUnknown)));
  // As above.
  EXPECT_LT(absl::Now() - start, absl::Seconds(12));
  const absl::Time end = absl::Now();
  publisher.Service().IgnoreError();
  EXPECT_LT(absl::Now() - end, absl::Seconds(9));
  broker_->SetMemoryAlarm(false);
  EXPECT_TRUE(WaitFor(
      [&] {
        const auto outcomes = publisher.Publish(Messages("social.sms", 1), absl::Seconds(5));
        return outcomes.ok() && outcomes->at(0) == PublishOutcome::kConfirmed;
      },
      absl::Seconds(60)));
}

TEST_F(RabbitBrokerFaultTest, LosesNothingThatWasConfirmedWhenTheBrokerIsKilled) {
  RabbitConsumer idle(Options());
  ASSERT_OK(idle.Open({"marketing"}, {.prefetch = 10}));
  std::atomic<int64_t> confirmed = 0;
  std::atomic<bool> killed = false;
  absl::Duration longest = absl::ZeroDuration();
  std::thread publishing([&] {
    RabbitPublisher publisher(Options());
    const std::vector<OutboundMessage> messages = Messages("payment", 200);
    for (bool interrupted = false; !interrupted;) {
      const absl::Time start = absl::Now();
      const auto outcomes = publisher.Publish(messages, absl::Seconds(30));
      longest = std::max(longest, absl::Now() - start);
      interrupted = killed && (!outcomes.ok() || absl::c_linear_search(*outcomes, PublishOutcome::kUnknown));
      if (outcomes.ok()) confirmed += absl::c_count(*outcomes, PublishOutcome::kConfirmed);
    }
  });
  EXPECT_TRUE(WaitFor([&] { return confirmed > 2000; }));
  killed = true;
  broker_->Kill();
  publishing.join();
  // It is the kill that ends it.
  EXPECT_LT(longest, absl::Seconds(25));
  EXPECT_THAT(idle.Receive(1, absl::Seconds(10)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(idle.Open({"marketing"}, {.prefetch = 10}), StatusIs(absl::StatusCode::kUnavailable));

  broker_->Start();
  EXPECT_TRUE(WaitFor([&] { return idle.Open({"marketing"}, {.prefetch = 10}).ok(); }, absl::Seconds(60)));
  RabbitTopologyAdmin admin(Options());
  EXPECT_TRUE(WaitFor(
      [&] {
        const absl::StatusOr<QueueStats> stats = admin.Inspect("payment");
        return stats.ok() && stats->messages >= confirmed;
      },
      absl::Seconds(60)));
  RabbitPublisher publisher(Options());
  EXPECT_THAT(publisher.Publish(Messages("payment", 1), absl::Seconds(10)),
              IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
}

TEST_F(RabbitBrokerFaultTest, RecoversByItselfAfterTheBrokerWasAway) {
  RabbitPublisher publisher(Options());
  RabbitTopologyAdmin admin(Options());
  ASSERT_OK(publisher.Publish(Messages("otp.sms", 1), absl::Seconds(10)));
  ASSERT_OK(admin.Inspect("otp.sms"));
  broker_->Kill();
  const absl::Time start = absl::Now();
  EXPECT_THAT(publisher.Publish(Messages("otp.sms", 1), absl::Seconds(5)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(admin.Inspect("otp.sms"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(absl::Now() - start, absl::Seconds(6));
  broker_->Start();
  EXPECT_THAT(publisher.Publish(Messages("otp.sms", 1), absl::Seconds(30)),
              IsOkAndHolds(Each(PublishOutcome::kConfirmed)));
  EXPECT_OK(admin.Inspect("otp.sms"));
}

}  // namespace
}  // namespace carillon::testing
