#include "workers/delivery/delivery_consumer.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

constexpr absl::Duration kIdleWait = absl::Milliseconds(200);
// While calls are under way: how late the end of one may be heard.
constexpr absl::Duration kBusyWait = absl::Milliseconds(2);
// With so many messages on hand a little is waited for before each round, so that a
// statement serves many.
constexpr size_t kManyMessages = 8;
constexpr absl::Duration kGatherTime = absl::Milliseconds(4);
// A queue with nothing to give for so long has nothing left from before.
constexpr absl::Duration kProbeWait = absl::Milliseconds(100);
// Well under the broker's consumer_timeout of 30 minutes.
constexpr absl::Duration kMaxHold = absl::Minutes(10);
constexpr absl::Duration kServiceInterval = absl::Seconds(1);
constexpr absl::Duration kAttendInterval = absl::Milliseconds(250);
constexpr absl::Duration kAttendTime = absl::Milliseconds(50);
constexpr absl::Duration kLookForHeldInterval = absl::Minutes(1);
constexpr absl::Duration kLookAgainInterval = absl::Seconds(5);  // The store was away.
constexpr absl::Duration kCarefulTime = absl::Seconds(5);

}  // namespace

DeliveryConsumer::DeliveryConsumer(const Options& options, Deps deps)
    : options_(options),
      deps_(std::move(deps)),
      slots_({.lane = options.lane,
              .channel = options.channel,
              .window = options.window.prefetch * options.window.channels},
             deps_.directory, deps_.make_provider, deps_.metrics),
      window_messages_(options.window.prefetch * options.window.channels),
      backoff_(absl::Milliseconds(100), absl::Seconds(5)),
      consumed_(deps_.metrics.Counter("carillon_consumed_total", "Messages settled", {{"queue", options.queue}})),
      redelivered_(deps_.metrics.Counter("carillon_redelivered_total", "Messages that came a second time",
                                         {{"queue", options.queue}})),
      in_flight_(deps_.metrics.Gauge("carillon_provider_calls_in_flight", "Calls to providers under way",
                                     {{"queue", options.queue}})) {
  deps_.failures.Register(options.queue);
  ForgetEverything();
}

void DeliveryConsumer::ForgetEverything() {
  held_.clear();
  dispatcher_ = std::make_unique<DeliveryDispatcher>(DeliveryDispatcher::Deps{.builder = deps_.builder,
                                                                              .slots = slots_,
                                                                              .links = deps_.links,
                                                                              .clock = deps_.clock,
                                                                              .metrics = deps_.metrics,
                                                                              .lane = options_.lane,
                                                                              .channel = options_.channel,
                                                                              .lease = options_.lease});
}

void DeliveryConsumer::Run() {
  if (!WaitForDirectory()) return;
  while (!deps_.stop.is_set()) {
    const absl::Status status = begin_carefully_ ? ConsumeCarefully() : ConsumeFreely();
    // What a lost channel held comes again.
    begin_carefully_ = !status.ok();
    if (status.ok()) {
      backoff_.Reset();
      continue;
    }
    if (backoff_.failures() == 0) log::Warn("consumer.reconnecting", {{"queue", options_.queue}, {"error", status}});
    if (!WaitForBackends()) break;
  }
  deps_.broker->Close();
}

// Before it is read there seem to be no providers, and all would be held.
bool DeliveryConsumer::WaitForDirectory() {
  while (!deps_.directory.loaded()) {
    if (deps_.stop.WaitFor(kProbeWait)) return false;
  }
  return !deps_.stop.is_set();
}

absl::Status DeliveryConsumer::Open(const Consumer::Window& window) {
  RETURN_IF_ERROR(deps_.broker->Open({options_.queue}, window));
  if (!std::exchange(was_opened_, true) && deps_.on_opened != nullptr) deps_.on_opened();
  return absl::OkStatus();
}

