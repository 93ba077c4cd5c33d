#include "carillon/rabbitmq/consumer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"
#include "tests/contract/rabbitmq/rabbitmq_fixture.h"
#include "tests/contract/rabbitmq/tcp_proxy.h"
#include "tests/kit/loopback.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

// In which no more may come.
constexpr absl::Duration kSilence = absl::Seconds(1);

auto HasId(const std::string& id) { return Field(&InboundMessage::message_id, id); }

class RabbitConsumerTest : public RabbitMqTest {
 protected:
  static std::vector<OutboundMessage> Messages(const std::string& queue, int count) {
    std::vector<OutboundMessage> messages;
    for (int i = 0; i < count; ++i) messages.push_back(MessageTo(queue, absl::StrCat(i)));
    return messages;
  }

  static std::vector<InboundMessage> Only(InboundMessage message) { return {std::move(message)}; }

  RabbitConsumer consumer_{Options()};
};

TEST_F(RabbitConsumerTest, ReturnsWhatIsThereWithoutWaitingForMore) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll({MessageTo(queue, "a")});
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  const absl::Time start = absl::Now();
  EXPECT_THAT(consumer_.Receive(10, absl::Seconds(30)), IsOkAndHolds(ElementsAre(HasId("a"))));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(RabbitConsumerTest, ReturnsNothingIfNothingCameInTime) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  const absl::Time start = absl::Now();
  EXPECT_THAT(consumer_.Receive(10, absl::Milliseconds(300)), IsOkAndHolds(IsEmpty()));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(300));
}

TEST_F(RabbitConsumerTest, WakesUpForAMessageThatComesWhileItWaits) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  std::thread publisher([&] { PublishAll({MessageTo(queue, "a")}); });
  const absl::Time start = absl::Now();
  EXPECT_THAT(consumer_.Receive(10, absl::Seconds(30)), IsOkAndHolds(ElementsAre(HasId("a"))));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
  publisher.join();
}

TEST_F(RabbitConsumerTest, HoldsNoMoreThanThePrefetchOfEachQueue) {
  const std::string one = QueueName(".one"), two = QueueName(".two");
  DeclareWorkQueue(one);
  DeclareWorkQueue(two);
  PublishAll(Messages(one, 5));
  PublishAll(Messages(two, 5));
  ASSERT_OK(consumer_.Open({one, two}, {.prefetch = 2}));
  const std::vector<InboundMessage> held = ReceiveCount(consumer_, 4);
  ASSERT_THAT(held, SizeIs(4));
  EXPECT_THAT(ReceiveCount(consumer_, 1, kSilence), IsEmpty());
  ASSERT_OK(consumer_.Ack(held));
  EXPECT_THAT(ReceiveCount(consumer_, 4), SizeIs(4));
}

TEST_F(RabbitConsumerTest, GivesAtMostTheNumberThatWasAskedForAndKeepsTheRest) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll(Messages(queue, 3));
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  ASSERT_TRUE(WaitFor([&] { return consumer_.Service().ok() && Stats(queue).messages == 0; }));
  std::vector<InboundMessage> all;
  // What the broker has handed out may still be on the way.
  while (all.size() < 3) {
    ASSERT_OK_AND_ASSIGN(const std::vector<InboundMessage> some, consumer_.Receive(2, absl::Seconds(60)));
    ASSERT_THAT(some, SizeIs(AllOf(Ge(1u), Le(2u))));
    all.insert(all.end(), some.begin(), some.end());
  }
  EXPECT_THAT(all, ElementsAre(HasId("0"), HasId("1"), HasId("2")));
}

TEST_F(RabbitConsumerTest, SettlesTheMessagesItIsGivenAndNoOthers) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll(Messages(queue, 4));
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  const std::vector<InboundMessage> messages = ReceiveCount(consumer_, 4);
  ASSERT_THAT(messages, SizeIs(4));
  ASSERT_OK(consumer_.Ack(Only(messages[3])));
  ASSERT_OK(consumer_.Ack(absl::MakeConstSpan(messages).subspan(0, 2)));
  consumer_.Close();
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  EXPECT_THAT(ReceiveCount(consumer_, 1), ElementsAre(HasId("2")));
  EXPECT_THAT(ReceiveCount(consumer_, 1, kSilence), IsEmpty());
}

