// The names of what Redis holds: pub/sub channels that carry wake-ups, and presence.
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

// Apps that have a new event which is stored once; every server listens.
inline constexpr absl::string_view kSharedEventChannel = "carillon:shared";

// carillon:live:{server}: wake-ups for one server.
std::string ServerChannel(absl::string_view server);

// carillon:presence:{app}:{recipient}: a hash of the servers that hold streams of
// this feed, each with the moment from which that is not true any more, in
// milliseconds since 1970.
std::string PresenceKey(const FeedKey& key);

}  // namespace carillon
