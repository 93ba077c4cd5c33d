#include "workers/lane/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/workers/lane_fakes.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

std::vector<size_t> ItemCounts(const std::vector<Batch>& batches) {
  std::vector<size_t> counts;
  for (const Batch& batch : batches) counts.push_back(batch.items.size());
  return counts;
}

std::vector<size_t> MessageCounts(const std::vector<Batch>& batches) {
  std::vector<size_t> counts;
  for (const Batch& batch : batches) counts.push_back(batch.messages.size());
  return counts;
}

TEST(Batch, HoldsWholeMessagesUpToItsNumberOfItems) {
  const std::vector<Batch> batches =
      CutIntoBatches({Pack(Items(100)), Pack(Items(100)), Pack(Items(1)), Pack(Items(150)), Pack(Items(50))});
  EXPECT_THAT(ItemCounts(batches), ElementsAre(200, 151, 50));
  EXPECT_THAT(MessageCounts(batches), ElementsAre(2, 2, 1));
}

TEST(Batch, ExceedsThatOnlyForASingleMessage) {
  const std::vector<Batch> batches = CutIntoBatches({Pack(Items(1)), Pack(Items(450)), Pack(Items(1))});
  EXPECT_THAT(ItemCounts(batches), ElementsAre(1, 450, 1));
}

TEST(Batch, LeavesWhatCameASecondTimeAlone) {
  const std::vector<Batch> batches = CutIntoBatches(
      {Pack(Items(1)), Redelivered(Pack(Items(1))), Redelivered(Pack(Items(3))), Pack(Items(1)), Pack(Items(1))});
  EXPECT_THAT(MessageCounts(batches), ElementsAre(1, 1, 1, 2));
}

TEST(Batch, KnowsWhereItsItemsCameFromAndWhatItCouldNotRead) {
  InboundMessage broken = Pack(Items(1));
  broken.body = "?";
  broken.message_id = "broken";
  const std::vector<Notification> items = Items(2);
  const std::vector<Batch> batches = CutIntoBatches({Pack(Items(1)), broken, Pack(items)});
  ASSERT_THAT(batches, SizeIs(1));
  const Batch& batch = batches.front();
  ASSERT_THAT(batch.items, SizeIs(3));
  EXPECT_EQ(batch.items[2].id, items[1].id);
  EXPECT_EQ(&batch.SourceOf(2), &batch.messages[2]);
  ASSERT_THAT(batch.unreadable, SizeIs(1));
  EXPECT_EQ(batch.messages[batch.unreadable[0].first].message_id, "broken");
}

}  // namespace
}  // namespace carillon::testing
