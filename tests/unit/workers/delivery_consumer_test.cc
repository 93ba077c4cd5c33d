#include "workers/delivery/delivery_consumer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "carillon/domain/errors.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/delivery_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

constexpr char kQueue[] = "payment.sms";

// A queue that a test may look at, and act on, whenever more is asked for.
class WatchedQueue final : public Consumer {
 public:
  explicit WatchedQueue(StopSignal& stop) : queue(stop) {}

  QueueInMemory queue;
  // False: nothing comes now, and something may come later.
  std::function<bool()> on_receive = [] { return true; };
  std::vector<int> prefetches;  // Of all that were opened.

  std::vector<std::string> Acked() const {
    std::vector<std::string> all;
    for (const auto& ids : queue.acks()) all.insert(all.end(), ids.begin(), ids.end());
    return all;
  }

  absl::Status Open(const std::vector<std::string>& queues, const Window& window) override {
    EXPECT_THAT(queues, ElementsAre(kQueue));
    prefetches.push_back(window.prefetch * window.channels);
    return queue.Open(queues, window);
  }
  absl::StatusOr<std::vector<InboundMessage>> Receive(int max, absl::Duration wait) override {
    if (!on_receive()) return std::vector<InboundMessage>();
    return queue.Receive(max, wait);
  }
  absl::Status Ack(absl::Span<const InboundMessage> messages) override { return queue.Ack(messages); }
  absl::Status Cancel() override { return queue.Cancel(); }
  absl::Status Service() override { return queue.Service(); }
  void Close() override { queue.Close(); }
};

// What the store knows of the deliveries whose messages come.
class DeliveriesInMemory final : public DeliveryStore {
 public:
  struct Written {
    Uuid id;
    DeliveryUpdate update;
  };

  std::set<Uuid> not_claimable;
  std::vector<std::vector<bool>> claims;  // take_over of each, call by call.
  std::vector<std::vector<Written>> records;
  int failing_claims = 0;
  int failing_records = 0;
  std::function<void()> on_record = [] {};
  std::vector<int> releases;  // The limits of all calls.
  int held = 0;

  std::map<Uuid, DeliveryState> States() const {
    std::map<Uuid, DeliveryState> states;
    for (const auto& call : records) {
      for (const Written& one : call) states[one.id] = one.update.state;
    }
    return states;
  }

  absl::StatusOr<std::vector<ClaimResult>> Claim(absl::Span<const ClaimRequest> requests, absl::Duration) override {
    if (failing_claims-- > 0) return error::BackendUnavailable("postgresql", "away");
    std::vector<bool>& call = claims.emplace_back();
    std::vector<ClaimResult> results;
    for (const ClaimRequest& request : requests) {
      call.push_back(request.take_over);
      const bool claimed = !not_claimable.contains(request.delivery->id);
      results.push_back({.claimed = claimed, .claim = 1, .address = kTestNumber});
    }
    return results;
  }
  absl::Status Record(absl::Span<const DeliveryUpdate> updates) override {
    on_record();
    if (failing_records-- > 0) return error::BackendUnavailable("postgresql", "away");
    std::vector<Written>& call = records.emplace_back();
    for (const DeliveryUpdate& update : updates) call.push_back({update.delivery->id, update});
    return absl::OkStatus();
  }
  absl::StatusOr<int> ReleaseHeld(AppId, Channel channel, Lane lane, int limit) override {
    EXPECT_EQ(channel, Channel::kSms);
    EXPECT_EQ(lane, Lane::kPayment);
    releases.push_back(limit);
    const int released = std::min(held, limit);
    held -= released;
    return released;
  }
  absl::StatusOr<int> DecideAgain(absl::Span<const Redecision>) override { return 0; }
  absl::StatusOr<std::vector<Contacts>> ReadContacts(absl::Span<const FeedKey>) override {
    return std::vector<Contacts>();
  }
  absl::StatusOr<std::vector<DeliveryRecord>> List(AppId, const NotificationId&) override {
    return absl::UnimplementedError("not a worker's");
  }
  absl::StatusOr<int> RequeueIdle(Lane, Channel, absl::Time, int) override {
    return absl::UnimplementedError("not a worker's");
  }
  absl::StatusOr<std::vector<AppId>> AppsWithHeld(Channel, Lane) override {
    return held > 0 ? std::vector<AppId>{kTestApp} : std::vector<AppId>();
  }
  absl::StatusOr<int> ForgetKept(absl::Time, int) override { return absl::UnimplementedError("not a worker's"); }
};

InboundMessage MessageOf(const std::vector<Delivery>& deliveries) {
  InboundMessage message;
  message.queue = kQueue;
  message.message_id = deliveries.front().id.ToString();
  message.app = "7";
  message.type = kTestType;
  for (const Delivery& delivery : deliveries) message.body += EncodeEnvelope(delivery);
  return message;
}

