#include "carillon/channels/delivery_plan.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/rule_text.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

std::string WhyExpired(const ChannelDecision& channel) {
  const bool by_ttl = channel.rules.empty() || channel.rules.back().level.empty();
  return absl::StrCat("its ", by_ttl ? "ttl" : "retention", " ended before it was delivered");
}

// Adds deliveries of one notification.
class Planner {
 public:
  Planner(const Notification& item, const Contacts& contacts, const Decision& decision, absl::Time now)
      : item_(item), contacts_(contacts), decision_(decision), now_(now) {}

  void Add(const ChannelDecision& channel) {
    if (channel.channel == Channel::kInApp) return;
    if (!IsReachable(channel.channel, contacts_)) return AddUnreachable(channel);
    // A digest is one, whatever devices there are when it is sent.
    const bool by_device = channel.channel == Channel::kApns || channel.channel == Channel::kFcm;
    if (!by_device || channel.outcome == Outcome::kDigest) return AddOne(channel, "");
    for (const Device& device : contacts_.devices) {
      if (device.channel == channel.channel) AddOne(channel, device.id);
    }
  }

  std::vector<NewDelivery> Take() { return std::move(deliveries_); }

 private:
  void AddOne(const ChannelDecision& channel, const std::string& device_id) {
    const Delivery delivery{
        .id = NewUuid7(now_), .channel = channel.channel, .device_id = device_id, .item = item_, .decide_time = {}};
    NewDelivery& added = deliveries_.emplace_back();
    added.id = delivery.id;
    added.channel = delivery.channel;
    added.device_id = delivery.device_id;
    added.fate = FateOf(delivery, decision_, channel, now_);
    if (!IsTerminal(added.fate.state)) added.envelope = EncodeEnvelope(delivery);
  }

  void AddUnreachable(const ChannelDecision& channel) {
    NewDelivery& added = deliveries_.emplace_back();
    added.id = NewUuid7(now_);
    added.channel = channel.channel;
    added.fate = {.state = DeliveryState::kSuppressed, .detail = std::string(WhyUnreachable(channel.channel))};
    added.fate.trail = TrailOf(decision_, channel);
  }

  const Notification& item_;
  const Contacts& contacts_;
  const Decision& decision_;
  const absl::Time now_;
  std::vector<NewDelivery> deliveries_;
};

DeliveryFate HoldUntil(const Delivery& delivery, const Decision& decision, const ChannelDecision& channel) {
  Delivery again = delivery;
  again.decide_time = channel.until;
  return {.state = DeliveryState::kHeld,
          .detail = ReasonOf(decision, channel),
          .hold_until = decision.ToOurClock(channel.until),
          .again = EncodeEnvelope(again)};
}

DeliveryFate PutIntoDigest(const Delivery& delivery, const Decision& decision, const ChannelDecision& channel,
                           absl::Time now) {
  const DueDigest digest{.app = delivery.item.app,
                         .id = NewUuid7(now),
                         .recipient = delivery.item.recipient,
                         .channel = delivery.channel,
                         .due_time = decision.next_digest};
  DeliveryFate fate{.state = DeliveryState::kHeld, .detail = ReasonOf(decision, channel)};
  fate.digest =
      NewDigest{.id = digest.id, .due_time = decision.ToOurClock(digest.due_time), .envelope = EncodeEnvelope(digest)};
  return fate;
}

}  // namespace

bool GoesOutside(absl::Span<const Channel> channels) {
  return absl::c_any_of(channels, [](Channel channel) { return channel != Channel::kInApp; });
}

bool IsReachable(Channel channel, const Contacts& contacts) {
  switch (channel) {
    case Channel::kEmail:
      return contacts.has_email;
    case Channel::kSms:
      return contacts.has_phone;
    case Channel::kApns:
    case Channel::kFcm:
      return absl::c_any_of(contacts.devices, [&](const Device& device) { return device.channel == channel; });
    case Channel::kInApp:
    case Channel::kWebhook:
      return true;
  }
  return true;
}

absl::string_view WhyUnreachable(Channel channel) {
  switch (channel) {
    case Channel::kEmail:
      return "the recipient has no e-mail address";
    case Channel::kSms:
      return "the recipient has no phone number";
    default:
      return "the recipient has no such device";
  }
}

std::vector<NewDelivery> PlanDeliveries(const Notification& item, const Contacts& contacts, const Decision& decision,
                                        absl::Time now) {
  Planner planner(item, contacts, decision, now);
  for (const ChannelDecision& channel : decision.channels) planner.Add(channel);
  return planner.Take();
}

DeliveryFate FateOf(const Delivery& delivery, const Decision& decision, const ChannelDecision& channel,
                    absl::Time now) {
  DeliveryFate fate;
  switch (channel.outcome) {
    case Outcome::kSend:
      break;
    case Outcome::kHold:
      fate = HoldUntil(delivery, decision, channel);
      break;
    case Outcome::kDigest:
      fate = PutIntoDigest(delivery, decision, channel, now);
      break;
    case Outcome::kInAppOnly:
    case Outcome::kSuppress:
      fate = {.state = DeliveryState::kSuppressed, .detail = ReasonOf(decision, channel)};
      break;
    case Outcome::kExpire:
      fate = {.state = DeliveryState::kExpired, .detail = WhyExpired(channel)};
      break;
  }
  fate.trail = TrailOf(decision, channel);
  return fate;
}

std::optional<TrailEntry> TrailOf(const Decision& decision, const ChannelDecision& channel) {
  const bool only_critical = channel.rules.size() == 1 && channel.rules.front().gate == Rule::Gate::kCritical;
  if (channel.rules.empty() || only_critical) return std::nullopt;
  return TrailEntry{.time = decision.time, .decision = channel};
}

std::string ReasonOf(const Decision& decision, const ChannelDecision& channel) {
  if (channel.outcome == Outcome::kExpire) return WhyExpired(channel);
  return channel.rules.empty() ? std::string() : Describe(channel.rules.back(), decision.zone);
}

std::string SharedReasonOf(const Decision& decision, ChannelDecision channel) {
  for (Rule& rule : channel.rules) {
    if (rule.gate != Rule::Gate::kExpiry) rule.until.reset();
  }
  return ReasonOf(decision, channel);
}

bool IsShown(const Decision& decision) {
  return absl::c_any_of(decision.channels, [](const ChannelDecision& channel) {
    return channel.outcome == Outcome::kInAppOnly ||
           (channel.channel == Channel::kInApp && channel.outcome == Outcome::kSend);
  });
}

}  // namespace carillon
