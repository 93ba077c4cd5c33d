// The central values: a type of the catalogue, a notification, a feed and what
// changes in it. Plain data; validated where it enters (server/api).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"
#include "carillon/domain/settings.h"

namespace carillon {

// Mustache texts of a feed item. Empty ones render to nothing.
struct InAppTemplate {
  std::string title;
  std::string body;
  std::string actor_name;
  std::string actor_picture_url;
  std::string image_url;
  std::string action_link;
  std::string badge;

  friend bool operator==(const InAppTemplate&, const InAppTemplate&) = default;
};

// A row of the catalogue.
struct NotificationType {
  AppId app;  // kShippedApp: every app has it.
  std::string name;
  Lane lane = Lane::kSocial;
  std::string exchange;
  std::string routing_key;
  std::vector<Channel> channels;
  int retention_days = 7;
  bool critical = false;
  std::optional<absl::Duration> ttl;
  InAppTemplate in_app;
  // Of events: a mustache text and how long what it renders to is taken; empty: none.
  std::string dedupe_key;
  absl::Duration dedupe_window;
  bool track_interactions = false;
  bool unsubscribable = false;
  bool at_most_once = false;
  DeliveryPolicy policy;

  friend bool operator==(const NotificationType&, const NotificationType&) = default;
};

// One message to one recipient, as accepted.
struct Notification {
  NotificationId id;
  AppId app;
  Lane lane = Lane::kSocial;
  std::string type;
  RecipientId recipient;
  std::string actor_id;   // Empty: nobody.
  std::string object_id;  // Empty: nothing.
  std::string data_json;  // A JSON object, or empty.
  std::vector<Channel> channels;
  int retention_days = 7;
  absl::Time create_time;
  std::optional<absl::Time> expire_time;
  std::optional<absl::Time> send_time;  // Not before this, by the app's clock. Only at the door and in records.
  std::string traceparent;              // The caller's W3C trace context; empty: none.
  // Of types that aggregate: its place among the reactions of its actor; 0: none.
  int64_t version = 0;
};

// A step between acceptance and the end.
struct HistoryEntry {
  absl::Time time;
  int attempt = 0;
  std::string detail;
};

// A notification and what became of it.
struct NotificationRecord {
  Notification notification;
  State state = State::kAccepted;
  std::optional<absl::Time> release_time;  // When its send time had come.
  std::optional<absl::Time> finish_time;
  std::string detail;
  std::string idempotency_key;
  std::vector<HistoryEntry> history;
};

// What a recipient sees. Empty texts are absent.
struct FeedItem {
  NotificationId id;
  int64_t seq = 0;
  std::string type;
  std::string title;
  std::string body;
  std::string actor_id;
  std::string actor_name;
  std::string actor_picture_url;
  std::string image_url;
  std::string action_link;
  std::string badge;
  std::string object_id;
  std::string data_json;
  absl::Time create_time;
  bool read = false;
  int64_t actor_count = 0;  // 0: it is of one notification.
};

// Up to where, and which items above that, a recipient has read.
struct ReadMarker {
  int64_t seq = 0;
  int64_t up_to_seq = 0;
  std::vector<NotificationId> ids;
  int64_t unread = 0;
};

// An item that left the feed.
struct FeedRemoval {
  int64_t seq = 0;
  NotificationId id;
};

// The counters of a feed. A recipient without a row has all zeros.
struct FeedHead {
  int64_t last_seq = 0;
  int64_t floor_seq = 0;
  int64_t unread = 0;
  int64_t last_read_seq = 0;
  int64_t marker_seq = 0;
  // Events of the app that are stored once have not all entered this feed.
  bool behind = false;
};

// Whose feed.
struct FeedKey {
  AppId app;
  RecipientId recipient;

  friend auto operator<=>(const FeedKey&, const FeedKey&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const FeedKey& key) {
    return H::combine(std::move(state), key.app, key.recipient);
  }
};

// A tenant.
struct App {
  AppId id;
  std::string name;
  std::string key;
  std::vector<std::string> scopes;
  absl::Time create_time;
  int64_t shared_audience_threshold = 0;
  std::string default_locale = "en";
  SendLimits limits;
  bool sandbox = false;
  absl::Duration clock_offset;  // How far a sandbox's clock is ahead.
};

}  // namespace carillon
