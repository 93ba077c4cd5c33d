#include "server/ingest/outbox_guard.h"

#include <algorithm>
#include <numeric>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

constexpr double kOpensAt = 0.9;
// In times of the bound: rows of all lanes together that close a lane.
constexpr double kMarketingTotal = 1;
constexpr double kSocialTotal = 1.5;
constexpr double kOtpTotal = 2;
constexpr double kPaymentTotal = 2.5;

// By this much of the past the time is told after which to come again.
constexpr size_t kLooks = 10;
constexpr absl::Duration kLeastRetry = absl::Seconds(1);
constexpr absl::Duration kMostRetry = absl::Seconds(60);
// How fast it drains is not known yet.
constexpr absl::Duration kRetryWhileGrowing = absl::Seconds(5);

double TotalShare(Lane lane) {
  switch (lane) {
    case Lane::kMarketing:
      return kMarketingTotal;
    case Lane::kSocial:
    case Lane::kFanout:
      return kSocialTotal;
    case Lane::kOtp:
      return kOtpTotal;
    case Lane::kPayment:
      return kPaymentTotal;
  }
  return kMarketingTotal;
}

int64_t Sum(const LaneRows& rows) { return std::accumulate(rows.begin(), rows.end(), int64_t{0}); }

int64_t Times(int64_t rows, double share) { return static_cast<int64_t>(static_cast<double>(rows) * share); }

}  // namespace

// Otp and payment have no bound of their own below that of all: a lighter lane would still
// be taken then.
int64_t OutboxBounds::OwnOf(Lane lane) const {
  return lane == Lane::kOtp || lane == Lane::kPayment ? TotalOf(lane) : rows_;
}

int64_t OutboxBounds::TotalOf(Lane lane) const { return Times(rows_, TotalShare(lane)); }

int64_t OutboxBounds::OwnExcess(Lane lane, const LaneRows& rows) const {
  return rows[static_cast<size_t>(lane)] - Times(OwnOf(lane), kOpensAt);
}

int64_t OutboxBounds::TotalExcess(Lane lane, const LaneRows& rows) const {
  return Sum(rows) - Times(TotalOf(lane), kOpensAt);
}

bool OutboxBounds::IsClosed(Lane lane, const LaneRows& rows, bool was_closed) const {
  if (rows[static_cast<size_t>(lane)] >= OwnOf(lane) || Sum(rows) >= TotalOf(lane)) return true;
  return was_closed && (OwnExcess(lane, rows) > 0 || TotalExcess(lane, rows) > 0);
}

OutboxGuard::OutboxGuard(int64_t bound_rows, Deps deps)
    : bounds_(bound_rows), deps_(std::move(deps)), gauges_(deps_.metrics) {
  for (const Lane lane : kAllLanes) {
    const std::string name(ToString(lane));
    LaneState& state = lanes_[static_cast<size_t>(lane)];
    state.gauge = &deps_.metrics.Gauge("carillon_lane_refused", "1 while the door refuses the lane: too much waits",
                                       {{"lane", name}});
    state.refused =
        &deps_.metrics.Counter("carillon_door_refused_total", "Calls that the limits of apps and senders have refused",
                               {{"reason", "overload"}, {"lane", name}});
  }
}

absl::Status OutboxGuard::Check() {
  ASSIGN_OR_RETURN(const std::vector<OutboxStats> lanes, deps_.store->Outbox());
  gauges_.Set(lanes);
  LaneRows rows{};
  for (const OutboxStats& stats : lanes) rows[static_cast<size_t>(stats.lane)] = stats.rows + stats.deferred;
  Note(deps_.clock.Now(), rows);
  for (const Lane lane : kAllLanes) {
    LaneState& state = lanes_[static_cast<size_t>(lane)];
    const bool closed = bounds_.IsClosed(lane, rows, state.closed);
    if (closed) state.retry_seconds = absl::ToInt64Seconds(RetryDelay(lane));
    if (state.closed.exchange(closed) == closed) continue;
    state.gauge->Set(closed ? 1 : 0);
    log::Warn(closed ? "outbox.full" : "outbox.open",
              {{"lane", ToString(lane)}, {"rows", rows[static_cast<size_t>(lane)]}, {"all_rows", Sum(rows)}});
  }
  return absl::OkStatus();
}

void OutboxGuard::Note(absl::Time now, const LaneRows& rows) {
  looks_.push_back({now, rows});
  if (looks_.size() > kLooks) looks_.pop_front();
}

// When so many have gone if it goes on as it did since there were most.
absl::Duration OutboxGuard::TimeFor(int64_t excess, absl::FunctionRef<int64_t(const LaneRows&)> count) const {
  if (excess <= 0) return absl::ZeroDuration();
  const auto fewer = [&](const Look& a, const Look& b) { return count(a.rows) < count(b.rows); };
  const Look& most = *std::max_element(looks_.begin(), looks_.end(), fewer);
  const Look& now = looks_.back();
  if (&most == &now) return kRetryWhileGrowing;
  const int64_t gone = count(most.rows) - count(now.rows);
  if (gone <= 0) return kMostRetry;
  return (now.time - most.time) * (static_cast<double>(excess) / static_cast<double>(gone));
}

absl::Duration OutboxGuard::RetryDelay(Lane lane) const {
  const LaneRows& rows = looks_.back().rows;
  const auto own = [lane](const LaneRows& r) { return r[static_cast<size_t>(lane)]; };
  const absl::Duration longest =
      std::max(TimeFor(bounds_.OwnExcess(lane, rows), own), TimeFor(bounds_.TotalExcess(lane, rows), Sum));
  return std::clamp(absl::Ceil(longest, absl::Seconds(1)), kLeastRetry, kMostRetry);
}

absl::Status OutboxGuard::Admit(Lane lane) const {
  const LaneState& lane_state = state(lane);
  if (!lane_state.closed) return absl::OkStatus();
  lane_state.refused->Increment();
  return error::LaneOverloaded(ToString(lane), absl::Seconds(lane_state.retry_seconds.load()));
}

absl::Status OutboxGuard::AdmitEvent(Lane lane) const {
  RETURN_IF_ERROR(Admit(lane));
  return Admit(Lane::kFanout);
}

}  // namespace carillon
