#include "workers/lane/lane_consumer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"
#include "tests/unit/workers/lane_in_memory.h"
#include "workers/handlers/lane_handler.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LaneConsumerTest : public ::testing::Test {
 protected:
  // Until the queue is empty and everything is settled.
  void Consume(const Consumer::Window& window, double rest = 0) {
    LaneConsumer consumer({.queue = kTestQueue, .window = window, .rest = rest}, {.broker = std::move(owned_queue_),
                                                                                  .handler = lane_.handler,
                                                                                  .failures = failures_,
                                                                                  .careful = careful_,
                                                                                  .metrics = metrics_,
                                                                                  .stop = stop_,
                                                                                  .on_opened = [&] { ++opened_; }});
    consumer.Run();
    acks_ = queue_.acks();
    services_ = queue_.services();
  }
  double Split() {
    return metrics_.Counter("carillon_packs_split_total", "Packs that came a second time", {{"queue", kTestQueue}})
        .Value();
  }

  int opened_ = 0;
  StopSignal stop_;
  SimulatedClock clock_;
  Metrics metrics_;
  OneAtATime careful_;
  std::unique_ptr<QueueInMemory> owned_queue_ = std::make_unique<QueueInMemory>(stop_);
  QueueInMemory& queue_ = *owned_queue_;
  std::unique_ptr<PublisherInMemory> owned_publisher_ = std::make_unique<PublisherInMemory>(queue_);
  PublisherInMemory& publisher_ = *owned_publisher_;
  std::shared_ptr<HistoryInMemory> history_ = std::make_shared<HistoryInMemory>();
  Catalogue catalogue_{std::make_shared<CatalogueOfOne>()};
  NobodyOnline live_;
  LaneInMemory lane_{{.lane = Lane::kMarketing,
                      .catalogue = catalogue_,
                      .live = live_,
                      .clock = clock_,
                      .metrics = metrics_,
                      .reactions = nullptr}};
  const std::shared_ptr<FeedsInMemory> feeds_ = lane_.feeds;
  FailureRouter failures_{std::move(owned_publisher_), history_, clock_, metrics_};
  std::vector<std::vector<std::string>> acks_;
  std::vector<size_t> services_;
};

TEST_F(LaneConsumerTest, HandlesPacksInTransactionsOfBoundedSize) {
  for (int i = 0; i < 5; ++i) queue_.Push(Pack(Items(100)));
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_THAT(feeds_->transactions(), ElementsAre(200, 200, 100));
  EXPECT_THAT(acks_, ElementsAre(SizeIs(2), SizeIs(2), SizeIs(1)));
  EXPECT_THAT(feeds_->delivered(), SizeIs(500));
}

TEST_F(LaneConsumerTest, HandlesAPackAboveThatBoundInSlicesAndSettlesItOnce) {
  queue_.Push(Pack(Items(450)));
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_THAT(feeds_->transactions(), ElementsAre(200, 200, 50));
  EXPECT_THAT(acks_, ElementsAre(SizeIs(1)));
}

TEST_F(LaneConsumerTest, RestsAfterEachBatchAndAnswersTheBrokerMeanwhile) {
  for (int i = 0; i < 5; ++i) queue_.Push(Pack(Items(100)));
  Consume({.prefetch = 50, .channels = 1}, /*rest=*/0.1);
  // Each rest begins when its batch is settled.
  EXPECT_THAT(acks_, SizeIs(3));
  EXPECT_THAT(services_, ElementsAre(1, 2, 3));
}

TEST_F(LaneConsumerTest, GoesOnAtOnceWhereALaneDoesNotRest) {
  for (int i = 0; i < 5; ++i) queue_.Push(Pack(Items(100)));
  Consume({.prefetch = 50, .channels = 1}, /*rest=*/0);
  EXPECT_THAT(acks_, SizeIs(3));
  EXPECT_THAT(services_, IsEmpty());
}

TEST_F(LaneConsumerTest, HandlesWhatCameOnManyChannelsTogether) {
  for (int i = 0; i < 20; ++i) queue_.Push(Pack(Items(1)));
  Consume({.prefetch = 1, .channels = 20});
  EXPECT_THAT(feeds_->transactions(), ElementsAre(20));
}

