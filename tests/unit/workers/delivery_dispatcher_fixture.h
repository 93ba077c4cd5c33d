// A dispatcher with an app of two providers, and jobs for it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/delivery_fakes.h"
#include "workers/delivery/delivery_dispatcher.h"

namespace carillon::testing {

class DeliveryDispatcherTest : public ::testing::Test {
 protected:
  using JobPtr = std::unique_ptr<DeliveryJob>;

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

  // The app is a sandbox, so far ahead.
  void AdvanceTheAppsClock(absl::Duration by) {
    providers_.catalogue_store->policies = {{.app = kTestApp, .sandbox = true, .clock_offset = by}};
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
                                                                         .lease = absl::Seconds(60)});
  }

  // Claimed a moment ago.
  static JobPtr Job(const std::string& recipient = "ann") {
    auto job = std::make_unique<DeliveryJob>();
    job->delivery = TestDelivery(recipient);
    job->claim = {.claimed = true, .claim = 5, .address = kTestNumber};
    job->claimed_at = Monotonic();
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
    EXPECT_THAT(*job.update.hold_until - clock_.Now(),
                ::testing::AllOf(::testing::Ge(at_least), ::testing::Le(at_most)));
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
  ProviderSlots slots_{{.lane = Lane::kPayment, .channel = Channel::kSms, .window = 16},
                       providers_.directory,
                       providers_.Maker(),
                       metrics_};
  const LinkTokens no_links_{providers_.key, ""};
  std::unique_ptr<DeliveryDispatcher> dispatcher_ = Make(providers_.links);
};

}  // namespace carillon::testing
