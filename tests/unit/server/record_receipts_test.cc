#include "server/api/record_receipts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "server/api/record_interaction.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kSomeId[] = "0192f0c1-0000-7000-8000-000000000001";
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::Receipt GoodReceipt() {
  v1::Receipt receipt;
  receipt.set_notification_id(kSomeId);
  receipt.set_delivery_id(kSomeId);
  receipt.set_state(v1::DELIVERY_STATE_UNDELIVERED);
  return receipt;
}

std::vector<std::string> FieldsOf(const absl::Status& status) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : DetailsOf(status).violations) fields.push_back(violation.field);
  return fields;
}

std::vector<std::string> FaultsOf(const std::function<void(v1::Receipt&)>& change) {
  v1::RecordReceiptsRequest request;
  *request.add_receipts() = GoodReceipt();
  *request.add_receipts() = GoodReceipt();
  change(*request.mutable_receipts(1));
  Violations violations;
  PrepareReceipts(request, AppId(7), kNow, violations);
  return FieldsOf(violations.ToStatus());
}

TEST(PrepareReceipts, TakesWhatIsRight) {
  v1::RecordReceiptsRequest request;
  *request.add_receipts() = GoodReceipt();
  v1::Receipt& named = *request.add_receipts();
  named.set_provider_message_id("SM1");
  named.set_channel(v1::CHANNEL_SMS);
  named.set_state(v1::DELIVERY_STATE_DELIVERED);
  named.set_suppress_address(true);
  named.set_code("21610");
  named.mutable_time()->set_seconds(5);
  Violations violations;
  const std::vector<DeliveryReceipt> receipts = PrepareReceipts(request, AppId(7), kNow, violations);
  ASSERT_TRUE(violations.empty());
  ASSERT_THAT(receipts, SizeIs(2));
  EXPECT_EQ(receipts[0].app, AppId(7));
  EXPECT_EQ(receipts[0].delivery->ToString(), kSomeId);
  EXPECT_EQ(receipts[0].state, DeliveryState::kUndelivered);
  EXPECT_EQ(receipts[0].time, kNow);
  EXPECT_EQ(receipts[0].suppress_reason, "");
  EXPECT_EQ(receipts[1].notification, std::nullopt);
  EXPECT_EQ(receipts[1].channel, Channel::kSms);
  EXPECT_EQ(receipts[1].time, absl::FromUnixSeconds(5));
  EXPECT_EQ(receipts[1].suppress_reason, "reported by a receipt: 21610");
}

TEST(PrepareReceipts, MaskWhomAnErrorNames) {
  v1::RecordReceiptsRequest request;
  *request.add_receipts() = GoodReceipt();
  request.mutable_receipts(0)->set_error("ann@example.org does not exist");
  request.mutable_receipts(0)->set_suppress_address(true);
  Violations violations;
  const std::vector<DeliveryReceipt> receipts = PrepareReceipts(request, AppId(7), kNow, violations);
  ASSERT_THAT(receipts, SizeIs(1));
  EXPECT_EQ(receipts[0].error, "*** does not exist");
  EXPECT_EQ(receipts[0].suppress_reason, "*** does not exist");
}

TEST(PrepareReceipts, NamesEveryFieldThatIsWrong) {
  EXPECT_THAT(FaultsOf([](v1::Receipt&) {}), IsEmpty());
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.set_delivery_id("x"); }), ElementsAre("receipts[1].delivery_id"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.clear_notification_id(); }), ElementsAre("receipts[1].notification_id"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) {
                r.clear_notification_id();
                r.clear_delivery_id();
              }),
              ElementsAre("receipts[1].provider_message_id", "receipts[1].channel"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.set_channel(v1::CHANNEL_IN_APP); }), ElementsAre("receipts[1].channel"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.set_state(v1::DELIVERY_STATE_SENT); }), ElementsAre("receipts[1].state"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.clear_state(); }), ElementsAre("receipts[1].state"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.set_code(std::string(101, 'c')); }), ElementsAre("receipts[1].code"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.set_error(std::string(1001, 'e')); }), ElementsAre("receipts[1].error"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.mutable_time()->set_seconds(-1); }), ElementsAre("receipts[1].time"));
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.mutable_time()->set_nanos(1'000'000'000); }),
              ElementsAre("receipts[1].time"));
}

TEST(PrepareReceipts, PutsTheProvidersWordsOnOneLine) {
  v1::RecordReceiptsRequest request;
  *request.add_receipts() = GoodReceipt();
  request.mutable_receipts(0)->set_error("550 5.1.1\r\nno such\tuser");
  request.mutable_receipts(0)->set_suppress_address(true);
  Violations violations;
  const std::vector<DeliveryReceipt> receipts = PrepareReceipts(request, AppId(7), kNow, violations);
  ASSERT_TRUE(violations.empty());
  EXPECT_EQ(receipts[0].error, "550 5.1.1  no such user");
  EXPECT_EQ(receipts[0].suppress_reason, receipts[0].error);
  EXPECT_THAT(FaultsOf([](v1::Receipt& r) { r.set_code("a\nb"); }), ElementsAre("receipts[1].code"));
}

TEST(PrepareReceipts, TakesOneToAThousand) {
  for (const int count : {0, 1, 1000, 1001}) {
    v1::RecordReceiptsRequest request;
    for (int i = 0; i < count; ++i) *request.add_receipts() = GoodReceipt();
    Violations violations;
    const size_t prepared = PrepareReceipts(request, AppId(7), kNow, violations).size();
    EXPECT_EQ(violations.empty(), count == 1 || count == 1000) << count;
    EXPECT_EQ(prepared, violations.empty() ? count : 0u);
  }
}

v1::RecordInteractionRequest GoodInteraction() {
  v1::RecordInteractionRequest request;
  request.set_user_id("ann");
  request.set_notification_id(kSomeId);
  request.set_kind(v1::INTERACTION_KIND_CLICKED);
  return request;
}

TEST(PrepareInteraction, TakesWhatIsRightAndMeansTheAppWhereNoChannelIsNamed) {
  v1::RecordInteractionRequest request = GoodInteraction();
  ASSERT_OK_AND_ASSIGN(const Interaction in_app, PrepareInteraction(request, AppId(7)));
  EXPECT_EQ(in_app.app, AppId(7));
  EXPECT_EQ(in_app.recipient, "ann");
  EXPECT_EQ(in_app.channel, Channel::kInApp);
  EXPECT_EQ(in_app.kind, InteractionKind::kClicked);
  request.set_channel(v1::CHANNEL_FCM);
  request.set_kind(v1::INTERACTION_KIND_OPENED);
  ASSERT_OK_AND_ASSIGN(const Interaction pushed, PrepareInteraction(request, AppId(7)));
  EXPECT_EQ(pushed.channel, Channel::kFcm);
  EXPECT_EQ(pushed.kind, InteractionKind::kOpened);
}

TEST(PrepareInteraction, NamesEveryFieldThatIsWrong) {
  v1::RecordInteractionRequest request;
  request.set_channel(static_cast<v1::Channel>(77));
  EXPECT_THAT(FieldsOf(PrepareInteraction(request, AppId(7)).status()),
              ElementsAre("user_id", "notification_id", "kind", "channel"));
  request = GoodInteraction();
  request.set_kind(static_cast<v1::InteractionKind>(9));
  EXPECT_THAT(FieldsOf(PrepareInteraction(request, AppId(7)).status()), ElementsAre("kind"));
}

}  // namespace
}  // namespace carillon
