#include "workers/delivery/delivery_dispatcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/delivery_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

using JobPtr = std::unique_ptr<DeliveryJob>;

constexpr absl::Duration kLease = absl::Seconds(60);

class DeliveryDispatcherTest : public ::testing::Test {
 protected:
  void SetUp() override { Configure({"first", "second"}); }

  void Configure(const std::vector<std::string>& names) {
    std::vector<v1::Provider> wanted;
    for (const std::string& name : names) wanted.push_back(Providers::Named(name));
    providers_.Set(wanted);
  }
  ProviderSlot& Slot(const std::string& name) {
    for (const auto& slot : slots_.Of(kTestApp, clock_.Now())) {
      if (slot->config->name == name) return *slot;
    }
    ADD_FAILURE() << "no such provider";
    std::abort();
  }
  void Open(const std::string& name) { Slot(name).breaker.Trip(clock_.Now(), "it was out"); }
  void SetType(const std::function<void(NotificationType&)>& change) {
    change(providers_.catalogue_store->type);
    ++providers_.catalogue_store->version;
    ASSERT_OK(providers_.catalogue.Refresh());
  }

  std::unique_ptr<DeliveryDispatcher> Make(const LinkTokens& links) {
    return std::make_unique<DeliveryDispatcher>(DeliveryDispatcher::Deps{.builder = providers_.builder,
                                                                         .slots = slots_,
                                                                         .links = links,
                                                                         .clock = clock_,
                                                                         .metrics = metrics_,
                                                                         .lane = Lane::kPayment,
                                                                         .channel = Channel::kSms,
                                                                         .lease = kLease});
  }

  // Claimed a moment ago.
  static JobPtr Job(const std::string& recipient = "ann") {
    auto job = std::make_unique<DeliveryJob>();
    job->delivery = TestDelivery(recipient);
    job->claim = {.claimed = true, .claim = 5, .address = kTestNumber};
    job->claimed_at = SteadyTime();
    return job;
  }
  static JobPtr JobAfter(const std::vector<DeliveryAttempt>& attempts) {
    JobPtr job = Job();
    job->claim.attempts = attempts;
    return job;
  }
  // As its message or its row brings it back: what was recorded is known to the claim.
  static JobPtr Again(const DeliveryJob& job) {
    JobPtr again = Job();
    again->delivery = job.delivery;
    again->claim.attempts = job.claim.attempts;
    again->claim.attempts.insert(again->claim.attempts.end(), job.update.attempts.begin(), job.update.attempts.end());
    return again;
  }
  DeliveryAttempt Attempt(const std::string& provider, AttemptOutcome outcome,
                          absl::Duration ago = absl::Seconds(30)) const {
    return {.provider = provider, .time = clock_.Now() - ago, .outcome = outcome};
  }

  // To its end under this claim; no call may hang.
  JobPtr Dispatch(JobPtr job) {
    dispatcher_->Begin(std::move(job));
    for (;;) {
      std::vector<JobPtr> finished = dispatcher_->TakeFinished();
      if (!finished.empty()) return std::move(finished.front());
      if (dispatcher_->in_flight() == 0) break;
    }
    ADD_FAILURE() << "the job is lost";
    return Job();
  }
  void ExpectHeld(const DeliveryJob& job, HoldCause cause, absl::Duration at_least, absl::Duration at_most) const {
    EXPECT_EQ(job.update.state, DeliveryState::kHeld) << job.update.detail;
    EXPECT_OK(job.route);
    EXPECT_EQ(job.update.cause, cause);
    ASSERT_TRUE(job.update.hold_until.has_value());
    EXPECT_THAT(*job.update.hold_until - clock_.Now(), AllOf(Ge(at_least), Le(at_most)));
  }
  void ExpectHeldForProvider(const DeliveryJob& job) const {
    ExpectHeld(job, HoldCause::kProvider, absl::Minutes(10), absl::Minutes(15));
  }
  std::vector<std::string> Asked(const DeliveryJob& job) const {
    std::vector<std::string> names;
    for (const DeliveryAttempt& attempt : job.update.attempts) names.push_back(attempt.provider);
    return names;
  }

