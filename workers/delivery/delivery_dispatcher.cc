#include "workers/delivery/delivery_dispatcher.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/topology.h"
#include "carillon/domain/trace_context.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

// Between a call's own time-out and the end of the claim.
constexpr absl::Duration kClaimMargin = absl::Seconds(5);
// What waits for a provider is released by the first call that gets through; this is
// for what nobody releases.
constexpr absl::Duration kShortestHold = absl::Minutes(10);
constexpr absl::Duration kLongestHold = absl::Minutes(15);
constexpr absl::Duration kBusyHold = absl::Seconds(1);
// What waits for a provider that turns out to be slow waits no longer.
constexpr absl::Duration kLookInterval = absl::Milliseconds(100);
// Each may have arrived: a person gets no more copies than this, and one.
constexpr int kMaxUnconfirmed = 3;
// While nobody gets through it is the provider's failure, up to here.
constexpr int kMostUnconfirmed = 12;
// Attempts after which a recipient's own Retry-After is not waited for any more.
constexpr size_t kMostPutOff = 10;
// For a provider's room; then it is put off.
constexpr absl::Duration kMaxWait = absl::Seconds(2);

// The provider's last words.
std::string Words(const ProviderSlot& slot, const SendResult& result) {
  return absl::StrCat(slot.config->name, ": ", result.code, result.code.empty() || result.error.empty() ? "" : " ",
                      result.error);
}

bool IsOut(const ProviderSlot& slot, absl::Time now) {
  return slot.provider == nullptr || !slot.breaker.WouldAllow(now);
}

int CountUnconfirmed(const std::vector<DeliveryAttempt>& attempts) {
  return static_cast<int>(absl::c_count_if(
      attempts, [](const DeliveryAttempt& attempt) { return attempt.outcome == AttemptOutcome::kUnconfirmed; }));
}

void LogAttempt(const Delivery& delivery, const DeliveryAttempt& attempt) {
  log::Debug("delivery.attempted", {{"delivery_id", delivery.id.ToString()},
                                    {"notification_id", delivery.item.id.ToString()},
                                    {"provider", attempt.provider},
                                    {"outcome", ToString(attempt.outcome)},
                                    {"code", attempt.code},
                                    {"latency_ms", absl::ToDoubleMilliseconds(attempt.latency)},
                                    {"trace_id", TraceIdOf(delivery.item.traceparent)}});
}

}  // namespace

DeliveryDispatcher::DeliveryDispatcher(const Deps& deps)
    : deps_(deps),
      random_(std::random_device{}()),
      accepted_to_sent_(deps.metrics.EndToEnd(
          "carillon_accepted_to_sent_seconds", "From acceptance, or the time it waited for, to a provider's acceptance",
          {{"lane", std::string(ToString(deps.lane))}, {"channel", std::string(ToString(deps.channel))}})) {}

DeliveryDispatcher::~DeliveryDispatcher() {
  const absl::Time now = deps_.clock.Now();
  for (auto& [id, call] : in_flight_) {
    call.slot->calls.erase(call.slot->calls.find(call.began));
    call.slot->breaker.OnNothingLearned(now);
  }
  for (const Waiting& one : waiting_) --one.slot->waiting;
}

void DeliveryDispatcher::Begin(std::unique_ptr<DeliveryJob> job) {
  job->update.delivery = &job->delivery;
  job->update.claim = job->claim.claim;
  job->update.address = job->claim.address;
  ForgetEarlierLife(*job);
  const Notification& item = job->delivery.item;
  deps_.slots.NoteArrival(item.app, item.create_time - deps_.builder.ClockOffsetOf(job->delivery));
  if (Prepare(job)) Continue(std::move(job));
}

// What was accepted and comes again begins anew: the calls before say nothing of now. Of
// those that it died of before it was put back only that a person may have it.
void DeliveryDispatcher::ForgetEarlierLife(DeliveryJob& job) {
  std::vector<DeliveryAttempt>& attempts = job.claim.attempts;
  const auto accepted = std::find_if(attempts.rbegin(), attempts.rend(), [](const DeliveryAttempt& attempt) {
    return attempt.outcome == AttemptOutcome::kAccepted;
  });
  job.was_accepted = accepted != attempts.rend();
  attempts.erase(attempts.begin(), accepted.base());
  // Whoever held it before may have died in the middle of a call.
  job.may_have_been_sent = job.claim.interrupted || CountUnconfirmed(attempts) > 0;
  std::erase_if(attempts, [](const DeliveryAttempt& attempt) { return attempt.before_replay; });
}