TEST_F(RabbitConsumerTest, ReopensOnAFreshChannelWhereTheUnsettledComeMarkedAsRedelivered) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll(Messages(queue, 3));
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  ASSERT_THAT(ReceiveCount(consumer_, 3), Each(Field(&InboundMessage::redelivered, false)));
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 1}));
  std::vector<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    const std::vector<InboundMessage> again = ReceiveCount(consumer_, 1);
    ASSERT_THAT(again, ElementsAre(Field(&InboundMessage::redelivered, true)));
    seen.push_back(again[0].message_id);
    ASSERT_OK(consumer_.Ack(again));
  }
  EXPECT_THAT(seen, UnorderedElementsAre("0", "1", "2"));
}

TEST_F(RabbitConsumerTest, NamesAQueueThatDoesNotExist) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  EXPECT_THAT(consumer_.Open({queue, "no.such.queue"}, {.prefetch = 1}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no.such.queue")));
  EXPECT_THAT(consumer_.Receive(1, absl::ZeroDuration()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_OK(consumer_.Open({queue}, {.prefetch = 1}));
}

TEST_F(RabbitConsumerTest, FailsIfThereIsNoBroker) {
  RabbitConsumer consumer(OptionsThrough(FreeAddress()));
  EXPECT_THAT(consumer.Open({"q"}, {.prefetch = 1}), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(consumer.Service(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(consumer.Ack(Only({.tag = 1})), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(consumer.Cancel(), StatusIs(absl::StatusCode::kUnavailable));
  consumer.Close();
}

TEST_F(RabbitConsumerTest, NoticesThatItsQueueWasDeleted) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 1}));
  DeleteQueue(queue);
  EXPECT_THAT(consumer_.Receive(1, absl::Seconds(10)), StatusIs(absl::StatusCode::kUnavailable, HasSubstr(queue)));
}

TEST_F(RabbitConsumerTest, NoticesThatTheBrokerClosedItsConnection) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 1}));
  vhost().CloseConnections();
  EXPECT_THAT(consumer_.Receive(1, absl::Seconds(10)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_OK(consumer_.Open({queue}, {.prefetch = 1}));
}

TEST_F(RabbitConsumerTest, LosesItsChannelBySettlingTwiceAndSaysSo) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll({MessageTo(queue, "a")});
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 1}));
  const std::vector<InboundMessage> messages = ReceiveCount(consumer_, 1);
  ASSERT_OK(consumer_.Ack(messages));
  ASSERT_OK(consumer_.Ack(messages));
  EXPECT_THAT(consumer_.Receive(1, absl::Seconds(10)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("unknown delivery tag")));
}

TEST_F(RabbitConsumerTest, IsAConsumerOfItsOwnOnEachChannel) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll(Messages(queue, 10));
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 1, .channels = 4}));
  const std::vector<InboundMessage> held = ReceiveCount(consumer_, 4);
  ASSERT_THAT(held, UnorderedElementsAre(HasId("0"), HasId("1"), HasId("2"), HasId("3")));
  EXPECT_THAT(ReceiveCount(consumer_, 1, kSilence), IsEmpty());
  EXPECT_TRUE(WaitFor([&] { return Stats(queue).consumers == 4; }));
  ASSERT_OK(consumer_.Ack(held));
  EXPECT_THAT(ReceiveCount(consumer_, 4), SizeIs(4));
  EXPECT_THAT(ReceiveCount(consumer_, 1, kSilence), IsEmpty());
}

TEST_F(RabbitConsumerTest, SettlesOnEachChannelWhatCameOnIt) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll(Messages(queue, 12));
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 3, .channels = 4}));
  const std::vector<InboundMessage> messages = ReceiveCount(consumer_, 12);
  ASSERT_THAT(messages, SizeIs(12));
  // Two of three, wherever they are on their channels.
  std::vector<InboundMessage> settled;
  std::vector<std::string> kept;
  for (size_t i = 0; i < messages.size(); ++i) {
    if (i % 3 == 1) {
      kept.push_back(messages[i].message_id);
    } else {
      settled.push_back(messages[i]);
    }
  }
  ASSERT_OK(consumer_.Ack(settled));
  ASSERT_OK(consumer_.Cancel());
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 10}));
  std::vector<std::string> again;
  for (const InboundMessage& message : ReceiveCount(consumer_, kept.size())) {
    EXPECT_TRUE(message.redelivered);
    again.push_back(message.message_id);
  }
  EXPECT_THAT(again, ::testing::UnorderedElementsAreArray(kept));
  EXPECT_THAT(ReceiveCount(consumer_, 1, kSilence), IsEmpty());
}

