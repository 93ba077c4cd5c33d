#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/limits.h"
#include "carillon/postgres/feed_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

class ReadMarkerTest : public PostgresTest {
 protected:
  // Delivers so many, one after another; returns their ids by seq.
  std::vector<NotificationId> DeliverMany(int count) {
    std::vector<NewNotification> items;
    for (int i = 0; i < count; ++i) items.push_back(MakeNew(key_.app, key_.recipient.value()));
    std::sort(items.begin(), items.end(),
              [](const auto& a, const auto& b) { return a.notification.id < b.notification.id; });
    AcceptAll(items);
    EXPECT_OK(store_.Deliver(DeliveriesOf(items)));
    std::vector<NotificationId> ids;
    for (const NewNotification& item : items) ids.push_back(item.notification.id);
    return ids;
  }
  FeedHead Head() {
    const absl::StatusOr<std::vector<FeedHead>> heads = store_.ReadHeads({key_});
    EXPECT_OK(heads);
    return heads.ok() ? heads->front() : FeedHead();
  }
  Backlog Read(int64_t after_seq) {
    const absl::StatusOr<std::vector<Backlog>> backlogs = store_.ReadBacklogs({{key_, after_seq}});
    EXPECT_OK(backlogs);
    return backlogs.ok() ? backlogs->front() : Backlog();
  }
  // What unread must be, counted from the items.
  std::string UnreadItems() {
    return Query(absl::StrCat(
        "SELECT count(*) FROM feed_items f JOIN feed_heads h USING (app_id, recipient_id) WHERE f.app_id = ",
        key_.app.value(), " AND f.read_seq IS NULL AND f.seq > h.last_read_seq"));
  }

  const FeedKey key_{NewApp(), RecipientId("ann")};
  PostgresFeedStore store_{MakePool(2)};
};

TEST_F(ReadMarkerTest, MarksUpToASeqAndTakesTheNextNumber) {
  DeliverMany(10);
  ASSERT_OK_AND_ASSIGN(const MarkReadResult result, store_.MarkReadUpTo(key_, 7));
  ASSERT_NE(result.marker, std::nullopt);
  EXPECT_EQ(result.marker->seq, 11);
  EXPECT_EQ(result.marker->up_to_seq, 7);
  EXPECT_EQ(result.marker->unread, 3);
  EXPECT_THAT(result.marker->ids, IsEmpty());
  EXPECT_EQ(result.head.last_seq, 11);
  EXPECT_EQ(result.head.unread, 3);
  EXPECT_EQ(Head().last_seq, 11);
  EXPECT_EQ(Head().marker_seq, 11);
  EXPECT_EQ(Head().last_read_seq, 7);
  EXPECT_EQ(Head().unread, 3);
}

TEST_F(ReadMarkerTest, ChangesNothingWhenAMarkIsRepeated) {
  const std::vector<NotificationId> ids = DeliverMany(4);
  ASSERT_OK(store_.MarkReadUpTo(key_, 2));
  ASSERT_OK(store_.MarkReadItems(key_, {ids[3]}));
  const FeedHead before = Head();
  for (const int64_t seq : {2, 1, 0, -5}) {
    ASSERT_OK_AND_ASSIGN(const MarkReadResult again, store_.MarkReadUpTo(key_, seq));
    EXPECT_EQ(again.marker, std::nullopt);
    EXPECT_EQ(again.head.unread, 1);
  }
  // Marked before, by either way.
  ASSERT_OK_AND_ASSIGN(const MarkReadResult again, store_.MarkReadItems(key_, {ids[3], ids[0]}));
  EXPECT_EQ(again.marker, std::nullopt);
  EXPECT_EQ(again.head.last_seq, before.last_seq);
  EXPECT_EQ(Head().last_seq, before.last_seq);
  EXPECT_EQ(Head().unread, 1);
}