bool DeliveryDispatcher::Prepare(JobPtr& job) {
  if (ExpireIfDue(job, deps_.clock.Now())) return false;
  if (!job->claim.suppressed.empty()) {
    Finish(std::move(job), DeliveryState::kSuppressed, absl::StrCat("suppressed: ", job->claim.suppressed));
    return false;
  }
  if (job->claim.address.empty() && job->delivery.channel != Channel::kWebhook) {
    Finish(std::move(job), DeliveryState::kSuppressed, "the recipient can't be reached there any more");
    return false;
  }
  absl::StatusOr<std::shared_ptr<const NotificationType>> type = deps_.builder.TypeOf(job->delivery);
  if (!type.ok()) {
    Route(std::move(job), type.status());
    return false;
  }
  job->type = *std::move(type);
  if (job->type->at_most_once && job->may_have_been_sent) {
    Finish(std::move(job), DeliveryState::kDead, "the outcome of its attempt is not known, and it wants no other");
    return false;
  }
  absl::StatusOr<ProviderMessage> content = deps_.builder.Build(job->delivery, *job->type, job->claim);
  if (!content.ok()) {
    Route(std::move(job), content.status());
    return false;
  }
  job->content = *std::move(content);
  return true;
}

absl::Time DeliveryDispatcher::EndOf(const Delivery& delivery) const {
  const Notification& item = delivery.item;
  const absl::Time kept = item.create_time + absl::Hours(24) * item.retention_days;
  return std::min(kept, item.expire_time.value_or(kept)) - deps_.builder.ClockOffsetOf(delivery);
}

bool DeliveryDispatcher::ExpireIfDue(JobPtr& job, absl::Time now) {
  const Notification& item = job->delivery.item;
  if (EndOf(job->delivery) > now) return false;
  if (job->was_accepted) {
    Finish(std::move(job), DeliveryState::kUndelivered, "a receipt said so, and its time ended before another try");
    return true;
  }
  const bool by_ttl =
      item.expire_time.has_value() && *item.expire_time <= now + deps_.builder.ClockOffsetOf(job->delivery);
  Finish(std::move(job), DeliveryState::kExpired,
         by_ttl ? "its ttl ended before a provider had it"
                : absl::StrCat("no provider took it within its retention of ", item.retention_days, " days"));
  return true;
}

bool DeliveryDispatcher::MayWaitFor(const DeliveryJob& job, const ProviderSlot& slot) const {
  const absl::Duration now = Monotonic();
  const bool has_time = job.waiting_since == absl::ZeroDuration() || now - job.waiting_since < kMaxWait;
  return has_time && slot.waiting < slot.max_calls && !IsSlow(slot, now);
}

void DeliveryDispatcher::LookAtWaiting() {
  next_look_ = Monotonic() + kLookInterval;
  for (Waiting& one : std::exchange(waiting_, {})) {
    --one.slot->waiting;
    Continue(std::move(one.job));
  }
}

void DeliveryDispatcher::PutOffWaiting() {
  for (Waiting& one : std::exchange(waiting_, {})) {
    --one.slot->waiting;
    Hold(std::move(one.job), HoldCause::kBusy, deps_.clock.Now() + kBusyHold, "its worker was stopped");
  }
}

size_t DeliveryDispatcher::FirstProvider(const DeliveryJob& job,
                                         const std::vector<std::shared_ptr<ProviderSlot>>& slots) const {
  if (job.claim.attempts.empty() || job.claim.attempts.back().outcome != AttemptOutcome::kUnconfirmed) return 0;
  for (size_t i = 0; i + 1 < slots.size(); ++i) {
    if (slots[i]->config->name == job.claim.attempts.back().provider) return i + 1;
  }
  return 0;
}

