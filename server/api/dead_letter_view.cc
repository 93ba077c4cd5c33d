#include "server/api/dead_letter_view.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/wire/envelope.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kMask = "***";

std::string TimeText(absl::Time time) { return absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone()); }

void AddText(Json& json, const char* name, const std::string& text) {
  if (!text.empty()) json[name] = text;
}

void Mask(Json& json) {
  if (json.is_structured()) {
    for (Json& part : json) Mask(part);
  } else if (json.is_string() || json.is_number()) {
    json = kMask;
  }
}

// data is JSON already, at most as deep as the door lets through: unless somebody made the
// message by hand, and whoever walks through it would walk too deep.
void AddData(Json& json, const std::string& data, bool masked) {
  if (data.empty()) return;
  bool too_deep = false;
  const auto look = [&too_deep](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > limits::kMaxDataDepth;
    return !too_deep;
  };
  Json parsed = Json::parse(data, look, /*allow_exceptions=*/false);
  if (parsed.is_discarded() || too_deep) parsed = data;
  if (masked) Mask(parsed);
  json["data"] = std::move(parsed);
}

Json ToJson(const Notification& item, bool masked) {
  Json json = {{"notification_id", item.id.ToString()}, {"user_id", item.recipient.value()}};
  AddText(json, "actor_id", item.actor_id);
  AddText(json, "object_id", item.object_id);
  AddData(json, item.data_json, masked);
  for (const Channel channel : item.channels) json["channels"].push_back(std::string(ToString(channel)));
  json["accept_time"] = TimeText(item.create_time);
  if (item.expire_time.has_value()) json["expire_time"] = TimeText(*item.expire_time);
  json["retention_days"] = item.retention_days;
  return json;
}

Json ToJson(const Delivery& delivery, bool masked) {
  Json json = {{"delivery_id", delivery.id.ToString()}, {"channel", std::string(ToString(delivery.channel))}};
  AddText(json, "device_id", delivery.device_id);
  json["notification"] = ToJson(delivery.item, masked);
  if (delivery.decide_time.has_value()) json["held_until"] = TimeText(*delivery.decide_time);
  return json;
}

Json ToJson(const Reaction& reaction, bool masked) {
  Json json = {{"actor_id", reaction.actor_id},
               {"object_id", reaction.object_id},
               {"kind", reaction.kind},
               {"active", reaction.active},
               {"version", reaction.version}};
  AddText(json, "user_id", reaction.recipient);
  AddData(json, reaction.data_json, masked);
  json["accept_time"] = TimeText(reaction.accept_time);
  return json;
}

Json ToJson(const FanoutPage& page, bool) {
  return {{"event_id", page.event_id.ToString()}, {"shard", page.shard}, {"cursor", page.cursor}};
}

Json ToJson(const DueDigest& digest, bool) {
  return {{"digest_id", digest.id.ToString()},
          {"user_id", digest.recipient.value()},
          {"channel", std::string(ToString(digest.channel))},
          {"due_time", TimeText(digest.due_time)}};
}

Json ToJson(const DueWindow& window, bool) {
  return {{"window_id", window.id.ToString()},
          {"user_id", window.recipient.value()},
          {"object_id", window.object_id},
          {"due_time", TimeText(window.due_time)}};
}

template <typename Thing>
void AddAll(Json& json, const char* name, const std::vector<Thing>& things, bool masked) {
  for (const Thing& thing : things) json[name].push_back(ToJson(thing, masked));
}

// What others made may hold bytes that are no text.
std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

v1::ReplayState ToProto(ReplayState state) { return static_cast<v1::ReplayState>(state); }

const char* NameOf(ReplayKind kind) {
  switch (kind) {
    case ReplayKind::kPurge:
      return "purge";
    case ReplayKind::kExport:
      return "export";
    case ReplayKind::kReplay:
      break;
  }
  return "replay";
}

