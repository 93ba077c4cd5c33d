#include "client/bench/send_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "carillon/v1/feed_service.pb.h"
#include "carillon/v1/notification_service.pb.h"

namespace carillon::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

SendRequests::Options OptionsOf(uint64_t seed) {
  return {.seed = seed, .run_name = "run", .user_ids = UserIds("run", 3), .types = {"like", "otp.login"}};
}

v1::SendNotificationRequest Parsed(const std::string& bytes) {
  v1::SendNotificationRequest request;
  EXPECT_TRUE(request.ParseFromString(bytes));
  return request;
}

TEST(WeightedTypes, RepeatATypeAsOftenAsItsWeightSays) {
  const auto types = WeightedTypes({"like=3", "otp.login"});
  ASSERT_TRUE(types.ok());
  EXPECT_THAT(*types, ElementsAre("like", "like", "like", "otp.login"));
}

TEST(WeightedTypes, RefuseWhatIsNoWeight) {
  for (const char* type : {"like=", "like=0", "like=-1", "like=x", "like=1=2", "=3", "", "like=1001"}) {
    EXPECT_FALSE(WeightedTypes({type}).ok()) << type;
  }
  EXPECT_FALSE(WeightedTypes({}).ok());
}

TEST(UserIds, AreOfOneLength) {
  std::set<size_t> lengths;
  for (const std::string& id : UserIds("run", 1'001)) lengths.insert(id.size());
  EXPECT_THAT(lengths, SizeIs(1));
}

TEST(SendRequests, AreWhatWasDrawn) {
  SendRequests requests(OptionsOf(1));
  std::string bytes;
  std::set<std::string> objects;
  for (int i = 0; i < 50; ++i) {
    const SendRequests::Drawn drawn = requests.Next(bytes);
    const v1::SendNotificationRequest request = Parsed(bytes);
    EXPECT_EQ(request.user_id(), UserIds("run", 3)[drawn.user]);
    EXPECT_EQ(request.type(), drawn.type == 0 ? "like" : "otp.login");
    EXPECT_TRUE(request.data().fields().contains(drawn.type == 0 ? "excerpt" : "code"));
    EXPECT_EQ(request.idempotency_key(), "");
    objects.insert(request.object_id());
  }
  EXPECT_THAT(objects, SizeIs(50));
}

TEST(SendRequests, AreTheSameFromTheSameSeedAloneOrInABatch) {
  SendRequests alone(OptionsOf(7)), batched(OptionsOf(7)), other(OptionsOf(8));
  std::string bytes;
  v1::BatchSendNotificationsRequest one_by_one, at_once, others;
  for (int i = 0; i < 20; ++i) {
    alone.Next(bytes);
    *one_by_one.add_requests() = Parsed(bytes);
  }
  EXPECT_THAT(batched.NextBatch(20, bytes), SizeIs(20));
  ASSERT_TRUE(at_once.ParseFromString(bytes));
  other.NextBatch(20, bytes);
  ASSERT_TRUE(others.ParseFromString(bytes));
  EXPECT_EQ(at_once.ShortDebugString(), one_by_one.ShortDebugString());
  EXPECT_NE(at_once.ShortDebugString(), others.ShortDebugString());
}

TEST(SendRequests, HaveAKeyOfTheirOwnOnRequest) {
  SendRequests::Options options = OptionsOf(1);
  options.keys = true;
  SendRequests requests(options);
  std::string bytes;
  std::set<std::string> keys;
  for (int i = 0; i < 10; ++i) {
    requests.Next(bytes);
    keys.insert(Parsed(bytes).idempotency_key());
  }
  EXPECT_THAT(keys, SizeIs(10));
}

TEST(SendRequests, GoWhereTheRunSaysAndElseWhereTheCatalogueSays) {
  SendRequests::Options options = OptionsOf(1);
  options.channels = {{"otp.login", {v1::CHANNEL_SMS, v1::CHANNEL_EMAIL}}};
  SendRequests requests(options);
  std::string bytes;
  for (int i = 0; i < 20; ++i) {
    const SendRequests::Drawn drawn = requests.Next(bytes);
    const v1::SendNotificationRequest request = Parsed(bytes);
    if (drawn.type == 0) {
      EXPECT_THAT(request.channels(), IsEmpty());
    } else {
      EXPECT_THAT(request.channels(), ElementsAre(v1::CHANNEL_SMS, v1::CHANNEL_EMAIL));
    }
  }
}

v1::SendNotificationResponse ResponseWith(const std::string& id) {
  v1::SendNotificationResponse response;
  response.mutable_notification()->set_user_id(std::string(200, 'u'));
  response.mutable_notification()->set_notification_id(id);
  response.mutable_notification()->mutable_create_time()->set_seconds(12);
  response.set_duplicate(true);
  return response;
}

TEST(IdsInAnswer, AreThoseOfTheNotifications) {
  const std::string one = ResponseWith("a").SerializeAsString();
  const auto id = IdsInSendAnswer(one);
  ASSERT_TRUE(id.ok());
  EXPECT_THAT(*id, ElementsAre("a"));

  v1::BatchSendNotificationsResponse batch;
  for (const char* name : {"a", "b", "c"}) *batch.add_responses() = ResponseWith(name);
  const std::string bytes = batch.SerializeAsString();
  const auto ids = IdsInBatchAnswer(bytes);
  ASSERT_TRUE(ids.ok());
  EXPECT_THAT(*ids, ElementsAre("a", "b", "c"));
}

TEST(IdsInAnswer, RefuseWhatIsNoAnswer) {
  EXPECT_FALSE(IdsInSendAnswer("").ok());
  EXPECT_FALSE(IdsInSendAnswer("\xff\xff\xff").ok());
  const std::string whole = ResponseWith("a").SerializeAsString();
  EXPECT_FALSE(IdsInSendAnswer(absl::string_view(whole).substr(0, 20)).ok());
  v1::BatchSendNotificationsResponse batch;
  batch.add_responses();
  EXPECT_FALSE(IdsInBatchAnswer(batch.SerializeAsString()).ok());
}

TEST(StreamEvent, TellsItsNumberAndTheNotificationOfAnItem) {
  v1::SubscribeResponse event;
  event.set_seq(300);
  EXPECT_EQ(ParseStreamEvent(event.SerializeAsString())->seq, 300);
  event.mutable_heartbeat();
  EXPECT_EQ(ParseStreamEvent(event.SerializeAsString())->notification_id, "");
  event.mutable_item()->set_title("Hello");
  event.mutable_item()->set_notification_id("a");
  event.mutable_item()->set_object_id("post-1");
  const std::string bytes = event.SerializeAsString();
  const absl::StatusOr<StreamEvent> item = ParseStreamEvent(bytes);
  ASSERT_TRUE(item.ok());
  EXPECT_EQ(item->seq, 300);
  EXPECT_EQ(item->notification_id, "a");
  EXPECT_EQ(item->object_id, "post-1");
  EXPECT_FALSE(ParseStreamEvent(absl::string_view(bytes).substr(0, bytes.size() - 1)).ok());
}

TEST(StreamEvent, RefusesAnItemWithoutANotification) {
  v1::SubscribeResponse event;
  event.mutable_item()->set_title("Hello");
  EXPECT_FALSE(ParseStreamEvent(event.SerializeAsString()).ok());
}

TEST(StampedObject, TellsItsInstant) {
  const std::string object_id = StampedObject("run-1", absl::Microseconds(123'456'789));
  EXPECT_EQ(StampOf(object_id), absl::Microseconds(123'456'789));
  for (const char* other : {"", "object-1", "@", "run@", "run@x"}) EXPECT_FALSE(StampOf(other).has_value()) << other;
}

TEST(SendRequests, StampTheirObjectsIfAsked) {
  SendRequests requests({.seed = 1, .run_name = "run", .user_ids = {"a"}, .types = {"like"}, .stamped = true});
  std::string bytes;
  requests.Next(bytes);
  v1::SendNotificationRequest request;
  ASSERT_TRUE(request.ParseFromString(bytes));
  EXPECT_TRUE(StampOf(request.object_id()).has_value());
}

TEST(OneForEach, HoldsALikeForEachUser) {
  v1::BatchSendNotificationsRequest batch;
  ASSERT_TRUE(batch.ParseFromString(OneForEach(std::vector<std::string>{"ada", "bob"}, "run")));
  ASSERT_EQ(batch.requests_size(), 2);
  EXPECT_EQ(batch.requests(0).user_id(), "ada");
  EXPECT_EQ(batch.requests(1).user_id(), "bob");
  EXPECT_EQ(batch.requests(1).type(), "like");
}

TEST(TopicAnswer, TellsItsLastSeq) {
  v1::ListTopicFeedResponse answer;
  EXPECT_EQ(LastSeqInTopicAnswer(answer.SerializeAsString()), 0);
  answer.add_items()->set_seq(7);
  answer.set_last_seq(12);
  EXPECT_EQ(LastSeqInTopicAnswer(answer.SerializeAsString()), 12);
  EXPECT_FALSE(LastSeqInTopicAnswer("\xff\xff").has_value());
}

}  // namespace
}  // namespace carillon::bench
