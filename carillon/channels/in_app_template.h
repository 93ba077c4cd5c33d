// Renders feed items from a type's mustache texts. Logic-less: names only.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "carillon/domain/notification.h"

namespace carillon {

// The item that a recipient sees. Names that templates may use: user_id,
// actor_id, object_id, type, data.<field> and data.<field>.<field>; what is not
// there renders to nothing. Nothing is escaped: items are plain text. Fields
// longer than limits::kMaxRenderedFieldBytes are cut. Never fails: a text that
// is no valid template stands as it is.
FeedItem RenderFeedItem(const Notification& notification, const InAppTemplate& in_app);

// One text with the same names, as it stands where it is no valid template.
std::string RenderText(const std::string& text, const Notification& notification);
// The same for several: `names` are those of NamesOf.
std::string RenderText(const std::string& text, const nlohmann::json& names);

}  // namespace carillon
