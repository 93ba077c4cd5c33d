// The names of the pub/sub channels that carry wake-ups.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "carillon/domain/notification.h"

namespace carillon {

inline constexpr absl::string_view kNotifyPattern = "notify:*";

// notify:{app}:{recipient}; the recipient may itself contain colons.
std::string NotifyChannel(const FeedKey& key);
std::optional<FeedKey> ParseNotifyChannel(absl::string_view channel);

}  // namespace carillon
