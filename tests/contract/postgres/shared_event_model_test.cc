// That a listed feed, a resumed stream and the unread count always agree, however
// shared events, pages, sends, reads and changes of the graph follow each other.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <pqxx/pqxx>
#include <random>
#include <set>
#include <thread>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/postgres/feed_touch.h"
#include "tests/contract/postgres/event_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;

// What a recipient's feed must hold. Numbers are the store's to choose; once
// seen, they stay.
struct ModelFeed {
  bool exists = false;
  std::set<std::string> titles;
  std::map<std::string, int64_t> seqs;  // Of titles that a read has shown.
  std::map<std::string, NotificationId> ids;
  int64_t read_up_to = 0;
  std::set<NotificationId> marked;
  int64_t last_seq = 0;
};

// What concurrent reads of one feed answered.
struct Readings {
  FeedHead summary;
  std::vector<FeedItem> listed;  // Newest first.
  int64_t after = 0;
  Backlog resumed;
};

class SharedEventModelTest : public EventTest {
 protected:
  using Groups = std::map<std::pair<GroupKind, std::string>, std::set<std::string>>;

  int Random(int bound) { return static_cast<int>(random_() % static_cast<unsigned>(bound)); }
  std::string SomeRecipient() { return absl::StrCat("recipient-", Random(6)); }
  std::string SomeGroup(GroupKind kind) {
    return absl::StrCat(kind == GroupKind::kTopic ? "topic-" : "star-", Random(3));
  }
  GroupKind SomeKind() { return Random(3) == 0 ? GroupKind::kTopic : GroupKind::kFollowers; }
  std::string NextTitle() { return absl::StrCat("item ", ++titles_); }
  FeedKey KeyOf(const std::string& recipient) const { return {app_, RecipientId(recipient)}; }

  std::vector<Membership> SomeMemberships(GroupKind kind) {
    std::vector<Membership> memberships;
    for (int i = Random(3); i >= 0; --i) memberships.push_back({SomeGroup(kind), SomeRecipient()});
    return memberships;
  }
  void Join() {
    const GroupKind kind = SomeKind();
    const std::vector<Membership> memberships = SomeMemberships(kind);
    ASSERT_OK(memberships_.Add(app_, kind, memberships));
    for (const Membership& membership : memberships) {
      groups_[{kind, membership.group_id}].insert(membership.member_id);
      model_[membership.member_id].exists = true;
    }
  }
  void Leave() {
    const GroupKind kind = SomeKind();
    const std::vector<Membership> memberships = SomeMemberships(kind);
    ASSERT_OK(memberships_.Remove(app_, kind, memberships));
    for (const Membership& membership : memberships) groups_[{kind, membership.group_id}].erase(membership.member_id);
  }

  Audience SomeAudience() {
    if (Random(4) == 0) return Everyone();
    const GroupKind kind = SomeKind();
    return kind == GroupKind::kTopic ? TopicOf(SomeGroup(kind)) : FollowersOf(SomeGroup(kind));
  }
  // Who is concerned now.
  std::set<std::string> Concerned(const Audience& audience) {
    if (audience.kind != AudienceKind::kEveryone) {
      return groups_[{audience.kind == AudienceKind::kTopic ? GroupKind::kTopic : GroupKind::kFollowers, audience.id}];
    }
    std::set<std::string> everyone;
    for (const auto& [recipient, feed] : model_) {
      if (feed.exists) everyone.insert(recipient);
    }
    return everyone;
  }
  void Share() {
    const Audience audience = SomeAudience();
    const std::string title = NextTitle();
    StoreShared(Publish(audience), title);
    for (const std::string& recipient : Concerned(audience)) model_[recipient].titles.insert(title);
  }
  void TellInPages() {
    const Audience audience = SomeAudience();
    const Event event = PublishExpanding(audience);
    const int page = 1 + Random(4);
    for (EventRange range;;) {
      ASSERT_OK_AND_ASSIGN(const std::vector<std::string> members, store_.Members(event, range, page));
      PageItems items = ItemsFor(event, members);
      items.item.title = absl::StrCat(event.id.ToString());
      const bool is_last = members.size() < static_cast<size_t>(page);
      const std::string next = members.empty() ? range.after : members.back();
      ASSERT_OK(store_.WritePage(event, {.page = PageOf(event, 0, range.after), .new_cursor = next, .is_last = is_last},
                                 items));
      range.after = next;
      if (is_last) break;
    }
    for (const std::string& recipient : Concerned(audience)) model_[recipient].titles.insert(event.id.ToString());
  }
  void Send() {
    std::vector<NewNotification> sends;
    for (int i = Random(3); i >= 0; --i) sends.push_back(MakeNew(app_, SomeRecipient()));
    AcceptAll(sends);
    std::vector<FeedDelivery> deliveries = DeliveriesOf(sends);
    for (FeedDelivery& delivery : deliveries) {
      delivery.item.title = NextTitle();
      ModelFeed& feed = model_[delivery.key.recipient.value()];
      feed.exists = true;
      feed.titles.insert(delivery.item.title);
    }
    ASSERT_OK(feeds_.Deliver(deliveries));
  }
  // Marks what a read has shown, whatever is coming meanwhile.
  void MarkUpTo() {
    const std::string recipient = SomeRecipient();
    ModelFeed& feed = model_[recipient];
    if (feed.last_seq == 0) return;
    const int64_t up_to = 1 + Random(static_cast<int>(feed.last_seq));
    ASSERT_OK(feeds_.MarkReadUpTo(KeyOf(recipient), up_to));
    feed.read_up_to = std::max(feed.read_up_to, up_to);
  }
  void MarkItems() {
    const std::string recipient = SomeRecipient();
    ModelFeed& feed = model_[recipient];
    std::vector<NotificationId> ids;
    for (const auto& [title, id] : feed.ids) {
      if (Random(4) == 0) ids.push_back(id);
    }
    ASSERT_OK(feeds_.MarkReadItems(KeyOf(recipient), ids));
    feed.marked.insert(ids.begin(), ids.end());
  }

