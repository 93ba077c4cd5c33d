#include "tests/contract/postgres/event_fixture.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <tuple>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {

AppId EventTest::NewStoredApp() {
  const AppId app = NewApp();
  Query(absl::StrCat("INSERT INTO apps (app_id, name, app_key, scopes) OVERRIDING SYSTEM VALUE VALUES (", app.value(),
                     ", 'app-", app.value(), "', 'key-", app.value(), "', '{send}')"));
  return app;
}

NewEvent EventTest::MakeEvent(Audience audience) const {
  NewEvent made;
  Event& event = made.event;
  event.app = app_;
  event.type = "stream.start";
  event.audience = std::move(audience);
  event.actor_id = "star";
  event.object_id = "stream-1";
  event.data_json = R"({"a":1})";
  // As the database keeps it.
  event.create_time = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now()));
  event.id = NewUuid7(event.create_time);
  return made;
}

NewEvent EventTest::MakeKeyedEvent(Audience audience, const std::string& key, char payload) const {
  NewEvent event = MakeEvent(std::move(audience));
  event.idempotency_key = key;
  event.payload_hash = std::string(32, payload);
  return event;
}

Event EventTest::Publish(const Audience& audience) {
  const NewEvent made = MakeEvent(audience);
  EXPECT_OK(store_.Accept(made));
  return made.event;
}

Event EventTest::PublishExpanding(const Audience& audience) {
  const Event event = Publish(audience);
  EXPECT_OK(store_.BeginExpanding(event, 0, {EventRange()}));
  return event;
}

EventRecord EventTest::Record(const Event& event) {
  const absl::StatusOr<EventRecord> record = store_.Get(app_, event.id);
  EXPECT_OK(record);
  return record.value_or(EventRecord());
}

PageItems EventTest::ItemsFor(const Event& event, const std::vector<std::string>& recipients) {
  PageItems items;
  items.item.type = event.type;
  items.item.title = "title";
  items.item.actor_id = event.actor_id;
  items.item.object_id = event.object_id;
  items.item.data_json = event.data_json;
  items.recipients = recipients;
  for (size_t i = 0; i < recipients.size(); ++i) items.ids.push_back(NewUuid7(absl::Now()));
  return items;
}

std::vector<WrittenItem> EventTest::TellPage(const Event& event, const EventRange& range, int page) {
  const absl::StatusOr<std::vector<std::string>> members = store_.Members(event, range, page);
  EXPECT_OK(members);
  if (!members.ok()) return {};
  const auto written = store_.WritePage(event,
                                        {.page = PageOf(event, range.shard, range.after),
                                         .new_cursor = members->empty() ? range.after : members->back(),
                                         .read = static_cast<int64_t>(members->size()),
                                         .is_last = members->size() < static_cast<size_t>(page)},
                                        ItemsFor(event, *members));
  EXPECT_OK(written);
  return written.value_or(std::vector<WrittenItem>());
}

std::vector<WrittenItem> EventTest::TellAll(const Event& event, int shards, int page) {
  std::vector<WrittenItem> all;
  for (int shard = 0; shard < shards; ++shard) {
    for (;;) {
      const std::string cursor = Query(absl::StrCat("SELECT cursor FROM event_shards WHERE event_id = '",
                                                    event.id.ToString(), "' AND shard = ", shard));
      const absl::StatusOr<OpenPage> open = store_.Open(PageOf(event, shard, cursor));
      EXPECT_OK(open);
      if (!open.ok() || !open->range.has_value()) break;
      const std::vector<WrittenItem> written = TellPage(event, *open->range, page);
      all.insert(all.end(), written.begin(), written.end());
    }
  }
  EXPECT_OK(store_.FinishIfDone(event.id));
  return all;
}

void EventTest::StoreShared(const Event& event, const std::string& title) {
  PageItems items = ItemsFor(event, {});
  items.item.title = title;
  ASSERT_OK(store_.StoreShared(event, 1'000'000, items));
}

void EventTest::Follow(const std::string& followee, const std::vector<std::string>& followers) {
  std::vector<Membership> added;
  for (const std::string& follower : followers) added.push_back({followee, follower});
  ASSERT_OK(memberships_.Add(app_, GroupKind::kFollowers, added));
}

void EventTest::Subscribe(const std::string& topic, const std::vector<std::string>& subscribers) {
  std::vector<Membership> added;
  for (const std::string& subscriber : subscribers) added.push_back({topic, subscriber});
  ASSERT_OK(memberships_.Add(app_, GroupKind::kTopic, added));
}

std::vector<std::string> EventTest::People(int count, const std::string& prefix) {
  std::vector<std::string> people;
  for (int i = 0; i < count; ++i) people.push_back(absl::StrFormat("%s%05d", prefix, i));
  return people;
}

std::vector<std::string> EventTest::TitlesOf(const std::string& recipient) {
  const auto items = feeds_.List({.key = {app_, RecipientId(recipient)}, .before_seq = {}, .limit = 1000});
  EXPECT_OK(items);
  std::vector<std::string> titles;
  if (!items.ok()) return titles;
  for (const FeedItem& item : *items) titles.push_back(item.title);
  return titles;
}

FeedHead EventTest::Head(const std::string& recipient) {
  const absl::StatusOr<std::vector<FeedHead>> heads = feeds_.ReadHeads({{app_, RecipientId(recipient)}});
  EXPECT_OK(heads);
  return heads.ok() ? heads->front() : FeedHead();
}

std::vector<FanoutPage> EventTest::QueuedPages() {
  const std::string payloads =
      Query(absl::StrCat("SELECT string_agg(encode(payload, 'hex'), ',') FROM outbox"
                         " WHERE lane = 'fanout' AND app_id = ",
                         app_.value()));
  std::vector<FanoutPage> pages;
  for (const absl::string_view payload : absl::StrSplit(payloads, ',', absl::SkipEmpty())) {
    const absl::StatusOr<EnvelopeContents> contents = DecodeContents(absl::HexStringToBytes(payload));
    EXPECT_OK(contents);
    if (contents.ok()) pages.insert(pages.end(), contents->pages.begin(), contents->pages.end());
  }
  std::sort(pages.begin(), pages.end(), [](const FanoutPage& a, const FanoutPage& b) {
    return std::tie(a.shard, a.cursor) < std::tie(b.shard, b.cursor);
  });
  return pages;
}

}  // namespace carillon::testing
