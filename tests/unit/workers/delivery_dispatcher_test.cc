#include "workers/delivery/delivery_dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/delivery_dispatcher_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- Before any call.

TEST_F(DeliveryDispatcherTest, NeverSendsWhatHasExpired) {
  JobPtr job = Job();
  job->delivery.item.expire_time = clock_.Now();
  job = Dispatch(std::move(job));
  EXPECT_EQ(job->update.state, DeliveryState::kExpired);
  EXPECT_THAT(job->update.detail, HasSubstr("ttl"));
  EXPECT_OK(job->route);
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, ExpiresByTheClockOfASandbox) {
  AdvanceTheAppsClock(absl::Hours(8));
  JobPtr job = Job();
  job->delivery.item.expire_time = clock_.Now() + absl::Hours(8);
  job = Dispatch(std::move(job));
  EXPECT_EQ(job->update.state, DeliveryState::kExpired);
  EXPECT_THAT(job->update.detail, HasSubstr("ttl"));
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, TellsProvidersTimesByTheirClock) {
  AdvanceTheAppsClock(absl::Hours(8));
  JobPtr job = Job();
  job->delivery.item.create_time = clock_.Now() + absl::Hours(8);
  job->delivery.item.expire_time = clock_.Now() + absl::Hours(9);
  job = Dispatch(std::move(job));
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  ASSERT_THAT(providers_["first"].sent, SizeIs(1));
  EXPECT_EQ(providers_["first"].sent[0].create_time, clock_.Now());
  EXPECT_EQ(providers_["first"].sent[0].expire_time, clock_.Now() + absl::Hours(1));
}

TEST_F(DeliveryDispatcherTest, HoldsNoLongerThanTheTtlOfASandboxLasts) {
  AdvanceTheAppsClock(absl::Hours(8));
  Open("first");
  Open("second");
  JobPtr job = Job();
  job->delivery.item.create_time = clock_.Now() + absl::Hours(8);
  job->delivery.item.expire_time = clock_.Now() + absl::Hours(8) + absl::Minutes(1);
  job = Dispatch(std::move(job));
  EXPECT_EQ(job->update.state, DeliveryState::kHeld);
  EXPECT_EQ(job->update.hold_until, clock_.Now() + absl::Minutes(1));
}

