#include "server/api/delivery_view.h"

#include "server/api/timestamps.h"

namespace carillon {
namespace {

void ToProto(const DeliveryAttempt& attempt, v1::DeliveryAttempt* out) {
  out->set_provider(attempt.provider);
  *out->mutable_time() = ToTimestamp(attempt.time);
  out->set_outcome(std::string(ToString(attempt.outcome)));
  out->set_code(attempt.code);
  out->set_error(attempt.error);
  out->set_latency_ms(static_cast<int32_t>(absl::ToInt64Milliseconds(attempt.latency)));
  out->set_provider_message_id(attempt.provider_message_id);
}

}  // namespace

void ToProto(const DeliveryRecord& record, v1::Delivery* out) {
  out->set_delivery_id(record.id.ToString());
  out->set_channel(static_cast<v1::Channel>(record.channel));
  out->set_state(static_cast<v1::DeliveryState>(record.state));
  out->set_device_id(record.device_id);
  out->set_provider(record.provider);
  out->set_provider_message_id(record.provider_message_id);
  out->set_detail(record.detail);
  for (const DeliveryAttempt& attempt : record.attempts) ToProto(attempt, out->add_attempts());
  *out->mutable_create_time() = ToTimestamp(record.create_time);
  if (record.finish_time.has_value()) *out->mutable_finish_time() = ToTimestamp(*record.finish_time);
  if (record.hold_until.has_value()) *out->mutable_hold_until() = ToTimestamp(*record.hold_until);
}

}  // namespace carillon
