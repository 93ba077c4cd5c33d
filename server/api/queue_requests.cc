#include "server/api/queue_requests.h"

#include <google/protobuf/util/time_util.h>

#include "carillon/domain/errors.h"
#include "server/api/provider_requests.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

constexpr absl::Duration kMaxHistory = absl::Hours(1);

std::string LaneName(Lane lane) { return std::string(ToString(lane)); }

void ToProto(const QueueSample& sample, v1::Queue* out) {
  out->set_name(sample.name);
  if (sample.lane.has_value()) out->set_lane(LaneName(*sample.lane));
  out->set_messages(sample.messages);
  out->set_consumers(sample.consumers);
  out->set_declared(sample.declared);
  out->set_in_rate(sample.in_rate);
  out->set_out_rate(sample.out_rate);
  if (sample.oldest_age.has_value()) *out->mutable_oldest_age() = ToProtoDuration(*sample.oldest_age);
  out->set_retrying(sample.retrying);
  out->set_dead(sample.dead);
}

void ToProto(const LaneSample& sample, bool refused, v1::LaneStatus* out) {
  out->set_lane(LaneName(sample.lane));
  *out->mutable_objective() = ToProtoDuration(sample.objective);
  *out->mutable_oldest_age() = ToProtoDuration(sample.oldest_age);
  out->set_delayed(sample.delayed);
  if (sample.estimated_wait.has_value()) *out->mutable_estimated_wait() = ToProtoDuration(*sample.estimated_wait);
  out->set_in_rate(sample.in_rate);
  out->set_out_rate(sample.out_rate);
  out->set_backlog(sample.backlog);
  out->set_retrying(sample.retrying);
  out->set_dead(sample.dead);
  out->set_refused(refused);
}

void ToProto(const OpenBreaker& breaker, v1::Breaker* out) {
  out->set_app_key(breaker.app_key);
  out->set_channel(static_cast<v1::Channel>(breaker.health.channel));
  out->set_provider(breaker.health.name);
  ToProto(breaker.health, out->mutable_health());
}

}  // namespace

void QueueRequests::List(const std::shared_ptr<UnaryCall>& call, const v1::ListQueuesRequest& request,
                         v1::ListQueuesResponse* response) {
  const absl::Duration history =
      absl::Seconds(request.history().seconds()) + absl::Nanoseconds(request.history().nanos());
  if (history < absl::ZeroDuration() || history > kMaxHistory) {
    return call->Finish(error::InvalidField("history", "must be 0 to 1 h"));
  }
  monitor_.WhenSampled([this, call, history, response](const QueueMonitor::SamplePtr& sample) {
    if (sample == nullptr) {
      return call->Finish(error::BackendUnavailable("rabbitmq", "nothing of its queues is known yet"));
    }
    Fill(*sample, history, response);
    call->Finish(absl::OkStatus());
  });
}

void QueueRequests::Fill(const PressureSample& sample, absl::Duration history, v1::ListQueuesResponse* response) const {
  QueueMonitor::History depths;
  if (history > absl::ZeroDuration()) depths = monitor_.HistorySince(sample.time - history);
  for (const QueueSample& queue : sample.queues) {
    v1::Queue* const out = response->add_queues();
    ToProto(queue, out);
    for (const auto& [time, messages] : depths[queue.name]) {
      v1::DepthSample* const depth = out->add_history();
      *depth->mutable_time() = ToTimestamp(time);
      depth->set_messages(messages);
    }
  }
  for (const OutboxStats& stats : sample.outbox) {
    v1::OutboxLane* const lane = response->add_outbox();
    lane->set_lane(LaneName(stats.lane));
    lane->set_rows(stats.rows);
    lane->set_deferred(stats.deferred);
    *lane->mutable_oldest_age() = ToProtoDuration(stats.oldest_age);
    lane->set_bound(outbox_.bound(stats.lane));
  }
  for (const LaneSample& lane : sample.lanes) ToProto(lane, !outbox_.is_open(lane.lane), response->add_lanes());
  for (const OpenBreaker& breaker : sample.breakers) ToProto(breaker, response->add_breakers());
  *response->mutable_sample_time() = ToTimestamp(sample.time);
}

}  // namespace carillon
