#include "carillon/domain/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const QueueSpec* FindQueue(const std::string& name) {
  const auto& queues = CarillonTopology().queues;
  const auto found = absl::c_find_if(queues, [&](const QueueSpec& queue) { return queue.name == name; });
  return found != queues.end() ? &*found : nullptr;
}

const ExchangeSpec* FindExchange(absl::string_view name) {
  const auto& exchanges = CarillonTopology().exchanges;
  const auto found = absl::c_find_if(exchanges, [&](const ExchangeSpec& exchange) { return exchange.name == name; });
  return found != exchanges.end() ? &*found : nullptr;
}

bool HasBinding(absl::string_view exchange, const std::string& key, const std::string& queue) {
  return absl::c_any_of(CarillonTopology().bindings, [&](const BindingSpec& binding) {
    return binding.exchange == exchange && binding.key == key && binding.queue == queue;
  });
}

TEST(Topology, HasTheWorkQueuesOfTheDesign) {
  std::set<std::string> work;
  for (const QueueSpec& queue : CarillonTopology().queues) {
    if (queue.role == QueueRole::kWork) work.insert(queue.name);
  }
  std::set<std::string> expected = {"payment",     "otp",    "marketing",     "social.follow",   "social.like",
                                    "social.chat", "social", "fanout.social", "fanout.marketing"};
  for (const char* lane : {"payment", "otp", "social", "marketing"}) {
    for (const char* channel : {"email", "sms", "apns", "fcm", "webhook"}) {
      expected.insert(absl::StrCat(lane, ".", channel));
    }
  }
  EXPECT_EQ(work, expected);
}

TEST(Topology, GivesEveryWorkQueueADeadLetterQueueOfItsLane) {
  for (const QueueSpec& queue : CarillonTopology().queues) {
    if (queue.role != QueueRole::kWork) continue;
    const std::string dead = DeadLetterQueue(queue.name);
    ASSERT_NE(FindQueue(dead), nullptr) << dead;
    EXPECT_EQ(FindQueue(dead)->role, QueueRole::kDeadLetter);
    EXPECT_EQ(FindQueue(dead)->lane, queue.lane);
    EXPECT_TRUE(HasBinding(kDeadLetterExchange, dead, dead));
  }
}

TEST(Topology, GivesEveryLaneARetryQueuePerStep) {
  for (Lane lane : kAllLanes) {
    for (int seconds : {5, 10, 20}) {
      const std::string name = absl::StrCat(ToString(lane), ".retry.", seconds);
      ASSERT_NE(FindQueue(name), nullptr) << name;
      EXPECT_EQ(FindQueue(name)->role, QueueRole::kRetry);
      EXPECT_EQ(FindQueue(name)->ttl_seconds, seconds);
      EXPECT_TRUE(HasBinding(RetryExchange(seconds), absl::StrCat(ToString(lane), ".#"), name));
    }
  }
}

TEST(Topology, CatchesWhatTheRetryAndDeadLetterExchangesCannotRouteAndNothingElse) {
  for (const ExchangeSpec& exchange : CarillonTopology().exchanges) {
    const bool catches = exchange.name == kDeadLetterExchange || absl::StartsWith(exchange.name, "carillon.retry.");
    EXPECT_EQ(exchange.alternate_exchange, catches ? kUnroutedExchange : "") << exchange.name;
  }
  EXPECT_TRUE(HasBinding(kUnroutedExchange, "", std::string(kUnroutedQueue)));
}

TEST(Topology, DeclaresExchangesOfTheDesignsKinds) {
  EXPECT_EQ(FindExchange(kDirectExchange)->kind, "direct");
  EXPECT_EQ(FindExchange(kTopicExchange)->kind, "topic");
  EXPECT_EQ(FindExchange(kDeliveryExchange)->kind, "topic");
  EXPECT_EQ(FindExchange(kDeadLetterExchange)->kind, "direct");
  EXPECT_EQ(FindExchange(kUnroutedExchange)->kind, "fanout");
  EXPECT_EQ(FindExchange(kEventsExchange)->kind, "topic");
  for (int seconds : kRetrySeconds) EXPECT_EQ(FindExchange(RetryExchange(seconds))->kind, "topic");
  EXPECT_EQ(CarillonTopology().exchanges.size(), 9u);
}

TEST(Topology, CanBeDeclaredInOrder) {
  std::set<std::string> known;
  for (const ExchangeSpec& exchange : CarillonTopology().exchanges) {
    EXPECT_TRUE(exchange.alternate_exchange.empty() || known.contains(exchange.alternate_exchange));
    EXPECT_TRUE(known.insert(exchange.name).second) << exchange.name;
  }
  std::set<std::string> queues;
  for (const QueueSpec& queue : CarillonTopology().queues) EXPECT_TRUE(queues.insert(queue.name).second) << queue.name;
  for (const BindingSpec& binding : CarillonTopology().bindings) {
    EXPECT_TRUE(known.contains(binding.exchange)) << binding.exchange;
    EXPECT_TRUE(queues.contains(binding.queue)) << binding.queue;
  }
}