absl::Status DeliveryConsumer::ConsumeCarefully() {
  const absl::Duration began = Monotonic();
  RETURN_IF_ERROR(Open({.prefetch = 1, .channels = 1}));
  while (!deps_.stop.is_set()) {
    ASSIGN_OR_RETURN(std::vector<InboundMessage> messages, deps_.broker->Receive(/*max=*/1, kProbeWait));
    if (messages.empty()) break;
    const bool fresh = !messages.front().redelivered;
    if (!fresh) redelivered_.Increment();
    // A provider that was out before this process began holds up nothing.
    Attend();
    RETURN_IF_ERROR(Accept(std::move(messages)));
    while (!held_.empty()) {
      ASSIGN_OR_RETURN(const bool settled, Settle());
      if (!settled) RETURN_IF_ERROR(WaitWhileServicing(kBusyWait));
      if (deps_.stop.is_set()) break;
    }
    // What was delivered before comes first: after something fresh none is left. And
    // what kills does so soon; slow providers must not keep others waiting.
    if (fresh || Monotonic() - began > kCarefulTime) break;
  }
  return Drain();
}

absl::Status DeliveryConsumer::ConsumeFreely() {
  RETURN_IF_ERROR(Open(options_.window));
  while (!deps_.stop.is_set()) {
    const bool many = held_.size() >= kManyMessages;
    const int room = window_messages_ - static_cast<int>(held_.size());
    if (many || room <= 0) RETURN_IF_ERROR(WaitWhileServicing(kGatherTime));
    if (room > 0) {
      ASSIGN_OR_RETURN(std::vector<InboundMessage> messages, deps_.broker->Receive(room, held_.empty() ? kIdleWait
                                                                                         : many ? absl::ZeroDuration()
                                                                                                : kBusyWait));
      redelivered_.Increment(
          static_cast<double>(absl::c_count_if(messages, [](const auto& m) { return m.redelivered; })));
      if (!messages.empty()) RETURN_IF_ERROR(Accept(std::move(messages)));
    }
    RETURN_IF_ERROR(Settle().status());
    Attend();
  }
  return Drain();
}

absl::Status DeliveryConsumer::Drain() {
  RETURN_IF_ERROR(deps_.broker->Cancel());
  ASSIGN_OR_RETURN(std::vector<InboundMessage> rest, deps_.broker->Receive(window_messages_, absl::ZeroDuration()));
  if (!rest.empty()) RETURN_IF_ERROR(Accept(std::move(rest)));
  const absl::Duration began = Monotonic();
  while (!held_.empty()) {
    if (deps_.stop.is_set()) dispatcher_->PutOffWaiting();
    ASSIGN_OR_RETURN(const bool settled, Settle());
    // A call that hangs is not waited for: its message comes again.
    if (deps_.stop.is_set() && Monotonic() - began > options_.drain) {
      log::Warn("deliveries.left", {{"queue", options_.queue}, {"messages", held_.size()}});
      return absl::CancelledError("stopped before every provider had answered");
    }
    if (!settled) RETURN_IF_ERROR(WaitWhileServicing(kBusyWait));
  }
  return absl::OkStatus();
}

