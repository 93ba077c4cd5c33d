// Feeds and their live streams, through the real processes.
#include <algorithm>
#include <atomic>

#include "absl/strings/str_cat.h"
#include "tests/integration/system_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::SizeIs;

class Feeds : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { stack_ = new RunningStack(); }
  static void TearDownTestSuite() {
    delete stack_;
    stack_ = nullptr;
  }

  static std::string NewUser() {
    static std::atomic<int> count = 0;
    return absl::StrCat("reader-", ++count);
  }

  void Send(const std::string& user, int count, const std::string& type = "like") {
    v1::BatchSendNotificationsRequest batch;
    for (int i = 0; i < count; ++i) *batch.add_requests() = Request(type, user);
    ASSERT_OK(client_.BatchSendNotifications(batch));
  }

  v1::GetFeedSummaryResponse Summary(const std::string& user) {
    v1::GetFeedSummaryRequest request;
    request.set_user_id(user);
    const auto summary = client_.GetFeedSummary(request);
    EXPECT_OK(summary);
    return summary.ok() ? *summary : v1::GetFeedSummaryResponse();
  }

  bool WaitForLastSeq(const std::string& user, int64_t seq) {
    return WaitFor([&] { return Summary(user).last_seq() >= seq; }, absl::Seconds(30));
  }

  static RunningStack* stack_;
  Client client_ = ClientOf(*stack_);
};

RunningStack* Feeds::stack_ = nullptr;

TEST_F(Feeds, AreEmptyForWhoeverGotNothing) {
  const auto summary = Summary(NewUser());
  EXPECT_EQ(summary.unread(), 0);
  EXPECT_EQ(summary.last_seq(), 0);
}

TEST_F(Feeds, AreListedNewestFirstInPagesThatFitTogether) {
  const std::string user = NewUser();
  Send(user, 250);
  ASSERT_TRUE(WaitForLastSeq(user, 250));
  std::vector<int64_t> seqs;
  for (const v1::FeedItem& item : WholeFeed(client_, user)) seqs.push_back(item.seq());
  std::reverse(seqs.begin(), seqs.end());
  EXPECT_THAT(seqs, ElementsAreArray(CountUpTo(250)));
}

TEST_F(Feeds, RefuseTokensOfAnotherRequest) {
  const std::string user = NewUser();
  Send(user, 3);
  ASSERT_TRUE(WaitForLastSeq(user, 3));
  v1::ListFeedRequest request;
  request.set_user_id(user);
  request.set_page_size(2);
  ASSERT_OK_AND_ASSIGN(const auto page, client_.ListFeed(request));
  request.set_page_token(page.next_page_token());
  request.set_unread_only(true);
  EXPECT_THAT(client_.ListFeed(request), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(Feeds, AreReplayedInFullToAStreamThatComesLate) {
  const std::string user = NewUser();
  Send(user, 1000);
  Send(user, 300, "marketing.discount");
  ASSERT_TRUE(WaitForLastSeq(user, 1300));
  RecordedStream stream(client_, user);
  ASSERT_TRUE(stream.WaitForEvents(1300));
  EXPECT_THAT(stream.seqs(), ElementsAreArray(CountUpTo(1300)));
}

TEST_F(Feeds, GoOnFromWhereAStreamLeftWhileMoreArrives) {
  const std::string user = NewUser();
  Send(user, 100);
  ASSERT_TRUE(WaitForLastSeq(user, 100));
  RecordedStream stream(client_, user, /*after_seq=*/40);
  Send(user, 100);
  ASSERT_TRUE(stream.WaitForEvents(160));
  std::vector<int64_t> expected = CountUpTo(200);
  expected.erase(expected.begin(), expected.begin() + 40);
  EXPECT_THAT(stream.seqs(), ElementsAreArray(expected));
}

TEST_F(Feeds, MoveTheCounterAndShowTheMarkerOnOtherStreams) {
  const std::string user = NewUser();
  RecordedStream stream(client_, user);
  Send(user, 5);
  ASSERT_TRUE(WaitForLastSeq(user, 5));
  v1::MarkReadRequest mark;
  mark.set_user_id(user);
  mark.set_up_to_seq(3);
  ASSERT_OK_AND_ASSIGN(const auto marked, client_.MarkRead(mark));
  EXPECT_EQ(marked.unread(), 2);
  EXPECT_EQ(marked.seq(), 6);
  ASSERT_TRUE(stream.WaitForEvents(6));
  EXPECT_THAT(stream.seqs(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(stream.events().back().read_marker().up_to_seq(), 3);
  EXPECT_EQ(stream.events().back().read_marker().unread(), 2);

  // Again: nothing changes, and no number is used.
  ASSERT_OK_AND_ASSIGN(const auto again, client_.MarkRead(mark));
  EXPECT_EQ(again.unread(), 2);
  EXPECT_EQ(Summary(user).last_seq(), 6);

  v1::ListFeedRequest unread;
  unread.set_user_id(user);
  unread.set_unread_only(true);
  ASSERT_OK_AND_ASSIGN(const auto left, client_.ListFeed(unread));
  EXPECT_THAT(left.items(), SizeIs(2));
}

TEST_F(Feeds, MarkSingleItemsAndTellAStreamThatResumes) {
  const std::string user = NewUser();
  Send(user, 4);
  ASSERT_TRUE(WaitForLastSeq(user, 4));
  const std::vector<v1::FeedItem> items = WholeFeed(client_, user);
  v1::MarkReadRequest mark;
  mark.set_user_id(user);
  mark.add_notification_ids(items[1].notification_id());
  mark.add_notification_ids(items[2].notification_id());
  ASSERT_OK_AND_ASSIGN(const auto marked, client_.MarkRead(mark));
  EXPECT_EQ(marked.unread(), 2);
  RecordedStream resumed(client_, user, /*after_seq=*/4);
  ASSERT_TRUE(resumed.WaitForEvents(1));
  EXPECT_EQ(resumed.events().front().seq(), 5);
  EXPECT_THAT(resumed.events().front().read_marker().notification_ids(), SizeIs(2));
}

TEST_F(Feeds, RefuseAMarkThatSaysTwoThings) {
  v1::MarkReadRequest mark;
  mark.set_user_id(NewUser());
  EXPECT_THAT(client_.MarkRead(mark), StatusIs(absl::StatusCode::kInvalidArgument));
  mark.set_up_to_seq(1);
  mark.add_notification_ids("01a1fd0d-8520-799b-8282-0d630dc8bd6d");
  EXPECT_THAT(client_.MarkRead(mark), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(Feeds, AskForAFreshStartWhenTheClientIsAheadOfTheFeed) {
  const std::string user = NewUser();
  Send(user, 2);
  ASSERT_TRUE(WaitForLastSeq(user, 2));
  RecordedStream stream(client_, user, /*after_seq=*/99);
  ASSERT_TRUE(stream.WaitForEvents(1));
  EXPECT_EQ(stream.events().front().resume_required().cause(), v1::ResumeRequired::CAUSE_UNKNOWN_SEQ);
}

}  // namespace
}  // namespace carillon::testing