void DeliveryDispatcher::Continue(JobPtr job) {
  const absl::Time now = deps_.clock.Now();
  const std::vector<std::shared_ptr<ProviderSlot>> slots = deps_.slots.Of(job->delivery.item.app, now);
  if (slots.empty()) {
    const std::string why = absl::StrCat("no provider is configured for ", ToString(deps_.channel));
    return Hold(std::move(job), HoldCause::kProvider, ProviderHoldTime(), why);
  }
  if (ExpireIfDue(job, now)) return;
  const size_t first = FirstProvider(*job, slots);
  bool is_busy = false;
  for (size_t i = 0; i < slots.size(); ++i) {
    const std::shared_ptr<ProviderSlot>& slot = slots[(first + i) % slots.size()];
    if (IsOut(*slot, now) || absl::c_linear_search(job->tried, slot->config->name)) continue;
    if (!HasRoom(*slot, Monotonic())) {
      if (MayWaitFor(*job, *slot)) {
        if (job->waiting_since == absl::ZeroDuration()) job->waiting_since = Monotonic();
        ++slot->waiting;
        return waiting_.push_back({std::move(job), slot});
      }
      is_busy = true;
      // What waits for it in the store comes as it has room.
      slot->draining = true;
      continue;
    }
    const bool in_time = Monotonic() - job->claimed_at + TimeoutOf(*slot) + kClaimMargin < deps_.lease;
    if (!in_time) break;
    slot->breaker.Allow(now);
    if (slot->breaker.state() == BreakerState::kHalfOpen) deps_.slots.NoteChange(*slot);
    return StartCall(std::move(job), slot);
  }
  if (is_busy && !job->provider_failed) {
    return Hold(std::move(job), HoldCause::kProvider, ProviderHoldTime(),
                "its provider has no room; it comes when it has");
  }
  const bool all_out = absl::c_all_of(slots, [&](const auto& slot) { return IsOut(*slot, now); });
  Resolve(std::move(job), all_out);
}

void DeliveryDispatcher::StartCall(JobPtr job, const std::shared_ptr<ProviderSlot>& slot) {
  const uint64_t id = ++last_call_;
  job->tried.push_back(slot->config->name);
  job->waiting_since = absl::ZeroDuration();
  ProviderMessage message = *job->content;
  message.may_have_been_sent = job->may_have_been_sent;
  message.receipt_url = deps_.builder.ReceiptUrl(job->delivery, slot->config->settings);
  const absl::Duration began = Monotonic();
  slot->calls.insert(began);
  in_flight_.emplace(id, Call{std::move(job), slot, deps_.clock.Now(), began});
  // The callback keeps the adapter alive: settings may change while it works.
  slot->provider->Send(message, TimeoutOf(*slot),
                       [mailbox = mailbox_, provider = slot->provider, id](SendResult result) {
                         absl::MutexLock lock(&mailbox->mutex);
                         mailbox->ends.push_back({id, std::move(result)});
                       });
}

std::vector<std::unique_ptr<DeliveryJob>> DeliveryDispatcher::TakeFinished() {
  std::vector<CallEnd> ends;
  {
    absl::MutexLock lock(&mailbox_->mutex);
    ends.swap(mailbox_->ends);
  }
  const bool look_at_waiting = !waiting_.empty() && (!ends.empty() || Monotonic() >= next_look_);
  for (CallEnd& end : ends) OnCallEnd(std::move(end));
  if (look_at_waiting) LookAtWaiting();
  return std::exchange(finished_, {});
}

void DeliveryDispatcher::OnCallEnd(CallEnd end) {
  const auto found = in_flight_.find(end.call);
  if (found == in_flight_.end()) return;
  Call call = std::move(found->second);
  in_flight_.erase(found);
  ProviderSlot& slot = *call.slot;
  slot.calls.erase(slot.calls.find(call.began));
  SendResult& result = end.result;
  JobPtr job = std::move(call.job);
  job->update.attempts.push_back({.provider = slot.config->name,
                                  .time = call.begin_time,
                                  .outcome = result.outcome,
                                  .code = result.code,
                                  .error = result.error,
                                  .latency = result.latency,
                                  .provider_message_id = result.provider_message_id});
  slot.calls_by_outcome.at(result.outcome)->Increment();
  slot.call_seconds->Observe(absl::ToDoubleSeconds(result.latency));
  NoteHealth(slot, result);
  LogAttempt(job->delivery, job->update.attempts.back());
  if (!result.suppress_reason.empty()) job->update.suppress_reason = result.suppress_reason;
  switch (result.outcome) {
    case AttemptOutcome::kAccepted:
      NoteAcceptedToSent(*job);
      job->update.may_resend = MayResend(*job, slot);
      return Finish(std::move(job), DeliveryState::kSent, "");
    case AttemptOutcome::kBadRecipient:
      job->update.device_dead_since = result.device_dead_since;
      return Finish(std::move(job), DeliveryState::kSuppressed,
                    absl::StrCat("the device is not registered any more: ", Words(slot, result)));
    case AttemptOutcome::kPermanent:
      job->permanent = absl::InvalidArgumentError(Words(slot, result));
      if (result.may_try_next) return Continue(std::move(job));
      return Route(std::move(job), absl::InvalidArgumentError(Words(slot, result)));
    case AttemptOutcome::kUnconfirmed:
      return OnUnconfirmed(std::move(job), slot, result);
    case AttemptOutcome::kRetryable:
    case AttemptOutcome::kBadSender:
      return OnFailure(std::move(job), slot, result);
  }
}

