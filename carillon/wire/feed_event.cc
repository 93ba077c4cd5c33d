#include "carillon/wire/feed_event.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "carillon/internal/v1/envelope.pb.h"
#include "carillon/wire/struct_json.h"

namespace carillon {
namespace {

using google::protobuf::internal::WireFormatLite;

FeedEvent Encode(const v1::SubscribeResponse& response) {
  return {.seq = response.seq(), .message = std::make_shared<const std::string>(response.SerializeAsString())};
}

void SetTime(absl::Time time, google::protobuf::Timestamp* out) {
  const timespec parts = absl::ToTimespec(time);
  out->set_seconds(parts.tv_sec);
  out->set_nanos(static_cast<int32_t>(parts.tv_nsec));
}

// The seq of a serialised SubscribeResponse, without reading the rest: it is the
// first field, and serialisers write fields in order. 0 if it is not there.
int64_t PeekSeq(absl::string_view message) {
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(message.data()),
                                               static_cast<int>(message.size()));
  constexpr uint32_t kSeqTag =
      WireFormatLite::MakeTag(v1::SubscribeResponse::kSeqFieldNumber, WireFormatLite::WIRETYPE_VARINT);
  uint64_t seq = 0;
  if (input.ReadTag() != kSeqTag || !input.ReadVarint64(&seq)) return 0;
  return static_cast<int64_t>(seq);
}

// Adds an event if it fits.
bool AddEvent(const FeedEvent& event, size_t* bytes, internal::v1::LiveUpdate* update) {
  *bytes += event.message->size();
  if (*bytes > kMaxLiveUpdateBytes) return false;
  update->add_events(*event.message);
  return true;
}

}  // namespace

void ToProto(const FeedItem& item, v1::FeedItem* out) {
  out->set_notification_id(item.id.ToString());
  out->set_seq(item.seq);
  out->set_type(item.type);
  out->set_title(item.title);
  out->set_body(item.body);
  if (!item.actor_id.empty() || !item.actor_name.empty() || !item.actor_picture_url.empty()) {
    out->mutable_actor()->set_actor_id(item.actor_id);
    out->mutable_actor()->set_name(item.actor_name);
    out->mutable_actor()->set_picture_url(item.actor_picture_url);
  }
  out->set_image_url(item.image_url);
  out->set_action_link(item.action_link);
  out->set_badge(item.badge);
  out->set_object_id(item.object_id);
  if (!item.data_json.empty()) JsonToStruct(item.data_json, out->mutable_data());
  SetTime(item.create_time, out->mutable_create_time());
  out->set_read(item.read);
  out->set_actor_count(item.actor_count);
}

FeedEvent EncodeFeedEvent(const FeedItem& item) {
  v1::SubscribeResponse response;
  response.set_seq(item.seq);
  ToProto(item, response.mutable_item());
  return Encode(response);
}

FeedEvent EncodeFeedEvent(const ReadMarker& marker) {
  v1::SubscribeResponse response;
  response.set_seq(marker.seq);
  response.mutable_read_marker()->set_up_to_seq(marker.up_to_seq);
  for (const NotificationId& id : marker.ids) response.mutable_read_marker()->add_notification_ids(id.ToString());
  response.mutable_read_marker()->set_unread(marker.unread);
  return Encode(response);
}

FeedEvent EncodeFeedEvent(const FeedRemoval& removal) {
  v1::SubscribeResponse response;
  response.set_seq(removal.seq);
  response.mutable_removed()->set_notification_id(removal.id.ToString());
  return Encode(response);
}

std::string EncodeLiveUpdate(absl::Span<const FeedItem> items) {
  internal::v1::LiveUpdate update;
  size_t bytes = 0;
  for (const FeedItem& item : items) {
    if (!AddEvent(EncodeFeedEvent(item), &bytes, &update)) break;
  }
  if (!items.empty()) update.set_last_seq(items.back().seq);
  return update.SerializeAsString();
}

std::string EncodeLiveUpdate(absl::Span<const FeedEvent> events) {
  internal::v1::LiveUpdate update;
  size_t bytes = 0;
  for (const FeedEvent& event : events) {
    if (!AddEvent(event, &bytes, &update)) break;
  }
  if (!events.empty()) update.set_last_seq(events.back().seq);
  return update.SerializeAsString();
}

std::string EncodeLiveUpdate(const ReadMarker& marker) {
  internal::v1::LiveUpdate update;
  size_t bytes = 0;
  AddEvent(EncodeFeedEvent(marker), &bytes, &update);
  update.set_last_seq(marker.seq);
  return update.SerializeAsString();
}

absl::StatusOr<LiveUpdate> DecodeLiveUpdate(absl::string_view payload) {
  internal::v1::LiveUpdate update;
  if (!update.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return absl::InvalidArgumentError("not a LiveUpdate");
  }
  LiveUpdate result{.events = {}, .last_seq = update.last_seq()};
  result.events.reserve(update.events_size());
  for (std::string& message : *update.mutable_events()) {
    const int64_t seq = PeekSeq(message);
    if (seq <= 0) return absl::InvalidArgumentError("an event without its seq");
    result.events.push_back({.seq = seq, .message = std::make_shared<const std::string>(std::move(message))});
  }
  return result;
}

}  // namespace carillon
