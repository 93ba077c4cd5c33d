#include "server/ingest/door_limits.h"

#include <map>

#include "absl/algorithm/container.h"
#include "absl/strings/string_view.h"
#include "carillon/domain/errors.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

// Of one statement, and of what waits for it.
constexpr size_t kMaxTripsWritten = 1000;
constexpr size_t kMaxTripsUnwritten = 10'000;

constexpr char kRefused[] = "carillon_door_refused_total";
constexpr char kRefusedHelp[] = "Calls that the limits of apps and senders have refused";
constexpr char kQueued[] = "carillon_door_queue_items";
constexpr char kQueuedHelp[] = "Notifications of apps with limits that wait to be let in";

bool HasRates(const SendLimits& limits) {
  return limits.app_rate > 0 || limits.sender_rate > 0 || limits.runaway_per_minute > 0;
}

std::vector<RateRequest::Sender> ToSenders(const std::map<absl::string_view, int64_t>& places) {
  std::vector<RateRequest::Sender> senders;
  for (const auto& [id, count] : places) senders.push_back({.id = std::string(id), .places = count});
  return senders;
}

// What there is to ask the rates: nothing, if that is empty.
RateRequest ToRates(const AppPolicy& policy, std::vector<RateRequest::Sender> senders) {
  std::erase_if(senders, [](const RateRequest::Sender& sender) { return sender.places == 0; });
  if (!HasRates(policy.limits)) senders.clear();
  return {.app = policy.app, .limits = policy.limits, .senders = std::move(senders)};
}

size_t PlacesOf(absl::Span<const RateRequest::Sender> senders) {
  size_t places = 0;
  for (const RateRequest::Sender& sender : senders) places += static_cast<size_t>(sender.places);
  return places;
}

}  // namespace

std::vector<RateRequest::Sender> SendersOf(absl::Span<const NewNotification> notifications) {
  std::map<absl::string_view, int64_t> places;
  for (const NewNotification& one : notifications) ++places[one.notification.actor_id];
  return ToSenders(places);
}

std::vector<RateRequest::Sender> SendersOf(absl::Span<const Reaction> reactions) {
  std::map<absl::string_view, int64_t> places;
  for (const Reaction& one : reactions) places[one.actor_id] += one.recipient.empty() ? 0 : 1;
  return ToSenders(places);
}

DoorLimits::DoorLimits(const Options& options, Deps deps)
    : deps_(std::move(deps)),
      local_(limits::kLocalRateKeys, deps_.clock),
      refused_by_app_(deps_.metrics.Counter(kRefused, kRefusedHelp, {{"reason", "app_rate"}})),
      refused_by_sender_(deps_.metrics.Counter(kRefused, kRefusedHelp, {{"reason", "sender_rate"}})),
      refused_as_tripped_(deps_.metrics.Counter(kRefused, kRefusedHelp, {{"reason", "tripped"}})),
      judged_locally_(deps_.metrics.Counter("carillon_door_local_total",
                                            "Calls of apps with limits that were judged without Redis")),
      tripped_(deps_.metrics.Gauge("carillon_senders_tripped", "Senders that are shut out for an absurd volume")),
      urgent_({.name = "the queue of limits of payment and otp",
               .most_queued = options.queue_items,
               .most_grouped = options.batch_items},
              deps_.metrics.Gauge(kQueued, kQueuedHelp, {{"weight", "urgent"}})),
      others_({.name = "the queue of limits", .most_queued = options.queue_items, .most_grouped = options.batch_items},
              deps_.metrics.Gauge(kQueued, kQueuedHelp, {{"weight", "other"}})),
      urgent_thread_([this] { Run(urgent_, /*urgent=*/true); }),
      other_thread_([this] { Run(others_, /*urgent=*/false); }) {}

bool DoorLimits::Concern(const AppPolicy& policy) { return HasRates(policy.limits) || !policy.tripped.empty(); }

void DoorLimits::Admit(const AppPolicy& policy, Call call) {
  if (const absl::Status status = CheckTripped(policy, call.senders); !status.ok()) return call.done(status);
  RateRequest request = ToRates(policy, std::move(call.senders));
  if (request.senders.empty()) return call.done(absl::OkStatus());
  const size_t places = PlacesOf(request.senders);
  Waiting waiting{.request = std::move(request), .deadline = call.deadline, .done = std::move(call.done)};
  const absl::Status taken = (call.urgent ? urgent_ : others_).Push(waiting, places);
  if (taken.ok()) return;
  const bool let_in = call.urgent && absl::IsResourceExhausted(taken);
  waiting.done(let_in ? absl::OkStatus() : taken);
}

absl::Status DoorLimits::AdmitNow(const AppPolicy& policy, Call call) {
  if (absl::Status status = CheckTripped(policy, call.senders); !status.ok()) return status;
  const RateRequest request = ToRates(policy, std::move(call.senders));
  if (request.senders.empty()) return absl::OkStatus();
  return Judge({&request, 1}, call.urgent).front();
}

void DoorLimits::Stop() {
  urgent_.Stop();
  others_.Stop();
  if (urgent_thread_.joinable()) urgent_thread_.join();
  if (other_thread_.joinable()) other_thread_.join();
  const auto idle = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return !writing_; };
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
  mutex_.Await(absl::Condition(&idle));
}