TEST_F(RabbitConsumerTest, SettlesAfterCancelAndReceivesNothingNew) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll(Messages(queue, 2));
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 2}));
  const std::vector<InboundMessage> messages = ReceiveCount(consumer_, 2);
  ASSERT_THAT(messages, SizeIs(2));
  ASSERT_OK(consumer_.Cancel());
  ASSERT_OK(consumer_.Cancel());
  ASSERT_OK(consumer_.Ack(messages));
  PublishAll({MessageTo(queue, "late")});
  EXPECT_THAT(consumer_.Receive(10, absl::Milliseconds(500)), IsOkAndHolds(IsEmpty()));
  EXPECT_TRUE(WaitFor([&] {
    const QueueStats stats = Stats(queue);
    return stats.messages == 1 && stats.consumers == 0;
  }));
}

TEST_F(RabbitConsumerTest, StaysConnectedWhileItsOwnerWorks) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll(Messages(queue, 2));
  RabbitOptions options = Options();
  options.heartbeat = absl::Seconds(5);
  RabbitConsumer consumer(options);
  ASSERT_OK(consumer.Open({queue}, {.prefetch = 1}));
  const std::vector<InboundMessage> first = ReceiveCount(consumer, 1);
  ASSERT_THAT(first, SizeIs(1));
  // Longer than the silence that the broker or the consumer would accept.
  EXPECT_FALSE(WaitFor([&] { return !consumer.Service().ok(); }, absl::Seconds(12)));
  ASSERT_OK(consumer.Ack(first));
  EXPECT_THAT(ReceiveCount(consumer, 1), ElementsAre(HasId("1")));
}

TEST_F(RabbitConsumerTest, NoticesADeadLinkWithinTwoHeartbeats) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  TcpProxy proxy(BrokerAddress());
  RabbitOptions options = OptionsThrough(proxy.address());
  options.heartbeat = absl::Seconds(2);
  RabbitConsumer consumer(options);
  ASSERT_OK(consumer.Open({queue}, {.prefetch = 1}));
  proxy.Freeze();
  const absl::Time start = absl::Now();
  EXPECT_THAT(consumer.Receive(1, absl::Seconds(60)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(absl::Now() - start, absl::Seconds(15));
  proxy.Thaw();
  EXPECT_OK(consumer.Open({queue}, {.prefetch = 1}));
}

TEST_F(RabbitConsumerTest, OpensInBoundedTimeOverALinkThatCarriesNothing) {
  TcpProxy proxy(BrokerAddress());
  proxy.Freeze();
  RabbitOptions options = OptionsThrough(proxy.address());
  options.connect_timeout = absl::Seconds(1);
  RabbitConsumer consumer(options);
  const absl::Time start = absl::Now();
  EXPECT_THAT(consumer.Open({"q"}, {.prefetch = 1}), StatusIs(absl::StatusCode::kUnavailable));
  // The library's own limit of a login is 12 s.
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(RabbitConsumerTest, GetsARetryBackFromItsQueueAfterTheDelay) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  OutboundMessage retry = MessageTo(queue, "m");
  retry.exchange = RetryExchange(5);
  retry.retry_count = 1;
  const absl::Time start = absl::Now();
  PublishAll({retry});
  ASSERT_OK(consumer_.Open({queue}, {.prefetch = 1}));
  const std::vector<InboundMessage> messages = ReceiveCount(consumer_, 1);
  ASSERT_THAT(messages, ElementsAre(HasId("m")));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(900));
  EXPECT_EQ(messages[0].queue, queue);
  EXPECT_EQ(messages[0].routing_key, queue);
  EXPECT_EQ(messages[0].retry_count, 1);
  EXPECT_EQ(messages[0].reason, "expired");
}

TEST_F(RabbitConsumerTest, LeavesAMessageThatKillsItsConsumersToTheDeadLetterQueue) {
  const std::string queue = QueueName();
  DeclareWorkQueue(queue);
  PublishAll({MessageTo(queue, "poison")});
  int deliveries = 0;
  const std::string dead = DeadLetterQueue(queue);
  while (deliveries <= limits::kDeliveryLimit + 1) {
    ASSERT_OK(consumer_.Open({queue}, {.prefetch = 1}));
    const bool must_come = deliveries <= limits::kDeliveryLimit;
    if (ReceiveCount(consumer_, 1, must_come ? absl::Seconds(30) : absl::Seconds(2)).empty()) break;
    ++deliveries;
  }
  EXPECT_EQ(deliveries, limits::kDeliveryLimit + 1);
  ASSERT_OK(consumer_.Open({dead}, {.prefetch = 1}));
  const std::vector<InboundMessage> messages = ReceiveCount(consumer_, 1);
  ASSERT_THAT(messages, ElementsAre(HasId("poison")));
  EXPECT_EQ(messages[0].reason, "delivery_limit");
}

}  // namespace
}  // namespace carillon::testing