TEST_F(DeliveryDispatcherTest, NeverSendsToASuppressedAddress) {
  JobPtr job = Job();
  job->claim.suppressed = "hard bounce";
  job = Dispatch(std::move(job));
  EXPECT_EQ(job->update.state, DeliveryState::kSuppressed);
  EXPECT_EQ(job->update.detail, "suppressed: hard bounce");
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, SuppressesWhatHasNoAddressAnyMore) {
  JobPtr job = Job();
  job->claim.address.clear();
  job = Dispatch(std::move(job));
  EXPECT_EQ(job->update.state, DeliveryState::kSuppressed);
  EXPECT_THAT(job->update.detail, HasSubstr("can't be reached"));
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, RoutesWhatHasNoTypeAsWhatMayGetOne) {
  JobPtr job = Job();
  job->delivery.item.type = "no.such.type";
  job = Dispatch(std::move(job));
  EXPECT_EQ(job->update.state, DeliveryState::kPending);
  EXPECT_THAT(job->route, StatusIs(absl::StatusCode::kNotFound, HasSubstr("no.such.type")));
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, RoutesWhatCantBeRenderedAsDead) {
  SetType([](NotificationType& type) { type.in_app.title.clear(); });
  const JobPtr job = Dispatch(Job());
  EXPECT_THAT(job->route, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(job->update.state, DeliveryState::kPending);
  EXPECT_EQ(job->update.detail, job->route.message());
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
}

// --- The order in which providers are asked.

TEST_F(DeliveryDispatcherTest, AsksTheFirstProviderAndNoOther) {
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_OK(job->route);
  EXPECT_EQ(job->update.claim, 5);
  EXPECT_EQ(job->update.delivery, &job->delivery);
  EXPECT_EQ(job->update.address, kTestNumber);
  EXPECT_EQ(job->update.hold_until, std::nullopt);
  ASSERT_THAT(job->update.attempts, SizeIs(1));
  const DeliveryAttempt& attempt = job->update.attempts.front();
  EXPECT_EQ(attempt.provider, "first");
  EXPECT_EQ(attempt.outcome, AttemptOutcome::kAccepted);
  EXPECT_EQ(attempt.provider_message_id, "id-1");
  EXPECT_EQ(attempt.time, clock_.Now());
  EXPECT_THAT(providers_["second"].sent, IsEmpty());

  ASSERT_THAT(providers_["first"].sent, SizeIs(1));
  const ProviderMessage& message = providers_["first"].sent.front();
  EXPECT_EQ(message.delivery_id, job->delivery.id);
  EXPECT_EQ(message.notification_id, job->delivery.item.id);
  EXPECT_EQ(message.address, kTestNumber);
  EXPECT_TRUE(message.urgent);
  EXPECT_THAT(message.content.text(), HasSubstr("You paid"));
  EXPECT_THAT(message.receipt_url, HasSubstr(message.receipt_token));
  EXPECT_THAT(message.receipt_url, HasSubstr("twilio"));
}

TEST_F(DeliveryDispatcherTest, GivesACallTheTimeOfItsProvider) {
  v1::Provider quick = Providers::Named("quick");
  quick.mutable_timeout()->set_seconds(3);
  providers_.Set({quick, Providers::Named("usual")});
  providers_["quick"].answers = {Answer(AttemptOutcome::kRetryable)};
  Dispatch(Job());
  EXPECT_THAT(providers_["quick"].timeouts, ElementsAre(absl::Seconds(3)));
  EXPECT_THAT(providers_["usual"].timeouts, ElementsAre(absl::Seconds(10)));
}

TEST_F(DeliveryDispatcherTest, AsksTheNextProviderAtOnceWhenOneFails) {
  providers_["first"].answers = {Answer(AttemptOutcome::kRetryable)};
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_THAT(Asked(*job), ElementsAre("first", "second"));
  EXPECT_EQ(job->update.attempts[0].outcome, AttemptOutcome::kRetryable);
  EXPECT_EQ(job->update.attempts[0].code, "500");
  EXPECT_EQ(job->update.attempts[0].error, "words");
}

TEST_F(DeliveryDispatcherTest, PutsOffWhatEveryProviderFailedOnce) {
  providers_["first"].answers = {Answer(AttemptOutcome::kRetryable)};
  providers_["second"].answers = {Answer(AttemptOutcome::kRetryable)};
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kPending);
  EXPECT_EQ(job->update.hold_until, std::nullopt);
  EXPECT_THAT(job->route, StatusIs(absl::StatusCode::kUnavailable, "second: 500 words"));
  EXPECT_THAT(Asked(*job), ElementsAre("first", "second"));
}

TEST_F(DeliveryDispatcherTest, PassesOverAProviderWhoseBreakerIsOpen) {
  Open("first");
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_THAT(Asked(*job), ElementsAre("second"));
}

TEST_F(DeliveryDispatcherTest, PassesOverAProviderThatCantBeMade) {
  providers_["broken"].unusable = true;
  Configure({"broken", "second"});
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("second"));
  EXPECT_TRUE(Slot("broken").breaker.misconfigured());
  EXPECT_THAT(slots_.TakeChanges(), SizeIs(1)) << "what is wrong with it is told";
}

// --- What is final.

TEST_F(DeliveryDispatcherTest, RoutesWhatNeverSucceedsAsDeadWithTheProvidersLastWords) {
  providers_["first"].answers = {Answer(AttemptOutcome::kPermanent)};
  const JobPtr job = Dispatch(Job());
  EXPECT_THAT(job->route, StatusIs(absl::StatusCode::kInvalidArgument, "first: 500 words"));
  EXPECT_EQ(job->update.state, DeliveryState::kPending);
  EXPECT_THAT(Asked(*job), ElementsAre("first"));
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
}

TEST_F(DeliveryDispatcherTest, AsksAnotherWhereThatMayDoBetter) {
  SendResult refused = Answer(AttemptOutcome::kPermanent);
  refused.may_try_next = true;
  providers_["first"].answers = {refused, refused};
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first", "second"));
  providers_["second"].answers = {Answer(AttemptOutcome::kRetryable)};
  const JobPtr job = Dispatch(Job());
  EXPECT_THAT(Asked(*job), ElementsAre("first", "second"));
  EXPECT_THAT(job->route, StatusIs(absl::StatusCode::kUnavailable)) << "the second may still take it";
}

