#include "workers/handlers/fanout_handler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/v1/feed_service.pb.h"
#include "carillon/wire/feed_event.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/decision_fakes.h"
#include "tests/unit/workers/lane_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

const AppId kApp(7);

// One event and its audience.
class EventInMemory final : public EventStore {
 public:
  struct Shard {
    EventRange range;
    bool done = false;
  };

  EventRecord record;
  std::vector<std::string> audience;  // Sorted.
  int64_t threshold = 1000;
  std::map<std::string, Uuid> windows;
  std::map<int, Shard> shards;
  std::map<std::string, std::pair<NotificationId, std::vector<NewDelivery>>> begun;
  std::vector<std::pair<std::string, std::string>> feeds;  // Recipient and title, as they were written.
  std::vector<FanoutPage> queued;
  std::optional<PageItems> shared;
  std::vector<std::string> topic_titles;
  std::optional<std::string> failing;  // The call that can't reach its backend.
  // Somebody else has written what this page is about to write.
  bool lose_pages = false;

  absl::StatusOr<OpenPage> Open(const FanoutPage& page) override {
    RETURN_IF_ERROR(Reach("Open"));
    if (page.event_id != record.event.id) return error::NotFound("event", page.event_id.ToString());
    OpenPage open{.record = record, .shared_audience_threshold = threshold, .range = {}};
    const auto shard = shards.find(page.shard);
    if (shard != shards.end() && !shard->second.done && shard->second.range.after == page.cursor) {
      open.range = shard->second.range;
    }
    return open;
  }
  absl::StatusOr<Measure> MeasureAudience(const Event&, int64_t step, int64_t limit) override {
    RETURN_IF_ERROR(Reach("MeasureAudience"));
    measured_limit = limit;
    Measure measure{.size = static_cast<int64_t>(audience.size()), .cuts = cuts};
    EXPECT_EQ(step, limits::kMinShardMembers);
    return measure;
  }
  absl::StatusOr<bool> IsWindowHeld(const Event&, const std::string&) override {
    return absl::UnimplementedError("not in these tests");
  }
  absl::StatusOr<std::vector<std::string>> Sample(const Event&, const std::string&, int64_t, int) override {
    return absl::UnimplementedError("not in these tests");
  }
  absl::StatusOr<bool> TakeWindow(const Event& event, const std::string& key, absl::Duration) override {
    return windows.try_emplace(key, event.id).first->second == event.id;
  }
  absl::Status Suppress(const Uuid&, const std::string& detail) override {
    record.state = EventState::kSuppressed;
    record.detail = detail;
    return absl::OkStatus();
  }
  absl::Status BeginExpanding(const Event& event, int64_t size, absl::Span<const EventRange> ranges) override {
    RETURN_IF_ERROR(Reach("BeginExpanding"));
    if (record.state != EventState::kAccepted) return absl::OkStatus();
    record.state = EventState::kExpanding;
    record.audience_size = size;
    for (const EventRange& range : ranges) {
      shards[range.shard] = {range};
      if (range.shard > 0) Queue(event, range.shard, range.after);
    }
    return absl::OkStatus();
  }
  absl::Status StoreShared(const Event&, int64_t size, const PageItems& item) override {
    record.state = EventState::kDone;
    record.audience_size = size;
    shared = item;
    return absl::OkStatus();
  }
  absl::StatusOr<int64_t> AddToTopicFeed(const Event&, const FeedItem& item) override {
    if (!topic_titles.empty()) return 0;
    topic_titles.push_back(item.title);
    return 1;
  }
  absl::StatusOr<std::vector<std::string>> Members(const Event&, const EventRange& range, int limit) override {
    std::vector<std::string> members;
    for (const std::string& member : audience) {
      if (member > range.after && (!range.last_id.has_value() || member <= *range.last_id)) members.push_back(member);
      if (members.size() == static_cast<size_t>(limit)) break;
    }
    return members;
  }
  absl::StatusOr<std::vector<WrittenItem>> WritePage(const Event& event, const PageWrite& write,
                                                     const PageItems& items) override {
    RETURN_IF_ERROR(Reach("WritePage"));
    Shard& shard = shards[write.page.shard];
    if (lose_pages || record.state != EventState::kExpanding || shard.range.after != write.page.cursor) {
      return std::vector<WrittenItem>();
    }
    shard.range.after = write.new_cursor;
    shard.done = write.is_last;
    record.expanded += write.read;
    if (!write.is_last) Queue(event, write.page.shard, write.new_cursor);
    std::vector<WrittenItem> written;
    for (size_t i = 0; i < items.recipients.size(); ++i) {
      feeds.emplace_back(items.recipients[i], items.item.title);
      written.push_back({items.ids[i], items.recipients[i], 1});
    }
    if (write.begin_deliveries != nullptr) {
      std::vector<WrittenItem> told = written;
      told.insert(told.end(), write.unshown.begin(), write.unshown.end());
      const auto lists = write.begin_deliveries(told);
      for (size_t i = 0; i < told.size(); ++i) begun[told[i].recipient] = {told[i].id, lists[i]};
    }
    for (const auto& [reason, count] : write.suppressed) record.suppressed[reason] += count;
    return written;
  }
  absl::Status FinishIfDone(const Uuid&) override {
    RETURN_IF_ERROR(Reach("FinishIfDone"));
    for (const auto& [number, shard] : shards) {
      if (!shard.done) return absl::OkStatus();
    }
    if (record.state == EventState::kExpanding) record.state = EventState::kDone;
    return absl::OkStatus();
  }