TEST(Topology, BindsSecondHopsByTheirQueuesNames) {
  EXPECT_TRUE(HasBinding(kDeliveryExchange, "payment.sms", "payment.sms"));
  EXPECT_TRUE(HasBinding(kDeliveryExchange, "marketing.webhook", "marketing.webhook"));
  EXPECT_TRUE(HasBinding(kTopicExchange, "payment.#", "payment"));
  EXPECT_TRUE(HasBinding(kTopicExchange, "marketing.#", "marketing"));
}

TEST(Topology, LeavesTheKeysOfTheDirectExchangeToTheCatalogue) {
  EXPECT_FALSE(absl::c_any_of(CarillonTopology().bindings,
                              [](const BindingSpec& binding) { return binding.exchange == kDirectExchange; }));
}

TEST(Topology, KnowsTheExchangeOfALane) {
  EXPECT_EQ(ExchangeOf(Lane::kPayment), "carillon.topic");
  EXPECT_EQ(ExchangeOf(Lane::kMarketing), "carillon.topic");
  EXPECT_EQ(ExchangeOf(Lane::kSocial), "carillon.direct");
  EXPECT_EQ(ExchangeOf(Lane::kOtp), "carillon.direct");
  EXPECT_EQ(ExchangeOf(Lane::kFanout), "");
}

TEST(Topology, LeadsARoutingKeyToItsOwnQueueOrToThatOfItsLane) {
  EXPECT_EQ(QueueForRoutingKey(Lane::kSocial, "social.like"), "social.like");
  EXPECT_EQ(QueueForRoutingKey(Lane::kSocial, "social.comment"), "social");
  EXPECT_EQ(QueueForRoutingKey(Lane::kSocial, "social.email"), "social");
  EXPECT_EQ(QueueForRoutingKey(Lane::kOtp, "otp.login"), "otp");
  EXPECT_EQ(QueueForRoutingKey(Lane::kPayment, "payment.receipt"), "payment");
  EXPECT_EQ(QueueForRoutingKey(Lane::kMarketing, "marketing"), "marketing");
  EXPECT_EQ(QueueForRoutingKey(Lane::kFanout, "fanout.marketing"), "fanout.marketing");
  EXPECT_EQ(QueueForRoutingKey(Lane::kFanout, "fanout.other"), "fanout.social");
}

TEST(Topology, KnowsTheQueuesOfALanesWorker) {
  EXPECT_THAT(LaneQueues(Lane::kPayment), ElementsAre("payment"));
  EXPECT_THAT(LaneQueues(Lane::kSocial), ElementsAre("social.follow", "social.like", "social.chat", "social"));
  for (Lane lane : kAllLanes) {
    for (const std::string& queue : LaneQueues(lane)) EXPECT_NE(FindQueue(queue), nullptr) << queue;
  }
}

TEST(Topology, KnowsTheQueuesOfALanesSecondHop) {
  EXPECT_THAT(DeliveryQueues(Lane::kOtp), ElementsAre("otp.email", "otp.sms", "otp.apns", "otp.fcm", "otp.webhook"));
  EXPECT_THAT(DeliveryQueues(Lane::kFanout), IsEmpty());
  for (Lane lane : kAllLanes) {
    for (const std::string& queue : DeliveryQueues(lane)) {
      ASSERT_NE(FindQueue(queue), nullptr) << queue;
      EXPECT_EQ(FindQueue(queue)->lane, lane);
      EXPECT_TRUE(HasBinding(kDeliveryExchange, queue, queue));
    }
  }
}

TEST(Topology, KnowsTheChannelOfAQueueOfASecondHop) {
  for (Lane lane : {Lane::kPayment, Lane::kOtp, Lane::kSocial, Lane::kMarketing}) {
    for (Channel channel : kExternalChannels) EXPECT_EQ(ChannelOfQueue(DeliveryQueue(lane, channel)), channel);
    for (const std::string& queue : LaneQueues(lane)) EXPECT_EQ(ChannelOfQueue(queue), std::nullopt) << queue;
  }
  for (const char* other : {"", "email", "fanout.email", "payment.in_app", "payment.email.dlq", "fanout.social"}) {
    EXPECT_EQ(ChannelOfQueue(other), std::nullopt) << other;
  }
}

TEST(Topology, KnowsTheLaneOfAQueue) {
  EXPECT_EQ(LaneOfQueue("social.like"), Lane::kSocial);
  EXPECT_EQ(LaneOfQueue("otp.sms.dlq"), Lane::kOtp);
  EXPECT_EQ(LaneOfQueue("fanout.retry.20"), Lane::kFanout);
  EXPECT_EQ(LaneOfQueue("unrouted"), std::nullopt);
  EXPECT_EQ(LaneOfQueue("social.comment"), std::nullopt);
}

}  // namespace
}  // namespace carillon
