#include "workers/handlers/digest_content.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "carillon/channels/in_app_template.h"
#include "carillon/channels/mustache.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

// Of an item: any one fits.
constexpr size_t kMaxTextBytes = 500;
// For what stands around the items.
constexpr size_t kFrameBytes = 200;

std::string Cut(std::string text) {
  CutText(kMaxTextBytes, text);
  return text;
}

// Title, body and link even where there is none: a template would find the digest's own.
Json ToJson(const DigestItem& item) {
  const FeedItem shown = RenderFeedItem(*item.notification, item.type->in_app);
  Json json = {{"title", Cut(shown.title)},
               {"body", Cut(shown.body)},
               // Half a link is none.
               {"link", shown.action_link.size() > limits::kMaxPushLinkBytes ? "" : shown.action_link},
               {"type", shown.type},
               {"time", absl::FormatTime("%Y-%m-%d%ET%H:%M:%SZ", shown.create_time, absl::UTCTimeZone())}};
  if (!shown.actor_id.empty()) json["actor_id"] = shown.actor_id;
  if (!shown.actor_name.empty()) json["actor_name"] = Cut(shown.actor_name);
  if (!shown.object_id.empty()) json["object_id"] = shown.object_id;
  return json;
}

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string DigestData(absl::Span<const DigestItem> items) {
  Json shown = Json::array();
  size_t bytes = kFrameBytes;
  for (const DigestItem& item : items.subspan(0, kMaxDigestItems)) {
    Json json = ToJson(item);
    bytes += Dump(json).size() + 1;
    if (bytes > limits::kMaxDataBytes) break;
    shown.push_back(std::move(json));
  }
  const size_t more = items.size() - shown.size();
  return Dump({{"title", absl::StrCat("New for you: ", items.size())},
               {"count", items.size()},
               {"items", std::move(shown)},
               {"more", more},
               {"more_any", more > 0}});
}

}  // namespace carillon
