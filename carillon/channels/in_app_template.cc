#include "carillon/channels/in_app_template.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "carillon/channels/mustache.h"
#include "carillon/domain/limits.h"

namespace carillon {

std::string RenderText(const std::string& text, const nlohmann::json& names) {
  // Most texts that are not titles are empty or fixed: they need no parser.
  if (!absl::StrContains(text, "{{")) return text;
  const std::shared_ptr<const Mustache> parsed = CachedMustache(text);
  if (parsed == nullptr) return text;
  return parsed->Render(names, Mustache::Escape::kNone, limits::kMaxRenderedFieldBytes).text;
}

std::string RenderText(const std::string& text, const Notification& notification) {
  return RenderText(text, NamesOf(notification));
}

FeedItem RenderFeedItem(const Notification& notification, const InAppTemplate& in_app) {
  const nlohmann::json names = NamesOf(notification);
  FeedItem item;
  item.id = notification.id;
  item.type = notification.type;
  item.title = RenderText(in_app.title, names);
  item.body = RenderText(in_app.body, names);
  item.actor_id = notification.actor_id;
  item.actor_name = RenderText(in_app.actor_name, names);
  item.actor_picture_url = RenderText(in_app.actor_picture_url, names);
  item.image_url = RenderText(in_app.image_url, names);
  item.action_link = RenderText(in_app.action_link, names);
  item.badge = RenderText(in_app.badge, names);
  item.object_id = notification.object_id;
  item.data_json = notification.data_json;
  item.create_time = notification.create_time;
  return item;
}

}  // namespace carillon