class DeliveryConsumerTest : public ::testing::Test {
 protected:
  void SetUp() override { providers_.Set({Providers::Named("only")}); }

  ProviderScript& provider() { return providers_["only"]; }
  // Puts a delivery's message into the queue.
  Delivery Push(const std::string& recipient = "ann", bool redelivered = false) {
    const Delivery delivery = TestDelivery(recipient);
    const InboundMessage message = MessageOf({delivery});
    broker_.queue.Push(redelivered ? Redelivered(message) : message);
    return delivery;
  }
  // Until the queue is empty and all is settled, or until it is stopped.
  void Consume(absl::Duration drain = absl::Seconds(10)) {
    DeliveryConsumer consumer({.queue = kQueue,
                               .lane = Lane::kPayment,
                               .channel = Channel::kSms,
                               .window = {.prefetch = 10, .channels = 1},
                               .drain = drain},
                              {.broker = std::move(owned_broker_),
                               .store = store_,
                               .providers = providers_.store,
                               .builder = providers_.builder,
                               .links = providers_.links,
                               .directory = providers_.directory,
                               .make_provider = providers_.Maker(),
                               .failures = failures_,
                               .clock = clock_,
                               .metrics = metrics_,
                               .stop = stop_,
                               .on_opened = [&] { ++opened_; }});
    consumer.Run();
    acked_ = broker_.Acked();
    unsettled_ = broker_.queue.unsettled();
    prefetches_ = broker_.prefetches;
  }

  int opened_ = 0;
  StopSignal stop_;
  SimulatedClock clock_;
  Metrics metrics_;
  Providers providers_;
  std::unique_ptr<WatchedQueue> owned_broker_ = std::make_unique<WatchedQueue>(stop_);
  WatchedQueue& broker_ = *owned_broker_;
  std::unique_ptr<PublisherInMemory> owned_publisher_ = std::make_unique<PublisherInMemory>(broker_.queue);
  PublisherInMemory& publisher_ = *owned_publisher_;
  std::shared_ptr<HistoryInMemory> history_ = std::make_shared<HistoryInMemory>();
  FailureRouter failures_{std::move(owned_publisher_), history_, clock_, metrics_};
  std::shared_ptr<DeliveriesInMemory> store_ = std::make_shared<DeliveriesInMemory>();
  // Of the broker, which is gone with the consumer.
  std::vector<std::string> acked_;
  size_t unsettled_ = 0;
  std::vector<int> prefetches_;
};

TEST_F(DeliveryConsumerTest, SendsWhatComesAndAcknowledgesWhatIsRecorded) {
  std::vector<std::string> ids;
  for (int i = 0; i < 25; ++i) ids.push_back(Push().id.ToString());
  size_t acked_before_record = 0;
  store_->on_record = [&] {
    size_t recorded = 0;
    for (const auto& call : store_->records) recorded += call.size();
    if (broker_.Acked().size() > recorded) ++acked_before_record;
  };
  Consume();
  EXPECT_EQ(acked_before_record, 0u);
  EXPECT_THAT(acked_, UnorderedElementsAreArray(ids));
  EXPECT_THAT(provider().sent, SizeIs(25));
  EXPECT_THAT(store_->States(), SizeIs(25));
  EXPECT_THAT(store_->States(), Each(::testing::Pair(::testing::_, DeliveryState::kSent)));
}

TEST_F(DeliveryConsumerTest, AcknowledgesNothingUntilTheStoreTakesIt) {
  const Delivery delivery = Push();
  store_->failing_records = 2;
  std::vector<size_t> acked;
  store_->on_record = [&] { acked.push_back(broker_.Acked().size()); };
  Consume();
  EXPECT_THAT(acked, ElementsAre(0, 0, 0)) << "three attempts";
  EXPECT_THAT(provider().sent, SizeIs(1)) << "what was sent is sent no second time";
  EXPECT_THAT(store_->States(), ElementsAre(::testing::Pair(delivery.id, DeliveryState::kSent)));
  EXPECT_THAT(acked_, ElementsAre(delivery.id.ToString()));
}

TEST_F(DeliveryConsumerTest, SendsNothingThatItCouldNotClaim) {
  store_->failing_claims = 1;
  Push();
  Consume();
  EXPECT_THAT(store_->claims, SizeIs(1));
  EXPECT_THAT(provider().sent, SizeIs(1));
  EXPECT_THAT(acked_, SizeIs(1));
}