  absl::StatusOr<EventOutcome> Accept(const NewEvent&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Get(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Pause(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Resume(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<EventRecord> Cancel(AppId, const Uuid&) override { return NotHere(); }
  absl::StatusOr<int> RequeueIdle(Lane, absl::Time, int) override { return NotHere(); }
  absl::StatusOr<int> Expire(absl::Time, int) override { return NotHere(); }

  int64_t measured_limit = 0;
  std::vector<std::string> cuts;

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }
  absl::Status Reach(const std::string& call) const {
    return failing == call ? error::BackendUnavailable("postgresql", "away") : absl::OkStatus();
  }
  void Queue(const Event& event, int shard, const std::string& cursor) {
    queued.push_back({.app = event.app, .event_id = event.id, .type = event.type, .shard = shard, .cursor = cursor});
  }
};

class CatalogueOfEvents final : public CatalogStore {
 public:
  std::vector<NotificationType> types;
  int64_t version = 1;

  absl::StatusOr<int64_t> Version() override { return version; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override { return types; }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

// Keeps what it is told; everybody is online.
class WakeUps final : public LivePublisher {
 public:
  absl::Status status;
  std::map<std::string, std::string> titles;  // By recipient.
  std::vector<AppId> shared;

  absl::Status Publish(absl::Span<const FeedKey> keys, absl::FunctionRef<std::string(size_t)> payload_of) override {
    RETURN_IF_ERROR(status);
    for (size_t i = 0; i < keys.size(); ++i) {
      const absl::StatusOr<LiveUpdate> update = DecodeLiveUpdate(payload_of(i));
      v1::SubscribeResponse event;
      EXPECT_TRUE(update.ok() && event.ParseFromString(*update->events.front().message));
      titles[keys[i].recipient.value()] = event.item().title();
    }
    return absl::OkStatus();
  }
  absl::Status PublishSharedEvent(AppId app) override {
    shared.push_back(app);
    return status;
  }
};

class FanoutHandlerTest : public ::testing::Test {
 protected:
  FanoutHandlerTest() {
    NotificationType type;
    type.app = kApp;
    type.name = "stream.start";
    type.in_app.title = "{{actor_id}} is live";
    type.channels = {Channel::kInApp};
    store_->types = {type};
    Event& event = events_->record.event;
    event.id = NewUuid7(clock_.Now());
    event.create_time = clock_.Now();
    event.app = kApp;
    event.type = "stream.start";
    event.actor_id = "star";
    event.audience = {.kind = AudienceKind::kFollowers, .id = "star", .users = {}};
    events_->shards[0] = {};
    events_->audience = {"ann", "ben", "cleo", "dan", "eve"};
  }

  NotificationType& type() { return store_->types.front(); }
  EventState state() const { return events_->record.state; }

  FanoutPage FirstPage() const {
    return {.app = kApp, .event_id = events_->record.event.id, .type = "stream.start", .shard = 0, .cursor = ""};
  }
  absl::StatusOr<std::vector<FailedItem>> HandleMessage(const InboundMessage& message) {
    batch_ = CutIntoBatches({message}).front();
    return handler_.Handle(batch_);
  }
  absl::StatusOr<std::vector<FailedItem>> HandlePage(const FanoutPage& page) {
    InboundMessage message;
    message.queue = "fanout.social";
    message.body = EncodeEnvelope(page);
    return HandleMessage(message);
  }
  // It and all that come of it, to the end.
  void TellAll() {
    ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
    while (!events_->queued.empty()) {
      const FanoutPage next = events_->queued.front();
      events_->queued.erase(events_->queued.begin());
      ASSERT_THAT(HandlePage(next), IsOkAndHolds(IsEmpty()));
    }
  }
  std::vector<std::string> Told() const {
    std::vector<std::string> recipients;
    for (const auto& [recipient, title] : events_->feeds) recipients.push_back(recipient);
    return recipients;
  }

  SimulatedClock clock_;
  Metrics metrics_;
  std::shared_ptr<EventInMemory> events_ = std::make_shared<EventInMemory>();
  std::shared_ptr<CatalogueOfEvents> store_ = std::make_shared<CatalogueOfEvents>();
  Catalogue catalogue_{store_};
  DecisionsInMemory decisions_{catalogue_, clock_};
  std::shared_ptr<ContactsInMemory> contacts_ = std::make_shared<ContactsInMemory>();
  WakeUps live_;
  WokenLanes waker_;
  Batch batch_;
  FanoutHandler handler_{{.events = events_,
                          .deliveries = contacts_,
                          .catalogue = catalogue_,
                          .decisions = decisions_.maker,
                          .live = live_,
                          .waker = waker_,
                          .clock = clock_,
                          .metrics = metrics_,
                          .page = 2}};
};

TEST_F(FanoutHandlerTest, TellsASmallAudiencePageByPage) {
  ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(state(), EventState::kExpanding);
  EXPECT_EQ(events_->record.audience_size, 5);
  EXPECT_THAT(events_->feeds, ElementsAre(Pair("ann", "star is live"), Pair("ben", "star is live")));
  ASSERT_THAT(events_->queued, SizeIs(1)) << "one page a message: others take turns";
  EXPECT_EQ(events_->queued[0].cursor, "ben");
  EXPECT_THAT(waker_.lanes, ElementsAre(Lane::kFanout));
  for (int i = 0; i < 2; ++i) {
    ASSERT_FALSE(events_->queued.empty());
    ASSERT_THAT(HandlePage(events_->queued.back()), IsOkAndHolds(IsEmpty()));
  }
  EXPECT_THAT(Told(), ElementsAre("ann", "ben", "cleo", "dan", "eve"));
  EXPECT_EQ(state(), EventState::kDone);
  EXPECT_THAT(live_.titles, SizeIs(5));
}

TEST_F(FanoutHandlerTest, EndsAnAudienceOfNobodyAtOnce) {
  events_->audience.clear();
  TellAll();
  EXPECT_EQ(state(), EventState::kDone);
  EXPECT_THAT(live_.titles, IsEmpty());
}

TEST_F(FanoutHandlerTest, CutsALargeAudienceIntoRangesThatAreQueuedSideBySide) {
  events_->cuts = {"ann", "cleo", "eve"};
  ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(events_->shards, SizeIs(3));
  EXPECT_THAT(Told(), ElementsAre("ann")) << "this message goes on with the first range";
  ASSERT_THAT(events_->queued, SizeIs(2));
  EXPECT_EQ(state(), EventState::kExpanding);
  while (!events_->queued.empty()) {
    const FanoutPage next = events_->queued.back();
    events_->queued.pop_back();
    ASSERT_THAT(HandlePage(next), IsOkAndHolds(IsEmpty()));
  }
  EXPECT_THAT(Told(), UnorderedElementsAre("ann", "ben", "cleo", "dan", "eve"));
  EXPECT_EQ(state(), EventState::kDone);
}

TEST_F(FanoutHandlerTest, StoresAnAudienceAboveTheThresholdOnce) {
  events_->threshold = 4;
  ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(state(), EventState::kDone);
  ASSERT_TRUE(events_->shared.has_value());
  EXPECT_EQ(events_->shared->item.title, "star is live");
  EXPECT_EQ(events_->shared->placeholder, "");
  EXPECT_THAT(live_.shared, ElementsAre(kApp));
  EXPECT_THAT(Told(), IsEmpty());
  EXPECT_THAT(live_.titles, IsEmpty());
}

TEST_F(FanoutHandlerTest, TellsAnAudienceAtTheThresholdOneByOne) {
  events_->threshold = 5;
  TellAll();
  EXPECT_THAT(Told(), SizeIs(5));
  EXPECT_FALSE(events_->shared.has_value());
}

TEST_F(FanoutHandlerTest, PassesOverWhoDoesNotWantItAndCountsThemByReason) {
  decisions_.settings.of["ben"].mutes = {{.kind = MuteKind::kActor, .id = "star"}};
  decisions_.settings.of["dan"].mutes = {
      {.kind = MuteKind::kActor, .id = "star", .until = clock_.Now() + absl::Hours(1)}};
  decisions_.settings.of["eve"].settings.preferences = {{.choice = Choice::kOff}};
  TellAll();
  EXPECT_EQ(state(), EventState::kDone);
  EXPECT_THAT(Told(), ElementsAre("ann", "cleo"));
  EXPECT_EQ(events_->record.expanded, 5);
  EXPECT_THAT(events_->record.suppressed, ElementsAre(Pair("actor is muted", 2), Pair("recipient, all types: off", 1)));
}

TEST_F(FanoutHandlerTest, SendsToWhoWantsItOutsideTheFeedOnly) {
  type().channels = {Channel::kInApp, Channel::kEmail};
  contacts_->everybody.has_email = true;
  decisions_.settings.of["ben"].settings.preferences = {{.channel = Channel::kInApp, .choice = Choice::kOff}};
  TellAll();
  EXPECT_THAT(Told(), ElementsAre("ann", "cleo", "dan", "eve"));
  ASSERT_THAT(events_->begun, SizeIs(5));
  const auto& [id, deliveries] = events_->begun.at("ben");
  ASSERT_THAT(deliveries, SizeIs(1));
  EXPECT_EQ(deliveries.front().fate.state, DeliveryState::kPending);
}

TEST_F(FanoutHandlerTest, BeginsDeliveriesForEverybodyOfAPage) {
  type().channels = {Channel::kInApp, Channel::kEmail, Channel::kSms};
  type().ttl = absl::Hours(1);
  contacts_->everybody.has_email = true;
  Event& event = events_->record.event;
  event.create_time = clock_.Now();
  event.traceparent = "its trace";
  event.retention_days = 30;
  TellAll();
  EXPECT_THAT(Told(), SizeIs(5));
  EXPECT_THAT(contacts_->reads, ElementsAre(2, 2, 1)) << "once a page";
  ASSERT_THAT(events_->begun, SizeIs(5));
  for (const auto& [recipient, begun] : events_->begun) {
    const auto& [id, deliveries] = begun;
    ASSERT_THAT(deliveries, SizeIs(2));
    EXPECT_EQ(deliveries[1].fate.state, DeliveryState::kSuppressed);
    ASSERT_OK_AND_ASSIGN(const EnvelopeContents contents, DecodeContents(deliveries[0].envelope));
    ASSERT_THAT(contents.deliveries, SizeIs(1));
    const Notification& item = contents.deliveries[0].item;
    EXPECT_EQ(item.id, id);
    EXPECT_EQ(item.recipient.value(), recipient);
    EXPECT_EQ(item.actor_id, "star");
    EXPECT_EQ(item.type, "stream.start");
    EXPECT_EQ(item.retention_days, 30);
    EXPECT_EQ(item.traceparent, "its trace");
    EXPECT_EQ(item.expire_time, clock_.Now() + absl::Hours(1));
  }
  EXPECT_THAT(waker_.lanes, Contains(event.lane));
}

TEST_F(FanoutHandlerTest, ReadsNoContactsForWhatGoesToFeedsAlone) {
  TellAll();
  EXPECT_THAT(contacts_->reads, IsEmpty());
  EXPECT_THAT(events_->begun, IsEmpty());
  EXPECT_THAT(waker_.lanes, Each(Lane::kFanout));
}

TEST_F(FanoutHandlerTest, WritesNoPageWhileContactsCantBeRead) {
  type().channels = {Channel::kInApp, Channel::kEmail};
  contacts_->away = error::BackendUnavailable("postgresql", "away");
  EXPECT_THAT(HandlePage(FirstPage()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(FanoutHandlerTest, NeverSharesWhatLeavesForExternalChannels) {
  events_->threshold = 0;
  type().channels = {Channel::kInApp, Channel::kFcm};
  TellAll();
  EXPECT_THAT(Told(), SizeIs(5));
  EXPECT_FALSE(events_->shared.has_value());
}

TEST_F(FanoutHandlerTest, NeverSharesAListOfUsers) {
  events_->threshold = 0;
  events_->record.event.audience = {.kind = AudienceKind::kUsers, .id = "", .users = {}};
  TellAll();
  EXPECT_THAT(Told(), SizeIs(5));
  EXPECT_FALSE(events_->shared.has_value());
}

TEST_F(FanoutHandlerTest, SharesWithEveryoneAndWithATopicToo) {
  events_->threshold = 0;
  for (const AudienceKind kind : {AudienceKind::kEveryone, AudienceKind::kTopic}) {
    events_->shared.reset();
    events_->record.state = EventState::kAccepted;
    events_->record.event.audience = {.kind = kind, .id = "news", .users = {}};
    ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
    EXPECT_TRUE(events_->shared.has_value());
  }
}

TEST_F(FanoutHandlerTest, ShowsATopicsEventInItsPublicFeedOnce) {
  events_->record.event.audience = {.kind = AudienceKind::kTopic, .id = "news", .users = {}};
  events_->failing = "MeasureAudience";
  EXPECT_THAT(HandlePage(FirstPage()), StatusIs(absl::StatusCode::kUnavailable));
  events_->failing.reset();
  TellAll();
  EXPECT_THAT(events_->topic_titles, ElementsAre("star is live"));
  const std::string feed = TopicFeedKey(kApp, "news").recipient.value();
  EXPECT_EQ(live_.titles[feed], "star is live");
  EXPECT_THAT(Told(), SizeIs(5));
}

TEST_F(FanoutHandlerTest, SuppressesAnEventWithinAnothersWindow) {
  type().dedupe_key = "{{actor_id}}/{{data.room}}";
  type().dedupe_window = absl::Minutes(10);
  events_->record.event.data_json = R"({"room":"a"})";
  events_->windows["star/a"] = NewUuid7(clock_.Now());
  ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(state(), EventState::kSuppressed);
  EXPECT_THAT(events_->record.detail, HasSubstr("\"star/a\""));
  EXPECT_THAT(events_->record.detail, HasSubstr("10m"));
  EXPECT_THAT(Told(), IsEmpty());
}

TEST_F(FanoutHandlerTest, GoesOnWithAWindowOfItsOwn) {
  type().dedupe_key = "{{actor_id}}";
  type().dedupe_window = absl::Minutes(10);
  events_->failing = "BeginExpanding";
  EXPECT_THAT(HandlePage(FirstPage()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(events_->windows, SizeIs(1));
  events_->failing.reset();
  TellAll();
  EXPECT_THAT(Told(), SizeIs(5));
}

TEST_F(FanoutHandlerTest, TakesNoWindowWhereItsKeyRendersToNothing) {
  type().dedupe_key = "{{data.room}}";
  type().dedupe_window = absl::Minutes(10);
  TellAll();
  EXPECT_THAT(events_->windows, IsEmpty());
  EXPECT_THAT(Told(), SizeIs(5));
}

TEST_F(FanoutHandlerTest, ADuplicateOfAPageDoesNothing) {
  for (int i = 0; i < 2; ++i) ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(Told(), ElementsAre("ann", "ben"));
  EXPECT_THAT(events_->queued, SizeIs(1));
}

TEST_F(FanoutHandlerTest, DoesNothingForAnEventThatIsPausedOrHasEnded) {
  for (const EventState ended :
       {EventState::kPaused, EventState::kCancelled, EventState::kDone, EventState::kSuppressed}) {
    events_->record.state = ended;
    ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
    EXPECT_EQ(state(), ended);
  }
  EXPECT_THAT(Told(), IsEmpty());
  EXPECT_THAT(waker_.lanes, IsEmpty());
}

TEST_F(FanoutHandlerTest, DropsAPageOfAnEventThatWasForgotten) {
  FanoutPage page = FirstPage();
  page.event_id = NewUuid7(clock_.Now());
  EXPECT_THAT(HandlePage(page), IsOkAndHolds(IsEmpty()));
}

// The worker died, or lost its connection, in between.
TEST_F(FanoutHandlerTest, EndsTheEventWhenItsLastPageComesASecondTime) {
  events_->audience = {"ann"};
  events_->failing = "FinishIfDone";
  EXPECT_THAT(HandlePage(FirstPage()), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(state(), EventState::kExpanding);
  events_->failing.reset();
  ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(state(), EventState::kDone);
  EXPECT_THAT(Told(), ElementsAre("ann"));
}

TEST_F(FanoutHandlerTest, WakesNobodyForWhatAnotherWorkerWrote) {
  events_->lose_pages = true;
  ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(live_.titles, IsEmpty());
}

TEST_F(FanoutHandlerTest, PutsEachRecipientsIdIntoHisText) {
  type().in_app.title = "{{user_id}}, {{actor_id}} is live";
  TellAll();
  EXPECT_THAT(live_.titles, UnorderedElementsAre(Pair("ann", "ann, star is live"), Pair("ben", "ben, star is live"),
                                                 Pair("cleo", "cleo, star is live"), Pair("dan", "dan, star is live"),
                                                 Pair("eve", "eve, star is live")));
}

TEST_F(FanoutHandlerTest, SharesTextsWithAPlaceholderForTheRecipient) {
  events_->threshold = 0;
  type().in_app.title = "live";
  type().in_app.action_link = "/u/{{user_id}}";
  ASSERT_THAT(HandlePage(FirstPage()), IsOkAndHolds(IsEmpty()));
  ASSERT_TRUE(events_->shared.has_value());
  ASSERT_NE(events_->shared->placeholder, "");
  EXPECT_EQ(events_->shared->item.action_link, "/u/" + events_->shared->placeholder);
}

TEST_F(FanoutHandlerTest, APublicFeedNamesNoRecipient) {
  type().in_app.title = "hello {{user_id}}";
  events_->record.event.audience = {.kind = AudienceKind::kTopic, .id = "news", .users = {}};
  TellAll();
  EXPECT_THAT(events_->topic_titles, ElementsAre("hello "));
}

TEST_F(FanoutHandlerTest, GoesOnWithoutRedis) {
  live_.status = absl::UnavailableError("no redis");
  TellAll();
  EXPECT_THAT(Told(), SizeIs(5));
  EXPECT_EQ(state(), EventState::kDone);
}

TEST_F(FanoutHandlerTest, ATypeThatIsNotThereFailsTheMessageAndMayComeLater) {
  const std::vector<NotificationType> types = std::exchange(store_->types, {});
  ASSERT_OK_AND_ASSIGN(const std::vector<FailedItem> failures, HandlePage(FirstPage()));
  ASSERT_THAT(failures, SizeIs(1));
  EXPECT_EQ(failures[0].message, &batch_.messages[0]);
  EXPECT_EQ(failures[0].item, nullptr);
  EXPECT_THAT(failures[0].status, StatusIs(absl::StatusCode::kNotFound, HasSubstr("stream.start")));
  EXPECT_EQ(state(), EventState::kAccepted);
  store_->types = types;
  ++store_->version;
  TellAll();
  EXPECT_THAT(Told(), SizeIs(5));
}

TEST_F(FanoutHandlerTest, WhatIsNotAPageFailsForGood) {
  ASSERT_OK_AND_ASSIGN(const std::vector<FailedItem> failures, HandleMessage(Pack(Items(3))));
  ASSERT_THAT(failures, SizeIs(1)) << "the message, once";
  EXPECT_EQ(failures[0].item, nullptr);
  EXPECT_THAT(failures[0].status, StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(FanoutHandlerTest, GivesAMessageBackWhenPostgresIsAway) {
  for (const char* call : {"Open", "MeasureAudience", "BeginExpanding", "WritePage"}) {
    events_->failing = call;
    EXPECT_THAT(HandlePage(FirstPage()), StatusIs(absl::StatusCode::kUnavailable)) << call;
  }
  events_->failing.reset();
  TellAll();
  EXPECT_THAT(Told(), ElementsAre("ann", "ben", "cleo", "dan", "eve"));
  EXPECT_EQ(state(), EventState::kDone);
}

}  // namespace
}  // namespace carillon::testing
