#include "carillon/domain/event.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

constexpr absl::string_view kTopicFeedPrefix = "\x01topic/";

constexpr std::pair<AudienceKind, absl::string_view> kAudienceNames[] = {{AudienceKind::kFollowers, "followers"},
                                                                         {AudienceKind::kTopic, "topic"},
                                                                         {AudienceKind::kUsers, "users"},
                                                                         {AudienceKind::kEveryone, "everyone"}};

constexpr std::pair<EventState, absl::string_view> kEventStateNames[] = {
    {EventState::kAccepted, "accepted"},   {EventState::kExpanding, "expanding"},
    {EventState::kPaused, "paused"},       {EventState::kDone, "done"},
    {EventState::kCancelled, "cancelled"}, {EventState::kSuppressed, "suppressed"}};

}  // namespace

absl::string_view ToString(GroupKind kind) { return kind == GroupKind::kFollowers ? "followers" : "topic"; }

absl::string_view ToString(AudienceKind kind) {
  for (const auto& [value, name] : kAudienceNames) {
    if (value == kind) return name;
  }
  return "unknown";
}

std::optional<AudienceKind> ParseAudienceKind(absl::string_view text) {
  for (const auto& [value, name] : kAudienceNames) {
    if (name == text) return value;
  }
  return std::nullopt;
}

absl::string_view ToString(EventState state) {
  for (const auto& [value, name] : kEventStateNames) {
    if (value == state) return name;
  }
  return "unknown";
}

std::optional<EventState> ParseEventState(absl::string_view text) {
  for (const auto& [value, name] : kEventStateNames) {
    if (name == text) return value;
  }
  return std::nullopt;
}

std::string FanoutQueue(Lane lane) { return absl::StrCat("fanout.", ToString(lane)); }

FeedKey TopicFeedKey(AppId app, absl::string_view topic) {
  return {.app = app, .recipient = RecipientId(absl::StrCat(kTopicFeedPrefix, topic))};
}

bool IsTopicFeed(const FeedKey& key) { return absl::StartsWith(key.recipient.value(), kTopicFeedPrefix); }

}  // namespace carillon