TEST_F(LaneConsumerTest, SplitsAPackThatComesASecondTimeBeforeItTriesItAgain) {
  const std::vector<Notification> items = {Item("ana", "her own"), Item("bob")};
  InboundMessage pack = Redelivered(Pack(items));
  pack.retry_count = 2;
  pack.replay_count = 1;
  queue_.Push(pack);
  Consume({.prefetch = 50, .channels = 1});
  // Each in a transaction, once it came back alone.
  ASSERT_THAT(publisher_.published(), SizeIs(2));
  for (size_t i = 0; i < 2; ++i) {
    const OutboundMessage& single = publisher_.published()[i];
    EXPECT_EQ(single.exchange, "");
    EXPECT_EQ(single.routing_key, kTestQueue);
    EXPECT_EQ(single.message_id, items[i].id.ToString());
    EXPECT_EQ(single.app, AppId(7));
    EXPECT_EQ(single.type, items[i].type);
    EXPECT_EQ(single.retry_count, 2);
    EXPECT_EQ(single.replay_count, 1);
    EXPECT_EQ(single.traceparent, i == 0 ? "her own" : "the message's");
    EXPECT_THAT(DecodeEnvelope(single.body), IsOkAndHolds(SizeIs(1)));
  }
  ASSERT_FALSE(acks_.empty());
  EXPECT_THAT(acks_.front(), ElementsAre(pack.message_id));
  EXPECT_EQ(feeds_->delivered(), (std::set<NotificationId>{items[0].id, items[1].id}));
  EXPECT_EQ(Split(), 1);
}

TEST_F(LaneConsumerTest, DecidesAtOnceOnWhatComesASecondTimeBesideAPack) {
  InboundMessage pack = Redelivered(Pack(Items(2)));
  const Delivery held{.id = NewUuid7(clock_.Now()),
                      .channel = Channel::kEmail,
                      .device_id = "",
                      .item = Item("ann"),
                      .decide_time = {}};
  absl::StrAppend(&pack.body, EncodeEnvelope(held));
  queue_.Push(pack);
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_THAT(publisher_.published(), SizeIs(2));
  ASSERT_THAT(lane_.contacts->again, SizeIs(1));
  EXPECT_EQ(Split(), 1);
}

TEST_F(LaneConsumerTest, KeepsAPackUntilAllItsItemsAreConfirmedElsewhere) {
  queue_.Push(Redelivered(Pack(Items(3))));
  publisher_.RefuseOnce();
  Consume({.prefetch = 50, .channels = 1});
  // Two of them twice, which does no harm.
  EXPECT_THAT(publisher_.published(), SizeIs(5));
  EXPECT_THAT(feeds_->delivered(), SizeIs(3));
  EXPECT_EQ(Split(), 1);
}

TEST_F(LaneConsumerTest, HandlesASingleMessageThatComesASecondTimeAsItIs) {
  queue_.Push(Redelivered(Pack(Items(1))));
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_THAT(publisher_.published(), IsEmpty());
  EXPECT_THAT(feeds_->transactions(), ElementsAre(1));
}

TEST_F(LaneConsumerTest, TakesFreshOnesFirstAndThenOneByOneWhatComesASecondTime) {
  queue_.Push(Redelivered(Pack(Items(1))));
  queue_.Push(Pack(Items(1)));
  queue_.Push(Redelivered(Pack(Items(1))));
  queue_.Push(Pack(Items(1)));
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_THAT(feeds_->transactions(), ElementsAre(2, 1, 1));
}

TEST_F(LaneConsumerTest, SaysOnceThatItHasItsQueue) {
  for (int i = 0; i < 3; ++i) queue_.Push(Redelivered(Pack(Items(1))));
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_EQ(opened_, 1);
}

TEST_F(LaneConsumerTest, SaysNothingWhileThereIsNoSuchQueue) {
  queue_.RefuseOpens(2);
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_EQ(opened_, 0);
}

TEST_F(LaneConsumerTest, LetsAnItemThatFailsLeaveItsPackAlone) {
  std::vector<Notification> items = Items(4);
  items.push_back(Item("refused", "its own"));
  InboundMessage pack = Pack(items);
  pack.replay_count = 2;
  queue_.Push(pack);
  Consume({.prefetch = 50, .channels = 1});
  EXPECT_THAT(feeds_->delivered(), SizeIs(4));
  EXPECT_THAT(acks_, ElementsAre(ElementsAre(pack.message_id)));
  ASSERT_THAT(publisher_.published(), SizeIs(1));
  const OutboundMessage& copy = publisher_.published().front();
  EXPECT_EQ(copy.exchange, RetryExchange(5));
  EXPECT_EQ(copy.routing_key, kTestQueue);
  EXPECT_EQ(copy.message_id, items.back().id.ToString());
  EXPECT_EQ(copy.retry_count, 1);
  EXPECT_EQ(copy.replay_count, 2);
  EXPECT_EQ(copy.traceparent, "its own");
  EXPECT_EQ(copy.body, EncodeEnvelope(items.back()));
  ASSERT_THAT(history_->attempts(), SizeIs(1));
  EXPECT_EQ(history_->attempts().front().id, items.back().id);
}

}  // namespace
}  // namespace carillon::testing
