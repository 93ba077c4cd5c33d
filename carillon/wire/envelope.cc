#include "carillon/wire/envelope.h"

#include <limits>

#include "carillon/domain/status_macros.h"
#include "carillon/internal/v1/envelope.pb.h"

namespace carillon {
namespace {

// Of reactions that make no item.
constexpr absl::string_view kPlainReactionType = "reaction";
// What the columns of retention classes and shards can hold.
constexpr int kMostStored = std::numeric_limits<int16_t>::max();

absl::StatusOr<Notification> ToNotification(const internal::v1::Envelope& envelope, const internal::v1::Item& item) {
  const std::optional<Uuid> id = Uuid::FromBytes(item.notification_id());
  if (!id.has_value() || item.recipient_id().empty() || item.retention_days() <= 0 ||
      item.retention_days() > kMostStored) {
    return absl::InvalidArgumentError("an item lacks its id, its recipient or its retention class");
  }
  Notification n;
  n.id = *id;
  n.app = AppId(envelope.app_id());
  n.type = envelope.type();
  n.recipient = RecipientId(item.recipient_id());
  n.actor_id = item.actor_id();
  n.object_id = item.object_id();
  n.data_json = item.data_json();
  n.retention_days = item.retention_days();
  n.create_time = absl::FromUnixMicros(item.accept_time_us());
  if (item.expire_time_us() != 0) n.expire_time = absl::FromUnixMicros(item.expire_time_us());
  n.traceparent = item.traceparent();
  n.version = item.version();
  for (const int channel : item.channels()) n.channels.push_back(static_cast<Channel>(channel));
  return n;
}

absl::Status AddNotifications(const internal::v1::Envelope& envelope, std::vector<Notification>& notifications) {
  for (const internal::v1::Item& item : envelope.items()) {
    ASSIGN_OR_RETURN(Notification notification, ToNotification(envelope, item));
    notifications.push_back(std::move(notification));
  }
  return absl::OkStatus();
}

absl::Status AddDeliveries(const internal::v1::Envelope& envelope, std::vector<Delivery>& deliveries) {
  for (const internal::v1::Delivery& in : envelope.deliveries()) {
    const std::optional<Uuid> id = Uuid::FromBytes(in.delivery_id());
    const auto channel = static_cast<Channel>(in.channel());
    if (!id.has_value() || channel == Channel::kInApp || ToString(channel).empty()) {
      return absl::InvalidArgumentError("a delivery lacks its id or its channel");
    }
    ASSIGN_OR_RETURN(Notification item, ToNotification(envelope, in.item()));
    Delivery& delivery = deliveries.emplace_back(Delivery{
        .id = *id, .channel = channel, .device_id = in.device_id(), .item = std::move(item), .decide_time = {}});
    if (in.decide_time_us() != 0) delivery.decide_time = absl::FromUnixMicros(in.decide_time_us());
  }
  return absl::OkStatus();
}

absl::Status AddDigests(const internal::v1::Envelope& envelope, std::vector<DueDigest>& digests) {
  for (const internal::v1::DueDigest& in : envelope.digests()) {
    const std::optional<Uuid> id = Uuid::FromBytes(in.digest_id());
    const auto channel = static_cast<Channel>(in.channel());
    if (!id.has_value() || in.recipient_id().empty() || ToString(channel).empty()) {
      return absl::InvalidArgumentError("a digest lacks its id, its recipient or its channel");
    }
    digests.push_back({.app = AppId(envelope.app_id()),
                       .id = *id,
                       .recipient = RecipientId(in.recipient_id()),
                       .channel = channel,
                       .due_time = absl::FromUnixMicros(in.due_time_us())});
  }
  return absl::OkStatus();
}

absl::Status AddWindows(const internal::v1::Envelope& envelope, std::vector<DueWindow>& windows) {
  for (const internal::v1::DueWindow& in : envelope.windows()) {
    const std::optional<Uuid> id = Uuid::FromBytes(in.window_id());
    if (!id.has_value() || in.recipient_id().empty() || in.object_id().empty()) {
      return absl::InvalidArgumentError("a window lacks its id, its recipient or its object");
    }
    windows.push_back({.app = AppId(envelope.app_id()),
                       .type = envelope.type(),
                       .id = *id,
                       .recipient = RecipientId(in.recipient_id()),
                       .object_id = in.object_id(),
                       .due_time = absl::FromUnixMicros(in.due_time_us())});
  }
  return absl::OkStatus();
}

absl::Status AddReactions(const internal::v1::Envelope& envelope, std::vector<Reaction>& reactions) {
  for (const internal::v1::Reaction& in : envelope.reactions()) {
    if (in.actor_id().empty() || in.object_id().empty() || in.kind().empty() || in.version() <= 0) {
      return absl::InvalidArgumentError("a reaction lacks its actor, its object, its kind or its version");
    }
    reactions.push_back({.app = AppId(envelope.app_id()),
                         .actor_id = in.actor_id(),
                         .object_id = in.object_id(),
                         .kind = in.kind(),
                         .active = in.active(),
                         .version = in.version(),
                         .recipient = in.recipient_id(),
                         .type = in.recipient_id().empty() ? std::string() : envelope.type(),
                         .data_json = in.data_json(),
                         .accept_time = absl::FromUnixMicros(in.accept_time_us()),
                         .group = Uuid::FromBytes(in.group_id())});
  }
  return absl::OkStatus();
}

absl::Status AddPages(const internal::v1::Envelope& envelope, std::vector<FanoutPage>& pages) {
  for (const internal::v1::FanoutPage& in : envelope.pages()) {
    const std::optional<Uuid> id = Uuid::FromBytes(in.event_id());
    if (!id.has_value() || in.shard() < 0 || in.shard() > kMostStored) {
      return absl::InvalidArgumentError("a page lacks its event or its shard");
    }
    pages.push_back({.app = AppId(envelope.app_id()),
                     .event_id = *id,
                     .type = envelope.type(),
                     .shard = in.shard(),
                     .cursor = in.cursor()});
  }
  return absl::OkStatus();
}

void FillItem(const Notification& notification, internal::v1::Item& item) {
  const absl::string_view id = notification.id.bytes();
  item.set_notification_id(id.data(), id.size());
  item.set_recipient_id(notification.recipient.value());
  item.set_actor_id(notification.actor_id);
  item.set_object_id(notification.object_id);
  item.set_data_json(notification.data_json);
  // What is sent later is news then.
  item.set_accept_time_us(absl::ToUnixMicros(notification.send_time.value_or(notification.create_time)));
  if (notification.expire_time.has_value()) item.set_expire_time_us(absl::ToUnixMicros(*notification.expire_time));
  item.set_retention_days(notification.retention_days);
  for (const Channel channel : notification.channels) item.add_channels(static_cast<int>(channel));
  item.set_traceparent(notification.traceparent);
  item.set_version(notification.version);
}

}  // namespace

std::string EncodeEnvelope(const Notification& notification) {
  internal::v1::Envelope envelope;
  envelope.set_app_id(notification.app.value());
  envelope.set_type(notification.type);
  FillItem(notification, *envelope.add_items());
  return envelope.SerializeAsString();
}

std::string EncodeEnvelope(const Delivery& delivery) {
  internal::v1::Envelope envelope;
  envelope.set_app_id(delivery.item.app.value());
  envelope.set_type(delivery.item.type);
  internal::v1::Delivery& out = *envelope.add_deliveries();
  const absl::string_view id = delivery.id.bytes();
  out.set_delivery_id(id.data(), id.size());
  out.set_channel(static_cast<int>(delivery.channel));
  out.set_device_id(delivery.device_id);
  if (delivery.decide_time.has_value()) out.set_decide_time_us(absl::ToUnixMicros(*delivery.decide_time));
  FillItem(delivery.item, *out.mutable_item());
  return envelope.SerializeAsString();
}

std::string EncodeEnvelope(const DueDigest& digest) {
  internal::v1::Envelope envelope;
  envelope.set_app_id(digest.app.value());
  envelope.set_type(std::string(kDigestType));
  internal::v1::DueDigest& out = *envelope.add_digests();
  out.set_digest_id(std::string(digest.id.bytes()));
  out.set_recipient_id(digest.recipient.value());
  out.set_channel(static_cast<int>(digest.channel));
  out.set_due_time_us(absl::ToUnixMicros(digest.due_time));
  return envelope.SerializeAsString();
}

std::string EncodeEnvelope(const DueWindow& window) {
  internal::v1::Envelope envelope;
  envelope.set_app_id(window.app.value());
  envelope.set_type(window.type);
  internal::v1::DueWindow& out = *envelope.add_windows();
  out.set_window_id(std::string(window.id.bytes()));
  out.set_recipient_id(window.recipient.value());
  out.set_object_id(window.object_id);
  out.set_due_time_us(absl::ToUnixMicros(window.due_time));
  return envelope.SerializeAsString();
}

std::string EncodeEnvelope(const Reaction& reaction) {
  internal::v1::Envelope envelope;
  envelope.set_app_id(reaction.app.value());
  envelope.set_type(reaction.type.empty() ? std::string(kPlainReactionType) : reaction.type);
  internal::v1::Reaction& out = *envelope.add_reactions();
  out.set_actor_id(reaction.actor_id);
  out.set_object_id(reaction.object_id);
  out.set_kind(reaction.kind);
  out.set_active(reaction.active);
  out.set_version(reaction.version);
  out.set_recipient_id(reaction.recipient);
  out.set_data_json(reaction.data_json);
  out.set_accept_time_us(absl::ToUnixMicros(reaction.accept_time));
  if (reaction.group.has_value()) out.set_group_id(std::string(reaction.group->bytes()));
  return envelope.SerializeAsString();
}

std::string EncodeEnvelope(const FanoutPage& page) {
  internal::v1::Envelope envelope;
  envelope.set_app_id(page.app.value());
  envelope.set_type(page.type);
  internal::v1::FanoutPage& out = *envelope.add_pages();
  const absl::string_view id = page.event_id.bytes();
  out.set_event_id(id.data(), id.size());
  out.set_shard(page.shard);
  out.set_cursor(page.cursor);
  return envelope.SerializeAsString();
}

absl::StatusOr<EnvelopeContents> DecodeContents(absl::string_view body) {
  internal::v1::Envelope envelope;
  if (!envelope.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
    return absl::InvalidArgumentError("the message is not an envelope");
  }
  if (envelope.app_id() <= 0 || envelope.type().empty() ||
      (envelope.items().empty() && envelope.reactions().empty() && envelope.pages().empty() &&
       envelope.deliveries().empty() && envelope.digests().empty() && envelope.windows().empty())) {
    return absl::InvalidArgumentError("the envelope lacks its app, its type or its items");
  }
  EnvelopeContents contents;
  RETURN_IF_ERROR(AddNotifications(envelope, contents.items));
  RETURN_IF_ERROR(AddReactions(envelope, contents.reactions));
  RETURN_IF_ERROR(AddPages(envelope, contents.pages));
  RETURN_IF_ERROR(AddDeliveries(envelope, contents.deliveries));
  RETURN_IF_ERROR(AddDigests(envelope, contents.digests));
  RETURN_IF_ERROR(AddWindows(envelope, contents.windows));
  return contents;
}

absl::StatusOr<std::vector<Notification>> DecodeEnvelope(absl::string_view body) {
  ASSIGN_OR_RETURN(EnvelopeContents contents, DecodeContents(body));
  if (contents.items.empty()) return absl::InvalidArgumentError("the envelope holds no notification");
  return std::move(contents.items);
}

}  // namespace carillon
