#include "carillon/domain/topology.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

constexpr absl::string_view kDeadLetterSuffix = ".dlq";

std::string RetryQueue(Lane lane, int seconds) { return absl::StrCat(ToString(lane), ".retry.", seconds); }

void AddExchanges(Topology* topology) {
  const std::string unrouted(kUnroutedExchange);
  topology->exchanges.push_back({unrouted, "fanout", ""});
  topology->exchanges.push_back({std::string(kDirectExchange), "direct", ""});
  topology->exchanges.push_back({std::string(kTopicExchange), "topic", ""});
  topology->exchanges.push_back({std::string(kDeliveryExchange), "topic", ""});
  topology->exchanges.push_back({std::string(kEventsExchange), "topic", ""});
  topology->exchanges.push_back({std::string(kDeadLetterExchange), "direct", unrouted});
  for (int seconds : kRetrySeconds) topology->exchanges.push_back({RetryExchange(seconds), "topic", unrouted});
}

void AddWorkQueue(Topology* topology, Lane lane, const std::string& name) {
  const std::string dead = DeadLetterQueue(name);
  topology->queues.push_back({.name = dead, .role = QueueRole::kDeadLetter, .lane = lane});
  topology->queues.push_back({.name = name, .role = QueueRole::kWork, .lane = lane});
  topology->bindings.push_back({std::string(kDeadLetterExchange), dead, dead});
}

void AddLaneQueues(Topology* topology, Lane lane) {
  for (const std::string& name : LaneQueues(lane)) AddWorkQueue(topology, lane, name);
  for (const std::string& name : DeliveryQueues(lane)) {
    AddWorkQueue(topology, lane, name);
    topology->bindings.push_back({std::string(kDeliveryExchange), name, name});
  }
}

void AddRetryQueues(Topology* topology, Lane lane) {
  // "#" stands for no word too, so the queue named plainly after its lane is matched.
  const std::string key = absl::StrCat(ToString(lane), ".#");
  for (int seconds : kRetrySeconds) {
    const std::string name = RetryQueue(lane, seconds);
    topology->queues.push_back({.name = name, .role = QueueRole::kRetry, .lane = lane, .ttl_seconds = seconds});
    topology->bindings.push_back({RetryExchange(seconds), key, name});
  }
}

Topology BuildTopology() {
  Topology topology;
  AddExchanges(&topology);
  topology.queues.push_back({.name = std::string(kUnroutedQueue), .role = QueueRole::kUnrouted, .lane = {}});
  topology.bindings.push_back({std::string(kUnroutedExchange), "", std::string(kUnroutedQueue)});
  for (Lane lane : kAllLanes) {
    AddLaneQueues(&topology, lane);
    AddRetryQueues(&topology, lane);
  }
  for (Lane lane : {Lane::kPayment, Lane::kMarketing}) {
    topology.bindings.push_back(
        {std::string(kTopicExchange), absl::StrCat(ToString(lane), ".#"), std::string(ToString(lane))});
  }
  return topology;
}

}  // namespace

const Topology& CarillonTopology() {
  static const Topology* const topology = new Topology(BuildTopology());
  return *topology;
}

absl::string_view ExchangeOf(Lane lane) {
  switch (lane) {
    case Lane::kPayment:
    case Lane::kMarketing:
      return kTopicExchange;
    case Lane::kSocial:
    case Lane::kOtp:
      return kDirectExchange;
    case Lane::kFanout:
      return "";
  }
  return "";
}

std::string QueueForRoutingKey(Lane lane, absl::string_view routing_key) {
  const std::vector<std::string> queues = LaneQueues(lane);
  const auto own = std::find(queues.begin(), queues.end(), routing_key);
  return own != queues.end() ? *own : queues.back();
}

std::vector<std::string> LaneQueues(Lane lane) {
  switch (lane) {
    case Lane::kSocial:
      return {"social.follow", "social.like", "social.chat", "social"};
    case Lane::kFanout:
      return {"fanout.marketing", "fanout.social"};
    case Lane::kPayment:
    case Lane::kOtp:
    case Lane::kMarketing:
      return {std::string(ToString(lane))};
  }
  return {};
}

std::string DeliveryQueue(Lane lane, Channel channel) { return absl::StrCat(ToString(lane), ".", ToString(channel)); }

std::vector<std::string> DeliveryQueues(Lane lane) {
  std::vector<std::string> queues;
  if (lane == Lane::kFanout) return queues;
  for (const Channel channel : kExternalChannels) queues.push_back(DeliveryQueue(lane, channel));
  return queues;
}

std::optional<Channel> ChannelOfQueue(absl::string_view queue) {
  const std::optional<Lane> lane = LaneOfQueue(queue);
  if (!lane.has_value() || *lane == Lane::kFanout) return std::nullopt;
  for (const Channel channel : kExternalChannels) {
    if (queue == DeliveryQueue(*lane, channel)) return channel;
  }
  return std::nullopt;
}

std::string DeadLetterQueue(absl::string_view queue) { return absl::StrCat(queue, kDeadLetterSuffix); }

std::string RetryExchange(int seconds) { return absl::StrCat("carillon.retry.", seconds); }

std::optional<Lane> LaneOfQueue(absl::string_view queue) {
  static const auto* const lanes = [] {
    auto* by_name = new absl::flat_hash_map<std::string, Lane>();
    for (const QueueSpec& spec : CarillonTopology().queues) {
      if (spec.lane.has_value()) by_name->emplace(spec.name, *spec.lane);
    }
    return by_name;
  }();
  const auto found = lanes->find(queue);
  return found != lanes->end() ? std::optional<Lane>(found->second) : std::nullopt;
}

}  // namespace carillon
