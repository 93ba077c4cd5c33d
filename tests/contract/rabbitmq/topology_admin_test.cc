#include "carillon/rabbitmq/topology_admin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/rabbitmq/handles.h"
#include "tests/contract/rabbitmq/rabbitmq_fixture.h"
#include "tests/kit/loopback.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class RabbitTopologyAdminTest : public RabbitMqTest {
 protected:
  static void DeclareClassicQueue(const std::string& name) {
    ASSERT_OK(CallBroker([&](amqp_connection_state_t state, amqp_channel_t channel) {
      amqp_queue_declare(state, channel, ToAmqpBytes(name), 0, 1, 0, 0, amqp_empty_table);
    }));
  }

  // The message arrives in `queue` and nowhere else is it returned from.
  void ExpectRoute(absl::string_view exchange, const std::string& key, const std::string& queue) {
    OutboundMessage message = MessageTo(key, "m");
    message.exchange = std::string(exchange);
    const int64_t before = Stats(queue).messages;
    EXPECT_THAT(publisher_.Publish({message}, absl::Seconds(10)),
                IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
    EXPECT_TRUE(WaitFor([&] { return Stats(queue).messages == before + 1; }))
        << exchange << " does not lead from " << key << " to " << queue;
  }

  RabbitTopologyAdmin admin_{Options()};
  RabbitPublisher publisher_{Options()};
};

TEST_F(RabbitTopologyAdminTest, DeclaresTheWholeTopologyAndDoesSoAgain) {
  ASSERT_OK(admin_.Declare(CarillonTopology()));
  ASSERT_OK(admin_.Declare(CarillonTopology()));
  for (const QueueSpec& queue : CarillonTopology().queues) {
    ASSERT_OK_AND_ASSIGN(const QueueStats stats, admin_.Inspect(queue.name));
    EXPECT_TRUE(stats.declared) << queue.name;
  }
}

TEST_F(RabbitTopologyAdminTest, RoutesEveryMessageToItsQueue) {
  ASSERT_OK(admin_.Declare(CarillonTopology()));
  ExpectRoute(kTopicExchange, "payment.receipt", "payment");
  ExpectRoute(kTopicExchange, "marketing.discount.spring", "marketing");
  ExpectRoute(kDeliveryExchange, "otp.sms", "otp.sms");
  ExpectRoute(kDeliveryExchange, "marketing.webhook", "marketing.webhook");
  // The queue that is named plainly after its lane, and those with more words.
  ExpectRoute(RetryExchange(20), "social", "social.retry.20");
  ExpectRoute(RetryExchange(20), "social.like", "social.retry.20");
  ExpectRoute(RetryExchange(20), "fanout.marketing", "fanout.retry.20");
  ExpectRoute(kDeadLetterExchange, "payment.email.dlq", "payment.email.dlq");
  ExpectRoute(kDeadLetterExchange, "no.such.queue.dlq", "unrouted");
  ExpectRoute(RetryExchange(5), "no.such.queue", "unrouted");
  ExpectRoute("", "fanout.social", "fanout.social");
}

TEST_F(RabbitTopologyAdminTest, ReturnsWhatTheFirstExchangesCannotRoute) {
  ASSERT_OK(admin_.Declare(CarillonTopology()));
  for (absl::string_view exchange : {kDirectExchange, kTopicExchange, kDeliveryExchange, kEventsExchange}) {
    OutboundMessage message = MessageTo("no.such.key", "m");
    message.exchange = std::string(exchange);
    EXPECT_THAT(publisher_.Publish({message}, absl::Seconds(10)), IsOkAndHolds(ElementsAre(PublishOutcome::kReturned)));
  }
}

TEST_F(RabbitTopologyAdminTest, NamesEverythingThatExistsWithOtherPropertiesAndDeclaresTheRest) {
  const std::string one = QueueName(".one"), two = QueueName(".two"), good = QueueName(".good");
  DeclareClassicQueue(one);
  DeclareClassicQueue(two);
  const std::string exchange = QueueName(".exchange");
  ASSERT_OK(CallBroker([&](amqp_connection_state_t state, amqp_channel_t channel) {
    amqp_exchange_declare(state, channel, ToAmqpBytes(exchange), ToAmqpBytes("fanout"), 0, 1, 0, 0, amqp_empty_table);
  }));
  const Topology topology = {.exchanges = {{exchange, "topic", ""}},
                             .queues = {{.name = one, .role = QueueRole::kWork, .lane = {}},
                                        {.name = two, .role = QueueRole::kRetry, .lane = {}, .ttl_seconds = 5},
                                        {.name = good, .role = QueueRole::kWork, .lane = {}}},
                             .bindings = {{exchange, "key", good}}};
  EXPECT_THAT(admin_.Declare(topology),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("queue " + one), HasSubstr("queue " + two), HasSubstr("exchange " + exchange),
                             Not(HasSubstr("queue " + good)), HasSubstr("deleted"))));
  EXPECT_TRUE(Stats(good).declared);
}

TEST_F(RabbitTopologyAdminTest, CountsMessagesAndConsumers) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll({MessageTo(queue, "a"), MessageTo(queue, "b"), MessageTo(queue, "c")});
  EXPECT_TRUE(WaitFor([&] { return admin_.Inspect(queue)->messages == 3; }));
  RabbitConsumer consumer(Options());
  ASSERT_OK(consumer.Open({queue}, {.prefetch = 1}));
  EXPECT_TRUE(WaitFor([&] {
    const QueueStats stats = *admin_.Inspect(queue);
    return stats.messages == 2 && stats.consumers == 1;
  }));
}

TEST_F(RabbitTopologyAdminTest, SaysThatAQueueIsNotDeclaredAndGoesOn) {
  // More often than a connection has channels, for each answer costs one.
  for (int i = 0; i < 100; ++i) {
    ASSERT_OK_AND_ASSIGN(const QueueStats missing, admin_.Inspect("no.such.queue"));
    EXPECT_FALSE(missing.declared);
  }
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  ASSERT_OK_AND_ASSIGN(const QueueStats present, admin_.Inspect(queue));
  EXPECT_TRUE(present.declared);
}

TEST_F(RabbitTopologyAdminTest, ConnectsAgainAfterTheBrokerClosedItsConnection) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  ASSERT_OK(admin_.Inspect(queue));
  vhost().CloseConnections();
  EXPECT_OK(admin_.Inspect(queue));
}

TEST_F(RabbitTopologyAdminTest, FailsIfThereIsNoBroker) {
  RabbitTopologyAdmin admin(OptionsThrough(FreeAddress()));
  EXPECT_THAT(admin.Declare(CarillonTopology()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(admin.Inspect("payment"), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace carillon::testing
