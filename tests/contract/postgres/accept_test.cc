#include <gmock/gmock.h>

#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/errors.h"
#include "carillon/postgres/notification_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

using Outcomes = std::vector<AcceptOutcome>;

class Accept : public PostgresTest {
 protected:
  // Rows of this test's app.
  std::string Count(const std::string& table) {
    return Query(absl::StrCat("SELECT count(*) FROM ", table, " WHERE app_id = ", app_.value()));
  }
  absl::StatusOr<Outcomes> Send(const std::vector<NewNotification>& items, bool all_or_nothing = false) {
    return store_.Accept(items, all_or_nothing);
  }

  const AppId app_ = NewApp();
  PostgresNotificationStore store_{MakePool(2)};
};

TEST_F(Accept, WritesNotificationOutboxRowAndKeyTogether) {
  const NewNotification item = MakeKeyed(app_, "key");
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({item}));
  ASSERT_THAT(outcomes, SizeIs(1));
  EXPECT_OK(outcomes[0].status);
  EXPECT_FALSE(outcomes[0].duplicate);
  EXPECT_EQ(outcomes[0].id, item.notification.id);
  EXPECT_EQ(outcomes[0].create_time, item.notification.create_time);
  const std::string id = item.notification.id.ToString();
  EXPECT_EQ(Query("SELECT count(*) FROM notifications WHERE state = 'accepted' AND notification_id = '" + id + "'"),
            "1");
  EXPECT_EQ(
      Query("SELECT lane || ' ' || exchange || ' ' || routing_key || ' ' || type || ' ' || encode(payload, 'escape')"
            " FROM outbox WHERE NOT deferred AND message_id = '" +
            id + "'"),
      "social carillon.direct social.like like envelope");
  EXPECT_EQ(Query("SELECT expires_at - created_at FROM idempotency_keys WHERE notification_id = '" + id + "'"),
            "1 day");
}

TEST_F(Accept, TakesAnEmptyBatch) { EXPECT_THAT(Send({}), IsOkAndHolds(IsEmpty())); }

TEST_F(Accept, NeedsNoKey) {
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({MakeNew(app_), MakeNew(app_), MakeNew(app_)}));
  EXPECT_THAT(outcomes, SizeIs(3));
  EXPECT_EQ(Count("notifications"), "3");
  EXPECT_EQ(Count("outbox"), "3");
  EXPECT_EQ(Count("idempotency_keys"), "0");
}

TEST_F(Accept, AnswersARepeatedKeyWithTheFirstAnswer) {
  const NewNotification first = MakeKeyed(app_, "key");
  ASSERT_OK(Send({first}));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({MakeNew(app_), MakeKeyed(app_, "key"), MakeNew(app_)}));
  EXPECT_FALSE(outcomes[0].duplicate);
  EXPECT_FALSE(outcomes[2].duplicate);
  EXPECT_OK(outcomes[1].status);
  EXPECT_TRUE(outcomes[1].duplicate);
  EXPECT_EQ(outcomes[1].id, first.notification.id);
  EXPECT_EQ(outcomes[1].create_time, first.notification.create_time);
  EXPECT_EQ(Count("notifications"), "3");
  EXPECT_EQ(Count("outbox"), "3");
}

// A writer that does not know whether its commit took effect sends the same again.
TEST_F(Accept, TakesTheSameNotificationAgainForTheFirst) {
  const NewNotification item = MakeKeyed(app_, "key");
  ASSERT_OK(Send({item}));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({item}));
  EXPECT_OK(outcomes[0].status);
  EXPECT_FALSE(outcomes[0].duplicate);
  EXPECT_EQ(outcomes[0].id, item.notification.id);
  EXPECT_EQ(Count("notifications"), "1");
}

TEST_F(Accept, TakesAKeyOnceWithinABatch) {
  const NewNotification first = MakeKeyed(app_, "key");
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({first, MakeKeyed(app_, "key"), MakeKeyed(app_, "key")}));
  EXPECT_EQ(outcomes[0].duplicate + outcomes[1].duplicate + outcomes[2].duplicate, 2);
  EXPECT_EQ(outcomes[1].id, outcomes[0].id);
  EXPECT_EQ(outcomes[2].id, outcomes[0].id);
  EXPECT_EQ(Count("notifications"), "1");
  EXPECT_EQ(Count("outbox"), "1");
}

TEST_F(Accept, TakesTheSameKeyOfAnotherAppForAnotherKey) {
  ASSERT_OK(Send({MakeKeyed(app_, "key")}));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({MakeKeyed(NewApp(), "key")}));
  EXPECT_FALSE(outcomes[0].duplicate);
}

TEST_F(Accept, RefusesAKeyWithAnotherPayloadAlone) {
  ASSERT_OK(Send({MakeKeyed(app_, "key", 'a')}));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({MakeKeyed(app_, "key", 'b'), MakeKeyed(app_, "other")}));
  EXPECT_THAT(outcomes[0].status, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(DetailsOf(outcomes[0].status).reason, "IDEMPOTENCY_KEY_REUSED");
  EXPECT_OK(outcomes[1].status);
  EXPECT_EQ(Count("notifications"), "2");
}

