// The broker's exchanges, queues and bindings as data: one description that the
// owner declares, workers rely on and admins list.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "carillon/domain/lane.h"

namespace carillon {

inline constexpr absl::string_view kDirectExchange = "carillon.direct";
inline constexpr absl::string_view kTopicExchange = "carillon.topic";
inline constexpr absl::string_view kDeliveryExchange = "carillon.delivery";
inline constexpr absl::string_view kDeadLetterExchange = "carillon.dlx";
inline constexpr absl::string_view kUnroutedExchange = "carillon.unrouted";
inline constexpr absl::string_view kEventsExchange = "carillon.events";
inline constexpr absl::string_view kUnroutedQueue = "unrouted";

// Seconds between the attempts of a message, in order.
inline constexpr int kRetrySeconds[] = {5, 10, 20};

struct ExchangeSpec {
  std::string name;
  std::string kind;                // direct, topic or fanout.
  std::string alternate_exchange;  // Empty: none, so an unroutable message comes back.
};

enum class QueueRole { kWork, kRetry, kDeadLetter, kUnrouted };

struct QueueSpec {
  std::string name;
  QueueRole role = QueueRole::kWork;
  std::optional<Lane> lane;
  int ttl_seconds = 0;  // kRetry only.
};

struct BindingSpec {
  std::string exchange;
  std::string key;
  std::string queue;
};

struct Topology {
  std::vector<ExchangeSpec> exchanges;
  std::vector<QueueSpec> queues;
  std::vector<BindingSpec> bindings;  // But those of the catalogue's keys.
};

// The whole of it, in the order in which it can be declared.
const Topology& CarillonTopology();

// carillon.topic for payment and marketing, carillon.direct for social and otp. For
// fanout the default exchange (empty): the routing key is the queue.
absl::string_view ExchangeOf(Lane lane);
// The work queue that a routing key of a lane leads to: social.like -> social.like,
// social.comment -> social, otp.login -> otp.
std::string QueueForRoutingKey(Lane lane, absl::string_view routing_key);
// The queues of a lane's first hop. The last one takes every routing key that has no
// queue of its own.
std::vector<std::string> LaneQueues(Lane lane);
// The queues of its second hop, one per external channel: <lane>.<channel>, which is
// also the routing key on carillon.delivery.
std::vector<std::string> DeliveryQueues(Lane lane);
std::string DeliveryQueue(Lane lane, Channel channel);
// Nothing unless it is a queue of a second hop.
std::optional<Channel> ChannelOfQueue(absl::string_view queue);
std::string DeadLetterQueue(absl::string_view queue);
std::string RetryExchange(int seconds);
// The lane that a work, retry or dead-letter queue belongs to.
std::optional<Lane> LaneOfQueue(absl::string_view queue);

}  // namespace carillon
