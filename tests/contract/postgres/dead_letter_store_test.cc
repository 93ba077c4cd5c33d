#include "carillon/postgres/dead_letter_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"
#include "carillon/postgres/dead_letter_filter.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/notification_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DeadLetterStoreTest : public PostgresTest {
 protected:
  DeadLetter LetterOf(const NewNotification& item) {
    return {.app = item.notification.app,
            .notification_id = item.notification.id,
            .queue = "social.like",
            .lane = "social",
            .message_id = item.notification.id.ToString(),
            .type = "like",
            .exchange = "carillon.direct",
            .routing_key = "social.like",
            .reason = "rejected",
            .error = "a 'quoted' \"error\" {x}, \\",
            .traceparent = "00-1-2-01",
            .retry_count = 3,
            .payload = std::string("\0\xff", 2)};
  }
  NotificationRecord Read(const NewNotification& item) {
    const auto record = PostgresNotificationStore(MakePool(1)).Get(app_, item.notification.id);
    EXPECT_OK(record);
    return record.ok() ? *record : NotificationRecord();
  }
  std::string StatesOf(const NewNotification& item) {
    return Query(absl::StrCat("SELECT string_agg(state, ' ') FROM dead_letters WHERE notification_id = '",
                              item.notification.id.ToString(), "'"));
  }
  std::vector<DeadLetter> List(const std::string& queue = "", std::optional<int64_t> older_than = {}, int limit = 50) {
    DeadLetterStore::ListQuery query{.filter = {}, .older_than = older_than, .limit = limit};
    query.filter.app = app_;
    query.filter.or_of_no_app = true;
    query.filter.queue = queue;
    const absl::StatusOr<std::vector<DeadLetter>> letters = store_.List(query);
    EXPECT_OK(letters);
    return letters.ok() ? *letters : std::vector<DeadLetter>();
  }

  const AppId app_ = NewApp();
  PostgresDeadLetterStore store_{MakePool(2)};
};

TEST_F(DeadLetterStoreTest, EndsTheGroupsOfItsReactions) {
  std::vector<Uuid> groups;
  for (int i = 0; i < 3; ++i) {
    groups.push_back(NewUuid7(absl::Now()));
    Query(absl::StrCat("INSERT INTO reaction_groups (app_id, group_id, type, payload) VALUES (", app_.value(), ", '",
                       groups.back().ToString(), "', 'like', 'x')"));
  }
  DeadLetter letter = LetterOf(MakeNew(app_));
  letter.reaction_groups = {groups[0], groups[1]};
  ASSERT_OK(store_.Record({letter}));
  EXPECT_EQ(
      Query(absl::StrCat("SELECT string_agg(group_id::text, ' ') FROM reaction_groups WHERE app_id = ", app_.value())),
      groups[2].ToString());
  EXPECT_THAT(List(), SizeIs(1));
}

TEST_F(DeadLetterStoreTest, RecordsALetterAndEndsItsNotification) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  ASSERT_OK(store_.Record({LetterOf(item)}));
  const NotificationRecord record = Read(item);
  EXPECT_EQ(record.state, State::kDead);
  EXPECT_EQ(record.detail, LetterOf(item).error);
  EXPECT_NE(record.finish_time, std::nullopt);

  const std::vector<DeadLetter> letters = List("social.like");
  ASSERT_THAT(letters, SizeIs(1));
  EXPECT_EQ(letters[0].app, app_);
  EXPECT_EQ(letters[0].notification_id, item.notification.id);
  EXPECT_EQ(letters[0].queue, "social.like");
  EXPECT_EQ(letters[0].lane, "social");
  EXPECT_EQ(letters[0].message_id, item.notification.id.ToString());
  EXPECT_EQ(letters[0].type, "like");
  EXPECT_EQ(letters[0].exchange, "carillon.direct");
  EXPECT_EQ(letters[0].routing_key, "social.like");
  EXPECT_EQ(letters[0].reason, "rejected");
  EXPECT_EQ(letters[0].error, LetterOf(item).error);
  EXPECT_EQ(letters[0].retry_count, 3);
  EXPECT_EQ(letters[0].payload, "");
  EXPECT_EQ(Query("SELECT encode(payload, 'hex') FROM dead_letters WHERE notification_id = '" +
                  item.notification.id.ToString() + "'"),
            "00ff");
}

TEST_F(DeadLetterStoreTest, RecordsARepeatedLetterOnce) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  ASSERT_OK(store_.Record({LetterOf(item)}));
  ASSERT_OK(store_.Record({LetterOf(item), LetterOf(item)}));
  EXPECT_EQ(StatesOf(item), "dead");
}