// What a rule held back counts from the end of that; what a receipt brought back was counted.
void DeliveryDispatcher::NoteAcceptedToSent(const DeliveryJob& job) {
  if (job.was_accepted) return;
  const Delivery& delivery = job.delivery;
  const absl::Time now = deps_.clock.Now() + deps_.builder.ClockOffsetOf(delivery);
  const absl::Time wanted = std::max(delivery.item.create_time, delivery.decide_time.value_or(absl::InfinitePast()));
  accepted_to_sent_.Observe(std::max(0.0, absl::ToDoubleSeconds(now - wanted)));
}

// Only handsets are ever out of reach, and only who reports says so.
bool DeliveryDispatcher::MayResend(const DeliveryJob& job, const ProviderSlot& slot) const {
  return deps_.channel == Channel::kSms && !job.type->at_most_once && slot.provider->reports_receipts() &&
         deps_.links.enabled() && EndOf(job.delivery) > deps_.clock.Now() + kResendDelay;
}

void DeliveryDispatcher::NoteHealth(ProviderSlot& slot, const SendResult& result) {
  const absl::Time now = deps_.clock.Now();
  Breaker& breaker = slot.breaker;
  const std::string words = absl::StrCat(result.code, result.error.empty() ? "" : " ", result.error);
  const bool well = result.outcome == AttemptOutcome::kAccepted || result.outcome == AttemptOutcome::kPermanent ||
                    result.outcome == AttemptOutcome::kBadRecipient || result.only_this_recipient;
  bool changed = false;
  if (well) {
    changed = breaker.OnSuccess(now);
    if (changed) slot.draining = true;
    if (result.outcome == AttemptOutcome::kAccepted) slot.last_success = now;
  } else if (result.outcome == AttemptOutcome::kBadSender) {
    changed = breaker.OnMisconfigured(now, words, result.retry_after);
  } else if (result.retry_after.has_value()) {
    changed = breaker.OnRetryAfter(now, *result.retry_after, words);
  } else {
    changed = breaker.OnFailure(now, words);
  }
  if (!changed) return;
  deps_.slots.NoteChange(slot);
  const std::initializer_list<log::Field> fields = {
      {"lane", ToString(deps_.lane)},  {"channel", ToString(deps_.channel)},   {"app", slot.config->app.value()},
      {"provider", slot.config->name}, {"breaker", ToString(breaker.state())}, {"code", result.code}};
  if (breaker.misconfigured()) {
    log::Error("provider.misconfigured", fields);
  } else {
    log::Warn("provider.breaker", fields);
  }
}

void DeliveryDispatcher::OnFailure(JobPtr job, ProviderSlot& slot, const SendResult& result) {
  job->last_failure = absl::UnavailableError(Words(slot, result));
  if (result.only_this_recipient) {
    const size_t attempts = job->claim.attempts.size() + job->update.attempts.size();
    if (!result.retry_after.has_value() || attempts > kMostPutOff) return Route(std::move(job), job->last_failure);
    const absl::Time until = deps_.clock.Now() + std::max(*result.retry_after, kBusyHold);
    return Hold(std::move(job), HoldCause::kBusy, until, Words(slot, result));
  }
  job->provider_failed = true;
  NoteWhetherOthersGetThrough(*job, slot);
  Continue(std::move(job));
}

void DeliveryDispatcher::NoteWhetherOthersGetThrough(DeliveryJob& job, const ProviderSlot& slot) const {
  const absl::Time first =
      job.claim.attempts.empty() ? job.update.attempts.front().time : job.claim.attempts.front().time;
  if (slot.last_success.has_value() && *slot.last_success > first) job.others_get_through = true;
}

