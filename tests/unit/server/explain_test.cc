#include "server/api/explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Wed 25 Nov 2026 23:30 in Berlin.
const absl::Time kAccepted = absl::FromUnixSeconds(1'795'645'800);
const absl::Time kDecided = kAccepted + absl::Seconds(1);
const absl::Time kMorning = kAccepted + absl::Minutes(450);
const Uuid kId = NewUuid7(kAccepted);

// "gate outcome: detail".
std::vector<std::string> Lines(const google::protobuf::RepeatedPtrField<v1::ExplainedStep>& steps) {
  std::vector<std::string> lines;
  for (const v1::ExplainedStep& step : steps) {
    lines.push_back(absl::StrCat(step.gate(), " ", step.outcome(), ": ", step.detail()));
  }
  return lines;
}

TrailEntry Entry(Outcome outcome, std::vector<Rule> rules, absl::Time time = kDecided) {
  return {.time = time, .decision = {.channel = Channel::kEmail, .outcome = outcome, .until = {}, .rules = rules}};
}

Rule QuietUntilMorning() { return {.gate = Rule::Gate::kQuietHours, .level = "hold", .until = kMorning}; }

DeliveryAttempt Call(const std::string& provider, AttemptOutcome outcome, const std::string& code) {
  return {.provider = provider,
          .time = kDecided,
          .outcome = outcome,
          .code = code,
          .error = {},
          .latency = absl::Milliseconds(7),
          .provider_message_id = {}};
}

// A notification that came by the door to ann in Berlin, and is on its way.
class Explanation : public ::testing::Test {
 protected:
  Explanation() {
    record_.notification.id = kId;
    record_.notification.type = "comment";
    record_.notification.recipient = RecipientId("ann");
    record_.notification.channels = {Channel::kEmail};
    record_.notification.create_time = kAccepted;
    record_.state = State::kQueued;
    facts_.came_by_door = true;
    facts_.time_zone = "Europe/Berlin";
  }

  DeliveryRecord& AddDelivery(DeliveryState state, const std::string& detail = "", Channel channel = Channel::kEmail) {
    DeliveryRecord& delivery = deliveries_.emplace_back();
    delivery.id = NewUuid7(kDecided);
    delivery.channel = channel;
    delivery.state = state;
    delivery.detail = detail;
    delivery.create_time = kDecided;
    if (IsTerminal(state)) delivery.finish_time = kDecided;
    return delivery;
  }
  DeliveryFacts& FactsOf(const DeliveryRecord& delivery) { return facts_.deliveries[delivery.id]; }

  v1::ExplainNotificationResponse Explain(bool critical = false) {
    v1::ExplainNotificationResponse response;
    FillExplanation({.record = record_, .deliveries = deliveries_, .facts = facts_, .critical = critical}, &response);
    return response;
  }
  // Of the only channel.
  v1::ExplainedChannel OnlyChannel(bool critical = false) {
    const v1::ExplainNotificationResponse response = Explain(critical);
    EXPECT_THAT(response.channels(), SizeIs(1)) << response.DebugString();
    return response.channels_size() == 1 ? response.channels(0) : v1::ExplainedChannel();
  }

  NotificationRecord record_;
  std::vector<DeliveryRecord> deliveries_;
  NotificationFacts facts_;
};

TEST_F(Explanation, BeginsAtTheDoorWithKeyAndTtl) {
  record_.idempotency_key = "order-17";
  record_.notification.expire_time = kMorning;
  const v1::ExplainNotificationResponse response = Explain();
  EXPECT_EQ(response.time_zone(), "Europe/Berlin");
  EXPECT_THAT(
      Lines(response.steps()),
      ElementsAre("door passed: accepted, the first with the key \"order-17\": repeats within 24 h are answered "
                  "with it; its ttl ends Thu 26 Nov 2026 07:00 +01:00"));
  EXPECT_EQ(response.steps(0).time().seconds(), absl::ToUnixSeconds(kAccepted));
}

TEST_F(Explanation, SaysOfWhatHadNoKeyAndNoTtlThatItHadNone) {
  EXPECT_THAT(Lines(Explain().steps()), ElementsAre("door passed: accepted without an idempotency key; no ttl"));
}

TEST_F(Explanation, TellsOfEventsThatTheyCameByNoDoor) {
  facts_.came_by_door = false;
  EXPECT_THAT(Lines(Explain().steps()), ElementsAre(HasSubstr("told by an event or by reactions")));
}

TEST_F(Explanation, OfWhatIsNotDecidedSaysSo) {
  record_.notification.channels = {Channel::kInApp, Channel::kEmail};
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  for (const v1::ExplainedChannel& channel : response.channels()) {
    EXPECT_EQ(channel.outcome(), "undecided");
    EXPECT_THAT(Lines(channel.steps()), ElementsAre("decision undecided: it is not decided yet: it is queued"));
  }
}

TEST_F(Explanation, ShowsItsSendTimeBeforeAndAfterItHasCome) {
  record_.state = State::kScheduled;
  record_.notification.send_time = kMorning;
  v1::ExplainNotificationResponse response = Explain();
  EXPECT_THAT(
      Lines(response.steps()),
      ElementsAre(HasSubstr("door"), "schedule held: it waits for its send_time: Thu 26 Nov 2026 07:00 +01:00"));
  EXPECT_EQ(response.steps(1).until().seconds(), absl::ToUnixSeconds(kMorning));
  EXPECT_EQ(response.channels(0).outcome(), "undecided");
  record_.state = State::kQueued;
  record_.release_time = kMorning + absl::Seconds(1);
  response = Explain();
  EXPECT_EQ(Lines(response.steps())[1], "schedule passed: its send_time had come: Thu 26 Nov 2026 07:00 +01:00");
  EXPECT_EQ(response.steps(1).time().seconds(), absl::ToUnixSeconds(kMorning) + 1);
  EXPECT_FALSE(response.steps(1).has_until());
}

TEST_F(Explanation, CountsFailedAttemptsOfAWorkerAndItsDeadLetters) {
  record_.state = State::kDead;
  record_.detail = "broken";
  record_.finish_time = kMorning;
  record_.history = {{kDecided, 1, "broken"}};
  facts_.dead_letters = {{.message_id = kId.ToString(),
                          .queue = "social.dlq",
                          .state = "dead",
                          .reason = "rejected",
                          .error = "broken",
                          .dead_time = kMorning}};
  const v1::ExplainNotificationResponse response = Explain();
  EXPECT_THAT(Lines(response.steps()), ElementsAre(HasSubstr("door"), "attempt retried: attempt 1 failed: broken",
                                                   "dead_letter dead: social.dlq: rejected: broken"));
  EXPECT_EQ(response.channels(0).outcome(), "dead");
}

TEST_F(Explanation, OfWhatWasCancelledNamesNoOtherReason) {
  record_.state = State::kCancelled;
  record_.finish_time = kDecided;
  record_.detail = "cancelled by the caller";
  EXPECT_THAT(Lines(Explain().steps()),
              ElementsAre(HasSubstr("door"), "cancellation cancelled: cancelled by the caller"));
  EXPECT_EQ(OnlyChannel().outcome(), "cancelled");
  EXPECT_THAT(Lines(OnlyChannel().steps()),
              ElementsAre("cancellation cancelled: it was cancelled before it was decided"));
}

TEST_F(Explanation, OfAHoldNamesTheRuleTheTimeAndWhenItIsDecidedAgain) {
  DeliveryRecord& delivery = AddDelivery(DeliveryState::kHeld, "quiet hours");
  delivery.hold_until = kMorning;
  FactsOf(delivery) = {.trail = {Entry(Outcome::kHold, {QuietUntilMorning()})}, .wait_cause = "hold", .digest = {}};
  const v1::ExplainedChannel channel = OnlyChannel();
  EXPECT_EQ(channel.outcome(), "held");
  EXPECT_THAT(Lines(channel.steps()), ElementsAre("quiet_hours held: quiet hours until Thu 26 Nov 2026 07:00: hold",
                                                  "hold held: it is decided on again at Thu 26 Nov 2026 07:00 +01:00"));
  EXPECT_EQ(channel.steps(0).time().seconds(), absl::ToUnixSeconds(kDecided));
  EXPECT_EQ(channel.steps(0).until().seconds(), absl::ToUnixSeconds(kMorning));
}

TEST_F(Explanation, OfAReleaseTellsBothDecisionsInTheirOrder) {
  DeliveryRecord& delivery = AddDelivery(DeliveryState::kSent);
  delivery.attempts = {Call("smtp", AttemptOutcome::kAccepted, "250")};
  const Rule cap{.gate = Rule::Gate::kCap, .until = {}, .count = 1, .limit = 2, .window = absl::Minutes(1)};
  FactsOf(delivery).trail = {Entry(Outcome::kHold, {QuietUntilMorning()}), Entry(Outcome::kSend, {cap}, kMorning)};
  EXPECT_THAT(Lines(OnlyChannel().steps()), ElementsAre(HasSubstr("quiet_hours held"), "cap passed: 1 of 2 in 1m",
                                                        "provider sent: smtp: accepted, 250, 7 ms"));
}

TEST_F(Explanation, OfACapGivesTheNumbers) {
  const Rule cap{
      .gate = Rule::Gate::kCap, .level = "drop", .until = kMorning, .count = 2, .limit = 2, .window = absl::Minutes(1)};
  FactsOf(AddDelivery(DeliveryState::kSuppressed, "2 of 2")).trail = {Entry(Outcome::kSuppress, {cap})};
  const v1::ExplainedChannel channel = OnlyChannel();
  EXPECT_EQ(channel.outcome(), "suppressed");
  ASSERT_THAT(channel.steps(), SizeIs(1));
  EXPECT_EQ(channel.steps(0).count(), 2);
  EXPECT_EQ(channel.steps(0).limit(), 2);
  EXPECT_EQ(channel.steps(0).window().seconds(), 60);
  EXPECT_EQ(channel.steps(0).outcome(), "suppressed");
}

TEST_F(Explanation, TellsRulesThatLetItPassFromTheOneThatStoppedIt) {
  const Rule on{.gate = Rule::Gate::kPreference, .level = "recipient, all types", .choice = Choice::kOn, .until = {}};
  const Rule disturbed{.gate = Rule::Gate::kDoNotDisturb, .level = {}, .until = kMorning};
  FactsOf(AddDelivery(DeliveryState::kHeld)).trail = {Entry(Outcome::kHold, {on, disturbed, QuietUntilMorning()})};
  EXPECT_THAT(Lines(OnlyChannel().steps()),
              ElementsAre("preference passed: recipient, all types: on", HasSubstr("do_not_disturb held"),
                          HasSubstr("quiet_hours held")));
}

TEST_F(Explanation, OfRequiredTypesSaysThatAMuteDidNotStopThem) {
  const Rule muted{.gate = Rule::Gate::kMutedActor, .until = {}};
  FactsOf(AddDelivery(DeliveryState::kPending)).trail = {
      Entry(Outcome::kSend, {muted, {.gate = Rule::Gate::kRequired}})};
  EXPECT_THAT(Lines(OnlyChannel().steps()),
              ElementsAre("muted_actor passed: actor is muted", HasSubstr("required passed")));
}

TEST_F(Explanation, WithoutATrailSaysThatNoRuleStoodAgainstIt) {
  AddDelivery(DeliveryState::kPending);
  EXPECT_EQ(OnlyChannel().outcome(), "pending");
  EXPECT_THAT(Lines(OnlyChannel().steps()), ElementsAre("decision passed: no rule stood against it"));
  EXPECT_THAT(Lines(OnlyChannel(/*critical=*/true).steps()),
              ElementsAre("critical passed: critical: settings are not asked"));
}

TEST_F(Explanation, OfWhoCanNotBeReachedSaysThatFirst) {
  AddDelivery(DeliveryState::kSuppressed, "the recipient has no e-mail address");
  EXPECT_EQ(OnlyChannel().outcome(), "suppressed");
  EXPECT_THAT(Lines(OnlyChannel().steps()), ElementsAre("contact suppressed: the recipient has no e-mail address",
                                                        "decision passed: no rule stood against it"));
}

TEST_F(Explanation, OfASuppressedAddressSaysSoAfterTheDecision) {
  AddDelivery(DeliveryState::kSuppressed, "suppressed: bounced");
  EXPECT_THAT(Lines(OnlyChannel().steps()),
              ElementsAre(HasSubstr("decision passed"), "contact suppressed: suppressed: bounced"));
}

TEST_F(Explanation, NamesTheDigestThatItWaitsForAndTheNotificationThatItBecame) {
  DeliveryRecord& delivery = AddDelivery(DeliveryState::kHeld);
  const Rule digest{
      .gate = Rule::Gate::kPreference, .level = "recipient, all types", .choice = Choice::kDigest, .until = {}};
  FactsOf(delivery) = {.trail = {Entry(Outcome::kDigest, {digest})},
                       .wait_cause = {},
                       .digest = DigestFacts{.id = kId, .due_time = kMorning}};
  v1::ExplainedChannel channel = OnlyChannel();
  EXPECT_EQ(channel.outcome(), "digest");
  EXPECT_THAT(Lines(channel.steps()),
              ElementsAre("preference digest: recipient, all types: digest",
                          "digest digest: it is sent with the digest of Thu 26 Nov 2026 07:00 +01:00"));
  EXPECT_EQ(channel.steps(1).group_id(), kId.ToString());
  EXPECT_EQ(channel.steps(1).until().seconds(), absl::ToUnixSeconds(kMorning));

  const Uuid became = NewUuid7(kMorning);
  delivery.state = DeliveryState::kSent;
  delivery.detail = absl::StrCat("in digest ", became.ToString());
  FactsOf(delivery).digest.reset();
  channel = OnlyChannel();
  EXPECT_EQ(channel.outcome(), "sent");
  EXPECT_EQ(channel.steps(1).detail(), absl::StrCat("it was sent with notification ", became.ToString()));
  EXPECT_EQ(channel.steps(1).group_id(), became.ToString());
}

TEST_F(Explanation, OfAFallbackShowsEveryCall) {
  AddDelivery(DeliveryState::kDelivered, "", Channel::kSms).attempts = {
      Call("twilio", AttemptOutcome::kRetryable, "503"), Call("vonage", AttemptOutcome::kAccepted, "0")};
  record_.notification.channels = {Channel::kSms};
  EXPECT_THAT(
      Lines(OnlyChannel().steps()),
      ElementsAre(HasSubstr("decision passed"), "provider retried: twilio: retryable, 503, 7 ms",
                  "provider sent: vonage: accepted, 0, 7 ms", "receipt delivered: a receipt says that it arrived"));
}

TEST_F(Explanation, OfAnOutageSaysThatProvidersAreWaitedFor) {
  DeliveryRecord& delivery = AddDelivery(DeliveryState::kHeld, "every provider is out");
  delivery.attempts = {Call("smtp", AttemptOutcome::kRetryable, "421")};
  delivery.hold_until = kMorning;
  FactsOf(delivery).wait_cause = "provider";
  EXPECT_THAT(Lines(OnlyChannel().steps()),
              ElementsAre(HasSubstr("decision"), HasSubstr("provider retried"),
                          "provider held: every provider is out, until Thu 26 Nov 2026 07:00 +01:00 at the latest"));
}

TEST_F(Explanation, PutsADeliverysDeadLetterIntoItsChannel) {
  DeliveryRecord& delivery = AddDelivery(DeliveryState::kDead, "550 no");
  delivery.attempts = {Call("smtp", AttemptOutcome::kPermanent, "550")};
  facts_.dead_letters = {{.message_id = delivery.id.ToString(),
                          .queue = "social.email.dlq",
                          .state = "dead",
                          .reason = "rejected",
                          .error = "550 no",
                          .dead_time = kMorning}};
  EXPECT_THAT(Explain().steps(), SizeIs(1));
  EXPECT_THAT(Lines(OnlyChannel().steps()),
              ElementsAre(HasSubstr("decision"), "provider dead: smtp: permanent, 550, 7 ms",
                          "dead_letter dead: social.email.dlq: rejected: 550 no"));
}

TEST_F(Explanation, KeepsADevicePerEntry) {
  AddDelivery(DeliveryState::kSent, "", Channel::kFcm).device_id = "phone";
  AddDelivery(DeliveryState::kSent, "", Channel::kFcm).device_id = "watch";
  record_.notification.channels = {Channel::kFcm};
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  EXPECT_EQ(response.channels(0).device_id(), "phone");
  EXPECT_EQ(response.channels(1).device_id(), "watch");
}

TEST_F(Explanation, OfTheFeedGivesTheNumberOfTheItem) {
  record_.notification.channels = {Channel::kInApp};
  record_.state = State::kDelivered;
  record_.finish_time = kDecided;
  facts_.seq = 17;
  EXPECT_EQ(OnlyChannel().outcome(), "delivered");
  EXPECT_THAT(Lines(OnlyChannel().steps()),
              ElementsAre("decision passed: no rule stood against it", "feed sent: item 17 of the feed"));
  facts_.actor_count = 20;
  EXPECT_EQ(OnlyChannel().steps(1).detail(), "item 17 of the feed, which tells of 20 actors");
  EXPECT_EQ(OnlyChannel().steps(1).group_id(), kId.ToString());
}

TEST_F(Explanation, OfAMutedFeedSaysThatNothingIsThere) {
  record_.notification.channels = {Channel::kInApp};
  record_.state = State::kSuppressed;
  record_.finish_time = kDecided;
  facts_.trail = {Entry(Outcome::kSuppress, {{.gate = Rule::Gate::kMutedActor, .until = {}}})};
  EXPECT_EQ(OnlyChannel().outcome(), "suppressed");
  EXPECT_THAT(Lines(OnlyChannel().steps()), ElementsAre("muted_actor suppressed: actor is muted"));
}

TEST_F(Explanation, OfWhatALimitLeftToTheFeedShowsBoth) {
  const Rule cap{.gate = Rule::Gate::kCap,
                 .level = "in_app_only",
                 .until = kMorning,
                 .count = 1,
                 .limit = 1,
                 .window = absl::Minutes(1)};
  FactsOf(AddDelivery(DeliveryState::kSuppressed, "1 of 1")).trail = {Entry(Outcome::kInAppOnly, {cap})};
  facts_.seq = 4;
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  EXPECT_EQ(response.channels(0).channel(), v1::CHANNEL_IN_APP);
  EXPECT_EQ(response.channels(0).outcome(), "delivered");
  EXPECT_EQ(response.channels(1).outcome(), "in_app_only");
}

TEST_F(Explanation, OfAPartOfAGroupNamesTheGroupsItem) {
  const Uuid item = NewUuid7(kDecided);
  record_.notification.channels = {Channel::kInApp, Channel::kEmail};
  record_.state = State::kDelivered;
  record_.detail = absl::StrCat("in item ", item.ToString());
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  for (const v1::ExplainedChannel& channel : response.channels()) {
    EXPECT_EQ(channel.outcome(), "aggregated");
    ASSERT_THAT(channel.steps(), SizeIs(1));
    EXPECT_EQ(channel.steps(0).group_id(), item.ToString());
  }
}

TEST_F(Explanation, OfAPartOfAGroupThatNoFeedShowsSaysWhy) {
  const Uuid window = NewUuid7(kDecided);
  record_.notification.channels = {Channel::kInApp, Channel::kEmail};
  record_.state = State::kDelivered;
  record_.detail = absl::StrCat("in window ", window.ToString());
  facts_.trail = {Entry(Outcome::kSuppress, {{.gate = Rule::Gate::kMutedActor, .until = {}}})};
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  EXPECT_EQ(response.channels(0).outcome(), "suppressed");
  EXPECT_EQ(response.channels(1).outcome(), "aggregated");
}

TEST_F(Explanation, OfWhatExpiredNamesTheTtlOnEveryChannel) {
  record_.notification.channels = {Channel::kInApp, Channel::kEmail};
  record_.state = State::kExpired;
  record_.detail = "its ttl ended before it was delivered";
  facts_.trail = {Entry(Outcome::kExpire, {{.gate = Rule::Gate::kExpiry, .until = kDecided}})};
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  EXPECT_THAT(Lines(response.channels(0).steps()), ElementsAre(HasSubstr("expiry expired: its ttl ended at")));
  EXPECT_THAT(Lines(response.channels(1).steps()), ElementsAre(HasSubstr("expiry expired: its ttl ended before")));
}

TEST_F(Explanation, OfWhatOtherChannelsGotSaysWhatKeptItFromTheFeed) {
  record_.notification.channels = {Channel::kInApp, Channel::kEmail};
  facts_.trail = {Entry(Outcome::kSuppress, {{.gate = Rule::Gate::kMutedObject, .until = {}}})};
  AddDelivery(DeliveryState::kSent);
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  EXPECT_EQ(response.channels(0).outcome(), "suppressed");
  EXPECT_EQ(response.channels(1).outcome(), "sent");
}

TEST_F(Explanation, OfAnEventsRecipientTellsOfDeliveriesThatItsRecordDoesNotName) {
  facts_.came_by_door = false;
  facts_.seq = 1;
  record_.notification.channels = {Channel::kInApp};
  record_.state = State::kDelivered;
  AddDelivery(DeliveryState::kSent);
  const v1::ExplainNotificationResponse response = Explain();
  ASSERT_THAT(response.channels(), SizeIs(2));
  EXPECT_EQ(response.channels(1).channel(), v1::CHANNEL_EMAIL);
}

TEST_F(Explanation, TakesAZoneThatIsNotKnownForUtc) {
  facts_.time_zone = "Nowhere/Land";
  record_.notification.expire_time = kMorning;
  EXPECT_THAT(Lines(Explain().steps()), ElementsAre(HasSubstr("Thu 26 Nov 2026 06:00 +00:00")));
}

}  // namespace
}  // namespace carillon::testing
