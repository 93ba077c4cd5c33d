#include "workers/handlers/digest_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/wire/envelope.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"
#include "workers/handlers/digest_content.h"

namespace carillon::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Json = nlohmann::json;

// One that is open, and what was made of it.
class OneDigest final : public DigestStore {
 public:
  std::vector<Delivery> members;
  bool more = false;
  absl::Status away;
  std::vector<DigestResult> results;  // Of the next calls; kDone after that.
  std::vector<DigestClosing> closings;
  std::vector<std::vector<DeliveryState>> states;  // Of each closing's members.
  std::vector<std::string> details;                // Of the last one's.
  int reads = 0;

  absl::StatusOr<DigestContents> Read(const DueDigest&, int) override {
    ++reads;
    if (!away.ok()) return away;
    return DigestContents{members, more};
  }
  absl::StatusOr<DigestResult> Close(const DigestClosing& closing) override {
    closings.push_back(closing);
    states.emplace_back();
    details.clear();
    for (const DigestClosing::Member& member : closing.members) {
      states.back().push_back(member.fate.state);
      details.push_back(member.fate.detail);
    }
    closings.back().members.clear();  // What they point to goes.
    if (closings.size() > results.size()) return DigestResult::kDone;
    return results[closings.size() - 1];
  }
};

class TypesInMemory final : public CatalogStore {
 public:
  TypesInMemory() {
    like.app = digest.app = policy.app = AppId(7);
    like.name = "like";
    like.in_app.title = "{{actor_id}} liked it";
    like.in_app.action_link = "/posts/{{object_id}}";
    digest.name = std::string(kDigestType);
    digest.lane = Lane::kMarketing;
    digest.exchange = "carillon.topic";
    digest.routing_key = "marketing.digest";
    digest.retention_days = 30;
  }

  NotificationType like, digest;
  AppPolicy policy;

  absl::StatusOr<int64_t> Version() override { return 1; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override {
    return std::vector<NotificationType>{like, digest};
  }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override { return std::vector<AppPolicy>{policy}; }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

Notification Like(const std::string& actor, const std::string& object = "post-1") {
  Notification item = Item("ann");
  item.type = "like";
  item.actor_id = actor;
  item.object_id = object;
  return item;
}

class DigestHandlerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    decisions_.settings.of["ann"].settings.preferences = {{.channel = Channel::kEmail, .choice = Choice::kDigest}};
  }
  Delivery& Add(const std::string& actor) {
    Delivery& added = store_->members.emplace_back();
    added.item = Like(actor);
    added.id = NewUuid7(clock_.Now());
    added.channel = Channel::kEmail;
    return added;
  }
  // Must succeed.
  void Handle() { ASSERT_OK(handler_.Handle({digest_})); }
  const NewNotification& Sent() const { return *store_->closings.back().notification; }
  Json Data() const { return Json::parse(Sent().notification.data_json); }

