#include "server/ingest/recurrence_ticker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// More than a step takes.
constexpr int kMany = 250;

// Holds everything in memory, as the real one would answer.
class FakeRecurrences final : public RecurrenceStore {
 public:
  absl::Status Create(const Recurrence& recurrence) override {
    rows[recurrence.id] = recurrence;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Recurrence>> List(const ListQuery&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<bool> Delete(AppId, const Uuid&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::optional<DuePosition>> RunDue(const DueQuery& query, CarryOut carry_out) override {
    if (away) return error::BackendUnavailable("postgresql", "away");
    ++steps;
    std::vector<DueRecurrence> due;
    for (const auto& [id, row] : rows) {
      const bool behind = !query.after.has_value() || query.after->id < id;
      if (behind && row.next_time <= query.now && due.size() < static_cast<size_t>(query.limit)) {
        due.push_back({.recurrence = row, .app_time = query.now, .clock_offset = {}});
      }
    }
    if (due.empty()) return std::nullopt;
    for (const RecurrenceTurn& turn : carry_out(due)) {
      rows[turn.id].next_time = turn.next_time;
      rows[turn.id].last_error = turn.error;
    }
    if (due.size() < static_cast<size_t>(query.limit)) return std::nullopt;
    return DuePosition{*due.back().recurrence.next_time, due.back().recurrence.id};
  }

  std::map<Uuid, Recurrence> rows;
  int steps = 0;
  bool away = false;
};

// Refuses a batch that holds a notification of type "bad".
class FakeNotifications final : public NotificationStore {
 public:
  absl::StatusOr<std::vector<AcceptOutcome>> Accept(absl::Span<const NewNotification> items, bool) override {
    if (away) return error::BackendUnavailable("postgresql", "away");
    batches.push_back(items.size());
    std::vector<AcceptOutcome> outcomes;
    for (const NewNotification& item : items) {
      if (item.notification.type == "bad") return error::Internal("bad row");
      outcomes.push_back({absl::OkStatus(), !keys.insert(item.idempotency_key).second, item.notification.id, {}});
    }
    return outcomes;
  }
  absl::StatusOr<NotificationRecord> Get(AppId, const NotificationId&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::vector<NotificationRecord>> List(const ListQuery&) override {
    return absl::UnimplementedError("");
  }
  absl::Status Cancel(AppId, const NotificationId&) override { return absl::UnimplementedError(""); }
  absl::Status RecordAttempts(absl::Span<const FailedAttempt>) override { return absl::UnimplementedError(""); }

  std::vector<size_t> batches;
  std::set<std::string> keys;
  bool away = false;
};

class LaneWaker final : public OutboxWaker {
 public:
  void Wake(Lane lane) override { lanes.push_back(lane); }
  std::vector<Lane> lanes;
};

class RecurrenceTickerTest : public ::testing::Test {
 protected:
  Uuid Add(const std::string& type, const std::string& cron = "* * * * *", const std::string& zone = "") {
    const Uuid id = NewUuid7(clock_.Now() + absl::Milliseconds(rows_->rows.size()));
    EXPECT_OK(rows_->Create({.id = id,
                             .app = AppId(1),
                             .create_time = clock_.Now(),
                             .next_time = clock_.Now(),
                             .cron = cron,
                             .time_zone = zone,
                             .type = type,
                             .recipient = "ann",
                             .last_error = "an older one",
                             .request = ""}));
    return id;
  }
  const Recurrence& Row(const Uuid& id) const { return rows_->rows.at(id); }
  double Refused() { return metrics_.Counter("carillon_recurrences_total", "", {{"outcome", "refused"}}).Value(); }

  absl::StatusOr<Occurrence> Prepare(const DueRecurrence& due) {
    if (due.recurrence.type == "gone") return error::UnknownType("type", "gone");
    if (due.recurrence.type == "unread") return error::BackendUnavailable("postgresql", "not read");
    NewNotification item;
    item.notification.id = NewUuid7(clock_.Now());
    item.notification.type = due.recurrence.type;
    item.notification.lane = due.recurrence.type == "otp" ? Lane::kOtp : Lane::kSocial;
    item.idempotency_key = due.recurrence.id.ToString();
    return item;
  }

  SimulatedClock clock_;  // 22:13:20 of a day.
  Metrics metrics_;
  LaneWaker waker_;
  std::set<Lane> closed_;
  const std::shared_ptr<FakeRecurrences> rows_ = std::make_shared<FakeRecurrences>();
  const std::shared_ptr<FakeNotifications> notifications_ = std::make_shared<FakeNotifications>();
  RecurrenceTicker ticker_{{.recurrences = rows_,
                            .notifications = notifications_,
                            .events = nullptr,
                            .prepare = [this](const DueRecurrence& due) { return Prepare(due); },
                            .is_open = [this](Lane lane) { return !closed_.contains(lane); },
                            .waker = waker_,
                            .clock = clock_,
                            .metrics = metrics_}};
};

TEST_F(RecurrenceTickerTest, SendsWhatIsDueInOneBatchAndGoesOnToTheNextTime) {
  const Uuid a = Add("like");
  const Uuid b = Add("otp", "0 * * * *");
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(notifications_->batches, ElementsAre(2));
  EXPECT_EQ(Row(a).next_time, clock_.Now() + absl::Seconds(40));
  EXPECT_EQ(Row(b).next_time, clock_.Now() + absl::Minutes(46) + absl::Seconds(40));
  EXPECT_EQ(Row(a).last_error, "");
  EXPECT_THAT(waker_.lanes, ElementsAre(Lane::kOtp, Lane::kSocial));
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(notifications_->batches, SizeIs(1));
}

TEST_F(RecurrenceTickerTest, SendsOneForAllThatWereMissed) {
  const Uuid id = Add("like");
  clock_.Advance(absl::Hours(5));
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(notifications_->batches, ElementsAre(1));
  EXPECT_EQ(Row(id).next_time, clock_.Now() + absl::Seconds(40));
}

TEST_F(RecurrenceTickerTest, TakesStepAfterStepWhileTheyAreFull) {
  for (int i = 0; i < kMany; ++i) Add("like");
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(notifications_->batches, ElementsAre(200, 50));
  EXPECT_EQ(rows_->steps, 2);
}

TEST_F(RecurrenceTickerTest, WritesWhyOneIsRefusedAndGoesOnToItsNextTime) {
  const Uuid gone = Add("gone");
  const Uuid bad = Add("bad");
  const Uuid good = Add("like");
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(Row(gone).last_error, HasSubstr("gone"));
  EXPECT_THAT(Row(bad).last_error, HasSubstr("bad row"));
  EXPECT_EQ(Row(good).last_error, "");
  EXPECT_THAT(notifications_->keys, ElementsAre(good.ToString()));
  for (const Uuid& id : {gone, bad, good}) EXPECT_GT(Row(id).next_time, clock_.Now());
}

TEST_F(RecurrenceTickerTest, NeverAgainIsNoTime) {
  const Uuid id = Add("like", "0 0 30 2 *");
  ASSERT_OK(ticker_.Tick());
  EXPECT_EQ(Row(id).next_time, std::nullopt);
  EXPECT_THAT(notifications_->batches, ElementsAre(1));
}

TEST_F(RecurrenceTickerTest, PutsOffWhatItCantReadAndSendsNothingOfIt) {
  const Uuid zone = Add("like", "* * * * *", "Mars/Olympus");
  const Uuid cron = Add("like", "every now and then");
  const Uuid good = Add("like");
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(Row(zone).last_error, HasSubstr("can't read the time zone Mars/Olympus"));
  EXPECT_THAT(Row(cron).last_error, HasSubstr("can't read the cron: must have 5 fields"));
  for (const Uuid& id : {zone, cron}) EXPECT_EQ(Row(id).next_time, clock_.Now() + absl::Minutes(1));
  EXPECT_THAT(notifications_->keys, ElementsAre(good.ToString()));
  EXPECT_EQ(Refused(), 2);
  // Not at every look.
  ASSERT_OK(ticker_.Tick());
  EXPECT_EQ(Refused(), 2);
  // Where it can be read it is sent and goes on.
  rows_->rows[zone].time_zone = "Europe/Berlin";
  clock_.Advance(absl::Minutes(1));
  ASSERT_OK(ticker_.Tick());
  EXPECT_TRUE(notifications_->keys.contains(zone.ToString()));
  EXPECT_EQ(Row(zone).last_error, "");
  EXPECT_EQ(Refused(), 3) << "the other one";
}

TEST_F(RecurrenceTickerTest, LeavesDueWhatCantBeAcceptedNow) {
  const Uuid id = Add("like");
  const absl::Time due = clock_.Now();
  notifications_->away = true;
  EXPECT_THAT(ticker_.Tick(), StatusIs(absl::StatusCode::kUnavailable));
  rows_->away = true;
  EXPECT_THAT(ticker_.Tick(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Row(id).next_time, due);
  EXPECT_EQ(Row(id).last_error, "an older one");
  notifications_->away = rows_->away = false;
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(notifications_->keys, SizeIs(1));
}

TEST_F(RecurrenceTickerTest, ALaneThatTakesNoMoreHoldsUpItsOwnOnly) {
  for (int i = 0; i < kMany; ++i) Add("otp");
  Add("like");
  closed_ = {Lane::kOtp};
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(notifications_->batches, ElementsAre(1));
  closed_.clear();
  ASSERT_OK(ticker_.Tick());
  EXPECT_THAT(notifications_->keys, SizeIs(kMany + 1));
}

TEST_F(RecurrenceTickerTest, TheCataloguesAbsenceHoldsUpNobodyElse) {
  const Uuid unread = Add("unread");
  const Uuid good = Add("like");
  EXPECT_THAT(ticker_.Tick(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Row(unread).next_time, clock_.Now());
  EXPECT_THAT(notifications_->keys, ElementsAre(good.ToString()));
}

}  // namespace
}  // namespace carillon::testing