TEST_F(DeliveryConsumerTest, HoldsUpNobodyForACallThatHangs) {
  const Delivery first = Push(), slow = Push("slow"), third = Push("ben"), fourth = Push("cleo");
  provider().hangs_for = {"slow"};
  std::vector<std::string> acked_meanwhile;
  broker_.on_receive = [&] {
    if (acked_meanwhile.empty() && broker_.Acked().size() == 3) {
      acked_meanwhile = broker_.Acked();
      provider().EndHanging();
    }
    return true;
  };
  Consume();
  EXPECT_THAT(acked_meanwhile, UnorderedElementsAre(first.id.ToString(), third.id.ToString(), fourth.id.ToString()));
  EXPECT_EQ(acked_.back(), slow.id.ToString());
}

TEST_F(DeliveryConsumerTest, AcknowledgesAMessageWithItsLastDelivery) {
  Push();
  const std::vector<Delivery> deliveries = {TestDelivery("ann"), TestDelivery("slow")};
  broker_.queue.Push(MessageOf(deliveries));
  provider().hangs_for = {"slow"};
  broker_.on_receive = [&] {
    if (store_->States().contains(deliveries[0].id) && !provider().hangs_for.empty()) {
      EXPECT_THAT(broker_.Acked(), SizeIs(1));
      provider().EndHanging();
    }
    return true;
  };
  Consume();
  EXPECT_THAT(acked_, SizeIs(2));
  EXPECT_THAT(store_->States(), SizeIs(3));
}

TEST_F(DeliveryConsumerTest, AcknowledgesADuplicateThatSomebodyElseWorksOn) {
  const Delivery taken = Push();
  store_->not_claimable = {taken.id};
  Consume();
  EXPECT_THAT(acked_, ElementsAre(taken.id.ToString()));
  EXPECT_THAT(provider().sent, IsEmpty());
  EXPECT_THAT(store_->records, IsEmpty());
}

TEST_F(DeliveryConsumerTest, GivesUpWhatItCantRead) {
  InboundMessage garbage;
  garbage.queue = kQueue;
  garbage.message_id = "garbage";
  garbage.body = "no envelope";
  InboundMessage of_another_kind = Pack(Items(1));
  of_another_kind.queue = kQueue;
  const Delivery sound = Push();
  broker_.queue.Push(garbage);
  broker_.queue.Push(of_another_kind);
  Consume();
  ASSERT_THAT(publisher_.published(), SizeIs(2));
  for (const OutboundMessage& letter : publisher_.published()) {
    EXPECT_EQ(letter.exchange, kDeadLetterExchange);
    EXPECT_EQ(letter.routing_key, "payment.sms.dlq");
    EXPECT_EQ(letter.reason, "permanent");
  }
  EXPECT_EQ(publisher_.published()[0].body, "no envelope");
  EXPECT_THAT(publisher_.published()[1].error, HasSubstr("no delivery"));
  EXPECT_THAT(acked_, UnorderedElementsAre(sound.id.ToString(), "garbage", of_another_kind.message_id));
  EXPECT_THAT(history_->attempts(), IsEmpty());
}

TEST_F(DeliveryConsumerTest, PutsOffWhatFailedAndRecordsItFirst) {
  const Delivery delivery = Push();
  provider().answers = {{.outcome = AttemptOutcome::kRetryable, .code = "500"}};
  publisher_.RefuseOnce();
  Consume();
  ASSERT_THAT(publisher_.published(), SizeIs(1)) << "the first one was refused";
  const OutboundMessage& copy = publisher_.published().front();
  EXPECT_EQ(copy.exchange, RetryExchange(5));
  EXPECT_EQ(copy.routing_key, kQueue);
  EXPECT_EQ(copy.message_id, delivery.id.ToString());
  EXPECT_EQ(copy.retry_count, 1);
  EXPECT_EQ(copy.error, "only: 500");
  ASSERT_OK_AND_ASSIGN(const EnvelopeContents contents, DecodeContents(copy.body));
  EXPECT_THAT(contents.deliveries, SizeIs(1));
  ASSERT_THAT(store_->records, SizeIs(1));
  EXPECT_EQ(store_->records[0][0].update.state, DeliveryState::kPending);
  EXPECT_THAT(store_->records[0][0].update.attempts, SizeIs(1));
  EXPECT_THAT(acked_, SizeIs(1));
}

TEST_F(DeliveryConsumerTest, TakesWhatComesASecondTimeOneByOneBeforeAnythingElse) {
  for (int i = 0; i < 3; ++i) Push("ann", /*redelivered=*/true);
  for (int i = 0; i < 4; ++i) Push();
  Consume();
  ASSERT_THAT(store_->claims, SizeIs(5));
  for (int i = 0; i < 3; ++i) EXPECT_THAT(store_->claims[i], ElementsAre(true));
  EXPECT_THAT(store_->claims[3], ElementsAre(false));
  EXPECT_THAT(store_->claims[4], ElementsAre(false, false, false));
  EXPECT_THAT(prefetches_, ElementsAre(1, 10));
  EXPECT_EQ(metrics_.Counter("carillon_redelivered_total", "", {{"queue", kQueue}}).Value(), 3);
}

