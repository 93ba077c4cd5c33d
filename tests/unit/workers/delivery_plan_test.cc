#include "carillon/channels/delivery_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "carillon/wire/envelope.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/lane_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'500);

Notification For(std::vector<Channel> channels) {
  Notification item = Item("ann");
  item.channels = std::move(channels);
  return item;
}

Contacts WithEverything() {
  return {.has_email = true,
          .has_phone = true,
          .devices = {{.id = "phone", .channel = Channel::kApns, .token = "", .register_time = {}},
                      {.id = "tablet", .channel = Channel::kApns, .token = "", .register_time = {}},
                      {.id = "watch", .channel = Channel::kFcm, .token = "", .register_time = {}}}};
}

// As if nothing had been said.
std::vector<NewDelivery> Plan(const Notification& item, const Contacts& contacts) {
  Decision decision;
  decision.time = kNow;
  for (const Channel channel : item.channels) {
    decision.channels.push_back({.channel = channel, .outcome = Outcome::kSend, .until = {}, .rules = {}});
  }
  return PlanDeliveries(item, contacts, decision, kNow);
}

void ExpectPending(const NewDelivery& delivery, const Notification& item, Channel channel, const std::string& device) {
  EXPECT_EQ(delivery.fate.state, DeliveryState::kPending);
  EXPECT_EQ(delivery.channel, channel);
  EXPECT_EQ(delivery.device_id, device);
  EXPECT_EQ(delivery.fate.detail, "");
  EXPECT_EQ(delivery.id.time(), kNow);
  ASSERT_OK_AND_ASSIGN(const EnvelopeContents contents, DecodeContents(delivery.envelope));
  ASSERT_THAT(contents.deliveries, SizeIs(1));
  EXPECT_EQ(contents.deliveries[0].id, delivery.id);
  EXPECT_EQ(contents.deliveries[0].channel, channel);
  EXPECT_EQ(contents.deliveries[0].device_id, device);
  EXPECT_EQ(contents.deliveries[0].item.id, item.id);
}

TEST(DeliveryPlan, BeginsNothingForTheFeed) {
  EXPECT_FALSE(GoesOutside({}));
  EXPECT_FALSE(GoesOutside({Channel::kInApp}));
  EXPECT_THAT(Plan(For({Channel::kInApp}), WithEverything()), IsEmpty());
}

TEST(DeliveryPlan, BeginsOneDeliveryAChannelAndOneADevice) {
  const Notification item = For({Channel::kInApp, Channel::kEmail, Channel::kSms, Channel::kApns, Channel::kFcm});
  EXPECT_TRUE(GoesOutside(item.channels));
  const std::vector<NewDelivery> plan = Plan(item, WithEverything());
  ASSERT_THAT(plan, SizeIs(5));
  ExpectPending(plan[0], item, Channel::kEmail, "");
  ExpectPending(plan[1], item, Channel::kSms, "");
  ExpectPending(plan[2], item, Channel::kApns, "phone");
  ExpectPending(plan[3], item, Channel::kApns, "tablet");
  ExpectPending(plan[4], item, Channel::kFcm, "watch");
  std::set<Uuid> ids;
  for (const NewDelivery& one : plan) ids.insert(one.id);
  EXPECT_THAT(ids, SizeIs(5));
}

TEST(DeliveryPlan, SuppressesWhatCantBeReachedAndSaysWhy) {
  const std::vector<NewDelivery> plan = Plan(For({Channel::kEmail, Channel::kSms, Channel::kApns, Channel::kFcm}), {});
  ASSERT_THAT(plan, SizeIs(4));
  const char* const reasons[] = {"no e-mail address", "no phone number", "no such device", "no such device"};
  for (size_t i = 0; i < plan.size(); ++i) {
    EXPECT_EQ(plan[i].fate.state, DeliveryState::kSuppressed);
    EXPECT_THAT(plan[i].fate.detail, HasSubstr(reasons[i]));
    EXPECT_EQ(plan[i].envelope, "");
  }
}

TEST(DeliveryPlan, NeedsNoContactForAWebhook) {
  const Notification item = For({Channel::kWebhook});
  const std::vector<NewDelivery> plan = Plan(item, {});
  ASSERT_THAT(plan, SizeIs(1));
  ExpectPending(plan[0], item, Channel::kWebhook, "");
}

}  // namespace
}  // namespace carillon::testing
