#include "server/api/type_policy.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::IsOk;

v1::Type Type(const std::string& text) {
  v1::Type type;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &type)) << text;
  return type;
}

DeliveryPolicy Checked(const std::string& text) {
  Violations violations;
  DeliveryPolicy policy = CheckPolicy(Type(text), Lane::kSocial, violations);
  EXPECT_THAT(violations.ToStatus(), IsOk()) << text;
  return policy;
}

std::vector<std::string> Refused(const std::string& text, Lane lane = Lane::kSocial) {
  Violations violations;
  CheckPolicy(Type(text), lane, violations);
  std::vector<std::string> fields;
  for (const FieldViolation& violation : DetailsOf(violations.ToStatus()).violations) {
    fields.push_back(violation.field);
  }
  return fields;
}

constexpr char kCap[] = "caps {channel: CHANNEL_EMAIL limit: 3 window {seconds: 3600}}";

TEST(TypePolicy, IsTheDefaultIfNothingIsSaid) { EXPECT_EQ(Checked(""), DeliveryPolicy()); }

TEST(TypePolicy, ComesBackAsItWasGiven) {
  const std::string text =
      "category: 'people' required: true caps {channel: CHANNEL_APNS limit: 1000 window {seconds: 2678400}}"
      "caps {channel: CHANNEL_APNS limit: 1 window {seconds: 1}} cap_overflow: OVERFLOW_IN_APP_ONLY"
      " quiet_overflow: OVERFLOW_DIGEST"
      " aggregation {window {seconds: 60} sliding: true max_window {seconds: 60}}";
  const DeliveryPolicy policy = Checked(text);
  EXPECT_EQ(policy.category, "people");
  EXPECT_TRUE(policy.required);
  EXPECT_THAT(policy.caps,
              ElementsAre(Cap{Channel::kApns, 1000, absl::Hours(31 * 24)}, Cap{Channel::kApns, 1, absl::Seconds(1)}));
  EXPECT_EQ(policy.cap_overflow, Overflow::kInAppOnly);
  EXPECT_EQ(policy.quiet_overflow, Overflow::kDigest);
  EXPECT_EQ(policy.aggregation, (Aggregation{absl::Minutes(1), true, absl::Minutes(1)}));
  v1::Type back;
  PolicyToProto(policy, &back);
  EXPECT_EQ(back.SerializeAsString(), Type(text).SerializeAsString());
}

TEST(TypePolicy, SaysWhatTheDefaultsAre) {
  v1::Type back;
  PolicyToProto(Checked("aggregation {window {seconds: 5}}"), &back);
  EXPECT_EQ(back.cap_overflow(), v1::OVERFLOW_DROP);
  EXPECT_EQ(back.quiet_overflow(), v1::OVERFLOW_HOLD);
  EXPECT_FALSE(back.aggregation().has_max_window());
}

TEST(TypePolicy, HasACategoryThatIsAName) {
  EXPECT_THAT(Refused("category: 'For You'"), ElementsAre("category"));
  EXPECT_THAT(Refused(absl::StrCat("category: '", std::string(101, 'a'), "'")), ElementsAre("category"));
}

TEST(TypePolicy, CapsExternalChannelsWithinBounds) {
  EXPECT_THAT(Refused("caps {channel: CHANNEL_IN_APP limit: 1 window {seconds: 1}} caps {limit: 0}"
                      "caps {channel: 99 limit: 1001 window {seconds: 2678401}}"
                      "caps {channel: CHANNEL_SMS limit: 1 window {seconds: 1 nanos: 5}}"),
              ElementsAre("caps[0].channel", "caps[1].channel", "caps[1].limit", "caps[1].window", "caps[2].channel",
                          "caps[2].limit", "caps[2].window", "caps[3].window"));
}

TEST(TypePolicy, HasTenCapsAtMost) {
  std::string caps;
  for (int i = 0; i < 10; ++i) caps += kCap;
  EXPECT_THAT(Refused(caps), IsEmpty());
  EXPECT_THAT(Refused(caps + kCap), ElementsAre("caps"));
}

TEST(TypePolicy, NeverCapsWhatMustArrive) {
  EXPECT_THAT(Refused(absl::StrCat(kCap, "critical: true")), ElementsAre("caps"));
  EXPECT_THAT(Refused(kCap, Lane::kPayment), ElementsAre("caps"));
  EXPECT_THAT(Refused(kCap, Lane::kOtp), ElementsAre("caps"));
  EXPECT_THAT(Refused(kCap, Lane::kMarketing), IsEmpty());
}

TEST(TypePolicy, KnowsEveryOverflowAndNoOther) {
  for (const char* overflow : {"DROP", "HOLD", "DIGEST", "IN_APP_ONLY"}) {
    EXPECT_THAT(Refused(absl::StrCat("cap_overflow: OVERFLOW_", overflow, " quiet_overflow: OVERFLOW_", overflow)),
                IsEmpty());
  }
  EXPECT_THAT(Refused("cap_overflow: 9 quiet_overflow: -1"), ElementsAre("cap_overflow", "quiet_overflow"));
}

TEST(TypePolicy, AggregatesSocialTypesOnly) {
  for (const Lane lane : {Lane::kPayment, Lane::kOtp, Lane::kMarketing}) {
    EXPECT_THAT(Refused("aggregation {window {seconds: 5}}", lane), ElementsAre("aggregation"));
  }
}

TEST(TypePolicy, BoundsASlidingWindowAndOnlyThat) {
  EXPECT_THAT(Refused("aggregation {}"), ElementsAre("aggregation.window"));
  EXPECT_THAT(Refused("aggregation {window {seconds: 5} sliding: true}"), ElementsAre("aggregation.max_window"));
  EXPECT_THAT(Refused("aggregation {window {seconds: 5} max_window {seconds: 9}}"),
              ElementsAre("aggregation.max_window"));
  EXPECT_THAT(Refused("aggregation {window {seconds: 5} sliding: true max_window {seconds: 4}}"),
              ElementsAre("aggregation.max_window"));
  EXPECT_THAT(Refused("aggregation {window {seconds: 5} sliding: true max_window {seconds: 2678401}}"),
              ElementsAre("aggregation.max_window"));
}

}  // namespace
}  // namespace carillon
