// What the dispatcher makes of providers that fail, are out, or do not say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/delivery_dispatcher_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DeliveryFailuresTest : public DeliveryDispatcherTest {};

// --- While providers are out.

TEST_F(DeliveryFailuresTest, HoldsWhileEveryProviderIsOut) {
  Open("first");
  Open("second");
  const JobPtr job = Dispatch(Job());
  ExpectHeldForProvider(*job);
  EXPECT_THAT(job->update.detail, HasSubstr("every provider is out"));
  EXPECT_THAT(job->update.attempts, IsEmpty());
}

TEST_F(DeliveryFailuresTest, HoldsWhileNoProviderCanBeMadeHoweverLongAgoThatWas) {
  providers_["broken"].unusable = true;
  Configure({"broken"});
  ExpectHeldForProvider(*Dispatch(Job()));
  clock_.Advance(absl::Hours(1));
  ExpectHeldForProvider(*Dispatch(Job()));
}

TEST_F(DeliveryFailuresTest, HoldsNoLongerThanItsTtl) {
  Open("first");
  Open("second");
  JobPtr job = Job();
  job->delivery.item.expire_time = clock_.Now() + absl::Minutes(2);
  job = Dispatch(std::move(job));
  ExpectHeld(*job, HoldCause::kProvider, absl::Minutes(2), absl::Minutes(2));
}

TEST_F(DeliveryFailuresTest, HoldsWhereNoProviderIsConfigured) {
  Configure({});
  const JobPtr job = Dispatch(Job());
  ExpectHeldForProvider(*job);
  EXPECT_THAT(job->update.detail, HasSubstr("no provider is configured for sms"));
}

TEST_F(DeliveryFailuresTest, OfAProviderThatIsRemovedNoBreakerIsOpen) {
  const auto breaker = [&] {
    return metrics_
        .Gauge(
            "carillon_provider_breaker", "",
            {{"lane", "payment"}, {"channel", "sms"}, {"app", absl::StrCat(kTestApp.value())}, {"provider", "first"}})
        .Value();
  };
  Open("first");
  slots_.NoteChange(Slot("first"));
  EXPECT_EQ(breaker(), 2);
  Configure({"second"});
  slots_.Refresh(clock_.Now());
  EXPECT_EQ(breaker(), 1);
}

TEST_F(DeliveryFailuresTest, TellsThatAProviderRefusesTheAppUntilItIsSetAgain) {
  const auto misconfigured = [&] {
    return metrics_
        .Gauge(
            "carillon_provider_misconfigured", "",
            {{"lane", "payment"}, {"channel", "sms"}, {"app", absl::StrCat(kTestApp.value())}, {"provider", "first"}})
        .Value();
  };
  Open("first");
  slots_.NoteChange(Slot("first"));
  EXPECT_EQ(misconfigured(), 0);
  Slot("first").breaker.OnMisconfigured(clock_.Now(), "bad credentials");
  slots_.NoteChange(Slot("first"));
  EXPECT_EQ(misconfigured(), 1);
  Configure({"second"});
  slots_.Refresh(clock_.Now());
  EXPECT_EQ(misconfigured(), 0);
}

TEST_F(DeliveryFailuresTest, SendsOneProbeWhenABreakersTimeHasCome) {
  Configure({"first"});
  Open("first");
  clock_.Advance(absl::Seconds(2));
  slots_.TakeChanges();
  providers_["first"].hangs = true;
  dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 1u);
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kHalfOpen);
  const std::vector<ProviderHealth> changes = slots_.TakeChanges();
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].breaker, BreakerState::kHalfOpen);
  dispatcher_->Begin(Job("ben"));
  std::vector<JobPtr> finished = dispatcher_->TakeFinished();
  ASSERT_THAT(finished, SizeIs(1)) << "nobody goes beside a probe";
  ExpectHeldForProvider(*finished[0]);

  providers_["first"].EndHanging();
  finished = dispatcher_->TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  EXPECT_EQ(finished[0]->update.state, DeliveryState::kSent);
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
  EXPECT_TRUE(Slot("first").draining) << "what is held may go";
}

