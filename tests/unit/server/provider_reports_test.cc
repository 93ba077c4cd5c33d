#include "server/callbacks/provider_reports.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;
using ::testing::SizeIs;
using testing::StatusIs;

struct ReportCase {
  const char* input;
  std::optional<DeliveryState> state;
  const char* code = "";
  const char* suppress_reason = "";
};

constexpr auto kArrived = DeliveryState::kDelivered;
constexpr auto kLost = DeliveryState::kUndelivered;

void ExpectReport(const ReportCase& expected, const absl::StatusOr<ProviderReport>& report) {
  ASSERT_OK(report) << expected.input;
  EXPECT_EQ(report->state, expected.state) << expected.input;
  EXPECT_EQ(report->code, expected.code) << expected.input;
  EXPECT_EQ(report->suppress_reason, expected.suppress_reason) << expected.input;
}

TEST(TwilioReport, SaysWhatBecameOfAMessage) {
  for (const ReportCase& expected : std::vector<ReportCase>{
           {"MessageSid=SM1&MessageStatus=delivered", kArrived},
           {"MessageSid=SM1&MessageStatus=read", kArrived},
           {"MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30003", kLost, "30003"},
           {"MessageSid=SM1&MessageStatus=failed&ErrorCode=30008", kLost, "30008"},
           {"MessageSid=SM1&MessageStatus=failed&ErrorCode=21610", kLost, "21610", "opted out: 21610"},
           {"MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30004", kLost, "30004"},
           {"MessageSid=SM1&MessageStatus=queued", std::nullopt},
           {"MessageSid=SM1&MessageStatus=sending", std::nullopt},
           {"MessageSid=SM1&MessageStatus=sent", std::nullopt}}) {
    const absl::StatusOr<ProviderReport> report = ParseTwilioReport(*ParseUrlEncoded(expected.input));
    ExpectReport(expected, report);
    EXPECT_EQ(report->provider_message_id, "SM1");
    EXPECT_EQ(report->counts(), expected.state.has_value());
  }
  EXPECT_THAT(ParseTwilioReport({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(TwilioReport, TellsWhenTheSenderIsNotLetThrough) {
  for (const char* code : {"30002", "30007", "30003", "30004", "21610"}) {
    const absl::StatusOr<ProviderReport> report =
        ParseTwilioReport({{"MessageStatus", "undelivered"}, {"ErrorCode", code}});
    ASSERT_OK(report);
    EXPECT_EQ(report->blames_sender, absl::StrContains("30002 30007", code)) << code;
  }
}

TEST(TwilioReport, TellsWhenAHandsetMayBeReachedLater) {
  for (const char* code : {"30001", "30003", "30008", "30002", "30004", "30005", "30006", "30007", "30036", "21610"}) {
    const absl::StatusOr<ProviderReport> report =
        ParseTwilioReport({{"MessageStatus", "undelivered"}, {"ErrorCode", code}});
    ASSERT_OK(report);
    EXPECT_EQ(report->worth_another_try, absl::StrContains("30001 30003 30008", code)) << code;
  }
}

TEST(VonageReport, SaysWhatBecameOfAMessage) {
  for (const ReportCase& expected : std::vector<ReportCase>{
           {"messageId=0A1&status=delivered&err-code=0", kArrived},
           {"messageId=0A1&status=failed&err-code=2", kLost, "2"},
           {"messageId=0A1&status=expired&err-code=1", kLost, "1"},
           {"messageId=0A1&status=rejected&err-code=4", kLost, "4", "opted out: 4"},
           {"messageId=0A1&status=failed&err-code=9", kLost, "9", "opted out: 9"},
           {"messageId=0A1&status=failed&err-code=3", kLost, "3", "the number is not in use any more: 3"},
           {"messageId=0A1&status=accepted&err-code=0", std::nullopt},
           {"messageId=0A1&status=buffered", std::nullopt}}) {
    const absl::StatusOr<ProviderReport> report = ParseVonageReport(*ParseUrlEncoded(expected.input));
    ExpectReport(expected, report);
    EXPECT_EQ(report->provider_message_id, "0A1");
  }
  EXPECT_THAT(ParseVonageReport({}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(VonageReport, TellsWhenAHandsetMayBeReachedLater) {
  for (const std::string code : {"1", "2", "3", "4", "5", "6", "7", "8", "9", "99"}) {
    const absl::StatusOr<ProviderReport> report = ParseVonageReport({{"status", "failed"}, {"err-code", code}});
    ASSERT_OK(report);
    EXPECT_EQ(report->worth_another_try, code == "2" || code == "7" || code == "8") << code;
  }
}

TEST(VonageReport, ComesAsJsonToo) {
  ASSERT_OK_AND_ASSIGN(const FormFields fields,
                       ParseFlatJson(R"({"messageId": "0A1", "status": "failed", "err-code": 6, "other": [1]})"));
  ExpectReport({"json", kLost, "6"}, ParseVonageReport(fields));
  for (const char* broken : {"", "[]", "{", "7", "\"text\"", "{\"a\":\"\xff\"}"}) {
    EXPECT_THAT(ParseFlatJson(broken), StatusIs(absl::StatusCode::kInvalidArgument)) << broken;
  }
}

TEST(SendGridEvents, SayWhatBecameOfAMessage) {
  for (const ReportCase& expected : std::vector<ReportCase>{
           {R"({"event": "delivered"})", kArrived},
           {R"({"event": "bounce", "type": "bounce", "status": "5.1.1"})", kLost, "5.1.1", "hard bounce"},
           {R"({"event": "bounce", "type": "blocked", "status": "5.7.1"})", kLost, "5.7.1"},
           {R"({"event": "dropped", "reason": "Bounced Address"})", kLost},
           {R"({"event": "deferred"})", std::nullopt},
           {R"({"event": "processed"})", std::nullopt},
           {R"({"event": "spamreport"})", std::nullopt, "", "reported as spam"},
           {R"({"event": "unsubscribe"})", std::nullopt, "", "unsubscribed"},
           {R"({"event": "group_unsubscribe"})", std::nullopt, "", "unsubscribed"},
           {R"({"event": 5})", std::nullopt}}) {
    const auto events = ParseSendGridEvents(absl::StrCat("[", expected.input, "]"));
    ASSERT_OK(events) << expected.input;
    ASSERT_THAT(*events, SizeIs(1)) << expected.input;
    ExpectReport(expected, events->front().report);
    EXPECT_EQ(events->front().report.suppress_type_only, absl::StrContains(expected.input, "unsubscribe"));
    EXPECT_EQ(events->front().interaction, std::nullopt);
  }
}

TEST(SendGridEvents, CarryTokenTimeAndTheIdOfTheSend) {
  ASSERT_OK_AND_ASSIGN(const auto events, ParseSendGridEvents(R"([
    {"event": "delivered", "carillon": "token-1", "timestamp": 1700000000,
     "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0"},
    {"event": "open", "carillon": "token-2", "sg_message_id": "kMYHvSFgSw.recvd-7b5c8-zrkkc-1-6", "timestamp": -1},
    {"event": "click", "timestamp": "soon"}])"));
  ASSERT_THAT(events, SizeIs(3));
  EXPECT_EQ(events[0].token, "token-1");
  EXPECT_EQ(events[0].report.time, absl::FromUnixSeconds(1'700'000'000));
  EXPECT_EQ(events[0].report.provider_message_id, "14c5d75ce93.dfd.64b469");
  EXPECT_EQ(events[1].interaction, InteractionKind::kOpened);
  EXPECT_EQ(events[1].report.provider_message_id, "kMYHvSFgSw");
  EXPECT_EQ(events[1].report.time, std::nullopt);
  EXPECT_EQ(events[2].interaction, InteractionKind::kClicked);
  EXPECT_EQ(events[2].token, "");
}

TEST(SendGridEvents, ArePickedFromWhatIsNone) {
  ASSERT_OK_AND_ASSIGN(const auto events, ParseSendGridEvents(R"([7, "text", {"carillon": "token"}, [], null])"));
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].token, "token");
}

TEST(SendGridEvents, AreTenThousandAtMost) {
  std::string json = "[0";
  for (int i = 1; i < 10'000; ++i) json += ",0";
  EXPECT_OK(ParseSendGridEvents(json + "]"));
  EXPECT_THAT(ParseSendGridEvents(json + ",0]"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("10000")));
}

TEST(SendGridEvents, MustBeAnArray) {
  for (const char* broken : {"", "{}", "[", "null", "[{]"}) {
    EXPECT_THAT(ParseSendGridEvents(broken), StatusIs(absl::StatusCode::kInvalidArgument)) << broken;
  }
}

}  // namespace
}  // namespace carillon