  void Change() {
    const int choice = Random(20);
    if (choice < 4) return Join();
    if (choice < 6) return Leave();
    if (choice < 12) return Share();
    if (choice < 14) return TellInPages();
    if (choice < 17) return Send();
    if (choice < 19) return MarkUpTo();
    MarkItems();
  }

  // Three kinds of reads of one feed at once: each may be the one that touches it.
  Readings ReadAtOnce(const std::string& recipient) {
    Readings readings;
    ModelFeed& feed = model_[recipient];
    readings.after = Random(static_cast<int>(feed.last_seq) + 1);
    const FeedKey neighbour = KeyOf(SomeRecipient());
    RunThreads(4, [&](int thread) {
      if (thread == 0) {
        const absl::StatusOr<FeedHead> head = feeds_.Summarize(KeyOf(recipient));
        ASSERT_OK(head);
        readings.summary = *head;
      } else if (thread == 1) {
        const auto items = feeds_.List({.key = KeyOf(recipient), .before_seq = {}, .limit = 10'000});
        ASSERT_OK(items);
        readings.listed = *items;
      } else if (thread == 2) {
        const auto backlogs = feeds_.ReadBacklogs({{neighbour, 0}, {KeyOf(recipient), readings.after}});
        ASSERT_OK(backlogs);
        readings.resumed = (*backlogs)[1];
      } else {
        ASSERT_OK(feeds_.ReadBacklogs({{KeyOf(recipient), 0}, {neighbour, 0}}));
      }
    });
    return readings;
  }

  void ExpectListAsModel(const std::vector<FeedItem>& listed, ModelFeed& feed) {
    std::vector<std::string> titles;
    std::set<int64_t> seqs;
    for (const FeedItem& item : listed) {
      titles.push_back(item.title);
      EXPECT_TRUE(seqs.insert(item.seq).second) << "two with the number " << item.seq;
      const auto known = feed.seqs.try_emplace(item.title, item.seq);
      EXPECT_EQ(known.first->second, item.seq) << item.title << " has moved";
      EXPECT_TRUE(!known.second || item.seq > feed.last_seq) << item.title << " came below what a read had shown";
      feed.ids[item.title] = item.id;
      EXPECT_EQ(item.read, item.seq <= feed.read_up_to || feed.marked.contains(item.id)) << item.title;
    }
    EXPECT_THAT(titles, UnorderedElementsAreArray(feed.titles));
  }

  void CheckReads(const std::string& recipient) {
    const Readings readings = ReadAtOnce(recipient);
    ModelFeed& feed = model_[recipient];
    ExpectListAsModel(readings.listed, feed);
    const auto unread =
        std::count_if(readings.listed.begin(), readings.listed.end(), [](const FeedItem& item) { return !item.read; });
    EXPECT_EQ(readings.summary.unread, unread);
    EXPECT_FALSE(readings.summary.behind);
    EXPECT_EQ(readings.resumed.head.unread, unread);
    EXPECT_EQ(readings.resumed.head.last_seq, readings.summary.last_seq);
    EXPECT_EQ(readings.resumed.complete_up_to, readings.summary.last_seq);
    std::vector<NotificationId> resumed, expected;
    for (const FeedItem& item : readings.resumed.items) resumed.push_back(item.id);
    for (auto item = readings.listed.rbegin(); item != readings.listed.rend(); ++item) {
      if (item->seq > readings.after) expected.push_back(item->id);
    }
    EXPECT_THAT(resumed, ElementsAreArray(expected)) << "resumed after " << readings.after;
    EXPECT_GE(readings.summary.last_seq, feed.last_seq);
    feed.last_seq = readings.summary.last_seq;
  }

  void Run(unsigned seed, int steps) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    random_.seed(seed);
    for (int step = 0; step < steps && !HasFailure(); ++step) {
      SCOPED_TRACE(absl::StrCat("step ", step));
      for (int changes = Random(4); changes >= 0; --changes) Change();
      CheckReads(SomeRecipient());
    }
    for (int i = 0; i < 6 && !HasFailure(); ++i) CheckReads(absl::StrCat("recipient-", i));
  }

  std::mt19937 random_;
  int titles_ = 0;
  std::map<std::string, ModelFeed> model_;
  Groups groups_;
};

class SharedEventModel : public SharedEventModelTest, public ::testing::WithParamInterface<unsigned> {};

TEST_P(SharedEventModel, ListStreamAndUnreadCountAgreeAfterEveryChange) { Run(GetParam(), 100); }

INSTANTIATE_TEST_SUITE_P(Seeds, SharedEventModel, ::testing::Values(1, 2, 3));

TEST_F(SharedEventModelTest, WhoUnfollowsStillGetsWhatCameBefore) {
  Follow("star", {"ann", "ben"});
  StoreShared(Publish(FollowersOf("star")), "before");
  ASSERT_OK(memberships_.Remove(app_, GroupKind::kFollowers, {{"star", "ann"}}));
  StoreShared(Publish(FollowersOf("star")), "after");
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("before"));
  EXPECT_THAT(TitlesOf("ben"), ElementsAre("after", "before"));
}

