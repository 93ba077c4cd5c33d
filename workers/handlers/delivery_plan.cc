#include "workers/handlers/delivery_plan.h"

#include "absl/algorithm/container.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

NewDelivery Pending(const Notification& item, Channel channel, const std::string& device_id, absl::Time now) {
  const Uuid id = NewUuid7(now);
  return {.id = id,
          .channel = channel,
          .device_id = device_id,
          .detail = {},
          .envelope = EncodeEnvelope(Delivery{.id = id, .channel = channel, .device_id = device_id, .item = item})};
}

NewDelivery Suppressed(Channel channel, const char* why, absl::Time now) {
  return {.id = NewUuid7(now),
          .channel = channel,
          .device_id = {},
          .state = DeliveryState::kSuppressed,
          .detail = why,
          .envelope = {}};
}

void AddDevices(const Notification& item, const Contacts& contacts, Channel channel, absl::Time now,
                std::vector<NewDelivery>& deliveries) {
  const size_t before = deliveries.size();
  for (const Device& device : contacts.devices) {
    if (device.channel == channel) deliveries.push_back(Pending(item, channel, device.id, now));
  }
  if (deliveries.size() == before) deliveries.push_back(Suppressed(channel, "the recipient has no such device", now));
}

}  // namespace

bool GoesOutside(absl::Span<const Channel> channels) {
  return absl::c_any_of(channels, [](Channel channel) { return channel != Channel::kInApp; });
}

std::vector<NewDelivery> PlanDeliveries(const Notification& item, const Contacts& contacts, absl::Time now) {
  std::vector<NewDelivery> deliveries;
  for (const Channel channel : item.channels) {
    switch (channel) {
      case Channel::kInApp:
        break;
      case Channel::kEmail:
        deliveries.push_back(contacts.has_email ? Pending(item, channel, "", now)
                                                : Suppressed(channel, "the recipient has no e-mail address", now));
        break;
      case Channel::kSms:
        deliveries.push_back(contacts.has_phone ? Pending(item, channel, "", now)
                                                : Suppressed(channel, "the recipient has no phone number", now));
        break;
      case Channel::kApns:
      case Channel::kFcm:
        AddDevices(item, contacts, channel, now, deliveries);
        break;
      case Channel::kWebhook:
        deliveries.push_back(Pending(item, channel, "", now));
        break;
    }
  }
  return deliveries;
}

}  // namespace carillon
