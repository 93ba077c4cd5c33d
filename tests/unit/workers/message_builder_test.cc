#include "workers/delivery/message_builder.h"

#include <gtest/gtest.h>

#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/delivery_fakes.h"

namespace carillon::testing {
namespace {

class MessageBuilderTest : public ::testing::Test {
 protected:
  MessageBuilderTest() {
    type_.name = "like";
    type_.channels = {Channel::kFcm};
    type_.in_app.title = "{{data.summary}} liked your post";
    type_.policy.aggregation = Aggregation{.window = absl::Minutes(5), .sliding = false, .max_window = {}};
  }

  Delivery To(const std::string& recipient, const std::string& object) {
    Delivery delivery{
        .id = NewUuid7(absl::Now()), .channel = Channel::kFcm, .device_id = "phone", .item = {}, .decide_time = {}};
    delivery.item.id = NewUuid7(absl::Now());
    delivery.item.app = AppId(7);
    delivery.item.type = "like";
    delivery.item.recipient = RecipientId(recipient);
    delivery.item.actor_id = "bob";
    delivery.item.object_id = object;
    delivery.item.data_json = R"({"summary":"Ana and 19 others"})";
    return delivery;
  }
  std::string CollapseId(const Delivery& delivery) {
    ClaimResult claim;
    claim.address = "token";
    const absl::StatusOr<ProviderMessage> message = providers_.builder.Build(delivery, type_, claim);
    EXPECT_OK(message);
    return message.ok() ? message->collapse_id : "";
  }

  NotificationType type_;
  Providers providers_;
};

TEST_F(MessageBuilderTest, LetsAGroupsNextMessageTakeThePlaceOfTheOneBefore) {
  const std::string first = CollapseId(To("ann", "post-1"));
  EXPECT_EQ(CollapseId(To("ann", "post-1")), first);
  EXPECT_TRUE(Uuid::Parse(first).has_value()) << first;
  EXPECT_NE(CollapseId(To("ann", "post-2")), first);
  EXPECT_NE(CollapseId(To("ben", "post-1")), first);
}

TEST_F(MessageBuilderTest, LetsWhatStandsAloneTakeOnlyItsOwnPlace) {
  type_.policy.aggregation.reset();
  const Delivery delivery = To("ann", "post-1");
  EXPECT_EQ(CollapseId(delivery), delivery.item.id.ToString());
}

}  // namespace
}  // namespace carillon::testing