TEST_F(SharedEventModelTest, WhoFollowsAgainGetsWhatCameSince) {
  Follow("star", {"ann"});
  ASSERT_OK(memberships_.Remove(app_, GroupKind::kFollowers, {{"star", "ann"}}));
  StoreShared(Publish(FollowersOf("star")), "between");
  Follow("star", {"ann"});
  StoreShared(Publish(FollowersOf("star")), "after");
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("after"));
}

TEST_F(SharedEventModelTest, AnEventPastItsRetentionIsNotToldAnyMore) {
  Follow("star", {"ann"});
  const Event old = Publish(FollowersOf("star"));
  StoreShared(old, "old");
  StoreShared(Publish(FollowersOf("star")), "new");
  Query(absl::StrCat("UPDATE events SET created_at = now() - interval '7 days 1 second' WHERE event_id = '",
                     old.id.ToString(), "'"));
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("new"));
  EXPECT_EQ(Head("ann").unread, 1);
}

TEST_F(SharedEventModelTest, EachReadsHisOwnIdWhereThePlaceholderStands) {
  const std::string odd = "a\"b\\1'{d},e ä€😀";
  Follow("star", {"ann", odd});
  const Event event = Publish(FollowersOf("star"));
  PageItems items = ItemsFor(event, {});
  items.placeholder = event.id.ToString();
  items.item.title = absl::StrCat("hello ", items.placeholder);
  ASSERT_OK(store_.StoreShared(event, 1'000'000, items));
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("hello ann"));
  EXPECT_THAT(TitlesOf(odd), ElementsAre("hello " + odd));
}

// Two devices of one person that come back together.
TEST_F(SharedEventModelTest, AFeedThatIsReadTwiceAtOnceIsAppendedToOnce) {
  Follow("star", {"ann", "ben"});
  StoreShared(Publish(FollowersOf("star")), "first");
  StoreShared(Publish(FollowersOf("star")), "second");
  ASSERT_OK_AND_ASSIGN(const std::vector<Backlog> backlogs,
                       feeds_.ReadBacklogs({{KeyOf("ann"), 0}, {KeyOf("ben"), 1}, {KeyOf("ann"), 1}}));
  EXPECT_THAT(backlogs[0].items, SizeIs(2));
  EXPECT_THAT(backlogs[1].items, SizeIs(1));
  EXPECT_THAT(backlogs[2].items, SizeIs(1));
  EXPECT_EQ(backlogs[0].head.unread, 2);
  EXPECT_EQ(backlogs[0].head.last_seq, 2);
}

