#include "carillon/rabbitmq/publisher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/rabbitmq/handles.h"
#include "tests/contract/rabbitmq/rabbitmq_fixture.h"
#include "tests/contract/rabbitmq/tcp_proxy.h"
#include "tests/kit/loopback.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::Duration kTimeout = absl::Seconds(10);

class RabbitPublisherTest : public RabbitMqTest {
 protected:
  RabbitPublisher publisher_{Options()};
};

TEST_F(RabbitPublisherTest, CarriesEveryFieldToTheConsumer) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  const OutboundMessage sent = {.exchange = "",
                                .routing_key = queue,
                                .message_id = "0190f5a2-1c3d-7e4f-8a9b-0c1d2e3f4a5b",
                                .app = AppId(9'000'000'000),
                                .type = "payment.receipt",
                                .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                                .retry_count = 2,
                                .replay_count = 3,
                                .reason = "exhausted",
                                .error = "the provider said: zu spät",
                                .body = std::string("zero \0 and \xff", 12)};
  EXPECT_THAT(publisher_.Publish({sent}, kTimeout), IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));

  RabbitConsumer consumer(Options());
  ASSERT_OK(consumer.Open({queue}, {.prefetch = 10}));
  const std::vector<InboundMessage> messages = ReceiveCount(consumer, 1);
  ASSERT_EQ(messages.size(), 1u);
  const InboundMessage& received = messages[0];
  EXPECT_EQ(received.queue, queue);
  EXPECT_EQ(received.exchange, "");
  EXPECT_EQ(received.routing_key, queue);
  EXPECT_EQ(received.message_id, sent.message_id);
  EXPECT_EQ(received.app, "9000000000");
  EXPECT_EQ(received.type, sent.type);
  EXPECT_EQ(received.traceparent, sent.traceparent);
  EXPECT_EQ(received.retry_count, 2);
  EXPECT_EQ(received.replay_count, 3);
  EXPECT_EQ(received.reason, sent.reason);
  EXPECT_EQ(received.error, sent.error);
  EXPECT_EQ(received.body, sent.body);
  EXPECT_FALSE(received.redelivered);
}

TEST_F(RabbitPublisherTest, CarriesEmptyBodiesAndBodiesOfManyFrames) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  std::string large(3 * 1024 * 1024 + 1, ' ');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761u >> 13);
  const std::vector<OutboundMessage> sent = {MessageTo(queue, "empty", ""), MessageTo(queue, "large", large),
                                             MessageTo(queue, "small", "s")};
  EXPECT_THAT(publisher_.Publish(sent, kTimeout), IsOkAndHolds(Each(PublishOutcome::kConfirmed)));

  RabbitConsumer consumer(Options());
  ASSERT_OK(consumer.Open({queue}, {.prefetch = 10}));
  const std::vector<InboundMessage> received = ReceiveCount(consumer, 3);
  ASSERT_EQ(received.size(), 3u);
  EXPECT_EQ(received[0].body, "");
  EXPECT_TRUE(received[1].body == large);
  EXPECT_EQ(received[2].body, "s");
}

TEST_F(RabbitPublisherTest, NeedsNoBrokerToPublishNothing) {
  RabbitPublisher publisher(OptionsThrough(FreeAddress()));
  EXPECT_THAT(publisher.Publish({}, kTimeout), IsOkAndHolds(IsEmpty()));
}

TEST_F(RabbitPublisherTest, ConfirmsMoreMessagesThanItsWindowHolds) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  std::vector<OutboundMessage> messages;
  for (int i = 0; i < 5000; ++i) messages.push_back(MessageTo(queue, absl::StrCat(i), std::string(1000, 'x')));
  EXPECT_THAT(publisher_.Publish(messages, absl::Seconds(60)), IsOkAndHolds(Each(PublishOutcome::kConfirmed)));
  EXPECT_TRUE(WaitFor([&] { return Stats(queue).messages == 5000; }));
}

TEST_F(RabbitPublisherTest, ReportsUnroutableMessagesAsReturnedAndTheirNeighboursAsConfirmed) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  // The same message id everywhere: the route tells them apart.
  EXPECT_THAT(
      publisher_.Publish({MessageTo(queue, "m"), MessageTo("nowhere", "m"), MessageTo(queue, "m"),
                          MessageTo("nowhere", "m"), MessageTo("nowhere", "n", ""), MessageTo(queue, "n")},
                         kTimeout),
      IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed, PublishOutcome::kReturned, PublishOutcome::kConfirmed,
                               PublishOutcome::kReturned, PublishOutcome::kReturned, PublishOutcome::kConfirmed)));
}