absl::Status DeliveryConsumer::Accept(std::vector<InboundMessage> messages) {
  std::vector<JobPtr> jobs;
  std::vector<FailedItem> unreadable;
  std::vector<InboundMessage> done;
  for (InboundMessage& message : messages) {
    absl::StatusOr<EnvelopeContents> contents = DecodeContents(message.body);
    if (!contents.ok() || contents->deliveries.empty()) {
      unreadable.push_back(
          {&message, nullptr,
           contents.ok() ? absl::InvalidArgumentError("the message holds no delivery") : contents.status()});
      continue;
    }
    // What was held comes without its headers.
    if (message.traceparent.empty()) message.traceparent = contents->deliveries.front().item.traceparent;
    const size_t key = ++last_held_;
    held_[key] = {message, contents->deliveries.size()};
    for (Delivery& delivery : contents->deliveries) {
      auto job = std::make_unique<DeliveryJob>();
      delivery.item.lane = options_.lane;
      job->delivery = std::move(delivery);
      job->message = key;
      job->retry_count = message.retry_count;
      job->redelivered = message.redelivered;
      jobs.push_back(std::move(job));
    }
  }
  if (!unreadable.empty()) {
    RETURN_IF_ERROR(Persist([&] { return deps_.failures.Route(unreadable); }));
    for (const FailedItem& item : unreadable) done.push_back(*item.message);
    RETURN_IF_ERROR(deps_.broker->Ack(done));
  }
  if (jobs.empty()) return absl::OkStatus();
  if (deps_.meter != nullptr && jobs.back()->retry_count == 0) deps_.meter->Take(jobs.back()->delivery.id.time());

  std::vector<ClaimRequest> requests;
  for (const JobPtr& job : jobs) requests.push_back({&job->delivery, job->redelivered});
  std::vector<ClaimResult> claims;
  bool again = false;
  RETURN_IF_ERROR(Persist([&]() -> absl::Status {
    // What failed may have been done: the claim is our own.
    if (std::exchange(again, true)) {
      for (ClaimRequest& request : requests) request.take_over = true;
    }
    ASSIGN_OR_RETURN(claims, deps_.store->Claim(requests, options_.lease));
    return absl::OkStatus();
  }));
  std::vector<JobPtr> passed_over;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (!claims[i].claimed) {
      passed_over.push_back(std::move(jobs[i]));
      continue;
    }
    jobs[i]->claim = std::move(claims[i]);
    jobs[i]->claimed_at = Monotonic();
    dispatcher_->Begin(std::move(jobs[i]));
  }
  return Release(passed_over);
}

absl::StatusOr<bool> DeliveryConsumer::Settle() {
  const std::vector<JobPtr> jobs = dispatcher_->TakeFinished();
  in_flight_.Set(static_cast<double>(dispatcher_->in_flight()));
  if (jobs.empty()) return false;
  RETURN_IF_ERROR(Persist([&] { return Record(jobs); }));
  RETURN_IF_ERROR(Persist([&] { return RouteFailures(jobs); }));
  RETURN_IF_ERROR(Release(jobs));
  return true;
}

absl::Status DeliveryConsumer::Record(const std::vector<JobPtr>& jobs) {
  std::vector<DeliveryUpdate> updates;
  for (const JobPtr& job : jobs) updates.push_back(job->update);
  return deps_.store->Record(updates);
}

absl::Status DeliveryConsumer::RouteFailures(const std::vector<JobPtr>& jobs) {
  std::vector<FailedItem> failures;
  for (const JobPtr& job : jobs) {
    if (!job->route.ok()) failures.push_back({&held_.at(job->message).message, nullptr, job->route});
  }
  return failures.empty() ? absl::OkStatus() : deps_.failures.Route(failures);
}

// Acknowledges the messages whose last delivery this was.
absl::Status DeliveryConsumer::Release(const std::vector<JobPtr>& jobs) {
  std::vector<InboundMessage> done;
  for (const JobPtr& job : jobs) {
    const auto found = held_.find(job->message);
    if (--found->second.open > 0) continue;
    done.push_back(std::move(found->second.message));
    held_.erase(found);
  }
  if (done.empty()) return absl::OkStatus();
  consumed_.Increment(static_cast<double>(done.size()));
  if (deps_.meter != nullptr) deps_.meter->Settle(static_cast<int64_t>(done.size()), static_cast<int64_t>(jobs.size()));
  return deps_.broker->Ack(done);
}

absl::Status DeliveryConsumer::Persist(const std::function<absl::Status()>& work) {
  const absl::Duration began = Monotonic();
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(5));
  while (true) {
    const absl::Status status = work();
    if (status.ok()) return status;
    if (backoff.failures() == 0) log::Warn("consumer.holding", {{"queue", options_.queue}, {"error", status}});
    if (Monotonic() - began > (deps_.stop.is_set() ? options_.drain : kMaxHold)) return status;
    RETURN_IF_ERROR(WaitWhileServicing(backoff.Next()));
  }
}

absl::Status DeliveryConsumer::WaitWhileServicing(absl::Duration time) {
  while (time > absl::ZeroDuration()) {
    RETURN_IF_ERROR(deps_.broker->Service());
    const absl::Duration slice = std::min(time, kServiceInterval);
    // While stopping too: the drain has its own bound.
    const StopSignal never;
    (deps_.stop.is_set() ? never : deps_.stop).WaitFor(slice);
    time -= slice;
  }
  return absl::OkStatus();
}