TEST_F(DeliveryFailuresTest, GivesUpAProbeWithoutAnAnswerWhenItEnds) {
  Configure({"first"});
  Open("first");
  clock_.Advance(absl::Seconds(2));
  providers_["first"].hangs = true;
  dispatcher_->Begin(Job());
  ASSERT_EQ(Slot("first").calls.size(), 1u);
  dispatcher_.reset();
  EXPECT_THAT(Slot("first").calls, IsEmpty());
  EXPECT_TRUE(Slot("first").breaker.WouldAllow(clock_.Now()));
  // Its call goes on and is heard by nobody.
  providers_["first"].EndHanging();
}

// --- Calls whose outcome is not known.

TEST_F(DeliveryFailuresTest, WaitsForAReceiptBeforeItAsksAnother) {
  providers_["first"].receipts = true;
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr job = Dispatch(Job());
  ExpectHeld(*job, HoldCause::kReceipt, absl::Seconds(10), absl::Seconds(10));
  EXPECT_THAT(job->update.detail, HasSubstr("a receipt may still come"));
  EXPECT_THAT(Asked(*job), ElementsAre("first"));
}

TEST_F(DeliveryFailuresTest, WaitsForAReceiptAsLongAsItsProviderIsGiven) {
  v1::Provider slow = Providers::Named("slow");
  slow.mutable_receipt_wait()->set_seconds(40);
  providers_.Set({slow});
  providers_["slow"].receipts = true;
  providers_["slow"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  ExpectHeld(*Dispatch(Job()), HoldCause::kReceipt, absl::Seconds(40), absl::Seconds(40));
}

TEST_F(DeliveryFailuresTest, AsksTheNextProviderWhenTheReceiptNeverCame) {
  Configure({"first", "second", "third"});
  providers_["first"].receipts = true;
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr job = Dispatch(Again(*Dispatch(Job())));
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_THAT(Asked(*job), ElementsAre("second"));
}

TEST_F(DeliveryFailuresTest, ComesBackToTheFirstBehindTheLastOne) {
  const std::vector<DeliveryAttempt> before = {Attempt("second", AttemptOutcome::kUnconfirmed)};
  EXPECT_THAT(Asked(*Dispatch(JobAfter(before))), ElementsAre("first"));
}

TEST_F(DeliveryFailuresTest, AsksTheOnlyProviderAgainWhenItsReceiptNeverCame) {
  Configure({"first"});
  const std::vector<DeliveryAttempt> before = {Attempt("first", AttemptOutcome::kUnconfirmed)};
  EXPECT_EQ(Dispatch(JobAfter(before))->update.state, DeliveryState::kSent);
}

TEST_F(DeliveryFailuresTest, AsksTheNextAtOnceWhereNoReceiptCanCome) {
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_THAT(Asked(*job), ElementsAre("first", "second"));
}

TEST_F(DeliveryFailuresTest, TellsTheProviderThatItMayHaveItAlready) {
  Dispatch(Job());
  Dispatch(JobAfter({Attempt("second", AttemptOutcome::kRetryable)}));
  Dispatch(JobAfter({Attempt("second", AttemptOutcome::kUnconfirmed)}));
  JobPtr interrupted = Job();
  interrupted->claim.interrupted = true;
  Dispatch(std::move(interrupted));
  std::vector<bool> told;
  for (const ProviderMessage& message : providers_["first"].sent) told.push_back(message.may_have_been_sent);
  EXPECT_THAT(told, ElementsAre(false, false, true, true));
}

TEST_F(DeliveryFailuresTest, WaitsForNoReceiptWhereNobodyCouldReport) {
  dispatcher_ = Make(no_links_);
  providers_["first"].receipts = true;
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first", "second"));
}

TEST_F(DeliveryFailuresTest, HoldsAfterThreeOutcomesThatAreNotKnownWhileNobodyGetsThrough) {
  providers_["first"].receipts = true;
  std::vector<DeliveryAttempt> attempts(2, Attempt("second", AttemptOutcome::kUnconfirmed));
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed), Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr third = Dispatch(JobAfter(attempts));
  ExpectHeld(*third, HoldCause::kReceipt, absl::Seconds(10), absl::Seconds(10));
  attempts.push_back(Attempt("second", AttemptOutcome::kUnconfirmed));
  ExpectHeldForProvider(*Dispatch(JobAfter(attempts)));
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kOpen);
}

