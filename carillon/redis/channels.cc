#include "carillon/redis/channels.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace carillon {

std::string NotifyChannel(const FeedKey& key) {
  return absl::StrCat("notify:", key.app.value(), ":", key.recipient.value());
}

std::optional<FeedKey> ParseNotifyChannel(absl::string_view channel) {
  if (!absl::ConsumePrefix(&channel, "notify:")) return std::nullopt;
  const size_t colon = channel.find(':');
  int64_t app = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(channel.substr(0, colon), &app)) return std::nullopt;
  return FeedKey{.app = AppId(app), .recipient = RecipientId(std::string(channel.substr(colon + 1)))};
}

std::string ServerChannel(absl::string_view server) { return absl::StrCat("carillon:live:", server); }

std::string PresenceKey(const FeedKey& key) {
  return absl::StrCat("carillon:presence:", key.app.value(), ":", key.recipient.value());
}

}  // namespace carillon
