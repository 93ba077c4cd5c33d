#include "workers/relay/dead_letter_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/wire/envelope.h"
#include "tests/unit/workers/lane_fakes.h"

namespace carillon {
namespace {

InboundMessage Message() {
  InboundMessage message;
  message.queue = "payment.dlq";
  message.message_id = "m1";
  message.reason = "delivery_limit";
  return message;
}

TEST(DeadLetter, KnowsItsNotificationFromTheEnvelope) {
  Notification notification;
  notification.id = NewUuid7(absl::FromUnixSeconds(1'800'000'000));
  notification.app = AppId(7);
  notification.type = "payment.receipt";
  notification.recipient = RecipientId("ana");
  InboundMessage message = Message();
  message.body = EncodeEnvelope(notification);
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  const DeadLetter& letter = letters.front();
  EXPECT_EQ(letter.queue, "payment");
  EXPECT_EQ(letter.lane, "payment");
  EXPECT_EQ(letter.app, AppId(7));
  EXPECT_EQ(letter.notification_id, notification.id);
  EXPECT_EQ(letter.type, "payment.receipt");
  EXPECT_EQ(letter.payload, message.body);
}

TEST(DeadLetter, IsAlwaysASingleOne) {
  const std::vector<Notification> items = {testing::Item("ana", "her own"), testing::Item("bob")};
  InboundMessage pack = testing::Pack(items);
  pack.queue = "marketing.dlq";
  pack.reason = "delivery_limit";
  const std::vector<DeadLetter> letters = ToDeadLetters(pack);
  ASSERT_EQ(letters.size(), 2u);
  for (size_t i = 0; i < letters.size(); ++i) {
    EXPECT_EQ(letters[i].queue, "marketing");
    EXPECT_EQ(letters[i].reason, "delivery_limit");
    EXPECT_EQ(letters[i].notification_id, items[i].id);
    EXPECT_EQ(letters[i].message_id, items[i].id.ToString());
    EXPECT_EQ(letters[i].payload, EncodeEnvelope(items[i]));
  }
  EXPECT_EQ(letters[0].traceparent, "her own");
  EXPECT_EQ(letters[1].traceparent, "the message's");
}

TEST(DeadLetter, KnowsItsDeliveryFromTheEnvelope) {
  const Delivery delivery{.id = NewUuid7(absl::FromUnixSeconds(1'800'000'001)),
                          .channel = Channel::kSms,
                          .device_id = "",
                          .item = testing::Item("ana")};
  InboundMessage message = Message();
  message.queue = "payment.sms.dlq";
  message.replay_count = 2;
  message.body = EncodeEnvelope(delivery);
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters[0].queue, "payment.sms");
  EXPECT_EQ(letters[0].lane, "payment");
  EXPECT_EQ(letters[0].app, delivery.item.app);
  EXPECT_EQ(letters[0].notification_id, delivery.item.id);
  EXPECT_EQ(letters[0].delivery_id, delivery.id);
  EXPECT_EQ(letters[0].replay_count, 2);
  EXPECT_EQ(letters[0].retention_days, delivery.item.retention_days);
  EXPECT_EQ(letters[0].payload, message.body);
}

TEST(DeadLetter, KnowsTheGroupsOfItsReactions) {
  const Uuid first = NewUuid7(absl::FromUnixSeconds(1'800'000'000)),
             second = NewUuid7(absl::FromUnixSeconds(1'800'000'001));
  InboundMessage message = Message();
  for (const std::optional<Uuid>& group :
       {std::optional(first), std::optional(first), std::optional(second), std::optional<Uuid>()}) {
    message.body += EncodeEnvelope(Reaction{.app = AppId(7),
                                            .actor_id = "bob",
                                            .object_id = "post",
                                            .kind = "like",
                                            .version = 1,
                                            .recipient = "",
                                            .type = "",
                                            .data_json = "",
                                            .accept_time = {},
                                            .group = group});
  }
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  EXPECT_EQ(letters.front().reaction_groups, std::vector<Uuid>({first, second}));
  EXPECT_EQ(letters.front().payload, message.body);
}

TEST(DeadLetter, MakesTextsOfStrangersSafeToStore) {
  InboundMessage message = Message();
  message.queue = "unrouted";
  message.body = std::string("\0\xff", 2);
  message.error = std::string("a\0b\xff\n", 5);
  message.reason = "";
  const std::vector<DeadLetter> letters = ToDeadLetters(message);
  ASSERT_EQ(letters.size(), 1u);
  const DeadLetter& letter = letters.front();
  EXPECT_EQ(letter.error, "a?b??");
  EXPECT_EQ(letter.reason, "unknown");
  EXPECT_EQ(letter.lane, "");
  EXPECT_FALSE(letter.app.has_value());
  EXPECT_FALSE(letter.notification_id.has_value());
}

TEST(DeadLetter, IsOfItsMessagesNotificationOnlyIfThatIsAnApps) {
  InboundMessage message = Message();
  message.body = "no envelope";
  const Uuid id = NewUuid7(absl::FromUnixSeconds(1'800'000'000));
  message.message_id = id.ToString();
  message.app = "7";
  EXPECT_EQ(ToDeadLetters(message).front().notification_id, id);
  // What others made is of app 0 once it was put back.
  for (const char* const app : {"", "0"}) {
    message.app = app;
    EXPECT_EQ(ToDeadLetters(message).front().notification_id, std::nullopt);
    EXPECT_EQ(ToDeadLetters(message).front().message_id, id.ToString());
  }
}

// Hands out a message, or nothing, each time; then it stops its owner.
class ScriptedLetters final : public Consumer {
 public:
  ScriptedLetters(StopSignal& stop, std::vector<bool> script, std::function<void()> on_receive,
                  InboundMessage message = Message())
      : stop_(stop), script_(std::move(script)), on_receive_(std::move(on_receive)), message_(std::move(message)) {}
  absl::Status Open(const std::vector<std::string>&, const Window&) override { return absl::OkStatus(); }
  absl::StatusOr<std::vector<InboundMessage>> Receive(int, absl::Duration) override {
    on_receive_();
    if (next_ == script_.size()) {
      stop_.Set();
      return std::vector<InboundMessage>();
    }
    return script_[next_++] ? std::vector<InboundMessage>{message_} : std::vector<InboundMessage>();
  }
  absl::Status Ack(absl::Span<const InboundMessage>) override { return absl::OkStatus(); }
  absl::Status Cancel() override { return absl::OkStatus(); }
  absl::Status Service() override { return absl::OkStatus(); }
  void Close() override {}

 private:
  StopSignal& stop_;
  const std::vector<bool> script_;
  const std::function<void()> on_receive_;
  const InboundMessage message_;
  size_t next_ = 0;
};

// Every other record fails, the first too.
class ForgetfulStore final : public DeadLetterStore {
 public:
  absl::Status Record(absl::Span<const DeadLetter>) override {
    return std::exchange(fails_, !fails_) ? absl::DeadlineExceededError("statement timeout") : absl::OkStatus();
  }
  absl::StatusOr<std::vector<DeadLetter>> List(const ListQuery&) override { return NotHere(); }
  absl::StatusOr<DeadLetter> Get(int64_t) override { return NotHere(); }
  absl::StatusOr<Summary> Summarize(const DeadLetterFilter&, int) override { return NotHere(); }
  absl::StatusOr<std::vector<int64_t>> Count(absl::Span<const std::string>, int64_t) override { return NotHere(); }
  absl::StatusOr<int> Forget(absl::Time, int) override { return NotHere(); }

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }
  bool fails_ = true;
};

TEST(DeadLetterRecorder, SaysSoFromAFailureUntilASuccessOrUntilNothingWaits) {
  StopSignal stop;
  Metrics metrics;
  std::vector<double> told;
  const auto tell = [&] { told.push_back(metrics.Gauge("carillon_dead_letter_recorder_failing", "").Value()); };
  DeadLetterRecorder recorder(
      {.broker = std::make_unique<ScriptedLetters>(stop, std::vector<bool>{true, true, true, false}, tell),
       .store = std::make_shared<ForgetfulStore>(),
       .metrics = metrics,
       .stop = stop});
  recorder.Run();
  EXPECT_THAT(told, ::testing::ElementsAre(0, 1, 0, 1, 0));
}

// Takes what is told not to be looked into, and nothing else of this name.
class ChoosyStore final : public DeadLetterStore {
 public:
  explicit ChoosyStore(std::string refused) : refused_(std::move(refused)) {}
  absl::Status Record(absl::Span<const DeadLetter> letters) override {
    for (const DeadLetter& letter : letters) {
      if (letter.message_id == refused_ && !letter.is_opaque) return absl::InternalError("postgresql 22003");
    }
    for (const DeadLetter& letter : letters) {
      kept.push_back(absl::StrCat(letter.message_id, letter.is_opaque ? " opaque" : ""));
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<DeadLetter>> List(const ListQuery&) override { return NotHere(); }
  absl::StatusOr<DeadLetter> Get(int64_t) override { return NotHere(); }
  absl::StatusOr<Summary> Summarize(const DeadLetterFilter&, int) override { return NotHere(); }
  absl::StatusOr<std::vector<int64_t>> Count(absl::Span<const std::string>, int64_t) override { return NotHere(); }
  absl::StatusOr<int> Forget(absl::Time, int) override { return NotHere(); }

  std::vector<std::string> kept;

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }
  const std::string refused_;
};

TEST(DeadLetterRecorder, OneThatTheStoreRefusesHoldsUpNoOther) {
  StopSignal stop;
  Metrics metrics;
  std::vector<Notification> items = {testing::Item("ana"), testing::Item("ben"), testing::Item("cem")};
  InboundMessage pack = testing::Pack(items);
  pack.queue = "marketing.dlq";
  const auto store = std::make_shared<ChoosyStore>(items[1].id.ToString());
  DeadLetterRecorder recorder({.broker = std::make_unique<ScriptedLetters>(
                                   stop, std::vector<bool>{true}, [] {}, pack),
                               .store = store,
                               .metrics = metrics,
                               .stop = stop});
  recorder.Run();
  EXPECT_THAT(store->kept, ::testing::ElementsAre(items[0].id.ToString(), items[1].id.ToString() + " opaque",
                                                  items[2].id.ToString()));
}

TEST(DeadLetter, SaysThatItMayHaveBeenRecordedBefore) {
  InboundMessage message = Message();
  EXPECT_FALSE(ToDeadLetters(message).front().redelivered);
  message.redelivered = true;
  EXPECT_TRUE(ToDeadLetters(message).front().redelivered);
}

}  // namespace
}  // namespace carillon