void DoorLimits::Run(Queue& queue, bool urgent) {
  for (std::vector<Waiting> group = queue.Take(); !group.empty(); group = queue.Take()) {
    Decide(std::move(group), urgent);
  }
}

void DoorLimits::Decide(std::vector<Waiting> group, bool urgent) {
  const absl::Time now = deps_.clock.Now();
  std::vector<Waiting> in_time;
  std::vector<RateRequest> requests;
  for (Waiting& waiting : group) {
    if (waiting.deadline < now) {
      waiting.done(error::DeadlineExceeded());
      continue;
    }
    requests.push_back(std::move(waiting.request));
    in_time.push_back(std::move(waiting));
  }
  if (requests.empty()) return;
  const std::vector<absl::Status> statuses = Judge(requests, urgent);
  for (size_t i = 0; i < in_time.size(); ++i) in_time[i].done(statuses[i]);
}

std::vector<absl::Status> DoorLimits::Judge(absl::Span<const RateRequest> requests, bool urgent) {
  absl::StatusOr<std::vector<RateAnswer>> answers = deps_.shared.Take(requests);
  const bool is_shared = answers.ok();
  {
    absl::MutexLock lock(&mutex_);
    if (!is_shared && !shared_fails_) log::Warn("door.limits_local", {{"error", answers.status()}});
    if (is_shared && shared_fails_) log::Info("door.limits_shared");
    shared_fails_ = !is_shared;
  }
  if (!is_shared) {
    judged_locally_.Increment(static_cast<double>(requests.size()));
    answers = local_.Take(requests);
  }
  std::vector<absl::Status> statuses;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (is_shared) local_.Note(requests[i], (*answers)[i]);
    statuses.push_back(StatusOf(requests[i], (*answers)[i], /*may_refuse=*/is_shared || !urgent));
  }
  return statuses;
}

absl::Status DoorLimits::StatusOf(const RateRequest& request, const RateAnswer& answer, bool may_refuse) {
  for (size_t i = 0; i < answer.counts.size() && i < request.senders.size(); ++i) {
    if (answer.counts[i] <= request.limits.runaway_per_minute) continue;
    Trip(request, request.senders[i], answer.counts[i]);
    refused_as_tripped_.Increment();
    return error::SenderTripped(request.senders[i].id);
  }
  if (answer.refused_by == RateAnswer::Limit::kNone || !may_refuse) return absl::OkStatus();
  const bool by_app = answer.refused_by == RateAnswer::Limit::kApp;
  (by_app ? refused_by_app_ : refused_by_sender_).Increment();
  return error::RateLimited(by_app ? "app" : "sender", answer.wait);
}

absl::Status DoorLimits::CheckTripped(const AppPolicy& policy, absl::Span<const RateRequest::Sender> senders) {
  const auto tripped = absl::c_find_if(senders, [&](const RateRequest::Sender& sender) {
    if (policy.tripped.contains(sender.id)) return true;
    absl::MutexLock lock(&mutex_);
    return !unwritten_.empty() && unwritten_.contains(TripKey(policy.app, sender.id));
  });
  if (tripped == senders.end()) return absl::OkStatus();
  refused_as_tripped_.Increment();
  return error::SenderTripped(tripped->id);
}

void DoorLimits::Trip(const RateRequest& request, const RateRequest::Sender& sender, int64_t count) {
  const int64_t limit = request.limits.runaway_per_minute;
  absl::MutexLock lock(&mutex_);
  const TripKey key(request.app, sender.id);
  if (unwritten_.size() >= kMaxTripsUnwritten || unwritten_.contains(key)) return;
  unwritten_.emplace(key, TrippedSender{.app = request.app,
                                        .sender_id = sender.id,
                                        .count = count,
                                        .limit = limit,
                                        .trip_time = deps_.clock.Now(),
                                        .app_key = ""});
  // Not who: it may be a person. `carillonctl app tripped` tells.
  log::Error("door.sender_tripped", {{"app", request.app.value()}, {"count", count}, {"limit_per_minute", limit}});
  WriteTripsSoon();
}

void DoorLimits::Attend() {
  tripped_.Set(static_cast<double>(deps_.catalogue.CountTrippedSenders()));
  absl::MutexLock lock(&mutex_);
  if (!unwritten_.empty()) WriteTripsSoon();
}

void DoorLimits::WriteTripsSoon() {
  if (writing_ || stopped_) return;
  writing_ = deps_.executor.Submit([this] { WriteTrips(); });
}

void DoorLimits::WriteTrips() {
  std::vector<TrippedSender> trips;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [key, trip] : unwritten_) {
      if (trips.size() < kMaxTripsWritten) trips.push_back(trip);
    }
  }
  const absl::Status status = deps_.trips->Trip(trips);
  // So that they are refused by what all servers know, before they are forgotten here:
  // from then on a lift reaches this server as well.
  if (status.ok()) deps_.catalogue.Refresh().IgnoreError();
  absl::MutexLock lock(&mutex_);
  writing_ = false;
  if (!status.ok() && !store_fails_) log::Warn("door.trips_unwritten", {{"error", status}, {"senders", trips.size()}});
  store_fails_ = !status.ok();
  if (!status.ok()) return;
  for (const TrippedSender& trip : trips) unwritten_.erase(TripKey(trip.app, trip.sender_id));
  if (!unwritten_.empty()) WriteTripsSoon();
}

}  // namespace carillon