void ToProto(const DeadLetterFilter& filter, v1::DeadLetterFilter* out) {
  out->set_app_key(filter.app_key);
  out->set_queue(filter.queue);
  out->set_lane(filter.lane);
  out->set_type(filter.type);
  out->set_error(filter.error);
  out->set_error_kind(filter.error_kind);
  out->set_provider(filter.provider);
  out->set_without_provider(filter.without_provider);
  for (const int64_t id : filter.ids) out->add_dead_letter_ids(absl::StrCat(id));
  if (filter.older_than.has_value()) *out->mutable_older_than() = ToProtoDuration(*filter.older_than);
  if (filter.newer_than.has_value()) *out->mutable_newer_than() = ToProtoDuration(*filter.newer_than);
}

void ToProto(const ReplayCounts& counts, v1::Replay* out) {
  out->set_matched(counts.matched);
  out->set_replayed(counts.replayed);
  out->set_skipped_expired(counts.expired);
  out->set_skipped_ended(counts.ended);
  out->set_skipped_poison(counts.poison);
  out->set_skipped_unroutable(counts.unroutable);
  out->set_skipped_taken(counts.taken);
  out->set_died_again(counts.died_again);
}

}  // namespace

void ToProto(const DeadLetter& letter, v1::DeadLetter* out) {
  out->set_dead_letter_id(absl::StrCat(letter.id));
  out->set_queue(letter.queue);
  out->set_lane(letter.lane);
  if (letter.notification_id.has_value()) out->set_notification_id(letter.notification_id->ToString());
  if (letter.delivery_id.has_value()) out->set_delivery_id(letter.delivery_id->ToString());
  out->set_type(letter.type);
  out->set_reason(letter.reason);
  out->set_error(letter.error);
  out->set_provider(letter.provider);
  out->set_retry_count(letter.retry_count);
  out->set_replay_count(letter.replay_count);
  *out->mutable_dead_time() = ToTimestamp(letter.dead_time);
  out->set_app_key(letter.app_key);
  out->set_traceparent(letter.traceparent);
  out->set_message_id(letter.message_id);
  out->set_payload_bytes(letter.payload_bytes);
}

void ToProto(const DeadLetterGroup& group, v1::DeadLetterGroup* out) {
  out->set_lane(group.lane);
  out->set_queue(group.queue);
  out->set_type(group.type);
  out->set_error(group.error_kind);
  out->set_reason(group.reason);
  out->set_provider(group.provider);
  out->set_count(group.count);
  *out->mutable_oldest_dead_time() = ToTimestamp(group.oldest);
  *out->mutable_newest_dead_time() = ToTimestamp(group.newest);
}

void ToProto(const Replay& replay, v1::Replay* out) {
  if (replay.id != Uuid()) {
    out->set_replay_id(replay.id.ToString());
    *out->mutable_start_time() = ToTimestamp(replay.start_time);
  }
  out->set_state(ToProto(replay.state));
  out->set_kind(NameOf(replay.order.kind));
  out->set_app_key(replay.app_key);
  out->set_operator_(replay.order.operator_name);
  out->set_reason(replay.order.reason);
  ToProto(replay.order.filter, out->mutable_filter());
  if (replay.finish_time.has_value()) *out->mutable_finish_time() = ToTimestamp(*replay.finish_time);
  ToProto(replay.counts, out);
  out->set_detail(replay.detail);
}

std::string PayloadJson(absl::string_view payload, bool masked, size_t max_bytes) {
  if (payload.size() > max_bytes) return Dump(absl::StrCat("too long to be shown: ", payload.size(), " bytes"));
  const absl::StatusOr<EnvelopeContents> contents = DecodeContents(payload);
  if (!contents.ok()) return Dump(masked ? std::string(kMask) : absl::Base64Escape(payload));
  Json json = Json::object();
  AddAll(json, "notifications", contents->items, masked);
  AddAll(json, "deliveries", contents->deliveries, masked);
  AddAll(json, "reactions", contents->reactions, masked);
  AddAll(json, "pages", contents->pages, masked);
  AddAll(json, "digests", contents->digests, masked);
  AddAll(json, "windows", contents->windows, masked);
  return Dump(json);
}

}  // namespace carillon