TEST_F(Accept, WritesNothingOfABatchWithAReusedKeyIfAllOrNothing) {
  ASSERT_OK(Send({MakeKeyed(app_, "key", 'a')}));
  const absl::StatusOr<Outcomes> outcomes =
      Send({MakeNew(app_), MakeKeyed(app_, "key", 'b'), MakeKeyed(app_, "other")}, /*all_or_nothing=*/true);
  EXPECT_THAT(outcomes, StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(DetailsOf(outcomes.status()).reason, "IDEMPOTENCY_KEY_REUSED");
  EXPECT_EQ(Count("notifications"), "1");
  EXPECT_EQ(Count("outbox"), "1");
  EXPECT_EQ(Count("idempotency_keys"), "1");
}

TEST_F(Accept, AnswersARepeatedBatchIfAllOrNothing) {
  const std::vector<NewNotification> batch = {MakeKeyed(app_, "a"), MakeKeyed(app_, "b")};
  ASSERT_OK(Send(batch, /*all_or_nothing=*/true));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes,
                       Send({MakeKeyed(app_, "a"), MakeKeyed(app_, "b")}, /*all_or_nothing=*/true));
  EXPECT_EQ(outcomes[0].id, batch[0].notification.id);
  EXPECT_EQ(outcomes[1].id, batch[1].notification.id);
  EXPECT_EQ(Count("notifications"), "2");
}

TEST_F(Accept, WritesNothingIfOneOfABatchIsRefusedByTheDatabase) {
  NewNotification wrong = MakeNew(app_);
  wrong.notification.retention_days = 2;
  EXPECT_THAT(Send({MakeKeyed(app_, "key"), wrong}), StatusIs(absl::StatusCode::kInternal));
  EXPECT_EQ(Count("notifications"), "0");
  EXPECT_EQ(Count("outbox"), "0");
  EXPECT_EQ(Count("idempotency_keys"), "0");
}

TEST_F(Accept, TakesAnExpiredKeyAnew) {
  const absl::Time yesterday = absl::Now() - absl::Hours(24) - absl::Seconds(1);
  const NewNotification old = At(MakeKeyed(app_, "key", 'a'), yesterday);
  ASSERT_OK(Send({old}));
  const NewNotification anew = MakeKeyed(app_, "key", 'b');
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({MakeKeyed(app_, "other"), anew}));
  EXPECT_OK(outcomes[1].status);
  EXPECT_FALSE(outcomes[1].duplicate);
  EXPECT_EQ(outcomes[1].id, anew.notification.id);
  EXPECT_EQ(Count("notifications"), "3");
  EXPECT_EQ(Count("idempotency_keys"), "2");
}

TEST_F(Accept, TakesAnExpiredKeyOnceWithinABatch) {
  ASSERT_OK(Send({At(MakeKeyed(app_, "key", 'a'), absl::Now() - absl::Hours(25))}));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes,
                       Send({MakeKeyed(app_, "key", 'b'), MakeKeyed(app_, "key", 'b')}, /*all_or_nothing=*/true));
  EXPECT_EQ(outcomes[0].duplicate + outcomes[1].duplicate, 1);
  EXPECT_EQ(outcomes[0].id, outcomes[1].id);
  EXPECT_EQ(Count("notifications"), "2");
}

TEST_F(Accept, KnowsAKeyOnBothSidesOfMidnight) {
  const absl::Time midnight = absl::UnixEpoch() + absl::Floor(absl::Now() - absl::UnixEpoch(), absl::Hours(24));
  const NewNotification before = At(MakeKeyed(app_, "key"), midnight - absl::Milliseconds(1));
  ASSERT_OK(Send({before}));
  ASSERT_OK_AND_ASSIGN(const Outcomes outcomes, Send({At(MakeKeyed(app_, "key"), midnight)}));
  EXPECT_TRUE(outcomes[0].duplicate);
  EXPECT_EQ(outcomes[0].id, before.notification.id);
  EXPECT_EQ(Count("notifications"), "1");
}

TEST_F(Accept, GivesAllOneAnswerIfManySendAKeyAtOnce) {
  constexpr int kThreads = 16;
  constexpr int kRepeats = 64;
  PostgresNotificationStore store(MakePool(kThreads));
  std::vector<std::set<std::string>> ids(kThreads);
  std::vector<int> first(kThreads, 0);
  RunThreads(kThreads, [&](int thread) {
    for (int i = 0; i < kRepeats; ++i) {
      const NewNotification item = MakeKeyed(app_, "key");
      const absl::StatusOr<Outcomes> outcomes = store.Accept({&item, 1}, /*all_or_nothing=*/i % 2 == 0);
      ASSERT_OK(outcomes);
      ASSERT_OK(outcomes->front().status);
      ids[thread].insert(outcomes->front().id.ToString());
      first[thread] += !outcomes->front().duplicate;
    }
  });
  std::set<std::string> all;
  for (const auto& one : ids) all.insert(one.begin(), one.end());
  EXPECT_THAT(all, SizeIs(1));
  EXPECT_EQ(std::accumulate(first.begin(), first.end(), 0), 1);
  EXPECT_EQ(Count("notifications"), "1");
  EXPECT_EQ(Count("outbox"), "1");
}

TEST_F(Accept, SurvivesBatchesWithTheSameKeysInAnotherOrder) {
  constexpr int kThreads = 8;
  constexpr int kKeys = 40;
  PostgresNotificationStore store(MakePool(kThreads));
  RunThreads(kThreads, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      std::vector<NewNotification> batch;
      for (int i = 0; i < kKeys; ++i) {
        batch.push_back(MakeKeyed(app_, absl::StrCat(round, "-", thread % 2 == 0 ? i : kKeys - i - 1)));
      }
      ASSERT_OK(store.Accept(batch, /*all_or_nothing=*/thread % 3 == 0));
    }
  });
  EXPECT_EQ(Count("notifications"), "400");
  EXPECT_EQ(Count("outbox"), "400");
}

}  // namespace
}  // namespace carillon::testing