TEST_F(RabbitPublisherTest, ConfirmsAnEventThatNobodyListensTo) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  OutboundMessage unheard = MessageTo("nowhere", "e1", "{}"), heard = MessageTo(queue, "e2", R"({"event":"sent"})");
  unheard.is_event = heard.is_event = true;
  EXPECT_THAT(publisher_.Publish({unheard, MessageTo("nowhere", "m"), heard, unheard}, kTimeout),
              IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed, PublishOutcome::kReturned,
                                       PublishOutcome::kConfirmed, PublishOutcome::kConfirmed)));
  RabbitConsumer consumer(Options());
  ASSERT_OK(consumer.Open({queue}, {.prefetch = 10}));
  const std::vector<InboundMessage> received = ReceiveCount(consumer, 1);
  ASSERT_EQ(received.size(), 1u);
  EXPECT_EQ(received[0].message_id, "e2");
  EXPECT_EQ(received[0].body, heard.body);
}

TEST_F(RabbitPublisherTest, ReportsWhatAFullQueueRejectsAsRefused) {
  const std::string queue = QueueName();
  DeclareShortQueue(queue, 10);
  std::vector<OutboundMessage> messages;
  for (int i = 0; i < 500; ++i) messages.push_back(MessageTo(queue, absl::StrCat(i)));
  ASSERT_OK_AND_ASSIGN(const std::vector<PublishOutcome> outcomes, publisher_.Publish(messages, kTimeout));
  EXPECT_THAT(outcomes, Each(AnyOf(PublishOutcome::kConfirmed, PublishOutcome::kRefused)));
  EXPECT_THAT(outcomes, Contains(PublishOutcome::kConfirmed));
  EXPECT_THAT(publisher_.Publish({MessageTo(queue, "one more")}, kTimeout),
              IsOkAndHolds(ElementsAre(PublishOutcome::kRefused)));
}

TEST_F(RabbitPublisherTest, RefusesWhatAmqpCannotCarryAndSendsTheRest) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  OutboundMessage endless = MessageTo(queue, "endless");
  endless.error = std::string(200'000, 'e');
  EXPECT_THAT(
      publisher_.Publish({MessageTo(queue, "a"), MessageTo(std::string(256, 'q'), "b"), endless, MessageTo(queue, "c")},
                         kTimeout),
      IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed, PublishOutcome::kRefused, PublishOutcome::kRefused,
                               PublishOutcome::kConfirmed)));
}