bool DeliveryConsumer::WaitForBackends() {
  deps_.broker->Close();
  RecordAbandoned();
  ForgetEverything();
  if (deps_.stop.WaitFor(backoff_.Next())) return false;
  // Taking messages while the store is away would only give them back, once more counted.
  while (!deps_.store->ReadContacts({}).ok()) {
    if (deps_.stop.WaitFor(backoff_.Next())) return false;
  }
  return true;
}

// The broker has the messages back; what their calls came to is still worth knowing:
// one that was accepted is not sent again.
void DeliveryConsumer::RecordAbandoned() {
  const absl::Duration began = Monotonic();
  dispatcher_->PutOffWaiting();
  do {
    const std::vector<JobPtr> jobs = dispatcher_->TakeFinished();
    if (!jobs.empty() && !Record(jobs).ok()) return;
    if (jobs.empty() && dispatcher_->in_flight() == 0) return;
  } while (!deps_.stop.WaitFor(kGatherTime) && Monotonic() - began < options_.drain);
}

void DeliveryConsumer::Attend() {
  if (Monotonic() < next_attendance_) return;
  next_attendance_ = Monotonic() + kAttendInterval;
  RestoreHealth();
  WriteHealth();
  const absl::Time now = deps_.clock.Now();
  slots_.Refresh(now);
  LookForHeld(now);
  // Of many apps some have their turn the next time: calls are waiting to be settled.
  const std::vector<std::shared_ptr<ProviderSlot>> slots = slots_.All();
  const absl::Duration began = Monotonic();
  for (size_t i = 0; i < slots.size() && Monotonic() - began < kAttendTime; ++i) {
    next_slot_ = (next_slot_ + 1) % slots.size();
    ProviderSlot& slot = *slots[next_slot_];
    const int wanted = TakeWanted(slot, now);
    if (wanted == 0) continue;
    const absl::StatusOr<int> released =
        deps_.store->ReleaseHeld(slot.config->app, options_.channel, options_.lane, wanted);
    // It is away: the heartbeats can't wait for every slot's time-out.
    if (!released.ok()) return;
    NoteReleased(slot, *released, now);
    if (*released < wanted) EndDrain(slot);
  }
}

// None is left.
void DeliveryConsumer::EndDrain(ProviderSlot& slot) {
  slot.draining = false;
  if (slot.released == 0) return;
  log::Info(
      "deliveries.released",
      {{"queue", options_.queue}, {"app", slot.config->app.value()}, {"deliveries", std::exchange(slot.released, 0)}});
}

// What a worker that is no more has held comes too, though nothing else may come of
// its app.
void DeliveryConsumer::LookForHeld(absl::Time now) {
  if (Monotonic() < next_look_for_held_) return;
  next_look_for_held_ = Monotonic() + kLookAgainInterval;
  const absl::StatusOr<std::vector<AppId>> apps = deps_.store->AppsWithHeld(options_.channel, options_.lane);
  if (!apps.ok()) return;
  next_look_for_held_ = Monotonic() + kLookForHeldInterval;
  for (const AppId app : *apps) {
    for (const auto& slot : slots_.Of(app, now)) slot->draining = true;
  }
}

// What can't be written now is written with the next ones; the newest of each counts.
void DeliveryConsumer::WriteHealth() {
  for (ProviderHealth& change : slots_.TakeChanges()) {
    unwritten_.insert_or_assign({change.app, change.name}, std::move(change));
  }
  if (unwritten_.empty()) return;
  std::vector<ProviderHealth> health;
  for (const auto& [key, one] : unwritten_) health.push_back(one);
  if (deps_.providers->WriteHealth(health).ok()) unwritten_.clear();
}

void DeliveryConsumer::RestoreHealth() {
  if (restored_ || !deps_.directory.loaded()) return;
  const absl::StatusOr<std::vector<ProviderHealth>> health = deps_.providers->ReadOpen(options_.lane, options_.channel);
  if (!health.ok()) return;
  slots_.Restore(*health, deps_.clock.Now());
  restored_ = true;
}

}  // namespace carillon
