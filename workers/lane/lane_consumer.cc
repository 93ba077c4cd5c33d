#include "workers/lane/lane_consumer.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr absl::Duration kReceiveWait = absl::Milliseconds(500);
// A queue with nothing to give for so long has nothing left from before.
constexpr absl::Duration kProbeWait = absl::Milliseconds(100);
constexpr absl::Duration kMaxRest = absl::Milliseconds(250);
// Between looks at whether another consumer still handles what came twice.
constexpr absl::Duration kGateWait = absl::Milliseconds(50);
// Well under the broker's consumer_timeout of 30 minutes.
constexpr absl::Duration kMaxHold = absl::Minutes(10);
constexpr absl::Duration kDrainHold = absl::Seconds(8);
// Between heartbeats that a waiting consumer answers.
constexpr absl::Duration kServiceInterval = absl::Seconds(1);

int64_t ThingsIn(const Batch& batch) {
  return static_cast<int64_t>(batch.items.size() + batch.reactions.size() + batch.pages.size() + batch.again.size() +
                              batch.digests.size() + batch.windows.size());
}

}  // namespace

LaneConsumer::LaneConsumer(Options options, Deps deps)
    : options_(std::move(options)),
      deps_(std::move(deps)),
      window_messages_(options_.window.prefetch * options_.window.channels),
      backoff_(absl::Milliseconds(100), absl::Seconds(5)),
      consumed_(deps_.metrics.Counter("carillon_consumed_total", "Messages settled", {{"queue", options_.queue}})),
      redelivered_(deps_.metrics.Counter("carillon_redelivered_total", "Messages that came a second time",
                                         {{"queue", options_.queue}})),
      batch_seconds_(deps_.metrics.Latency("carillon_batch_seconds", "Time to handle one batch of messages",
                                           {{"queue", options_.queue}})) {
  deps_.failures.Register(options_.queue);
}

void LaneConsumer::Probe() {
  const absl::Status status = ConsumeCarefully();
  begin_carefully_ = !status.ok();
  if (!status.ok()) log::Warn("consumer.waiting", {{"queue", options_.queue}, {"error", status}});
}