TEST_F(RabbitPublisherTest, BindsAKeyAgainAfterItsMessageCameBack) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  const BindingSpec binding = {std::string(kDirectExchange), QueueName(".key"), queue};
  OutboundMessage message = MessageTo("", "m");
  message.exchange = binding.exchange;
  message.routing_key = binding.key;

  ASSERT_OK(publisher_.EnsureBinding(binding));
  EXPECT_THAT(publisher_.Publish({message}, kTimeout), IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
  ASSERT_OK(CallBroker([&](amqp_connection_state_t state, amqp_channel_t channel) {
    amqp_queue_unbind(state, channel, ToAmqpBytes(queue), ToAmqpBytes(binding.exchange), ToAmqpBytes(binding.key),
                      amqp_empty_table);
  }));
  ASSERT_OK(publisher_.EnsureBinding(binding));  // Remembered, so it does not help.
  EXPECT_THAT(publisher_.Publish({message}, kTimeout), IsOkAndHolds(ElementsAre(PublishOutcome::kReturned)));
  ASSERT_OK(publisher_.EnsureBinding(binding));
  EXPECT_THAT(publisher_.Publish({message}, kTimeout), IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
}

TEST_F(RabbitPublisherTest, NamesTheMissingQueueOfABindingAndStaysUsable) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  const BindingSpec binding = {std::string(kDirectExchange), "key", "no.such.queue"};
  // More often than a connection has channels, for each refusal costs one.
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(publisher_.EnsureBinding(binding), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no.such.queue")));
  }
  EXPECT_THAT(publisher_.Publish({MessageTo(queue, "m")}, kTimeout),
              IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
}

TEST_F(RabbitPublisherTest, RecoversFromAnExchangeThatIsMissing) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  OutboundMessage stray = MessageTo(queue, "m");
  stray.exchange = "no.such.exchange";
  EXPECT_THAT(publisher_.Publish({stray}, kTimeout), IsOkAndHolds(ElementsAre(PublishOutcome::kUnknown)));
  EXPECT_THAT(publisher_.Service(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no.such.exchange")));
  EXPECT_THAT(publisher_.Publish({MessageTo(queue, "m")}, kTimeout),
              IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
}

TEST_F(RabbitPublisherTest, FailsIfThereIsNoBroker) {
  RabbitPublisher publisher(OptionsThrough(FreeAddress()));
  EXPECT_THAT(publisher.Publish({MessageTo("q", "m")}, kTimeout), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(publisher.EnsureBinding({"e", "k", "q"}), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(RabbitPublisherTest, FailsIfTheBrokerDoesNotKnowItsPassword) {
  RabbitOptions options = Options();
  const size_t at = options.url.find('@');
  options.url.insert(at, "wrong");
  RabbitPublisher publisher(options);
  EXPECT_THAT(publisher.Publish({MessageTo("q", "m")}, kTimeout),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("ACCESS_REFUSED")));
}

TEST_F(RabbitPublisherTest, ConnectsAgainAfterTheBrokerClosedItsConnection) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  ASSERT_OK(publisher_.Publish({MessageTo(queue, "a")}, kTimeout));
  vhost().CloseConnections();
  EXPECT_TRUE(WaitFor([&] { return absl::IsUnavailable(publisher_.Service()); }));
  EXPECT_OK(publisher_.Service());
  EXPECT_THAT(publisher_.Publish({MessageTo(queue, "b")}, kTimeout),
              IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
  vhost().CloseConnections();
  // Nobody has looked in between.
  EXPECT_THAT(publisher_.Publish({MessageTo(queue, "c")}, kTimeout),
              IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
}

TEST_F(RabbitPublisherTest, AnswersInTimeOverALinkThatCarriesNothing) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  TcpProxy proxy(BrokerAddress());
  RabbitOptions options = OptionsThrough(proxy.address());
  // So that nothing but a call's own limit ends it.
  options.connect_timeout = absl::Seconds(60);
  RabbitPublisher publisher(options);
  ASSERT_OK(publisher.Publish({MessageTo(queue, "a")}, kTimeout));

  proxy.Freeze();
  // More than all buffers on the way hold.
  const std::vector<OutboundMessage> messages(1000, MessageTo(queue, "b", std::string(64 * 1024, 'x')));
  const absl::Time start = absl::Now();
  EXPECT_THAT(publisher.Publish(messages, absl::Seconds(2)), IsOkAndHolds(Each(PublishOutcome::kUnknown)));
  // Less than with any other limit on the way: a call's is 10 s, a login's 12.
  EXPECT_LT(absl::Now() - start, absl::Seconds(11));
  const absl::Time again = absl::Now();
  EXPECT_THAT(publisher.Publish({MessageTo(queue, "c")}, absl::Seconds(1)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(absl::Now() - again, absl::Seconds(9));

  proxy.Thaw();
  EXPECT_THAT(publisher.Publish({MessageTo(queue, "c")}, kTimeout),
              IsOkAndHolds(ElementsAre(PublishOutcome::kConfirmed)));
}

TEST_F(RabbitPublisherTest, NoticesADeadLinkWithinTwoHeartbeats) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  TcpProxy proxy(BrokerAddress());
  RabbitOptions options = OptionsThrough(proxy.address());
  options.heartbeat = absl::Seconds(5);
  RabbitPublisher publisher(options);
  ASSERT_OK(publisher.Publish({MessageTo(queue, "a")}, kTimeout));
  // Heartbeats keep it alive for longer than two of them.
  EXPECT_FALSE(WaitFor([&] { return !publisher.Service().ok(); }, absl::Seconds(12)));

  proxy.Freeze();
  const absl::Time idle = absl::Now();
  EXPECT_TRUE(WaitFor([&] { return absl::IsUnavailable(publisher.Service()); }, absl::Seconds(20)));
  EXPECT_LT(absl::Now() - idle, absl::Seconds(15));

  proxy.Thaw();
  ASSERT_OK(publisher.Publish({MessageTo(queue, "b")}, kTimeout));
  proxy.Freeze();
  const absl::Time busy = absl::Now();
  EXPECT_THAT(publisher.Publish({MessageTo(queue, "c")}, absl::Seconds(60)),
              IsOkAndHolds(ElementsAre(PublishOutcome::kUnknown)));
  EXPECT_LT(absl::Now() - busy, absl::Seconds(15));
}

}  // namespace
}  // namespace carillon::testing