// One that waits for ann's lock had seen that ben is not behind; when it has the
// lock, he is, and somebody else is about to append to his feed.
TEST_F(SharedEventModelTest, AFeedIsAppendedToOnlyByWhoHoldsItsLock) {
  Follow("star", {"ann", "ben"});
  StoreShared(Publish(FollowersOf("star")), "first");
  ASSERT_OK(feeds_.Summarize(KeyOf("ben")));
  const std::shared_ptr<PgPool> pool = MakePool(2);
  const auto touch = [&](const std::vector<FeedKey>& keys, const std::function<void()>& before_commit) {
    ASSERT_OK(pool->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
      TouchFeeds(session, transaction, keys);
      before_commit();
      return absl::OkStatus();
    }));
  };
  pqxx::connection connection(database().url());
  std::optional<pqxx::work> holder(connection);
  holder->exec(
      absl::StrCat("SELECT FROM feed_heads WHERE app_id = ", app_.value(), " AND recipient_id = 'ann' FOR UPDATE"));
  std::atomic<bool> done = false;
  std::thread both([&] {
    touch({KeyOf("ann"), KeyOf("ben")}, [] {});
    done = true;
  });
  EXPECT_TRUE(WaitFor([] {
    return Query(
               "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
               " AND datname = current_database()") == "1";
  }));
  StoreShared(Publish(FollowersOf("star")), "second");
  touch({KeyOf("ben")}, [&] {
    holder.reset();
    EXPECT_TRUE(WaitFor([&] { return done.load(); })) << "waits for a lock that it does not need";
  });
  both.join();
  EXPECT_THAT(TitlesOf("ann"), ElementsAre("second", "first"));
  EXPECT_THAT(TitlesOf("ben"), ElementsAre("second", "first"));
  EXPECT_EQ(Head("ben").unread, 2);
}

// Streams of many, resumed together while everything is written.
TEST_F(SharedEventModelTest, EveryStreamSeesEachNumberOnceWhileOthersWrite) {
  constexpr int kShared = 40;
  const std::vector<std::string> people = People(12);
  Follow("star", people);
  std::vector<Event> shared, paged;
  for (int i = 0; i < 2 * kShared; ++i) shared.push_back(Publish(FollowersOf("star")));
  for (int i = 0; i < 10; ++i) paged.push_back(PublishExpanding(FollowersOf("star")));
  std::vector<NewNotification> sends;
  for (int i = 0; i < 240; ++i) sends.push_back(MakeNew(app_, people[i % people.size()]));
  AcceptAll(sends);
  std::atomic<int> writers = 4;
  const auto read = [&](unsigned seed) {
    std::mt19937 random(seed);
    std::map<std::string, int64_t> positions;
    std::map<std::string, std::set<int64_t>> seen;
    for (bool last = false; !last;) {
      last = writers == 0;
      std::vector<BacklogRequest> requests;
      for (const std::string& person : people) {
        if (last || random() % 3 == 0) requests.push_back({KeyOf(person), positions[person]});
      }
      const auto backlogs = feeds_.ReadBacklogs(requests);
      ASSERT_OK(backlogs);
      for (size_t i = 0; i < requests.size(); ++i) {
        const std::string& person = requests[i].key.recipient.value();
        for (const FeedItem& item : (*backlogs)[i].items) ASSERT_TRUE(seen[person].insert(item.seq).second);
        positions[person] = (*backlogs)[i].complete_up_to;
      }
    }
    // Nobody marked anything: items have all the numbers.
    for (const std::string& person : people) {
      EXPECT_THAT(seen[person], SizeIs(positions[person])) << person;
      EXPECT_THAT(seen[person], SizeIs(2 * kShared + 10 + 20)) << person;
    }
  };
  RunThreads(7, [&](int thread) {
    if (thread > 3) return read(static_cast<unsigned>(thread));
    // Readers wait for it, even after a failure.
    const absl::Cleanup ended = [&] { --writers; };
    if (thread < 2) {
      for (int i = 0; i < kShared; ++i) StoreShared(shared[kShared * thread + i], absl::StrCat("shared ", thread, i));
    } else if (thread == 2) {
      for (const Event& event : paged) EXPECT_THAT(TellPage(event, {}, 100), SizeIs(12));
    } else {
      for (int i = 0; i < 240; i += 8) ASSERT_OK(feeds_.Deliver(DeliveriesOf(absl::MakeSpan(sends).subspan(i, 8))));
    }
  });
  EXPECT_EQ(Query(absl::StrCat(
                "SELECT count(*) || ' ' || count(DISTINCT (recipient_id, seq)) FROM feed_items WHERE app_id = ",
                app_.value())),
            absl::StrCat(12 * (2 * kShared + 30), " ", 12 * (2 * kShared + 30)));
}

}  // namespace
}  // namespace carillon::testing
