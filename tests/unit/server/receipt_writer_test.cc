#include "server/callbacks/receipt_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "carillon/domain/errors.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::Each;
using testing::IsOkAndHolds;
using ::testing::SizeIs;
using testing::StatusIs;

// Knows every delivery but "unknown", and can't write "bad".
class FakeStore final : public InteractionStore {
 public:
  absl::StatusOr<std::vector<bool>> RecordReceipts(absl::Span<const DeliveryReceipt> receipts) override {
    if (hold) released.WaitForNotification();
    absl::MutexLock lock(&mutex);
    groups.push_back(receipts.size());
    if (away) return error::BackendUnavailable("postgresql", "away");
    std::vector<bool> matched;
    for (const DeliveryReceipt& receipt : receipts) {
      if (receipt.provider_message_id == "bad") return error::Internal("bad row");
      matched.push_back(receipt.provider_message_id != "unknown");
    }
    return matched;
  }
  absl::StatusOr<std::vector<InteractionOutcome>> RecordInteractions(absl::Span<const Interaction>) override {
    return absl::UnimplementedError("not in these tests");
  }
  absl::Status Unsubscribe(const Unsubscription&) override { return absl::UnimplementedError("not in these tests"); }

  std::atomic<bool> hold = false;
  std::atomic<bool> away = false;
  absl::Notification released;
  absl::Mutex mutex;
  std::vector<size_t> groups ABSL_GUARDED_BY(mutex);
};

class ReceiptWriterTest : public ::testing::Test {
 protected:
  static DeliveryReceipt Named(const std::string& id) { return {.app = AppId(1), .provider_message_id = id}; }

  // The answers, in the order of the ids.
  std::vector<absl::StatusOr<bool>> Write(const std::vector<std::string>& ids) {
    std::vector<absl::StatusOr<bool>> answers(ids.size(), absl::UnknownError("no answer"));
    absl::BlockingCounter open(static_cast<int>(ids.size()));
    for (size_t i = 0; i < ids.size(); ++i) {
      writer_.Submit(Named(ids[i]), [&answers, &open, i](const absl::StatusOr<bool>& matched) {
        answers[i] = matched;
        open.DecrementCount();
      });
    }
    if (store_->hold) {
      store_->hold = false;
      store_->released.Notify();
    }
    open.Wait();
    return answers;
  }

  const std::shared_ptr<FakeStore> store_ = std::make_shared<FakeStore>();
  Metrics metrics_;
  ReceiptWriter writer_{store_, metrics_};
};

TEST_F(ReceiptWriterTest, TellsEachWhetherItNamesADelivery) {
  const auto answers = Write({"a", "unknown", "b"});
  EXPECT_THAT(answers[0], IsOkAndHolds(true));
  EXPECT_THAT(answers[1], IsOkAndHolds(false));
  EXPECT_THAT(answers[2], IsOkAndHolds(true));
}

TEST_F(ReceiptWriterTest, WritesWhatGathersInOneStatement) {
  store_->hold = true;
  EXPECT_THAT(Write(std::vector<std::string>(100, "a")), Each(IsOkAndHolds(true)));
  absl::MutexLock lock(&store_->mutex);
  EXPECT_LE(store_->groups.size(), 3u) << "the first alone or with some, and those that came meanwhile";
}

TEST_F(ReceiptWriterTest, LetsWhatCantBeWrittenFailAlone) {
  store_->hold = true;
  const auto answers = Write({"first", "a", "bad", "b"});
  EXPECT_THAT(answers[1], IsOkAndHolds(true));
  EXPECT_THAT(answers[2], StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(answers[3], IsOkAndHolds(true));
}

TEST_F(ReceiptWriterTest, SaysThatTheStoreIsAway) {
  store_->hold = true;
  store_->away = true;
  EXPECT_THAT(Write({"first", "a", "b"}), Each(StatusIs(absl::StatusCode::kUnavailable)));
  absl::MutexLock lock(&store_->mutex);
  EXPECT_LE(store_->groups.size(), 6u) << "each is tried twice";
}

TEST_F(ReceiptWriterTest, WritesWhatWaitsAndRefusesTheRestWhenItIsStopped) {
  std::vector<absl::StatusOr<bool>> answers;
  for (int i = 0; i < 10; ++i) {
    writer_.Submit(Named("a"), [&](const absl::StatusOr<bool>& matched) { answers.push_back(matched); });
  }
  writer_.Stop();
  EXPECT_THAT(answers, SizeIs(10));
  EXPECT_THAT(answers, Each(IsOkAndHolds(true)));
  absl::StatusOr<bool> late = true;
  writer_.Submit(Named("a"), [&](const absl::StatusOr<bool>& matched) { late = matched; });
  EXPECT_THAT(late, StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace carillon