TEST_F(DeliveryDispatcherTest, RoutesAsDeadWhatNoProviderWants) {
  SendResult refused = Answer(AttemptOutcome::kPermanent);
  refused.may_try_next = true;
  providers_["first"].answers = {refused};
  providers_["second"].answers = {refused};
  EXPECT_THAT(Dispatch(Job())->route, StatusIs(absl::StatusCode::kInvalidArgument, "second: 500 words"));
}

TEST_F(DeliveryDispatcherTest, ForgetsADeviceByTheTimeOfItsDeath) {
  SendResult gone = Answer(AttemptOutcome::kBadRecipient);
  gone.device_dead_since = clock_.Now() - absl::Hours(1);
  providers_["first"].answers = {gone};
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kSuppressed);
  EXPECT_EQ(job->update.device_dead_since, gone.device_dead_since);
  EXPECT_THAT(job->update.detail, HasSubstr("not registered any more"));
  EXPECT_THAT(providers_["second"].sent, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, PassesOnThatAnAddressIsToBeSuppressed) {
  SendResult bounced = Answer(AttemptOutcome::kPermanent);
  bounced.suppress_reason = "hard bounce";
  providers_["first"].answers = {bounced};
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.suppress_reason, "hard bounce");
  EXPECT_EQ(job->update.address, kTestNumber);
}

TEST_F(DeliveryDispatcherTest, KeepsWhatAReceiptMaySendOnceMore) {
  EXPECT_FALSE(Dispatch(Job())->update.may_resend) << "this provider reports nothing";
  providers_["first"].receipts = true;
  EXPECT_TRUE(Dispatch(Job())->update.may_resend);
  dispatcher_ = Make(no_links_);
  EXPECT_FALSE(Dispatch(Job())->update.may_resend) << "no receipt can come";
  dispatcher_ = Make(providers_.links);
  JobPtr brief = Job();
  brief->delivery.item.expire_time = clock_.Now() + kResendDelay;
  EXPECT_FALSE(Dispatch(std::move(brief))->update.may_resend) << "its time is over by then";
  SetType([](NotificationType& type) { type.at_most_once = true; });
  EXPECT_FALSE(Dispatch(Job())->update.may_resend);
}

TEST_F(DeliveryDispatcherTest, CallsUndeliveredWhatAProviderHadWhateverEndsIt) {
  JobPtr late = JobAfter({Attempt("first", AttemptOutcome::kAccepted)});
  late->delivery.item.expire_time = clock_.Now();
  EXPECT_EQ(Dispatch(std::move(late))->update.state, DeliveryState::kUndelivered);
  JobPtr unwanted = JobAfter({Attempt("first", AttemptOutcome::kAccepted)});
  unwanted->claim.suppressed = "opted out";
  unwanted = Dispatch(std::move(unwanted));
  EXPECT_EQ(unwanted->update.state, DeliveryState::kUndelivered);
  EXPECT_THAT(unwanted->update.detail, HasSubstr("opted out"));
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
  EXPECT_EQ(Dispatch(JobAfter({Attempt("first", AttemptOutcome::kAccepted)}))->update.state, DeliveryState::kSent);
}

TEST_F(DeliveryDispatcherTest, LooksOnlyAtTheCallsSinceAProviderHadIt) {
  // Its own acceptance says nothing of others getting through now.
  Configure({"first"});
  Slot("first").last_success = clock_.Now() - absl::Seconds(25);
  providers_["first"].answers = {Answer(AttemptOutcome::kRetryable)};
  JobPtr job = JobAfter({Attempt("first", AttemptOutcome::kUnconfirmed, absl::Seconds(40)),
                         Attempt("first", AttemptOutcome::kAccepted, absl::Seconds(30)),
                         Attempt("first", AttemptOutcome::kRetryable, absl::Seconds(20))});
  job->retry_count = 3;
  job = Dispatch(std::move(job));
  ExpectHeldForProvider(*job);
  ASSERT_THAT(providers_["first"].sent, SizeIs(1));
  EXPECT_FALSE(providers_["first"].sent.front().may_have_been_sent);
}