TEST_F(DeadLetterStoreTest, KeepsALetterAsMootIfItsNotificationEndedOtherwise) {
  const NewNotification item = MakeNew(app_);
  AcceptOne(item);
  ASSERT_OK(PostgresFeedStore(MakePool(1)).Deliver({DeliveryOf(item)}));
  ASSERT_OK(store_.Record({LetterOf(item)}));
  EXPECT_EQ(Read(item).state, State::kDelivered);
  EXPECT_EQ(StatesOf(item), "moot");
  EXPECT_THAT(List("social.like"), IsEmpty());
  ASSERT_OK(store_.Record({LetterOf(item)}));
  EXPECT_EQ(StatesOf(item), "moot");
}

TEST_F(DeadLetterStoreTest, RecordsALetterWhoseNotificationIsUnknown) {
  const NewNotification item = MakeNew(app_);
  ASSERT_OK(store_.Record({LetterOf(item)}));
  EXPECT_EQ(StatesOf(item), "dead");
}

TEST_F(DeadLetterStoreTest, ShowsLettersOfNoAppToEveryApp) {
  const DeadLetter bare{.queue = absl::StrCat("queue-", app_.value()), .reason = "rejected"};
  // Nothing tells two of these apart: both are kept.
  ASSERT_OK(store_.Record({bare, bare}));
  const std::vector<DeadLetter> letters = List(bare.queue);
  ASSERT_THAT(letters, SizeIs(2));
  EXPECT_EQ(letters[0].app, std::nullopt);
  EXPECT_EQ(letters[0].notification_id, std::nullopt);
  EXPECT_EQ(letters[0].message_id, "");
}

TEST_F(DeadLetterStoreTest, ListsNewestFirstInPagesAndByQueue) {
  std::vector<DeadLetter> recorded;
  for (int i = 0; i < 25; ++i) {
    recorded.push_back(LetterOf(MakeNew(app_)));
    recorded.back().queue = absl::StrCat("queue-", app_.value(), "-", i % 2);
  }
  ASSERT_OK(store_.Record(recorded));
  std::vector<std::string> listed;
  const std::string queue = recorded[0].queue;
  for (auto page = List(queue, {}, 5); !page.empty(); page = List(queue, page.back().id, 5)) {
    EXPECT_LE(page.size(), 5);
    for (const DeadLetter& letter : page) listed.push_back(letter.message_id);
  }
  std::vector<std::string> expected;
  for (int i = 24; i >= 0; i -= 2) expected.push_back(recorded[i].message_id);
  EXPECT_EQ(listed, expected);
}

TEST_F(DeadLetterStoreTest, TellsAGroupFromThoseThatContainItsWords) {
  std::vector<std::string> ids;
  for (const char* error : {"timeout after 30 ms", "timeout after 7 ms", "connect timeout after 30 ms"}) {
    DeadLetter letter = LetterOf(MakeNew(app_));
    letter.error = error;
    ids.push_back(letter.message_id);
    ASSERT_OK(store_.Record({letter}));
  }
  Query(absl::StrCat("UPDATE dead_letters SET provider = 'twilio' WHERE message_id = '", ids[1], "'"));
  // As a run would keep it.
  const auto matched = [&](const DeadLetterFilter& filter) {
    DeadLetterStore::ListQuery query{.filter = DecodeFilter(EncodeFilter(filter)), .older_than = {}, .limit = 9};
    query.filter.app = app_;
    std::vector<std::string> found;
    const std::vector<DeadLetter> listed = store_.List(query).value();
    for (const DeadLetter& letter : listed) found.push_back(letter.message_id);
    return found;
  };
  const std::string kind = "timeout after <number> ms";
  DeadLetterFilter filter;
  filter.error = kind;
  EXPECT_THAT(matched(filter), SizeIs(3));
  filter.error = "";
  filter.error_kind = kind;
  EXPECT_THAT(matched(filter), ElementsAre(ids[1], ids[0]));
  filter.without_provider = true;
  EXPECT_THAT(matched(filter), ElementsAre(ids[0]));
  filter.without_provider = false;
  filter.provider = "twilio";
  EXPECT_THAT(matched(filter), ElementsAre(ids[1]));
}

// Each text as long as headers may be, and of characters that nothing makes shorter.
TEST_F(DeadLetterStoreTest, RecordsWhateverOthersWriteIntoHeaders) {
  auto noise = [seed = uint32_t{1}]() mutable {
    std::string text(limits::kMaxErrorBytes, ' ');
    for (char& c : text) c = static_cast<char>('!' + ((seed = seed * 1664525 + 1013904223) >> 8) % 94);
    return text;
  };
  DeadLetter letter{.queue = absl::StrCat("queue-", app_.value()), .message_id = noise(), .type = noise()};
  letter.exchange = letter.routing_key = noise();
  letter.reason = noise();
  letter.error = noise();
  ASSERT_OK(store_.Record({letter}));
  EXPECT_THAT(List(letter.queue), SizeIs(1));
}

TEST_F(DeadLetterStoreTest, ShowsNoLettersOfOtherApps) {
  ASSERT_OK(store_.Record({LetterOf(MakeNew(NewApp()))}));
  for (const DeadLetter& letter : List()) EXPECT_EQ(letter.app, std::nullopt);
}

}  // namespace
}  // namespace carillon::testing
