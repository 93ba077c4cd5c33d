#include "carillon/postgres/notification_store.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/feed_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Texts that end a carelessly built literal early, or change on the way.
const char* const kAwkwardTexts[] = {
    "'",
    "\"",
    "\\",
    "\\\\",
    "\"\\\"",
    "{",
    "}",
    "{}",
    ",",
    "a,b",
    "NULL",
    "null",
    " ",
    " a ",
    "()",
    "$1",
    "%s",
    "\n\t",
    "\r\n",
    "ä€😀",
    "\u202e",
    "'; DROP--",
    "{\"a\"}",
    "\\x41",
    "\\n",
    "''",
    "E'",
    "--",
    "/*",
    "\x7f",
    "\u0085",
    "\ufeff",
    "\xed\x9f\xbf",
    "a\"b,c{d}e\\",
    "\\",
};

class NotificationStoreTest : public PostgresTest {
 protected:
  NotificationRecord Read(const NewNotification& item) {
    const absl::StatusOr<NotificationRecord> record = store_.Get(app_, item.notification.id);
    EXPECT_OK(record);
    return record.ok() ? *record : NotificationRecord();
  }
  std::vector<NotificationId> ListIds(const NotificationStore::ListQuery& query) {
    const absl::StatusOr<std::vector<NotificationRecord>> records = store_.List(query);
    EXPECT_OK(records);
    std::vector<NotificationId> ids;
    if (records.ok()) {
      for (const NotificationRecord& record : *records) ids.push_back(record.notification.id);
    }
    return ids;
  }

  const AppId app_ = NewApp();
  PostgresNotificationStore store_{MakePool(2)};
};

TEST_F(NotificationStoreTest, KeepsEveryFieldOfANotification) {
  NewNotification item = MakeKeyed(app_, "key");
  Notification& n = item.notification;
  n.lane = Lane::kPayment;
  n.actor_id = "actor";
  n.object_id = "object";
  n.data_json = R"({"amount":"12.50","b":[1,null,true]})";
  n.channels = {Channel::kInApp, Channel::kSms, Channel::kWebhook};
  n.retention_days = 365;
  n.expire_time = n.create_time + absl::Minutes(10) + absl::Microseconds(1);
  AcceptOne(item);
  const NotificationRecord record = Read(item);
  EXPECT_EQ(record.notification.id, n.id);
  EXPECT_EQ(record.notification.app, app_);
  EXPECT_EQ(record.notification.lane, Lane::kPayment);
  EXPECT_EQ(record.notification.type, "like");
  EXPECT_EQ(record.notification.recipient, RecipientId("ann"));
  EXPECT_EQ(record.notification.actor_id, "actor");
  EXPECT_EQ(record.notification.object_id, "object");
  EXPECT_EQ(record.notification.data_json, n.data_json);
  EXPECT_EQ(record.notification.channels, n.channels);
  EXPECT_EQ(record.notification.retention_days, 365);
  EXPECT_EQ(record.notification.create_time, n.create_time);
  EXPECT_EQ(record.notification.expire_time, n.expire_time);
  EXPECT_EQ(record.idempotency_key, "key");
  EXPECT_EQ(record.state, State::kAccepted);
  EXPECT_EQ(record.detail, "");
  EXPECT_EQ(record.finish_time, std::nullopt);
  EXPECT_THAT(record.history, IsEmpty());
}

TEST_F(NotificationStoreTest, KeepsEmptyFieldsEmpty) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  const NotificationRecord record = Read(item);
  EXPECT_EQ(record.notification.actor_id, "");
  EXPECT_EQ(record.notification.object_id, "");
  EXPECT_EQ(record.notification.data_json, "");
  EXPECT_EQ(record.notification.expire_time, std::nullopt);
  EXPECT_EQ(record.idempotency_key, "");
}

TEST_F(NotificationStoreTest, KeepsAwkwardTextsAsTheyAre) {
  std::vector<NewNotification> items;
  for (const std::string text : kAwkwardTexts) {
    NewNotification item = MakeKeyed(app_, absl::StrCat("key", items.size(), text));
    item.notification.recipient = RecipientId(text);
    item.notification.actor_id = text;
    item.notification.object_id = text;
    item.notification.data_json = R"({"text":"\u0000\\ \" {,} ä€😀"})";
    item.envelope = absl::StrCat(text, absl::string_view("\0\xff\x80", 3), text);
    items.push_back(item);
  }
  AcceptAll(items);
  for (const NewNotification& item : items) {
    const NotificationRecord record = Read(item);
    EXPECT_EQ(record.notification.recipient, item.notification.recipient);
    EXPECT_EQ(record.notification.actor_id, item.notification.actor_id);
    EXPECT_EQ(record.notification.object_id, item.notification.object_id);
    EXPECT_EQ(record.notification.data_json, item.notification.data_json);
    EXPECT_EQ(record.idempotency_key, item.idempotency_key);
    const std::string hex = Query(absl::StrCat("SELECT encode(payload, 'hex') FROM outbox WHERE message_id = '",
                                               item.notification.id.ToString(), "'"));
    EXPECT_EQ(absl::HexStringToBytes(hex), item.envelope);
    EXPECT_THAT(ListIds({.app = app_, .recipient = item.notification.recipient.value()}),
                Contains(item.notification.id));
  }
}

TEST_F(NotificationStoreTest, KeepsMicrosecondsOfAnyTime) {
  for (const int64_t microsecond : {0, 1, 499'999, 500'001, 999'999}) {
    const absl::Time time = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now())) + absl::Microseconds(microsecond);
    const NewNotification item = At(MakeNew(app_), time);
    AcceptOne(item);
    EXPECT_EQ(Read(item).notification.create_time, time);
  }
}