// --- Room and time.

TEST_F(DeliveryDispatcherTest, GivesASlowProviderAQuarterOfTheWindowAndLetsOthersGoFirst) {
  Configure({"first"});
  providers_["first"].hangs = true;
  for (int i = 0; i < 4; ++i) dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 4u);
  dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 5u) << "it is not slow yet";
  // One of its calls began a while ago.
  ProviderSlot& slot = Slot("first");
  const absl::Duration long_ago = Monotonic() - absl::Seconds(3);
  slot.calls.insert(long_ago);
  dispatcher_->Begin(Job());
  std::vector<JobPtr> finished = dispatcher_->TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  ExpectHeldForProvider(*finished[0]);
  EXPECT_TRUE(slot.draining) << "it comes as there is room";
  EXPECT_THAT(finished[0]->update.attempts, IsEmpty());
  slot.calls.erase(long_ago);
  dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 6u);
  providers_["first"].EndHanging();
  EXPECT_THAT(dispatcher_->TakeFinished(), SizeIs(6));
  EXPECT_THAT(Slot("first").calls, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, TakesFromWhatIsHeldAsMuchAsAProviderHasRoomFor) {
  ProviderSlot& slot = Slot("first");
  const absl::Time now = clock_.Now();
  slot.draining = true;
  EXPECT_EQ(TakeWanted(slot, now), 500) << "it is quick";
  NoteReleased(slot, 500, now);
  EXPECT_EQ(TakeWanted(slot, now), 0) << "they are coming";
  EXPECT_EQ(TakeWanted(Slot("second"), now), 0) << "to one of them";
  JobPtr fresh = Job();
  fresh->delivery.item.create_time = now + absl::Seconds(1);
  Dispatch(std::move(fresh));
  EXPECT_EQ(TakeWanted(slot, now), 0) << "it was not one of them";
  JobPtr held = Job();
  held->delivery.item.create_time = now - absl::Seconds(1);
  Dispatch(std::move(held));
  EXPECT_EQ(TakeWanted(slot, now), 1) << "one has come and gone";
  slot.coming->since -= absl::Seconds(3);
  slot.calls.insert(Monotonic() - absl::Seconds(3));
  EXPECT_EQ(TakeWanted(slot, now), 3) << "slow: of a window of 16 four, and one call is under way";
  slot.calls.clear();
  slot.draining = false;
  EXPECT_EQ(TakeWanted(slot, now), 0) << "nothing is held";
  Open("first");
  EXPECT_EQ(TakeWanted(slot, now), 0) << "it is out";
  EXPECT_EQ(TakeWanted(slot, now + absl::Minutes(1)), 1) << "a probe";
  EXPECT_EQ(TakeWanted(slot, now + absl::Minutes(1)), 0) << "one at a time";
}

TEST_F(DeliveryDispatcherTest, TakesFewFromWhatIsHeldForAProviderOfFewCalls) {
  v1::Provider small = Providers::Named("small");
  small.set_max_concurrent(2);
  providers_.Set({small});
  ProviderSlot& slot = Slot("small");
  slot.draining = true;
  EXPECT_EQ(TakeWanted(slot, clock_.Now()), 4) << "two calls, and two that wait";
  NoteReleased(slot, 4, absl::InfiniteFuture());
  providers_["small"].hangs = true;
  for (int i = 0; i < 4; ++i) dispatcher_->Begin(Job());
  EXPECT_EQ(slot.coming->count, 0u);
  EXPECT_EQ(TakeWanted(slot, clock_.Now()), 0);
  EXPECT_THAT(dispatcher_->TakeFinished(), IsEmpty()) << "none has to go back";
  providers_["small"].EndHanging();
}

TEST_F(DeliveryDispatcherTest, GivesAProviderNoMoreCallsThanItsSettingsSay) {
  v1::Provider small = Providers::Named("small");
  small.set_max_concurrent(2);
  providers_.Set({small});
  providers_["small"].hangs = true;
  for (int i = 0; i < 3; ++i) dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 2u);
  EXPECT_THAT(dispatcher_->TakeFinished(), IsEmpty()) << "it is quick: the third waits for its turn";
  providers_["small"].hangs = false;
  providers_["small"].EndHanging();
  EXPECT_THAT(dispatcher_->TakeFinished(), SizeIs(2));
  EXPECT_THAT(dispatcher_->TakeFinished(), SizeIs(1));
}