void DeliveryDispatcher::OnUnconfirmed(JobPtr job, ProviderSlot& slot, const SendResult& result) {
  if (job->type->at_most_once) {
    return Finish(std::move(job), DeliveryState::kDead,
                  absl::StrCat("its outcome is not known, and it wants no other attempt: ", Words(slot, result)));
  }
  const auto unconfirmed = CountUnconfirmed(job->claim.attempts) + CountUnconfirmed(job->update.attempts);
  if (unconfirmed > kMaxUnconfirmed) {
    const std::string why = absl::StrCat("its outcome was not known again: ", Words(slot, result));
    NoteWhetherOthersGetThrough(*job, slot);
    if (job->others_get_through || unconfirmed > kMostUnconfirmed) {
      return Route(std::move(job), absl::InvalidArgumentError(why));
    }
    TripTried(*job);
    return Hold(std::move(job), HoldCause::kProvider, ProviderHoldTime(), why);
  }
  if (!slot.provider->reports_receipts() || !deps_.links.enabled()) return OnFailure(std::move(job), slot, result);
  Hold(std::move(job), HoldCause::kReceipt, deps_.clock.Now() + ReceiptWaitOf(slot),
       absl::StrCat("a receipt may still come: ", Words(slot, result)));
}

// Nobody is left to ask under this claim. Nothing is used up by an outage, however
// long: only what fails while others get through is given up.
void DeliveryDispatcher::Resolve(JobPtr job, bool all_out) {
  const std::vector<std::shared_ptr<ProviderSlot>> slots = deps_.slots.Of(job->delivery.item.app, deps_.clock.Now());
  const bool asked_all =
      absl::c_all_of(slots, [&](const auto& slot) { return absl::c_linear_search(job->tried, slot->config->name); });
  // One that refuses it for good does not speak for one that is out.
  const bool refused = !job->permanent.ok() && !job->provider_failed;
  if (refused && asked_all) return Route(std::move(job), job->permanent);
  const bool used_up = job->retry_count >= static_cast<int>(std::size(kRetrySeconds));
  if (all_out || refused || (used_up && job->provider_failed && !job->others_get_through)) {
    // One that refuses a recipient is well.
    if (!refused) TripTried(*job);
    const absl::Status& words = refused ? job->permanent : job->last_failure;
    const std::string why =
        absl::StrCat(refused ? "refused by one provider, and the others are out" : "every provider is out",
                     words.ok() ? "" : ": ", words.message());
    return Hold(std::move(job), HoldCause::kProvider, ProviderHoldTime(), why);
  }
  if (!job->provider_failed) {
    return Hold(std::move(job), HoldCause::kBusy, deps_.clock.Now() + kBusyHold, "no time was left to ask a provider");
  }
  Route(std::move(job), job->last_failure);
}

// What they fail is held: they have to be probed, and that is the breaker's affair.
void DeliveryDispatcher::TripTried(const DeliveryJob& job) {
  const absl::Time now = deps_.clock.Now();
  for (const auto& slot : deps_.slots.Of(job.delivery.item.app, now)) {
    const bool was_tried = absl::c_linear_search(job.tried, slot->config->name);
    if (!was_tried || slot->breaker.state() != BreakerState::kClosed) continue;
    slot->breaker.Trip(now, job.last_failure.message());
    deps_.slots.NoteChange(*slot);
  }
}

absl::Time DeliveryDispatcher::ProviderHoldTime() {
  const absl::Duration spread = kLongestHold - kShortestHold;
  const double share = std::uniform_real_distribution<double>(0, 1)(random_);
  return deps_.clock.Now() + kShortestHold + share * spread;
}

void DeliveryDispatcher::Finish(JobPtr job, DeliveryState state, std::string detail) {
  const bool ends_unsent = IsTerminal(state) && state != DeliveryState::kSent;
  // Once a provider had it, it can't be as if none ever had.
  job->update.state = ends_unsent && job->was_accepted ? DeliveryState::kUndelivered : state;
  job->update.detail = std::move(detail);
  finished_.push_back(std::move(job));
}

// It comes back in time to be told that its ttl has ended.
void DeliveryDispatcher::Hold(JobPtr job, HoldCause cause, absl::Time until, std::string detail) {
  job->update.hold_until = std::min(until, EndOf(job->delivery));
  job->update.cause = cause;
  Finish(std::move(job), DeliveryState::kHeld, std::move(detail));
}

void DeliveryDispatcher::Route(JobPtr job, absl::Status status) {
  job->route = std::move(status);
  std::string words(job->route.message());
  Finish(std::move(job), DeliveryState::kPending, std::move(words));
}

}  // namespace carillon