  static SendResult Answer(AttemptOutcome outcome) { return {.outcome = outcome, .code = "500", .error = "words"}; }

  SimulatedClock clock_;
  Metrics metrics_;
  Providers providers_;
  ProviderSlots slots_{
      {.lane = Lane::kPayment, .channel = Channel::kSms}, providers_.directory, providers_.Maker(), metrics_};
  const LinkTokens no_links_{providers_.key, ""};
  std::unique_ptr<DeliveryDispatcher> dispatcher_ = Make(providers_.links);
};

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

// --- While providers are out.

TEST_F(DeliveryDispatcherTest, HoldsWhileEveryProviderIsOut) {
  Open("first");
  Open("second");
  const JobPtr job = Dispatch(Job());
  ExpectHeldForProvider(*job);
  EXPECT_THAT(job->update.detail, HasSubstr("every provider is out"));
  EXPECT_THAT(job->update.attempts, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, HoldsWhileNoProviderCanBeMadeHoweverLongAgoThatWas) {
  providers_["broken"].unusable = true;
  Configure({"broken"});
  ExpectHeldForProvider(*Dispatch(Job()));
  clock_.Advance(absl::Hours(1));
  ExpectHeldForProvider(*Dispatch(Job()));
}

TEST_F(DeliveryDispatcherTest, HoldsNoLongerThanItsTtl) {
  Open("first");
  Open("second");
  JobPtr job = Job();
  job->delivery.item.expire_time = clock_.Now() + absl::Minutes(2);
  job = Dispatch(std::move(job));
  ExpectHeld(*job, HoldCause::kProvider, absl::Minutes(2), absl::Minutes(2));
}

TEST_F(DeliveryDispatcherTest, HoldsWhereNoProviderIsConfigured) {
  Configure({});
  const JobPtr job = Dispatch(Job());
  ExpectHeldForProvider(*job);
  EXPECT_THAT(job->update.detail, HasSubstr("no provider is configured for sms"));
}

TEST_F(DeliveryDispatcherTest, SendsOneProbeWhenABreakersTimeHasCome) {
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

TEST_F(DeliveryDispatcherTest, GivesUpAProbeWithoutAnAnswerWhenItEnds) {
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

TEST_F(DeliveryDispatcherTest, WaitsForAReceiptBeforeItAsksAnother) {
  providers_["first"].receipts = true;
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr job = Dispatch(Job());
  ExpectHeld(*job, HoldCause::kReceipt, absl::Seconds(10), absl::Seconds(10));
  EXPECT_THAT(job->update.detail, HasSubstr("a receipt may still come"));
  EXPECT_THAT(Asked(*job), ElementsAre("first"));
}

TEST_F(DeliveryDispatcherTest, WaitsForAReceiptAsLongAsItsProviderIsGiven) {
  v1::Provider slow = Providers::Named("slow");
  slow.mutable_receipt_wait()->set_seconds(40);
  providers_.Set({slow});
  providers_["slow"].receipts = true;
  providers_["slow"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  ExpectHeld(*Dispatch(Job()), HoldCause::kReceipt, absl::Seconds(40), absl::Seconds(40));
}

TEST_F(DeliveryDispatcherTest, AsksTheNextProviderWhenTheReceiptNeverCame) {
  Configure({"first", "second", "third"});
  providers_["first"].receipts = true;
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr job = Dispatch(Again(*Dispatch(Job())));
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_THAT(Asked(*job), ElementsAre("second"));
}

TEST_F(DeliveryDispatcherTest, ComesBackToTheFirstBehindTheLastOne) {
  const std::vector<DeliveryAttempt> before = {Attempt("second", AttemptOutcome::kUnconfirmed)};
  EXPECT_THAT(Asked(*Dispatch(JobAfter(before))), ElementsAre("first"));
}

TEST_F(DeliveryDispatcherTest, AsksTheOnlyProviderAgainWhenItsReceiptNeverCame) {
  Configure({"first"});
  const std::vector<DeliveryAttempt> before = {Attempt("first", AttemptOutcome::kUnconfirmed)};
  EXPECT_EQ(Dispatch(JobAfter(before))->update.state, DeliveryState::kSent);
}

TEST_F(DeliveryDispatcherTest, AsksTheNextAtOnceWhereNoReceiptCanCome) {
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr job = Dispatch(Job());
  EXPECT_EQ(job->update.state, DeliveryState::kSent);
  EXPECT_THAT(Asked(*job), ElementsAre("first", "second"));
}

TEST_F(DeliveryDispatcherTest, WaitsForNoReceiptWhereNobodyCouldReport) {
  dispatcher_ = Make(no_links_);
  providers_["first"].receipts = true;
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first", "second"));
}

TEST_F(DeliveryDispatcherTest, GivesUpAfterThreeOutcomesThatAreNotKnown) {
  providers_["first"].receipts = true;
  std::vector<DeliveryAttempt> attempts(2, Attempt("second", AttemptOutcome::kUnconfirmed));
  providers_["first"].answers = {Answer(AttemptOutcome::kUnconfirmed), Answer(AttemptOutcome::kUnconfirmed)};
  const JobPtr third = Dispatch(JobAfter(attempts));
  ExpectHeld(*third, HoldCause::kReceipt, absl::Seconds(10), absl::Seconds(10));
  attempts.push_back(Attempt("second", AttemptOutcome::kUnconfirmed));
  const JobPtr last = Dispatch(JobAfter(attempts));
  EXPECT_THAT(last->route, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not known again")));
  EXPECT_EQ(last->update.state, DeliveryState::kPending);
}

TEST_F(DeliveryDispatcherTest, BoundsOutcomesThatAreNotKnownUnderOneClaimToo) {
  Configure({"a", "b", "c", "d", "e", "f"});
  for (const char* name : {"a", "b", "c", "d", "e", "f"}) {
    providers_[name].answers = {Answer(AttemptOutcome::kUnconfirmed)};
  }
  const JobPtr job = Dispatch(Job());
  EXPECT_THAT(job->route, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not known again")));
  EXPECT_THAT(Asked(*job), ElementsAre("a", "b", "c", "d"));
}

TEST_F(DeliveryDispatcherTest, SendsAtMostOnceWhatItsTypeWantsSo) {
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

// --- What is the provider's fault, and what is not.

TEST_F(DeliveryDispatcherTest, KeepsAwayFromAProviderThatRefusesTheSender) {
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

TEST_F(DeliveryDispatcherTest, HoldsWhatEveryProviderRefusesTheSenderOf) {
  providers_["first"].answers = {Answer(AttemptOutcome::kBadSender)};
  providers_["second"].answers = {Answer(AttemptOutcome::kBadSender)};
  const JobPtr job = Dispatch(Job());
  ExpectHeldForProvider(*job);
  EXPECT_THAT(job->update.detail, HasSubstr("second: 500 words"));
}

TEST_F(DeliveryDispatcherTest, LeavesAProviderAloneThatAsksForIt) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.retry_after = absl::Seconds(77);
  providers_["first"].answers = {busy};
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first", "second"));
  EXPECT_EQ(Slot("first").breaker.retry_time(), clock_.Now() + absl::Seconds(77));
}

TEST_F(DeliveryDispatcherTest, HoldsOneRecipientAloneWhoIsToBeLeftAlone) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.only_this_recipient = true;
  busy.retry_after = absl::Seconds(77);
  providers_["first"].answers = {busy};
  ExpectHeld(*Dispatch(Job()), HoldCause::kBusy, absl::Seconds(77), absl::Seconds(77));
  EXPECT_THAT(providers_["second"].sent, IsEmpty());
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
  EXPECT_THAT(Asked(*Dispatch(Job("ben"))), ElementsAre("first"));
}

TEST_F(DeliveryDispatcherTest, BringsOneRecipientBackNoSoonerThanInASecond) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.only_this_recipient = true;
  busy.retry_after = absl::ZeroDuration();
  providers_["first"].answers = {busy};
  ExpectHeld(*Dispatch(Job()), HoldCause::kBusy, absl::Seconds(1), absl::Seconds(1));
}

TEST_F(DeliveryDispatcherTest, PutsOneRecipientOffWhereNoTimeIsNamed) {
  SendResult busy = Answer(AttemptOutcome::kRetryable);
  busy.only_this_recipient = true;
  for (int i = 0; i < 20; ++i) providers_["first"].answers.push_back(busy);
  for (int i = 0; i < 20; ++i) EXPECT_THAT(Dispatch(Job())->route, StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kClosed);
}

TEST_F(DeliveryDispatcherTest, OpensABreakerAfterFailuresInARow) {
  providers_["first"].answers.assign(5, Answer(AttemptOutcome::kRetryable));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("first", "second"));
  EXPECT_EQ(Slot("first").breaker.state(), BreakerState::kOpen);
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("second"));
}

// --- Retries that are used up.

TEST_F(DeliveryDispatcherTest, GivesUpWhatFailedWhileOthersGotThrough) {
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

TEST_F(DeliveryDispatcherTest, HoldsWhatFailedWhileNobodyGotThroughAndHasItsProvidersProbed) {
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

// --- Room and time.

TEST_F(DeliveryDispatcherTest, GivesASlowProviderFewCallsAndLetsOthersGoFirst) {
  Configure({"first"});
  providers_["first"].hangs = true;
  for (int i = 0; i < 4; ++i) dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 4u);
  dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 5u) << "it is not slow yet";
  // One of its calls began a while ago.
  ProviderSlot& slot = Slot("first");
  const absl::Duration long_ago = SteadyTime() - absl::Seconds(3);
  slot.calls.insert(long_ago);
  dispatcher_->Begin(Job());
  std::vector<JobPtr> finished = dispatcher_->TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  ExpectHeld(*finished[0], HoldCause::kBusy, absl::Seconds(1), absl::Seconds(1));
  EXPECT_THAT(finished[0]->update.attempts, IsEmpty());
  slot.calls.erase(long_ago);
  dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 6u);
  providers_["first"].EndHanging();
  EXPECT_THAT(dispatcher_->TakeFinished(), SizeIs(6));
  EXPECT_THAT(Slot("first").calls, IsEmpty());
}

TEST_F(DeliveryDispatcherTest, GivesAProviderNoMoreCallsThanItsSettingsSay) {
  v1::Provider small = Providers::Named("small");
  small.set_max_concurrent(2);
  providers_.Set({small});
  providers_["small"].hangs = true;
  for (int i = 0; i < 3; ++i) dispatcher_->Begin(Job());
  EXPECT_EQ(dispatcher_->in_flight(), 2u);
  const std::vector<JobPtr> finished = dispatcher_->TakeFinished();
  ASSERT_THAT(finished, SizeIs(1));
  ExpectHeld(*finished[0], HoldCause::kBusy, absl::Seconds(1), absl::Seconds(1));
  providers_["small"].EndHanging();
}

TEST_F(DeliveryDispatcherTest, AsksTheNextWhereTheFirstHasNoRoom) {
  v1::Provider small = Providers::Named("small");
  small.set_max_concurrent(1);
  providers_.Set({small, Providers::Named("second")});
  providers_["small"].hangs = true;
  dispatcher_->Begin(Job());
  EXPECT_THAT(Asked(*Dispatch(Job())), ElementsAre("second"));
  providers_["small"].EndHanging();
}

TEST_F(DeliveryDispatcherTest, BeginsNoCallThatCouldEndAfterItsClaim) {
  JobPtr late = Job();
  late->claimed_at = SteadyTime() - absl::Seconds(46);  // 10 s for the call, 5 s to spare.
  late = Dispatch(std::move(late));
  ExpectHeld(*late, HoldCause::kBusy, absl::Seconds(1), absl::Seconds(1));
  EXPECT_THAT(providers_["first"].sent, IsEmpty());
  JobPtr in_time = Job();
  in_time->claimed_at = SteadyTime() - absl::Seconds(40);
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
  for (int i = 0; i < 50; ++i) dispatcher_->Begin(Job());
  std::thread other([&] { providers_["first"].EndHanging(); });
  other.join();
  EXPECT_THAT(dispatcher_->TakeFinished(), SizeIs(50));
  EXPECT_EQ(dispatcher_->in_flight(), 0u);
}

}  // namespace
}  // namespace carillon::testing
