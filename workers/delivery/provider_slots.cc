#include "workers/delivery/provider_slots.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr int kDefaultConcurrent = 100;
// A provider with a call that takes longer is slow.
constexpr absl::Duration kSlowCall = absl::Seconds(2);
// Of the worker's window, for any provider, and for one that is slow.
constexpr int kPart = 2;
constexpr int kSlowPart = 4;
// Of those held, at a time, where its calls have no other limit than the window: they
// pass through the queue as fast as it takes them.
constexpr size_t kReleaseStep = 500;
// From the store through outbox and broker to here.
constexpr absl::Duration kLongestWay = absl::Seconds(2);
constexpr absl::Duration kProbeInterval = absl::Seconds(5);
constexpr absl::Duration kDefaultTimeout = absl::Seconds(10);
constexpr absl::Duration kDefaultReceiptWait = absl::Seconds(10);

absl::Duration OrDefault(bool has, const google::protobuf::Duration& duration, absl::Duration otherwise) {
  return has ? absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos()) : otherwise;
}

}  // namespace

std::vector<std::shared_ptr<ProviderSlot>> ProviderSlots::Of(AppId app, absl::Time now) {
  apps_.insert(app);
  std::vector<std::shared_ptr<ProviderSlot>> slots;
  for (const auto& config : *directory_.Providers(app, options_.channel)) {
    std::shared_ptr<ProviderSlot>& slot = slots_[Key(app, config->name)];
    if (slot == nullptr || slot->config != config) Replace(slot, config, now);
    slots.push_back(slot);
  }
  return slots;
}

void ProviderSlots::Refresh(absl::Time now) {
  for (const AppId app : apps_) {
    const std::vector<std::shared_ptr<ProviderSlot>> current = Of(app, now);
    for (auto it = slots_.lower_bound(Key(app, "")); it != slots_.end() && it->first.first == app;) {
      if (absl::c_linear_search(current, it->second)) {
        ++it;
        continue;
      }
      // Its gauges stay with the process, and nobody calls it any more.
      it->second->breaker_gauge->Set(static_cast<double>(BreakerState::kClosed));
      it->second->misconfigured_gauge->Set(0);
      it = slots_.erase(it);
    }
  }
}

void ProviderSlots::Restore(const std::vector<ProviderHealth>& health, absl::Time now) {
  for (const ProviderHealth& one : health) {
    if (one.lane != options_.lane || one.channel != options_.channel) continue;
    for (const auto& slot : Of(one.app, now)) {
      if (slot->config->name != one.name) continue;
      slot->breaker.Restore(one);
      NoteChange(*slot);
    }
  }
}

// Every outcome at once: what is not there before it happens first has no rate then.
void ProviderSlots::Register(ProviderSlot& slot) {
  Metrics::Labels labels = {{"lane", std::string(ToString(options_.lane))},
                            {"channel", std::string(ToString(options_.channel))},
                            {"provider", slot.config->name}};
  for (const AttemptOutcome outcome :
       {AttemptOutcome::kAccepted, AttemptOutcome::kRetryable, AttemptOutcome::kPermanent,
        AttemptOutcome::kBadRecipient, AttemptOutcome::kBadSender, AttemptOutcome::kUnconfirmed}) {
    labels["outcome"] = std::string(ToString(outcome));
    slot.calls_by_outcome[outcome] =
        &metrics_.Counter("carillon_provider_calls_total", "Calls to providers, by what came of them", labels);
  }
  labels.erase("outcome");
  slot.call_seconds = &metrics_.Latency("carillon_provider_call_seconds", "Time of a call to a provider", labels);
  labels["app"] = absl::StrCat(slot.config->app.value());
  slot.breaker_gauge = &metrics_.Gauge("carillon_provider_breaker", "1 closed, 2 open, 3 half-open", labels);
  slot.breaker_gauge->Set(static_cast<double>(BreakerState::kClosed));
  slot.misconfigured_gauge =
      &metrics_.Gauge("carillon_provider_misconfigured", "1 while it refuses the app, or can't be used", labels);
  slot.misconfigured_gauge->Set(0);
}

