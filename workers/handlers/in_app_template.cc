#include "workers/handlers/in_app_template.h"

#include <kainjow/mustache.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

using Json = nlohmann::json;
using MustacheData = kainjow::mustache::data;

// Whole numbers without a fraction, as a person would write them.
std::string NumberText(const Json& number) {
  if (number.is_number_integer()) return number.dump();
  const double value = number.get<double>();
  if (value == static_cast<double>(static_cast<int64_t>(value)))
    return absl::StrFormat("%d", static_cast<int64_t>(value));
  return number.dump();
}

MustacheData ToMustache(const Json& json) {
  if (json.is_object()) {
    MustacheData object(MustacheData::type::object);
    for (const auto& [key, value] : json.items()) object.set(key, ToMustache(value));
    return object;
  }
  if (json.is_string()) return MustacheData(json.get<std::string>());
  if (json.is_number()) return MustacheData(NumberText(json));
  if (json.is_boolean()) return MustacheData(std::string(json.get<bool>() ? "true" : "false"));
  return MustacheData(std::string());
}

// At most `max` bytes, and not in the middle of a character.
std::string Cut(std::string text, size_t max) {
  if (text.size() <= max) return text;
  size_t end = max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  return text;
}

// More texts than a catalogue has; then the cache begins anew.
constexpr size_t kMaxParsed = 1000;

// Parsed once a thread: rendering changes the parsed text's own state.
kainjow::mustache::mustache& Parsed(const std::string& text) {
  thread_local absl::flat_hash_map<std::string, std::unique_ptr<kainjow::mustache::mustache>> cache;
  if (cache.size() >= kMaxParsed) cache.clear();
  std::unique_ptr<kainjow::mustache::mustache>& parsed = cache[text];
  if (parsed == nullptr) {
    parsed = std::make_unique<kainjow::mustache::mustache>(text);
    parsed->set_custom_escape([](const std::string& plain) { return plain; });
  }
  return *parsed;
}

std::string Render(const std::string& text, const MustacheData& names) {
  // Most texts that are not titles are empty or fixed: they need no parser.
  if (!absl::StrContains(text, "{{")) return text;
  kainjow::mustache::mustache& parsed = Parsed(text);
  if (!parsed.is_valid()) return text;
  return Cut(parsed.render(names), limits::kMaxRenderedFieldBytes);
}

MustacheData Names(const Notification& notification) {
  MustacheData names(MustacheData::type::object);
  names.set("user_id", notification.recipient.value());
  names.set("actor_id", notification.actor_id);
  names.set("object_id", notification.object_id);
  names.set("type", notification.type);
  const Json data = Json::parse(notification.data_json, nullptr, /*allow_exceptions=*/false);
  names.set("data", data.is_object() ? ToMustache(data) : MustacheData(MustacheData::type::object));
  return names;
}

}  // namespace

std::string RenderText(const std::string& text, const Notification& notification) {
  return Render(text, Names(notification));
}

FeedItem RenderFeedItem(const Notification& notification, const InAppTemplate& in_app) {
  const MustacheData names = Names(notification);
  FeedItem item;
  item.id = notification.id;
  item.type = notification.type;
  item.title = Render(in_app.title, names);
  item.body = Render(in_app.body, names);
  item.actor_id = notification.actor_id;
  item.actor_name = Render(in_app.actor_name, names);
  item.actor_picture_url = Render(in_app.actor_picture_url, names);
  item.image_url = Render(in_app.image_url, names);
  item.action_link = Render(in_app.action_link, names);
  item.badge = Render(in_app.badge, names);
  item.object_id = notification.object_id;
  item.data_json = notification.data_json;
  item.create_time = notification.create_time;
  return item;
}

}  // namespace carillon