void LaneConsumer::Run() {
  while (!deps_.stop.is_set()) {
    const absl::Status status = begin_carefully_ ? ConsumeCarefully() : ConsumeInBatches();
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

absl::Status LaneConsumer::Open(const Consumer::Window& window) {
  RETURN_IF_ERROR(deps_.broker->Open({options_.queue}, window));
  if (!std::exchange(was_opened_, true) && deps_.on_opened != nullptr) deps_.on_opened();
  return absl::OkStatus();
}

absl::Status LaneConsumer::ConsumeCarefully() {
  while (!deps_.careful.TryEnter()) {
    if (deps_.stop.WaitFor(kGateWait)) return absl::OkStatus();
  }
  const auto leave = absl::MakeCleanup([this] { deps_.careful.Leave(); });
  RETURN_IF_ERROR(Open({.prefetch = 1, .channels = 1}));
  while (!deps_.stop.is_set()) {
    ASSIGN_OR_RETURN(Messages messages, deps_.broker->Receive(/*max=*/1, kProbeWait));
    // What was delivered before comes first: after something fresh, or nothing, none is left.
    if (messages.empty() || !messages.front().redelivered) return Drain(std::move(messages));
    redelivered_.Increment();
    RETURN_IF_ERROR(Settle(std::move(messages)));
  }
  return Drain({});
}

absl::Status LaneConsumer::ConsumeInBatches() {
  RETURN_IF_ERROR(Open(options_.window));
  while (!deps_.stop.is_set()) {
    ASSIGN_OR_RETURN(Messages messages, deps_.broker->Receive(window_messages_, kReceiveWait));
    if (messages.empty()) continue;
    if (std::any_of(messages.begin(), messages.end(), [](const InboundMessage& m) { return m.redelivered; })) {
      return SettleApart(std::move(messages));
    }
    for (const Batch& batch : CutIntoBatches(std::move(messages))) {
      const absl::Duration started = Monotonic();
      RETURN_IF_ERROR(SettleBatch(batch));
      // An outage that it waited for was no work.
      const absl::Duration rest = std::min(kMaxRest, options_.rest * (Monotonic() - started));
      if (!deps_.stop.is_set()) RETURN_IF_ERROR(WaitWhileServicing(rest));
    }
    backoff_.Reset();
  }
  return Drain({});
}

// The end of a channel in good order: what it has delivered is settled, and
// nothing of it goes back to the queue.
absl::Status LaneConsumer::Drain(Messages messages) {
  RETURN_IF_ERROR(deps_.broker->Cancel());
  if (messages.empty()) {
    ASSIGN_OR_RETURN(messages, deps_.broker->Receive(window_messages_, absl::ZeroDuration()));
  }
  while (!messages.empty()) {
    RETURN_IF_ERROR(Settle(std::move(messages)));
    ASSIGN_OR_RETURN(messages, deps_.broker->Receive(window_messages_, absl::ZeroDuration()));
  }
  return absl::OkStatus();
}

absl::Status LaneConsumer::SettleApart(Messages messages) {
  RETURN_IF_ERROR(deps_.broker->Cancel());
  Messages fresh, repeated;
  while (!messages.empty()) {
    for (InboundMessage& message : messages) (message.redelivered ? repeated : fresh).push_back(std::move(message));
    ASSIGN_OR_RETURN(messages, deps_.broker->Receive(window_messages_, absl::ZeroDuration()));
  }
  RETURN_IF_ERROR(Settle(std::move(fresh)));
  redelivered_.Increment(static_cast<double>(repeated.size()));
  while (!deps_.careful.TryEnter()) RETURN_IF_ERROR(WaitWhileServicing(kGateWait));
  const auto leave = absl::MakeCleanup([this] { deps_.careful.Leave(); });
  return Settle(std::move(repeated));
}

absl::Status LaneConsumer::Settle(Messages messages) {
  for (const Batch& batch : CutIntoBatches(std::move(messages))) RETURN_IF_ERROR(SettleBatch(batch));
  return absl::OkStatus();
}

absl::Status LaneConsumer::SettleBatch(const Batch& batch) {
  const absl::Duration started = Monotonic();
  NoteAge(batch);
  Backoff backoff(absl::Milliseconds(100), absl::Seconds(5));
  while (true) {
    const absl::Status status = Attempt(batch);
    if (status.ok()) break;
    if (backoff.failures() == 0) log::Warn("consumer.holding", {{"queue", options_.queue}, {"error", status}});
    const absl::Duration held = Monotonic() - started;
    if (held > (deps_.stop.is_set() ? kDrainHold : kMaxHold)) return status;
    RETURN_IF_ERROR(WaitWhileServicing(backoff.Next()));
  }
  batch_seconds_.Observe(absl::ToDoubleSeconds(Monotonic() - started));
  consumed_.Increment(static_cast<double>(batch.messages.size()));
  if (deps_.meter != nullptr) deps_.meter->Settle(static_cast<int64_t>(batch.messages.size()), ThingsIn(batch));
  return deps_.broker->Ack(batch.messages);
}

// What comes for another attempt is old for other reasons; so is what was held, and a page
// that is not an event's first.
void LaneConsumer::NoteAge(const Batch& batch) {
  if (deps_.meter == nullptr || batch.messages.front().retry_count > 0) return;
  if (!batch.items.empty()) deps_.meter->Take(batch.items.back().create_time);
  if (!batch.reactions.empty()) deps_.meter->Take(batch.reactions.back().accept_time);
  if (!batch.pages.empty() && batch.pages.back().cursor.empty()) deps_.meter->Take(batch.pages.back().event_id.time());
}

absl::Status LaneConsumer::Attempt(const Batch& batch) {
  // What came a second time is alone in its batch.
  const bool again = batch.messages.front().redelivered;
  const bool pack = batch.items.size() > 1 && batch.reactions.empty();
  if (!again || !pack) return Handle(batch);
  RETURN_IF_ERROR(HandleAllButItems(batch));
  return deps_.failures.Split(batch.messages.front(), batch.items);
}

// What shares a message with them and does not go on by itself.
absl::Status LaneConsumer::HandleAllButItems(const Batch& batch) {
  if (batch.again.empty() && batch.digests.empty() && batch.windows.empty()) return absl::OkStatus();
  Batch rest = batch;
  rest.items.clear();
  rest.sources.clear();
  return Handle(rest);
}

// Nothing is routed before everything was tried, so that a repeat after an outage routes nothing twice.
absl::Status LaneConsumer::Handle(const Batch& batch) {
  std::vector<FailedItem> failures;
  for (const auto& [place, status] : batch.unreadable) failures.push_back({&batch.messages[place], nullptr, status});
  ASSIGN_OR_RETURN(const std::vector<FailedItem> failed, deps_.handler.Handle(batch));
  failures.insert(failures.end(), failed.begin(), failed.end());
  return failures.empty() ? absl::OkStatus() : deps_.failures.Route(failures);
}

absl::Status LaneConsumer::WaitWhileServicing(absl::Duration time) {
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

bool LaneConsumer::WaitForBackends() {
  deps_.broker->Close();
  if (deps_.stop.WaitFor(backoff_.Next())) return false;
  // Taking messages while the store is away would only give them back, once more counted.
  while (!deps_.handler.CheckHealth().ok()) {
    if (deps_.stop.WaitFor(backoff_.Next())) return false;
  }
  return true;
}

}  // namespace carillon