void ProviderSlots::Replace(std::shared_ptr<ProviderSlot>& slot,
                            const std::shared_ptr<const ConfiguredProvider>& config, absl::Time now) {
  const bool had_trouble = slot != nullptr && slot->breaker.state() != BreakerState::kClosed;
  slot = std::make_shared<ProviderSlot>();
  slot->config = config;
  std::shared_ptr<Coming>& coming = coming_[config->app];
  if (coming == nullptr) coming = std::make_shared<Coming>();
  slot->coming = coming;
  // What was held because of the settings before, or because there were none.
  slot->draining = true;
  const int concurrent = config->settings.max_concurrent();
  slot->max_calls = static_cast<size_t>(
      std::min(concurrent > 0 ? concurrent : kDefaultConcurrent, std::max(1, options_.window / kPart)));
  // As many may wait as may be called: together they fill the window, and none is put off.
  const bool fills_window = static_cast<int>(2 * slot->max_calls) >= options_.window;
  slot->max_released = fills_window ? kReleaseStep : 2 * slot->max_calls;
  slot->max_slow_calls = std::min(slot->max_calls, static_cast<size_t>(std::max(1, options_.window / kSlowPart)));
  Register(*slot);
  absl::StatusOr<std::unique_ptr<Provider>> provider = make_(*config);
  if (provider.ok()) {
    slot->provider = *std::move(provider);
    // What the slot before has said since they were set.
    if (had_trouble) NoteChange(*slot);
    return;
  }
  log::Error("provider.unusable", {{"channel", ToString(options_.channel)},
                                   {"app", config->app.value()},
                                   {"provider", config->name},
                                   {"error", provider.status()}});
  slot->breaker.OnMisconfigured(now, provider.status().message());
  NoteChange(*slot);
}

void ProviderSlots::NoteArrival(AppId app, absl::Time accepted) {
  const auto found = coming_.find(app);
  if (found == coming_.end()) return;
  Coming& coming = *found->second;
  if (coming.count > 0 && accepted < coming.release_time) --coming.count;
}

void ProviderSlots::NoteChange(const ProviderSlot& slot) {
  const auto current = slots_.find(Key(slot.config->app, slot.config->name));
  if (current == slots_.end() || current->second.get() != &slot) return;
  const Breaker& breaker = slot.breaker;
  slot.breaker_gauge->Set(static_cast<double>(breaker.state()));
  slot.misconfigured_gauge->Set(breaker.misconfigured() ? 1 : 0);
  changes_.push_back({.app = slot.config->app,
                      .channel = options_.channel,
                      .name = slot.config->name,
                      .lane = options_.lane,
                      .breaker = breaker.state(),
                      .misconfigured = breaker.misconfigured(),
                      .error = breaker.error(),
                      .since = {},
                      .retry_time = breaker.retry_time()});
}

std::vector<std::shared_ptr<ProviderSlot>> ProviderSlots::All() const {
  std::vector<std::shared_ptr<ProviderSlot>> slots;
  for (const auto& [key, slot] : slots_) slots.push_back(slot);
  return slots;
}

absl::Duration TimeoutOf(const ProviderSlot& slot) {
  const v1::Provider& settings = slot.config->settings;
  return OrDefault(settings.has_timeout(), settings.timeout(), kDefaultTimeout);
}

absl::Duration ReceiptWaitOf(const ProviderSlot& slot) {
  const v1::Provider& settings = slot.config->settings;
  return OrDefault(settings.has_receipt_wait(), settings.receipt_wait(), kDefaultReceiptWait);
}

bool IsSlow(const ProviderSlot& slot, absl::Duration now) {
  return !slot.calls.empty() && now - *slot.calls.begin() > kSlowCall;
}

bool HasRoom(const ProviderSlot& slot, absl::Duration now) {
  return slot.calls.size() < (IsSlow(slot, now) ? slot.max_slow_calls : slot.max_calls);
}

// While it is out or full, what is released would only be held again.
int TakeWanted(ProviderSlot& slot, absl::Time now) {
  if (slot.breaker.state() != BreakerState::kClosed) {
    const bool may_probe = slot.breaker.WouldAllow(now) && slot.next_probe <= now && slot.provider != nullptr;
    if (may_probe) slot.next_probe = now + kProbeInterval;
    return may_probe ? 1 : 0;
  }
  if (!slot.draining) return 0;
  const absl::Duration monotonic = Monotonic();
  // Another worker has those that did not come.
  if (monotonic - slot.coming->since > kLongestWay) slot.coming->count = 0;
  const size_t most = IsSlow(slot, monotonic) ? slot.max_slow_calls : slot.max_released;
  const size_t here = slot.calls.size() + slot.waiting + slot.coming->count;
  return static_cast<int>(most - std::min(most, here));
}

void NoteReleased(ProviderSlot& slot, int released, absl::Time now) {
  slot.released += released;
  if (released == 0) return;
  slot.coming->count += released;
  slot.coming->since = Monotonic();
  slot.coming->release_time = now;
}

}  // namespace carillon
