#include "server/api/recurrence_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
const AppId kApp(7);
const AppId kSandbox(8);
// 2023-11-14 22:13:20, a Tuesday.
const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

class TwoSocialTypes final : public CatalogStore {
 public:
  absl::StatusOr<int64_t> Version() override { return 1; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override {
    NotificationType type;
    type.app = kShippedApp;
    type.name = "news";
    type.lane = Lane::kSocial;
    type.channels = {Channel::kInApp};
    NotificationType gathered = type;
    gathered.name = "like";
    gathered.policy.aggregation = Aggregation{.window = absl::Hours(1)};
    return std::vector<NotificationType>{type, gathered};
  }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override {
    AppPolicy ahead;
    ahead.app = kSandbox;
    ahead.clock_offset = absl::Hours(24);
    return std::vector<AppPolicy>{ahead};
  }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

// Keeps what it was given.
class KeepingStore final : public RecurrenceStore {
 public:
  absl::Status Create(const Recurrence& recurrence) override {
    rows.push_back(recurrence);
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Recurrence>> List(const ListQuery& query) override {
    last = query;
    return std::vector<Recurrence>(rows.begin(), rows.begin() + std::min<int64_t>(query.limit, rows.size()));
  }
  absl::StatusOr<bool> Delete(AppId, const Uuid& id) override { return !rows.empty() && rows.front().id == id; }
  absl::StatusOr<std::optional<DuePosition>> RunDue(const DueQuery&, CarryOut) override {
    return absl::UnimplementedError("");
  }

  std::vector<Recurrence> rows;
  ListQuery last;
};

class RecurrenceRequestsTest : public ::testing::Test {
 protected:
  RecurrenceRequestsTest() { EXPECT_OK(catalogue_.Refresh()); }

  static v1::CreateRecurrenceRequest Send(const std::string& cron, const std::string& zone = "") {
    v1::CreateRecurrenceRequest request;
    request.mutable_recurrence()->set_cron(cron);
    request.mutable_recurrence()->set_time_zone(zone);
    request.mutable_send()->set_type("news");
    request.mutable_send()->set_user_id("ann");
    return request;
  }
  static v1::CreateRecurrenceRequest Event(const std::string& cron) {
    v1::CreateRecurrenceRequest request;
    request.mutable_recurrence()->set_cron(cron);
    request.mutable_event()->set_type("news");
    request.mutable_event()->mutable_audience()->mutable_everyone();
    return request;
  }
  absl::Status Create(const v1::CreateRecurrenceRequest& request, AppId app = kApp) {
    created_.Clear();
    return requests_.Create(app, kNow, request, &created_);
  }
  absl::StatusOr<Occurrence> Prepare(const Recurrence& recurrence, absl::Time now = kNow) {
    return PrepareOccurrence({.recurrence = recurrence, .app_time = now, .clock_offset = {}}, catalogue_);
  }

  const std::shared_ptr<KeepingStore> store_ = std::make_shared<KeepingStore>();
  Catalogue catalogue_{std::make_shared<TwoSocialTypes>()};
  RecurrenceRequests requests_{store_, catalogue_};
  v1::CreateRecurrenceResponse created_;
};

TEST_F(RecurrenceRequestsTest, TellsWhenItIsSentNextByTheZonesClock) {
  ASSERT_OK(Create(Send("0 9 * * mon-fri", "Europe/Berlin")));
  EXPECT_EQ(created_.recurrence().next_time().seconds(), 1'700'035'200);  // 2023-11-15 08:00 UTC.
  EXPECT_EQ(created_.recurrence().create_time().seconds(), 1'700'000'000);
  EXPECT_EQ(created_.recurrence().cron(), "0 9 * * mon-fri");
  EXPECT_EQ(created_.recurrence().time_zone(), "Europe/Berlin");
  EXPECT_EQ(created_.recurrence().type(), "news");
  EXPECT_EQ(created_.recurrence().user_id(), "ann");
  ASSERT_THAT(store_->rows, SizeIs(1));
  EXPECT_EQ(store_->rows[0].id.ToString(), created_.recurrence().recurrence_id());
}

TEST_F(RecurrenceRequestsTest, CountsByTheClockOfItsApp) {
  ASSERT_OK(Create(Send("0 * * * *"), kSandbox));
  EXPECT_EQ(created_.recurrence().next_time().seconds(), 1'700'002'800 + 24 * 3600);
}

TEST_F(RecurrenceRequestsTest, NamesEveryFault) {
  v1::CreateRecurrenceRequest request = Send("* * * *", "Europe/Nowhere");
  request.mutable_send()->set_type("No");
  request.mutable_send()->set_user_id("");
  request.mutable_send()->mutable_send_time()->set_seconds(1);
  EXPECT_THAT(Create(request),
              StatusIs(kInvalid,
                       AllOf(HasSubstr("recurrence.cron:"), HasSubstr("recurrence.time_zone:"), HasSubstr("send.type:"),
                             HasSubstr("send.user_id:"), HasSubstr("send.send_time: must be absent"))));
  v1::CreateRecurrenceRequest event = Event("* * * * *");
  event.mutable_event()->set_object_id("a\nb");
  event.mutable_event()->mutable_audience()->set_topic("");
  EXPECT_THAT(Create(event),
              StatusIs(kInvalid, AllOf(HasSubstr("event.object_id:"), HasSubstr("event.audience.topic:"))));
  EXPECT_THAT(Create({}), StatusIs(kInvalid, AllOf(HasSubstr("recurrence.cron:"), HasSubstr("send:"))));
  EXPECT_THAT(store_->rows, IsEmpty());
}

TEST_F(RecurrenceRequestsTest, RefusesWhatWouldNeverCome) {
  EXPECT_THAT(Create(Send("0 0 30 2 *")), StatusIs(kInvalid, HasSubstr("recurrence.cron: must have a time")));
}

TEST_F(RecurrenceRequestsTest, RefusesTypesThatAreNotInTheCatalogue) {
  v1::CreateRecurrenceRequest request = Send("@daily");
  request.mutable_send()->set_type("olds");
  const absl::Status status = Create(request);
  EXPECT_THAT(status, StatusIs(kInvalid, HasSubstr("send.type")));
  EXPECT_EQ(DetailsOf(status).reason, "UNKNOWN_TYPE");
}

TEST_F(RecurrenceRequestsTest, RefusesEventsToMoreUsersThanItKeeps) {
  v1::CreateRecurrenceRequest request = Event("@daily");
  v1::UserList& users = *request.mutable_event()->mutable_audience()->mutable_users();
  while (request.event().ByteSizeLong() <= limits::kMaxRecurrenceBytes) {
    users.add_user_ids(absl::StrCat(std::string(200, 'u'), users.user_ids_size()));
  }
  EXPECT_THAT(Create(request), StatusIs(kInvalid, AllOf(HasSubstr("event: must be at most 65536 bytes"),
                                                        HasSubstr("publish it to a topic"))));
  EXPECT_THAT(store_->rows, IsEmpty());
  users.mutable_user_ids()->RemoveLast();
  ASSERT_OK(Create(request));
  EXPECT_LE(store_->rows[0].request.size(), limits::kMaxRecurrenceBytes);
}

TEST_F(RecurrenceRequestsTest, RefusesDataThatIsShortOnlyAsJson) {
  v1::CreateRecurrenceRequest request = Send("@daily");
  auto& numbers = *(*request.mutable_send()->mutable_data()->mutable_fields())["numbers"].mutable_list_value();
  for (int i = 0; i < 8000; ++i) numbers.add_values()->set_number_value(1);
  EXPECT_THAT(Create(request), StatusIs(kInvalid, HasSubstr("send: must be at most 65536 bytes as protobuf")));
}

TEST_F(RecurrenceRequestsTest, KeepsNothingThatItDoesNotKnow) {
  v1::CreateRecurrenceRequest request = Send("@daily");
  v1::SendNotificationRequest& send = *request.mutable_send();
  const std::string unknown(limits::kMaxRecurrenceBytes, 'x');
  send.GetReflection()->MutableUnknownFields(&send)->AddLengthDelimited(9999, unknown);
  ASSERT_OK(Create(request));
  EXPECT_LT(store_->rows[0].request.size(), 100);
}

TEST_F(RecurrenceRequestsTest, SendsEachOccurrenceUnderAKeyOfItsOwn) {
  v1::CreateRecurrenceRequest request = Send("@hourly");
  request.mutable_send()->set_idempotency_key(std::string(300, 'x'));
  ASSERT_OK(Create(request));
  Recurrence& row = store_->rows[0];
  const auto first = Prepare(row);
  ASSERT_OK(first);
  const auto& sent = std::get<NewNotification>(*first);
  EXPECT_EQ(sent.idempotency_key, absl::StrCat("cron:", row.id.ToString(), ":1700002800"));
  EXPECT_EQ(sent.notification.recipient.value(), "ann");
  EXPECT_EQ(sent.notification.app, kApp);
  // The same one, later: the same payload.
  const auto again = Prepare(row, kNow + absl::Hours(1));
  ASSERT_OK(again);
  EXPECT_EQ(std::get<NewNotification>(*again).idempotency_key, sent.idempotency_key);
  EXPECT_EQ(std::get<NewNotification>(*again).payload_hash, sent.payload_hash);
  row.next_time = *row.next_time + absl::Hours(1);
  const auto next = Prepare(row);
  ASSERT_OK(next);
  EXPECT_NE(std::get<NewNotification>(*next).idempotency_key, sent.idempotency_key);
}

TEST_F(RecurrenceRequestsTest, LeavesTheVersionOfWhatIsGatheredToTheWorker) {
  v1::CreateRecurrenceRequest request = Send("@hourly");
  request.mutable_send()->set_type("like");
  request.mutable_send()->set_actor_id("bob");
  request.mutable_send()->set_object_id("post-1");
  ASSERT_OK(Create(request));
  const auto prepared = Prepare(store_->rows[0]);
  ASSERT_OK(prepared);
  const auto& sent = std::get<NewNotification>(*prepared);
  EXPECT_TRUE(sent.takes_version);
  const auto read = DecodeEnvelope(sent.envelope);
  ASSERT_OK(read);
  ASSERT_THAT(*read, SizeIs(1));
  EXPECT_EQ(read->front().id, sent.notification.id);
  EXPECT_EQ(read->front().actor_id, "bob");
  EXPECT_EQ(read->front().version, 0);
}

TEST_F(RecurrenceRequestsTest, PreparesEvents) {
  ASSERT_OK(Create(Event("@hourly")));
  EXPECT_EQ(created_.recurrence().user_id(), "");
  const auto prepared = Prepare(store_->rows[0]);
  ASSERT_OK(prepared);
  const auto& event = std::get<NewEvent>(*prepared);
  EXPECT_EQ(event.event.audience.kind, AudienceKind::kEveryone);
  EXPECT_THAT(event.idempotency_key, StartsWith("cron:"));
}

TEST_F(RecurrenceRequestsTest, ATypeThatIsGoneRefusesTheOccurrence) {
  Recurrence row;
  v1::CreateRecurrenceRequest request = Send("@hourly");
  request.mutable_send()->set_type("olds");
  request.SerializeToString(&row.request);
  EXPECT_THAT(Prepare(row), StatusIs(kInvalid, HasSubstr("olds")));
  const Catalogue unread(std::make_shared<TwoSocialTypes>());
  EXPECT_THAT(PrepareOccurrence({.recurrence = row, .app_time = kNow, .clock_offset = {}}, unread),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(RecurrenceRequestsTest, ListsPageByPage) {
  for (int i = 0; i < 3; ++i) ASSERT_OK(Create(Send("@daily")));
  v1::ListRecurrencesRequest request;
  v1::ListRecurrencesResponse page;
  ASSERT_OK(requests_.List(kApp, request, &page));
  EXPECT_EQ(store_->last.limit, 100);
  EXPECT_THAT(page.recurrences(), SizeIs(3));
  EXPECT_EQ(page.next_page_token(), "");
  request.set_page_size(2);
  page.Clear();
  ASSERT_OK(requests_.List(kApp, request, &page));
  request.set_page_token(page.next_page_token());
  ASSERT_OK(requests_.List(kApp, request, &page));
  EXPECT_EQ(store_->last.after, store_->rows[1].id);
  EXPECT_THAT(requests_.List(AppId(9), request, &page), StatusIs(kInvalid, HasSubstr("page_token")));
}

TEST_F(RecurrenceRequestsTest, DeletesByIdAndSaysWhetherThereWasOne) {
  ASSERT_OK(Create(Send("@daily")));
  v1::DeleteRecurrenceRequest request;
  v1::DeleteRecurrenceResponse response;
  EXPECT_THAT(requests_.Delete(kApp, request, &response), StatusIs(kInvalid, HasSubstr("recurrence_id")));
  request.set_recurrence_id(created_.recurrence().recurrence_id());
  ASSERT_OK(requests_.Delete(kApp, request, &response));
  EXPECT_TRUE(response.deleted());
  request.set_recurrence_id(NewUuid7(kNow).ToString());
  ASSERT_OK(requests_.Delete(kApp, request, &response));
  EXPECT_FALSE(response.deleted());
}

}  // namespace
}  // namespace carillon::testing