TEST_F(ReadMarkerTest, MarksAtMostUpToTheLastSeq) {
  DeliverMany(3);
  ASSERT_OK_AND_ASSIGN(const MarkReadResult result, store_.MarkReadUpTo(key_, 1'000'000));
  EXPECT_EQ(result.head.last_read_seq, 3);
  EXPECT_EQ(result.head.unread, 0);
  // Nothing came since: the marker's own number is nothing to read.
  DeliverMany(1);
  EXPECT_EQ(Head().unread, 1);
  EXPECT_EQ(UnreadItems(), "1");
}

TEST_F(ReadMarkerTest, MarksNothingForUnknownRecipients) {
  ASSERT_OK_AND_ASSIGN(MarkReadResult result, store_.MarkReadUpTo(key_, 5));
  EXPECT_EQ(result.marker, std::nullopt);
  EXPECT_EQ(result.head.last_seq, 0);
  ASSERT_OK_AND_ASSIGN(result, store_.MarkReadItems(key_, {NewUuid7(absl::Now())}));
  EXPECT_EQ(result.marker, std::nullopt);
}

TEST_F(ReadMarkerTest, MarksSingleItems) {
  const std::vector<NotificationId> ids = DeliverMany(5);
  ASSERT_OK_AND_ASSIGN(const MarkReadResult result,
                       store_.MarkReadItems(key_, {ids[1], ids[3], ids[1], NewUuid7(absl::Now())}));
  ASSERT_NE(result.marker, std::nullopt);
  EXPECT_THAT(result.marker->ids, UnorderedElementsAre(ids[1], ids[3]));
  EXPECT_EQ(result.marker->seq, 6);
  EXPECT_EQ(result.marker->up_to_seq, 0);
  EXPECT_EQ(result.marker->unread, 3);
  EXPECT_EQ(Head().unread, 3);
  ASSERT_OK_AND_ASSIGN(const MarkReadResult all, store_.MarkReadUpTo(key_, 4));
  EXPECT_EQ(all.head.unread, 1);
  EXPECT_EQ(UnreadItems(), "1");
}

TEST_F(ReadMarkerTest, MarksNothingIfNoItemIsNamed) {
  DeliverMany(2);
  ASSERT_OK_AND_ASSIGN(const MarkReadResult result, store_.MarkReadItems(key_, {}));
  EXPECT_EQ(result.marker, std::nullopt);
  EXPECT_EQ(result.head.unread, 2);
}

TEST_F(ReadMarkerTest, MarksNoItemOfAnotherRecipient) {
  const std::vector<NotificationId> ids = DeliverMany(1);
  const NewNotification other = MakeNew(key_.app, "ben");
  AcceptOne(other);
  ASSERT_OK(store_.Deliver({DeliveryOf(other)}));
  ASSERT_OK_AND_ASSIGN(const MarkReadResult result, store_.MarkReadItems({key_.app, RecipientId("ben")}, ids));
  EXPECT_EQ(result.marker, std::nullopt);
  EXPECT_EQ(Head().unread, 1);
}

TEST_F(ReadMarkerTest, StandsInTheBacklogOfWhoHasNotSeenIt) {
  const std::vector<NotificationId> ids = DeliverMany(3);
  ASSERT_OK(store_.MarkReadItems(key_, {ids[2]}));  // 4
  ASSERT_OK(store_.MarkReadUpTo(key_, 1));          // 5
  ASSERT_OK(store_.MarkReadItems(key_, {ids[1]}));  // 6
  const Backlog all = Read(0);
  EXPECT_EQ(all.complete_up_to, 6);
  ASSERT_NE(all.marker, std::nullopt);
  EXPECT_EQ(all.marker->seq, 6);
  EXPECT_EQ(all.marker->up_to_seq, 1);
  EXPECT_EQ(all.marker->unread, 0);
  EXPECT_THAT(all.marker->ids, UnorderedElementsAre(ids[1], ids[2]));
  const Backlog later = Read(4);
  ASSERT_NE(later.marker, std::nullopt);
  EXPECT_THAT(later.marker->ids, UnorderedElementsAre(ids[1]));
  EXPECT_EQ(Read(6).marker, std::nullopt);
}