TEST_F(DeliveryFailuresTest, GivesUpAfterThreeOutcomesThatAreNotKnownIfOthersGetThrough) {
  const std::vector<DeliveryAttempt> attempts(3, Attempt("second", AttemptOutcome::kUnconfirmed));
  EXPECT_EQ(Dispatch(Job())->update.state, DeliveryState::kSent);
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr last = Dispatch(JobAfter(attempts));
  EXPECT_THAT(last->route, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not known again")));
  EXPECT_EQ(last->update.state, DeliveryState::kPending);
}

TEST_F(DeliveryFailuresTest, WhatWasPutBackHasAllItsAttempts) {
  std::vector<DeliveryAttempt> before(4, Attempt("second", AttemptOutcome::kUnconfirmed));
  for (DeliveryAttempt& attempt : before) attempt.before_replay = true;
  EXPECT_EQ(Dispatch(Job())->update.state, DeliveryState::kSent) << "others get through";
  providers_["first"].receipts = true;
  providers_["first"].answers = {{.outcome = AttemptOutcome::kUnconfirmed}};
  const JobPtr job = Dispatch(JobAfter(before));
  ExpectHeld(*job, HoldCause::kReceipt, absl::Seconds(10), absl::Seconds(10));
  EXPECT_TRUE(providers_["first"].sent.back().may_have_been_sent);
  // At most once is at most once.
  SetType([](NotificationType& type) { type.at_most_once = true; });
  EXPECT_EQ(Dispatch(JobAfter(before))->update.state, DeliveryState::kDead);
}

TEST_F(DeliveryFailuresTest, GivesUpAfterTwelveOutcomesThatAreNotKnown) {
  const std::vector<DeliveryAttempt> attempts(12, Attempt("second", AttemptOutcome::kUnconfirmed));
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  EXPECT_THAT(Dispatch(JobAfter(attempts))->route, StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(DeliveryFailuresTest, BoundsOutcomesThatAreNotKnownUnderOneClaimToo) {
  Configure({"a", "b", "c", "d", "e", "f"});
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    providers_[name].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  }
  const JobPtr job = Dispatch(Job());
  ExpectHeldForProvider(*job);
  EXPECT_THAT(Asked(*job), ElementsAre("a", "b", "c", "d"));
}

TEST_F(DeliveryFailuresTest, ARefusalForGoodDoesNotSpeakForAProviderThatIsOut) {
  SendResult refusal = Answer(AttemptOutcome::kPermanent);
  refusal.may_try_next = true;
  providers_["first"].answers = {Answer(AttemptOutcome::kRetryable)};
  providers_["second"].answers = {refusal, refusal};
  EXPECT_THAT(Dispatch(Job())->route, StatusIs(absl::StatusCode::kUnavailable));
  Open("first");
  ExpectHeldForProvider(*Dispatch(Job()));
}

TEST_F(DeliveryFailuresTest, SendsAtMostOnceWhatItsTypeWantsSo) {
  SetType([](NotificationType& type) { type.at_most_once = true; });
  EXPECT_EQ(Dispatch(Job())->update.state, DeliveryState::kSent);

  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr unknown = Dispatch(Job());
  EXPECT_EQ(unknown->update.state, DeliveryState::kDead);
  EXPECT_THAT(unknown->update.detail, HasSubstr("wants no other attempt"));
  EXPECT_THAT(Asked(*unknown), ElementsAre("first"));
  EXPECT_OK(unknown->route);

  providers_["first"].sent.clear();
  EXPECT_EQ(Dispatch(Again(*unknown))->update.state, DeliveryState::kDead);
  JobPtr interrupted = Job();
  interrupted->claim.interrupted = true;
  EXPECT_EQ(Dispatch(std::move(interrupted))->update.state, DeliveryState::kDead);
  EXPECT_THAT(providers_["first"].sent, IsEmpty());

  // What a provider refused was not sent.
  JobPtr refused = JobAfter({Attempt("first", AttemptOutcome::kRetryable)});
  refused->redelivered = true;
  EXPECT_EQ(Dispatch(std::move(refused))->update.state, DeliveryState::kSent);
}

// --- What is the provider's fault, and what is not.

TEST_F(DeliveryFailuresTest, KeepsAwayFromAProviderThatRefusesTheSender) {
  providers_["first"].answers = {Answer(AttemptOutcome::kBadSender)};
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_THAT(Asked(*job), ElementsAre("first", "second"));
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kOpen);
  EXPECT_TRUE(Slot("first").breaker.misconfigured());
  const std::vector<ProviderHealth> changes = slots_.TakeChanges();
  ASSERT_THAT(changes, SizeIs(1));
  EXPECT_EQ(changes[0].name, "first");
  EXPECT_EQ(changes[0].lane, Lane::kPayment);
  EXPECT_TRUE(changes[0].misconfigured);
  EXPECT_EQ(changes[0].error, "500 words");
}

TEST_F(DeliveryFailuresTest, HoldsWhatEveryProviderRefusesTheSenderOf) {
  providers_["first"].answers = {Answer(AttemptOutcome::kBadSender)};
  providers_["second"].answers = {Answer(AttemptOutcome::kBadSender)};
  const JobPtr job = Dispatch(Job());
  ExpectHeldForProvider(*job);
  EXPECT_THAT(job->update.detail, HasSubstr("second: 500 words"));
}

TEST_F(DeliveryFailuresTest, LeavesAProviderAloneThatAsksForIt) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.retry_after = absl::Seconds(77);
  providers_["first"].answers = {busy};
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first", "second"));
  EXPECT_EQ(Slot("first").breaker.retry_time(), clock_.Now() + absl::Seconds(77));
}

