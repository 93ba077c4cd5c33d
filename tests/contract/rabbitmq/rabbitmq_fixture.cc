#include "tests/contract/rabbitmq/rabbitmq_fixture.h"

#include <gmock/gmock.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "carillon/rabbitmq/handles.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::Each;

std::unique_ptr<TestVhost>& SharedVhost() {
  static auto* const vhost = new std::unique_ptr<TestVhost>();
  return *vhost;
}

class VhostEnvironment : public ::testing::Environment {
 public:
  void SetUp() override { SharedVhost() = std::make_unique<TestVhost>(); }
  void TearDown() override { SharedVhost().reset(); }
};

[[maybe_unused]] const ::testing::Environment* const kVhostEnvironment =
    ::testing::AddGlobalTestEnvironment(new VhostEnvironment);

amqp_table_entry_t TextArgument(const char* key, const char* value) {
  amqp_table_entry_t entry{.key = amqp_cstring_bytes(key), .value = {}};
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = amqp_cstring_bytes(value);
  return entry;
}

amqp_table_entry_t NumberArgument(const char* key, int value) {
  amqp_table_entry_t entry{.key = amqp_cstring_bytes(key), .value = {}};
  entry.value.kind = AMQP_FIELD_KIND_I32;
  entry.value.value.i32 = value;
  return entry;
}

}  // namespace

TestVhost& RabbitMqTest::vhost() { return *SharedVhost(); }

// Patient: a login takes as long as a busy machine makes it.
RabbitOptions RabbitMqTest::Options() {
  return {.url = vhost().url(), .client_name = "contract-test", .connect_timeout = absl::Seconds(30)};
}

RabbitOptions RabbitMqTest::OptionsThrough(const std::string& address) {
  RabbitOptions options = Options();
  options.url = absl::StrReplaceAll(options.url, {{BrokerAddress(), address}});
  return options;
}

std::string RabbitMqTest::BrokerAddress() {
  const std::string& url = vhost().url();
  const size_t begin = url.find('@') + 1;
  return url.substr(begin, url.find('/', begin) - begin);
}

std::string RabbitMqTest::QueueName(const std::string& suffix) {
  return absl::StrCat(::testing::UnitTest::GetInstance()->current_test_info()->name(), suffix);
}

void RabbitMqTest::DeclareWorkQueue(const std::string& name) {
  const std::string dead = DeadLetterQueue(name);
  const std::string retry = absl::StrCat(name, ".retry");
  const Topology topology = {
      .exchanges = CarillonTopology().exchanges,
      .queues = {{.name = dead, .role = QueueRole::kDeadLetter, .lane = {}},
                 {.name = name, .role = QueueRole::kWork, .lane = {}},
                 {.name = retry, .role = QueueRole::kRetry, .lane = {}, .ttl_seconds = 1}},
      .bindings = {{std::string(kDeadLetterExchange), dead, dead}, {RetryExchange(5), name + ".#", retry}}};
  RabbitTopologyAdmin admin(Options());
  ASSERT_OK(admin.Declare(topology));
}

void RabbitMqTest::DeclareShortQueue(const std::string& name, int max_length) {
  std::array arguments = {TextArgument("x-queue-type", "quorum"), TextArgument("x-overflow", "reject-publish"),
                          NumberArgument("x-max-length", max_length)};
  const amqp_table_t table = {static_cast<int>(arguments.size()), arguments.data()};
  ASSERT_OK(CallBroker([&](amqp_connection_state_t state, amqp_channel_t channel) {
    amqp_queue_declare(state, channel, ToAmqpBytes(name), 0, 1, 0, 0, table);
  }));
}

absl::Status RabbitMqTest::CallBroker(absl::FunctionRef<void(amqp_connection_state_t, amqp_channel_t)> call) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RabbitConnection> connection, RabbitConnection::Open(Options()));
  ASSIGN_OR_RETURN(const amqp_channel_t channel, connection->OpenChannel());
  return connection->Call(channel, "a test's call", [&](amqp_connection_state_t state) { call(state, channel); });
}

void RabbitMqTest::DeleteQueue(const std::string& name) {
  ASSERT_OK(CallBroker([&](amqp_connection_state_t state, amqp_channel_t channel) {
    amqp_queue_delete(state, channel, ToAmqpBytes(name), 0, 0);
  }));
}

QueueStats RabbitMqTest::Stats(const std::string& queue) {
  RabbitTopologyAdmin admin(Options());
  const absl::StatusOr<QueueStats> stats = admin.Inspect(queue);
  EXPECT_OK(stats);
  return stats.value_or(QueueStats{});
}

void RabbitMqTest::PublishAll(const std::vector<OutboundMessage>& messages) {
  RabbitPublisher publisher(Options());
  ASSERT_THAT(publisher.Publish(messages, absl::Seconds(10)), IsOkAndHolds(Each(PublishOutcome::kConfirmed)));
}

OutboundMessage MessageTo(const std::string& queue, const std::string& message_id, const std::string& body) {
  return {.exchange = "",
          .routing_key = queue,
          .message_id = message_id,
          .app = AppId(1),
          .type = "like",
          .traceparent = "",
          .body = body};
}

std::vector<InboundMessage> ReceiveCount(Consumer& consumer, size_t count, absl::Duration limit) {
  std::vector<InboundMessage> messages;
  const absl::Time deadline = absl::Now() + limit;
  while (messages.size() < count && absl::Now() < deadline) {
    absl::StatusOr<std::vector<InboundMessage>> received =
        consumer.Receive(static_cast<int>(count - messages.size()), deadline - absl::Now());
    EXPECT_OK(received);
    if (!received.ok()) break;
    for (InboundMessage& message : *received) messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace carillon::testing