TEST_F(DeliveryDispatcherTest, LeavesHalfOfTheWindowToOthersAndHoldsWhatWaitsWhenItTurnsOutSlow) {
  Configure({"first"});
  providers_["first"].hangs = true;
  for (int i = 0; i < 10; ++i) dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 8u);
  Slot("first").calls.insert(Monotonic() - absl::Seconds(3));
  std::vector<JobPtr> finished;
  while (finished.empty()) finished = dispatcher_->TakeFinished();
  ASSERT_THAT(finished, SizeIs(2));
  for (const JobPtr& job : finished) ExpectHeldForProvider(*job);
  providers_["first"].EndHanging();
}

TEST_F(DeliveryDispatcherTest, AsksTheNextWhereTheFirstIsSlowAndHasNoRoom) {
  v1::Provider small = Providers::Named("small");
  small.set_max_concurrent(1);
  providers_.Set({small, Providers::Named("second")});
  providers_["small"].hangs = true;
  dispatcher_->Begin(Job());
  Slot("small").calls.insert(Monotonic() - absl::Seconds(3));
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("second"));
  providers_["small"].EndHanging();
}

TEST_F(DeliveryDispatcherTest, BeginsNoCallThatCouldEndAfterItsClaim) {
  JobPtr late = Job();
  late->claimed_at = Monotonic() - absl::Seconds(46);  // 10 s for the call, 5 s to spare.
  late = Dispatch(std::move(late));
  ExpectHeld(*late, HoldCause::kBusy, absl::Seconds(1), absl::Seconds(1));
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
  JobPtr in_time = Job();
  in_time->claimed_at = Monotonic() - absl::Seconds(40);
  EXPECT_EQ(Dispatch(std::move(in_time))->update.state, DeliveryState::kSent);
}

// --- Settings that change.

TEST_F(DeliveryDispatcherTest, BeginsAnewWithAProviderWhoseSettingsChanged) {
  Open("first");
  v1::Provider changed = Providers::Named("first");
  changed.mutable_twilio()->set_password("another");
  providers_.Set({changed});
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
  EXPECT_EQ(Dispatch(Job())->update.state, DeliveryState::kSent);
  EXPECT_EQ(providers_["first"].made, 2);
}

TEST_F(DeliveryDispatcherTest, HearsWhatCameOfCallsThatBeganBeforeTheSettingsChanged) {
  providers_["first"].hangs = true;
  dispatcher_->Begin(Job());
  v1::Provider changed = Providers::Named("first");
  changed.mutable_twilio()->set_password("another");
  providers_.Set({changed});
  EXPECT_THAT(Slot("first").calls, IsEmpty());
  providers_["first"].EndHanging();
  const std::vector<JobPtr> finished = dispatcher_->TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  EXPECT_EQ(finished[0]->update.state, DeliveryState::kSent);
}

TEST_F(DeliveryDispatcherTest, BeginsWithBreakersAsTheyWere) {
  const absl::Time retry_time = clock_.Now() + absl::Seconds(20);
  slots_.Restore({{.app = kTestApp,
                   .channel = Channel::kSms,
                   .name = "first",
                   .lane = Lane::kPayment,
                   .breaker = BreakerState::kOpen,
                   .retry_time = retry_time},
                  {.app = kTestApp,
                   .channel = Channel::kSms,
                   .name = "second",
                   .lane = Lane::kSocial,
                   .breaker = BreakerState::kOpen,
                   .retry_time = retry_time}},
                 clock_.Now());
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("second")) << "another lane's breakers are its own";
  clock_.Set(retry_time);
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first"));
}

TEST_F(DeliveryDispatcherTest, HearsCallsThatEndOnOtherThreads) {
  providers_["first"].hangs = true;
  for (int i = 0; i < 8; ++i) dispatcher_->Begin(Job());
  std::thread other([&] { providers_["first"].EndHanging(); });
  other.join();
  EXPECT_THAT(dispatcher_->TakeFinished(), SizeIs(8));
  EXPECT_EQ(dispatcher_->in_flight(), 0u);
}

}  // namespace
}  // namespace carillon::testing