TEST_F(DeliveryFailuresTest, HoldsOneRecipientAloneWhoIsToBeLeftAlone) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.only_this_recipient = true;
  busy.retry_after = absl::Seconds(77);
  providers_["first"].answers = {busy};
  ExpectHeld(*Dispatch(Job()), HoldCause::kBusy, absl::Seconds(77), absl::Seconds(77));
  EXPECT_THAT(providers_["second"].sent, IsEmpty());
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
  EXPECT_THAT(Asked(*Dispatch(Job("ben"))), ElementsAre("first"));
}

TEST_F(DeliveryFailuresTest, BringsOneRecipientBackNoSoonerThanInASecond) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.only_this_recipient = true;
  busy.retry_after = absl::ZeroDuration();
  providers_["first"].answers = {busy};
  ExpectHeld(*Dispatch(Job()), HoldCause::kBusy, absl::Seconds(1), absl::Seconds(1));
}

TEST_F(DeliveryFailuresTest, PutsOneRecipientOffWhereNoTimeIsNamed) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.only_this_recipient = true;
  for (int i = 0; i < 20; ++i) providers_["first"].answers.push_back(busy);
  for (int i = 0; i < 20; ++i) EXPECT_THAT(Dispatch(Job())->route, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
}

TEST_F(DeliveryFailuresTest, OpensABreakerAfterFailuresInARow) {
  providers_["first"].answers.assign(5, Answer(AttemptOutcome::kRetryable));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first", "second"));
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kOpen);
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("second"));
}

// --- Retries that are used up.

TEST_F(DeliveryFailuresTest, GivesUpWhatFailedWhileOthersGotThrough) {
  Configure({"first"});
  Dispatch(Job("ben"));
  JobPtr job = JobAfter({Attempt("first", AttemptOutcome::kRetryable, absl::Minutes(1))});
  job->retry_count = 3;
  providers_["first"].answers = {Answer(AttemptOutcome::kRetryable)};
  job = Dispatch(std::move(job));
  EXPECT_THAT(job->route, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(job->update.state, DeliveryState::kPending);
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
}

TEST_F(DeliveryFailuresTest, HoldsWhatFailedWhileNobodyGotThroughAndHasItsProvidersProbed) {
  // The last one that got through did so before this one was tried.
  Dispatch(Job("ben"));
  clock_.Advance(absl::Minutes(5));
  slots_.TakeChanges();
  JobPtr job = JobAfter({Attempt("first", AttemptOutcome::kRetryable, absl::Minutes(1))});
  job->retry_count = 3;
  providers_["first"].answers = {Answer(AttemptOutcome::kRetryable)};
  providers_["second"].answers = {Answer(AttemptOutcome::kRetryable)};
  job = Dispatch(std::move(job));
  ExpectHeldForProvider(*job);
  for (const char* name : {"first", "second"}) EXPECT_EQ(Slot(name).breaker.state(), BreakerState::kOpen);
  EXPECT_THAT(slots_.TakeChanges(), SizeIs(2));
}

}  // namespace
}  // namespace carillon::testing