TEST_F(NotificationStoreTest, SaysQueuedWhenTheOutboxRowIsGone) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  EXPECT_EQ(Read(item).state, State::kAccepted);
  const std::string of_item = absl::StrCat(" WHERE message_id = '", item.notification.id.ToString(), "'");
  Query("UPDATE outbox SET deferred = true" + of_item);
  EXPECT_EQ(Read(item).state, State::kAccepted);
  Query("DELETE FROM outbox" + of_item);
  EXPECT_EQ(Read(item).state, State::kQueued);
}

TEST_F(NotificationStoreTest, SaysHowANotificationEnded) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  FeedDelivery delivery = DeliveryOf(item);
  delivery.state = State::kExpired;
  delivery.detail = "too late";
  const absl::Time before = absl::Now();
  ASSERT_OK(PostgresFeedStore(MakePool(1)).Deliver({&delivery, 1}));
  const NotificationRecord record = Read(item);
  EXPECT_EQ(record.state, State::kExpired);
  EXPECT_EQ(record.detail, "too late");
  ASSERT_NE(record.finish_time, std::nullopt);
  EXPECT_GE(*record.finish_time, before - absl::Seconds(1));
  EXPECT_LE(*record.finish_time, absl::Now() + absl::Seconds(1));
}

TEST_F(NotificationStoreTest, KnowsNothingOfOtherApps) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  EXPECT_THAT(store_.Get(NewApp(), item.notification.id), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Get(app_, NewUuid7(absl::Now())), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ListIds({.app = NewApp()}), IsEmpty());
}

TEST_F(NotificationStoreTest, ListsNewestFirstWithoutGapsOrRepeats) {
  constexpr int kCount = 57;
  std::vector<NewNotification> items;
  const absl::Time now = absl::Now();
  for (int i = 0; i < kCount; ++i) {
    // Over several slices and classes, many within one millisecond.
    NewNotification item = At(MakeNew(app_, i % 3 == 0 ? "ann" : "ben"), now - absl::Hours(8 * (i / 15)));
    item.notification.retention_days = i % 2 == 0 ? 7 : 30;
    items.push_back(item);
  }
  AcceptAll(items);
  for (const std::string recipient : {"", "ann"}) {
    std::vector<NotificationId> expected;
    for (const NewNotification& item : items) {
      if (recipient.empty() || item.notification.recipient.value() == recipient)
        expected.push_back(item.notification.id);
    }
    std::sort(expected.rbegin(), expected.rend());
    std::vector<NotificationId> listed;
    NotificationStore::ListQuery query{.app = app_, .recipient = recipient, .state = {}, .older_than = {}, .limit = 10};
    for (auto page = ListIds(query); !page.empty(); page = ListIds(query)) {
      EXPECT_LE(page.size(), 10);
      listed.insert(listed.end(), page.begin(), page.end());
      query.older_than = page.back();
    }
    EXPECT_EQ(listed, expected);
  }
}

TEST_F(NotificationStoreTest, ListsByTheStateThatItShows) {
  const std::vector<NewNotification> items = {MakeNew(app_), MakeNew(app_), MakeNew(app_)};
  AcceptAll(items);
  const FeedDelivery delivery = DeliveryOf(items[0]);
  ASSERT_OK(PostgresFeedStore(MakePool(1)).Deliver({&delivery, 1}));
  Query(absl::StrCat("DELETE FROM outbox WHERE message_id = '", items[1].notification.id.ToString(), "'"));
  for (const std::string recipient : {"", "ann"}) {
    const auto list = [&](State state) { return ListIds({.app = app_, .recipient = recipient, .state = state}); };
    EXPECT_THAT(list(State::kDelivered), ElementsAre(items[0].notification.id));
    EXPECT_THAT(list(State::kQueued), ElementsAre(items[1].notification.id));
    EXPECT_THAT(list(State::kAccepted), ElementsAre(items[2].notification.id));
    EXPECT_THAT(list(State::kDead), IsEmpty());
  }
}

TEST_F(NotificationStoreTest, AddsFailedAttemptsToTheHistory) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  const absl::Time time = absl::FromUnixMicros(1'700'000'000'000'001);
  const auto attempt = [&](int number, const std::string& detail) {
    const NotificationStore::FailedAttempt failed{item.notification.id, 7, {time, number, detail}};
    return store_.RecordAttempts({&failed, 1});
  };
  ASSERT_OK(attempt(1, "first \"quoted\" {braces}, \\ ä"));
  ASSERT_OK(attempt(2, "not UTF-8: \xff"));
  const NotificationRecord record = Read(item);
  ASSERT_THAT(record.history, SizeIs(2));
  EXPECT_EQ(record.history[0].time, time);
  EXPECT_EQ(record.history[0].attempt, 1);
  EXPECT_EQ(record.history[0].detail, "first \"quoted\" {braces}, \\ ä");
  EXPECT_EQ(record.history[1].attempt, 2);
}

TEST_F(NotificationStoreTest, AddsAllAttemptsOfOneNotificationInABatch) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  const absl::Time now = absl::Now();
  ASSERT_OK(store_.RecordAttempts(
      {{item.notification.id, 7, {now, 1, "first"}}, {item.notification.id, 7, {now, 2, "second"}}}));
  EXPECT_THAT(Read(item).history, SizeIs(2));
}

TEST_F(NotificationStoreTest, AddsNoAttemptToWhatHasEnded) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  const FeedDelivery delivery = DeliveryOf(item);
  ASSERT_OK(PostgresFeedStore(MakePool(1)).Deliver({&delivery, 1}));
  ASSERT_OK(store_.RecordAttempts({{item.notification.id, 7, {absl::Now(), 1, "late"}}}));
  EXPECT_THAT(Read(item).history, IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