// A stream that read up to 1 and finds more than a page of items between the
// marks must hear of both marks.
TEST_F(ReadMarkerTest, IsNotLostBetweenThePagesOfABacklog) {
  const std::vector<NotificationId> ids = DeliverMany(1);
  ASSERT_OK(store_.MarkReadItems(key_, {ids[0]}));  // 2
  const std::vector<NotificationId> later = DeliverMany(limits::kBacklogPage + 10);
  ASSERT_OK(store_.MarkReadItems(key_, {later[0]}));
  std::vector<NotificationId> marked;
  int64_t after = 1;
  for (int page = 0; page < 2; ++page) {
    const Backlog backlog = Read(after);
    if (backlog.marker.has_value()) {
      EXPECT_GT(backlog.marker->seq, after);
      EXPECT_LE(backlog.marker->seq, backlog.complete_up_to);
      marked.insert(marked.end(), backlog.marker->ids.begin(), backlog.marker->ids.end());
    }
    after = backlog.complete_up_to;
  }
  EXPECT_EQ(after, Head().last_seq);
  EXPECT_THAT(marked, UnorderedElementsAre(ids[0], later[0]));
}

TEST_F(ReadMarkerTest, NamesAllItemsHoweverManyWereMarked) {
  const std::vector<NotificationId> ids = DeliverMany(2500);
  for (size_t from = 0; from < ids.size(); from += limits::kMaxMarkReadIds) {
    ASSERT_OK(store_.MarkReadItems(key_, absl::MakeSpan(ids).subspan(from, limits::kMaxMarkReadIds)));
  }
  EXPECT_EQ(Head().unread, 0);
  std::vector<NotificationId> marked;
  int64_t after = 2500;
  while (after < Head().last_seq) {
    const Backlog backlog = Read(after);
    ASSERT_NE(backlog.marker, std::nullopt);
    marked.insert(marked.end(), backlog.marker->ids.begin(), backlog.marker->ids.end());
    ASSERT_GT(backlog.complete_up_to, after);
    after = backlog.complete_up_to;
  }
  EXPECT_THAT(marked, UnorderedElementsAreArray(ids));
}

TEST_F(ReadMarkerTest, KeepsCountersTrueWhileItemsArrive) {
  constexpr int kRounds = 30;
  std::vector<NewNotification> items;
  for (int i = 0; i < 4 * kRounds; ++i) items.push_back(MakeNew(key_.app, "ann"));
  AcceptAll(items);
  PostgresFeedStore store(MakePool(4));
  RunThreads(4, [&](int thread) {
    for (int round = 0; round < kRounds; ++round) {
      // Two deliver, one marks items, one marks up to what it sees.
      if (thread < 2) {
        const auto batch = DeliveriesOf(absl::MakeSpan(items).subspan((2 * round + thread) * 2, 2));
        ASSERT_OK(store.Deliver(batch));
      } else if (thread == 2) {
        ASSERT_OK(
            store.MarkReadItems(key_, {items[round].notification.id, items[4 * kRounds - 1 - round].notification.id}));
      } else {
        const absl::StatusOr<std::vector<FeedHead>> heads = store.ReadHeads({key_});
        ASSERT_OK(heads);
        ASSERT_OK(store.MarkReadUpTo(key_, heads->front().last_seq / 2));
      }
    }
  });
  EXPECT_EQ(absl::StrCat(Head().unread), UnreadItems());
  ASSERT_OK(store.MarkReadUpTo(key_, Head().last_seq));
  EXPECT_EQ(Head().unread, 0);
  EXPECT_EQ(Query(absl::StrCat("SELECT count(DISTINCT seq) || ' ' || count(*) FROM feed_items WHERE app_id = ",
                               key_.app.value())),
            absl::StrCat(4 * kRounds, " ", 4 * kRounds));
}

}  // namespace
}  // namespace carillon::testing
