#include "carillon/rabbitmq/topology_admin.h"

#include <amqp_framing.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/rabbitmq/error_mapping.h"
#include "carillon/rabbitmq/handles.h"

namespace carillon {
namespace {

// The arguments of a declaration. Holds views of what it was given.
class Arguments {
 public:
  void Add(const char* key, absl::string_view text) {
    amqp_field_value_t& value = Next(key, AMQP_FIELD_KIND_UTF8);
    value.value.bytes = ToAmqpBytes(text);
  }
  void Add(const char* key, int64_t number) { Next(key, AMQP_FIELD_KIND_I64).value.i64 = number; }

  amqp_table_t table() { return {static_cast<int>(count_), entries_.data()}; }

 private:
  static constexpr size_t kMaxEntries = 8;

  amqp_field_value_t& Next(const char* key, uint8_t kind) {
    amqp_table_entry_t& entry = entries_[count_++];
    entry.key = amqp_cstring_bytes(key);
    entry.value.kind = kind;
    return entry.value;
  }

  std::array<amqp_table_entry_t, kMaxEntries> entries_;
  size_t count_ = 0;
};

// `dead_letter_queue` must outlive the answer.
Arguments ArgumentsOf(const QueueSpec& queue, const std::string& dead_letter_queue) {
  Arguments arguments;
  arguments.Add("x-queue-type", "quorum");
  arguments.Add("x-overflow", "reject-publish");
  switch (queue.role) {
    case QueueRole::kWork:
      arguments.Add("x-dead-letter-exchange", kDeadLetterExchange);
      arguments.Add("x-dead-letter-routing-key", dead_letter_queue);
      arguments.Add("x-dead-letter-strategy", "at-least-once");
      arguments.Add("x-delivery-limit", limits::kDeliveryLimit);
      arguments.Add("x-max-length", limits::kQueueMaxLength);
      break;
    case QueueRole::kRetry:
      // Without a key of its own a message goes to the queue that its routing key names.
      arguments.Add("x-dead-letter-exchange", "");
      arguments.Add("x-dead-letter-strategy", "at-least-once");
      arguments.Add("x-message-ttl", int64_t{queue.ttl_seconds} * 1000);
      break;
    case QueueRole::kDeadLetter:
    case QueueRole::kUnrouted:
      break;
  }
  return arguments;
}

std::string Advice(const std::vector<std::string>& refusals) {
  return absl::StrCat("the broker refused ", refusals.size(), " of the declarations: ", absl::StrJoin(refusals, "; "),
                      ". What exists with other properties must be deleted (a queue: drained first), then declared "
                      "again; what is not permitted needs a user with configure rights.");
}

}  // namespace

absl::Status RabbitTopologyAdmin::Declare(const Topology& topology) {
  std::vector<std::string> refusals;
  const auto note = [&](absl::Status status) {
    if (status.ok() || absl::IsUnavailable(status) || absl::IsInvalidArgument(status)) return status;
    refusals.emplace_back(status.message());
    return absl::OkStatus();
  };
  for (const ExchangeSpec& exchange : topology.exchanges) RETURN_IF_ERROR(note(DeclareExchange(exchange)));
  for (const QueueSpec& queue : topology.queues) RETURN_IF_ERROR(note(DeclareQueue(queue)));
  for (const BindingSpec& binding : topology.bindings) RETURN_IF_ERROR(note(Bind(binding)));
  return refusals.empty() ? absl::OkStatus() : absl::FailedPreconditionError(Advice(refusals));
}

absl::StatusOr<QueueStats> RabbitTopologyAdmin::Inspect(const std::string& queue) {
  QueueStats stats;
  const absl::Status status = Call(absl::StrCat("inspecting ", queue), [&](amqp_connection_state_t state) {
    const amqp_queue_declare_ok_t* const answer =
        amqp_queue_declare(state, channel_, ToAmqpBytes(queue), /*passive=*/1, /*durable=*/1, /*exclusive=*/0,
                           /*auto_delete=*/0, amqp_empty_table);
    if (answer == nullptr) return;
    stats = {.declared = true, .messages = answer->message_count, .consumers = answer->consumer_count};
  });
  if (absl::IsNotFound(status)) return QueueStats{};
  if (!status.ok()) return status;
  return stats;
}

absl::Status RabbitTopologyAdmin::DeclareExchange(const ExchangeSpec& exchange) {
  Arguments arguments;
  if (!exchange.alternate_exchange.empty()) arguments.Add("alternate-exchange", exchange.alternate_exchange);
  return Call(absl::StrCat("exchange ", exchange.name), [&](amqp_connection_state_t state) {
    amqp_exchange_declare(state, channel_, ToAmqpBytes(exchange.name), ToAmqpBytes(exchange.kind), /*passive=*/0,
                          /*durable=*/1, /*auto_delete=*/0, /*internal=*/0, arguments.table());
  });
}

absl::Status RabbitTopologyAdmin::DeclareQueue(const QueueSpec& queue) {
  const std::string dead_letter_queue = DeadLetterQueue(queue.name);
  Arguments arguments = ArgumentsOf(queue, dead_letter_queue);
  return Call(absl::StrCat("queue ", queue.name), [&](amqp_connection_state_t state) {
    amqp_queue_declare(state, channel_, ToAmqpBytes(queue.name), /*passive=*/0, /*durable=*/1, /*exclusive=*/0,
                       /*auto_delete=*/0, arguments.table());
  });
}

absl::Status RabbitTopologyAdmin::Bind(const BindingSpec& binding) {
  const std::string what = absl::StrCat("binding ", binding.key, " of ", binding.exchange, " to ", binding.queue);
  return Call(what, [&](amqp_connection_state_t state) {
    amqp_queue_bind(state, channel_, ToAmqpBytes(binding.queue), ToAmqpBytes(binding.exchange),
                    ToAmqpBytes(binding.key), amqp_empty_table);
  });
}

absl::Status RabbitTopologyAdmin::EnsureChannel() {
  amqp_frame_t frame;
  // A connection that was lost since the last call, and only such a one, has something to say.
  if (connection_ != nullptr && !connection_->ReadFrame(MonotonicNow(), &frame).ok()) connection_.reset();
  if (connection_ != nullptr && channel_ == 0 && !connection_->CanOpenChannel()) connection_.reset();
  if (connection_ == nullptr) {
    channel_ = 0;
    ASSIGN_OR_RETURN(connection_, RabbitConnection::Open(options_));
  }
  if (channel_ == 0) {
    ASSIGN_OR_RETURN(channel_, connection_->OpenChannel());
  }
  return absl::OkStatus();
}

absl::Status RabbitTopologyAdmin::Call(absl::string_view what, absl::FunctionRef<void(amqp_connection_state_t)> call) {
  RETURN_IF_ERROR(EnsureChannel());
  absl::Status status = connection_->Call(channel_, what, call);
  // A refusal closes the channel.
  if (!status.ok()) channel_ = 0;
  connection_->ReleaseFrames();
  return status;
}

}  // namespace carillon