TEST_F(DeliveryConsumerTest, LeavesACallThatHangsBehindWhenItIsStopped) {
  Push();
  const Delivery slow = Push("slow");
  provider().hangs_for = {"slow"};
  broker_.on_receive = [&] {
    if (!provider().hanging.empty() && !stop_.is_set()) stop_.Set();
    return true;
  };
  const absl::Duration began = Monotonic();
  Consume(/*drain=*/absl::Milliseconds(50));
  EXPECT_LT(Monotonic() - began, absl::Seconds(10));
  EXPECT_THAT(acked_, SizeIs(1));
  EXPECT_EQ(unsettled_, 1u) << "its message comes again";
  EXPECT_FALSE(store_->States().contains(slow.id));
  provider().EndHanging();
}

TEST_F(DeliveryConsumerTest, WaitsForCallsThatEndSoonWhenItIsStopped) {
  Push();
  const Delivery slow = Push("slow");
  provider().hangs_for = {"slow"};
  broker_.on_receive = [&] {
    if (!provider().hanging.empty() && !stop_.is_set()) {
      stop_.Set();
    } else if (stop_.is_set()) {
      provider().EndHanging();
    }
    return true;
  };
  Consume();
  EXPECT_THAT(acked_, Contains(slow.id.ToString()));
  EXPECT_EQ(unsettled_, 0u);
}

TEST_F(DeliveryConsumerTest, StopsWhileTheStoreIsAway) {
  Push();
  store_->failing_records = 1'000'000;
  store_->on_record = [&] {
    if (!stop_.is_set()) stop_.Set();
  };
  Consume(/*drain=*/absl::Milliseconds(50));
  EXPECT_THAT(acked_, IsEmpty());
  EXPECT_EQ(unsettled_, 1u);
  EXPECT_EQ(opened_, 1);
}

TEST_F(DeliveryConsumerTest, SaysThatItHasItsQueueOnceItHas) {
  broker_.queue.RefuseOpens(2);
  Consume();
  EXPECT_EQ(opened_, 0);
}

TEST_F(DeliveryConsumerTest, TakesNothingBeforeTheProvidersAreKnown) {
  ChannelDirectory unread({.catalogue = providers_.catalogue_store,
                           .providers = providers_.store,
                           .templates = std::make_shared<NoTemplates>(),
                           .key = providers_.key});
  Push();
  std::atomic<bool> took = false;
  broker_.on_receive = [&] {
    took = true;
    EXPECT_TRUE(unread.loaded());
    return true;
  };
  DeliveryConsumer consumer(
      {.queue = kQueue, .lane = Lane::kPayment, .channel = Channel::kSms, .window = {.prefetch = 10, .channels = 1}},
      {.broker = std::move(owned_broker_),
       .store = store_,
       .providers = providers_.store,
       .builder = providers_.builder,
       .links = providers_.links,
       .directory = unread,
       .make_provider = providers_.Maker(),
       .failures = failures_,
       .clock = clock_,
       .metrics = metrics_,
       .stop = stop_});
  std::thread thread([&] { consumer.Run(); });
  ASSERT_OK(unread.Refresh());
  thread.join();
  EXPECT_TRUE(took);
  EXPECT_THAT(provider().sent, SizeIs(1));
}

TEST_F(DeliveryConsumerTest, ReleasesWhatAWorkerThatIsNoMoreHasHeld) {
  store_->held = 3;
  broker_.on_receive = [&] { return store_->held == 0; };
  Consume();
  EXPECT_THAT(store_->releases, ElementsAre(500));
}

TEST_F(DeliveryConsumerTest, ReleasesWhatIsHeldWhenAProbeGetsThrough) {
  providers_.store->health = {{.app = kTestApp,
                               .channel = Channel::kSms,
                               .name = "only",
                               .lane = Lane::kPayment,
                               .breaker = BreakerState::kOpen,
                               .retry_time = clock_.Now()}};
  store_->held = 700;
  Push();
  store_->not_claimable = {};
  bool probe_came = false;
  broker_.on_receive = [&] {
    // The one that is asked for comes by the outbox.
    if (!store_->releases.empty() && !probe_came) {
      EXPECT_THAT(store_->releases, ElementsAre(1));
      probe_came = true;
      Push("probe");
    }
    return store_->held == 0 || broker_.queue.received() == 0 || (probe_came && broker_.queue.received() == 1);
  };
  Consume();
  EXPECT_THAT(store_->releases, ::testing::Contains(500));
  EXPECT_EQ(store_->held, 0);
  ASSERT_THAT(providers_.store->health, SizeIs(1));
  EXPECT_EQ(providers_.store->health[0].breaker, BreakerState::kClosed);
}

}  // namespace
}  // namespace carillon::testing
