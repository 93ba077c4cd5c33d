// What the tests of events share: an app with a graph, events, and a fan-out in
// small.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "carillon/domain/event.h"
#include "carillon/postgres/event_store.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/membership_store.h"
#include "tests/contract/postgres/postgres_fixture.h"

namespace carillon::testing {

inline Audience FollowersOf(const std::string& user) {
  return {.kind = AudienceKind::kFollowers, .id = user, .users = {}};
}
inline Audience TopicOf(const std::string& topic) { return {.kind = AudienceKind::kTopic, .id = topic, .users = {}}; }
inline Audience Everyone() { return {.kind = AudienceKind::kEveryone, .id = "", .users = {}}; }
inline Audience UserList(std::vector<std::string> users) {
  return {.kind = AudienceKind::kUsers, .id = "", .users = std::move(users)};
}

class EventTest : public PostgresTest {
 protected:
  // An app with a row of its own: the fan-out reads its threshold.
  static AppId NewStoredApp();

  NewEvent MakeEvent(Audience audience) const;
  NewEvent MakeKeyedEvent(Audience audience, const std::string& key, char payload = 'p') const;
  // Accepts it; returns what the store knows of it.
  Event Publish(const Audience& audience);
  // The same, with its audience in one range.
  Event PublishExpanding(const Audience& audience);
  EventRecord Record(const Event& event);

  FanoutPage PageOf(const Event& event, int shard = 0, const std::string& cursor = "") const {
    return {.app = app_, .event_id = event.id, .type = event.type, .shard = shard, .cursor = cursor};
  }
  static PageItems ItemsFor(const Event& event, const std::vector<std::string>& recipients);
  // Reads the next members of a range, and tells them, as the fan-out does.
  std::vector<WrittenItem> TellPage(const Event& event, const EventRange& range, int page);
  // All of them, page by page, shard after shard, to the event's end.
  std::vector<WrittenItem> TellAll(const Event& event, int shards = 1, int page = 500);
  void StoreShared(const Event& event, const std::string& title);

  void Follow(const std::string& followee, const std::vector<std::string>& followers);
  void Subscribe(const std::string& topic, const std::vector<std::string>& subscribers);
  // So many, with ids that sort as they count.
  static std::vector<std::string> People(int count, const std::string& prefix = "user-");

  std::vector<std::string> TitlesOf(const std::string& recipient);
  FeedHead Head(const std::string& recipient);
  // The fan-out's rows in the outbox that are this app's, by shard and cursor.
  std::vector<FanoutPage> QueuedPages();
  void ForgetQueuedPages() { Query(absl::StrCat("DELETE FROM outbox WHERE app_id = ", app_.value())); }
  std::string CountItems() {
    return Query(absl::StrCat("SELECT count(*) FROM feed_items WHERE app_id = ", app_.value()));
  }

  const AppId app_ = NewStoredApp();
  PostgresEventStore store_{MakePool(8)};
  PostgresMembershipStore memberships_{MakePool(2)};
  PostgresFeedStore feeds_{MakePool(8)};
};

}  // namespace carillon::testing