  SimulatedClock clock_{absl::FromUnixSeconds(1'800'000'500)};
  const DueDigest digest_{.app = AppId(7),
                          .id = NewUuid7(clock_.Now()),
                          .recipient = RecipientId("ann"),
                          .channel = Channel::kEmail,
                          .due_time = clock_.Now()};
  Metrics metrics_;
  WokenLanes waker_;
  std::shared_ptr<OneDigest> store_ = std::make_shared<OneDigest>();
  std::shared_ptr<TypesInMemory> types_ = std::make_shared<TypesInMemory>();
  Catalogue catalogue_{types_};
  DecisionsInMemory decisions_{catalogue_, clock_};
  DigestHandler handler_{{.store = store_,
                          .waker = waker_,
                          .catalogue = catalogue_,
                          .decisions = decisions_.maker,
                          .clock = clock_,
                          .metrics = metrics_}};
};

TEST_F(DigestHandlerTest, MakesOneNotificationOfAllThatHasGathered) {
  for (const char* actor : {"bob", "cat", "dan"}) Add(actor);
  Handle();
  ASSERT_THAT(store_->closings, SizeIs(1));
  const Notification& n = Sent().notification;
  EXPECT_EQ(n.type, kDigestType);
  EXPECT_EQ(n.recipient, RecipientId("ann"));
  EXPECT_EQ(n.lane, Lane::kMarketing);
  EXPECT_EQ(n.retention_days, 30);
  EXPECT_EQ(n.create_time, clock_.Now());
  EXPECT_THAT(n.channels, ElementsAre(Channel::kEmail));
  EXPECT_EQ(Sent().exchange, "carillon.topic");
  EXPECT_EQ(Sent().routing_key, "marketing.digest");
  ASSERT_OK_AND_ASSIGN(const std::vector<Notification> queued, DecodeEnvelope(Sent().envelope));
  ASSERT_THAT(queued, SizeIs(1));
  EXPECT_EQ(queued.front().id, n.id);
  EXPECT_EQ(queued.front().data_json, n.data_json);
  EXPECT_EQ(Data()["count"], 3);
  EXPECT_EQ(Data()["items"].size(), 3U);
  EXPECT_EQ(Data()["more_any"], false);
  EXPECT_THAT(store_->states.back(), Each(DeliveryState::kSent));
  EXPECT_THAT(store_->details, Each(absl::StrCat("in digest ", n.id.ToString())));
  EXPECT_FALSE(store_->closings.back().more);
  EXPECT_THAT(decisions_.settings.reads, ElementsAre(1)) << "for all members, once";
  EXPECT_THAT(waker_.lanes, ElementsAre(Lane::kMarketing));
}

TEST_F(DigestHandlerTest, TellsOnceWhatWasMeantForSeveralDevices) {
  const NotificationId id = Add("bob").item.id;
  Add("bob").item.id = id;
  Add("cat");
  Handle();
  EXPECT_EQ(Data()["count"], 2);
  EXPECT_EQ(Data()["items"].size(), 2U);
  EXPECT_THAT(store_->states.back(), ElementsAre(DeliveryState::kSent, DeliveryState::kSent, DeliveryState::kSent));
}

TEST_F(DigestHandlerTest, TellsWhatHasWaitedForLongerThanItIsKeptElsewhere) {
  Add("bob").item.create_time = clock_.Now() - absl::Hours(24 * 8);
  Handle();
  EXPECT_EQ(Data()["count"], 1);
}

TEST_F(DigestHandlerTest, LeavesOutWhatIsNotWantedAnyMoreOrTooOld) {
  Add("bob");
  Add("cat");
  Add("dan").item.expire_time = clock_.Now();
  decisions_.settings.of["ann"].mutes = {{.kind = MuteKind::kActor, .id = "cat"}};
  Handle();
  EXPECT_THAT(store_->states.back(),
              ElementsAre(DeliveryState::kSent, DeliveryState::kSuppressed, DeliveryState::kExpired));
  EXPECT_EQ(store_->details[1], "actor is muted");
  EXPECT_EQ(Data()["count"], 1);
  EXPECT_EQ(Data()["items"][0]["actor_id"], "bob");
}

TEST_F(DigestHandlerTest, SendsNothingWhereNothingIsLeft) {
  Add("bob");
  Add("cat");
  decisions_.settings.of["ann"].settings.preferences = {{.choice = Choice::kOff}};
  Handle();
  ASSERT_THAT(store_->closings, SizeIs(1));
  EXPECT_FALSE(store_->closings.back().notification.has_value());
  EXPECT_THAT(store_->states.back(), Each(DeliveryState::kSuppressed));
  store_->members.clear();
  Handle();
  EXPECT_FALSE(store_->closings.back().notification.has_value());
}

TEST_F(DigestHandlerTest, AsksNeitherCapsNorQuietHoursWhichAreForTheDigestItself) {
  types_->like.policy.caps = {{.channel = Channel::kEmail, .limit = 1, .window = absl::Hours(1)}};
  types_->like.policy.quiet_overflow = Overflow::kDrop;
  decisions_.settings.of["ann"].settings = {};
  for (const char* actor : {"bob", "cat", "dan"}) Add(actor);
  Handle();
  EXPECT_THAT(store_->states.back(), Each(DeliveryState::kSent));
  const CapStore::Request asked{.key = {AppId(7), RecipientId("ann")},
                                .channel = Channel::kEmail,
                                .type = "like",
                                .member = NewUuid7(clock_.Now()),
                                .caps = types_->like.policy.caps,
                                .clock_offset = {}};
  EXPECT_TRUE(decisions_.caps.Use({asked}, CapStore::Mode::kTake).front().has_room) << "they took no place";
  decisions_.settings.of["ann"].settings.do_not_disturb_until = clock_.Now() + absl::Hours(1);
  Handle();
  EXPECT_THAT(store_->states.back(), Each(DeliveryState::kSent));
}

TEST_F(DigestHandlerTest, ASandboxDecidesByTheTimeThatItWasDueAtTheEarliest) {
  types_->policy.sandbox = true;
  Add("bob").item.expire_time = clock_.Now() + absl::Hours(1);
  DueDigest later = digest_;
  later.due_time = clock_.Now() + absl::Hours(2);
  ASSERT_OK(handler_.Handle({later}));
  EXPECT_THAT(store_->states.back(), ElementsAre(DeliveryState::kExpired));
}

TEST_F(DigestHandlerTest, LivesAsLongAsItsTypeSaysByTheAppsClock) {
  types_->digest.ttl = absl::Hours(1);
  types_->policy.clock_offset = absl::Hours(5);
  Add("bob");
  Handle();
  EXPECT_EQ(Sent().notification.create_time, clock_.Now() + absl::Hours(5));
  EXPECT_EQ(Sent().notification.expire_time, clock_.Now() + absl::Hours(6));
}

TEST_F(DigestHandlerTest, ReadsAgainWhatHasChangedAndInTheEndLeavesTheRestBehind) {
  Add("bob");
  store_->results = {DigestResult::kChanged, DigestResult::kChanged};
  Handle();
  EXPECT_EQ(store_->reads, 3);
  ASSERT_THAT(store_->closings, SizeIs(3));
  EXPECT_FALSE(store_->closings[1].more);
  EXPECT_TRUE(store_->closings[2].more);
  EXPECT_THAT(waker_.lanes, SizeIs(1));
}

TEST_F(DigestHandlerTest, SaysWhereItCouldNotBeDoneAndMayBeRepeated) {
  Add("bob");
  store_->results = std::vector<DigestResult>(3, DigestResult::kChanged);
  EXPECT_TRUE(IsInfrastructureFailure(handler_.Handle({digest_})));
  EXPECT_THAT(waker_.lanes, IsEmpty());
  store_->away = error::BackendUnavailable("postgresql", "away");
  EXPECT_THAT(handler_.Handle({digest_}), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(DigestHandlerTest, DoesNothingMoreWhereSomebodyElseHasDoneIt) {
  store_->results = {DigestResult::kGone};
  Handle();
  EXPECT_EQ(store_->reads, 1);
  EXPECT_THAT(waker_.lanes, IsEmpty());
}

TEST_F(DigestHandlerTest, LeavesMoreThanItTakesAtOnceToTheNext) {
  Add("bob");
  store_->more = true;
  Handle();
  EXPECT_TRUE(store_->closings.back().more);
}

TEST_F(DigestHandlerTest, ReportsATypeThatIsNotInTheCatalogue) {
  Add("bob").item.type = "unheard.of";
  EXPECT_THAT(handler_.Handle({digest_}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->closings, IsEmpty());
}

class DigestDataTest : public ::testing::Test {
 protected:
  std::string Data(const std::vector<Notification>& notifications) {
    std::vector<DigestItem> items;
    for (const Notification& one : notifications) items.push_back({&one, &types_.like});
    return DigestData(items);
  }

  TypesInMemory types_;
};

TEST_F(DigestDataTest, ShowsEachItemAsTheFeedDoes) {
  const Json data = Json::parse(Data({Like("bob", "post-1"), Like("cat", "")}));
  EXPECT_EQ(data, Json::parse(R"({"title": "New for you: 2", "count": 2, "more": 0, "more_any": false, "items": [
      {"title": "bob liked it", "body": "", "link": "/posts/post-1", "type": "like", "actor_id": "bob",
       "object_id": "post-1", "time": "2027-01-15T08:00:00Z"},
      {"title": "cat liked it", "body": "", "link": "/posts/", "type": "like", "actor_id": "cat",
       "time": "2027-01-15T08:00:00Z"}]})"));
}

TEST_F(DigestDataTest, ShowsTheFirstFiftyAndCountsTheRest) {
  std::vector<Notification> many;
  for (int i = 0; i < 60; ++i) many.push_back(Like(absl::StrCat("user-", i)));
  const Json data = Json::parse(Data(many));
  EXPECT_EQ(data["count"], 60);
  ASSERT_EQ(data["items"].size(), 50U);
  EXPECT_EQ(data["items"][0]["actor_id"], "user-0");
  EXPECT_EQ(data["more"], 10);
  EXPECT_EQ(data["more_any"], true);
}

TEST_F(DigestDataTest, StaysWithinWhatDataMayHoldAndShowsFewerForIt) {
  types_.like.in_app.title = types_.like.in_app.body = "{{data.text}}";
  types_.like.in_app.actor_name = "{{data.text}}";
  std::vector<Notification> many;
  for (int i = 0; i < 30; ++i) {
    many.push_back(Like(std::string(255, '"')));
    std::string text;
    for (int j = 0; j < 1000; ++j) text += "ü\"";
    many.back().data_json = Json({{"text", text}}).dump();
  }
  const std::string text = Data(many);
  EXPECT_LE(text.size(), limits::kMaxDataBytes);
  const Json data = Json::parse(text);
  EXPECT_GE(data["items"].size(), 1U);
  EXPECT_EQ(data["items"].size() + data["more"].get<size_t>(), 30U);
  EXPECT_EQ(data["items"][0]["title"].get<std::string>().substr(0, 3), "ü\"");
}

TEST_F(DigestDataTest, HasNoHalfLinks) {
  types_.like.in_app.action_link = std::string(limits::kMaxPushLinkBytes + 1, 'x');
  EXPECT_EQ(Json::parse(Data({Like("bob")}))["items"][0]["link"], "");
}

}  // namespace
}  // namespace carillon::testing
