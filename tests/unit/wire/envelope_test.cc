#include "carillon/wire/envelope.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/internal/v1/envelope.pb.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using testing::StatusIs;

Notification Sample() {
  Notification notification;
  notification.id = NewUuid7(absl::FromUnixSeconds(1'800'000'000));
  notification.app = AppId(7);
  notification.type = "like";
  notification.recipient = RecipientId("ana");
  notification.actor_id = "bob";
  notification.object_id = "post";
  notification.data_json = R"({"a":1})";
  notification.channels = {Channel::kInApp};
  notification.retention_days = 30;
  notification.create_time = absl::FromUnixMicros(1'800'000'000'123'456);
  notification.expire_time = notification.create_time + absl::Minutes(10);
  notification.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  return notification;
}

TEST(Envelope, ReadsBackWhatItHolds) {
  const Notification sent = Sample();
  ASSERT_OK_AND_ASSIGN(const auto items, DecodeEnvelope(EncodeEnvelope(sent)));
  ASSERT_EQ(items.size(), 1);
  const Notification& got = items.front();
  EXPECT_EQ(got.id, sent.id);
  EXPECT_EQ(got.app, sent.app);
  EXPECT_EQ(got.type, sent.type);
  EXPECT_EQ(got.recipient, sent.recipient);
  EXPECT_EQ(got.actor_id, sent.actor_id);
  EXPECT_EQ(got.object_id, sent.object_id);
  EXPECT_EQ(got.data_json, sent.data_json);
  EXPECT_EQ(got.traceparent, sent.traceparent);
  EXPECT_EQ(got.channels, sent.channels);
  EXPECT_EQ(got.retention_days, sent.retention_days);
  EXPECT_EQ(got.create_time, sent.create_time);
  EXPECT_EQ(got.expire_time, sent.expire_time);
}

TEST(Envelope, OfTwoJoinedIsAPackOfBoth) {
  ASSERT_OK_AND_ASSIGN(const auto items, DecodeEnvelope(EncodeEnvelope(Sample()) + EncodeEnvelope(Sample())));
  EXPECT_EQ(items.size(), 2);
}

TEST(Envelope, ReadsBackReactionsAndTheirGroup) {
  Reaction sent{.app = AppId(7),
                .actor_id = "bob",
                .object_id = "post",
                .kind = "like",
                .active = false,
                .version = 5,
                .recipient = "ana",
                .type = "like",
                .data_json = R"({"a":1})",
                .accept_time = absl::FromUnixMicros(1'800'000'000'123'456),
                .group = NewUuid7(absl::FromUnixSeconds(1'800'000'000))};
  Reaction from_before = sent;
  from_before.group.reset();
  ASSERT_OK_AND_ASSIGN(const EnvelopeContents contents,
                       DecodeContents(EncodeEnvelope(sent) + EncodeEnvelope(from_before)));
  ASSERT_EQ(contents.reactions.size(), 2);
  const Reaction& got = contents.reactions[0];
  EXPECT_EQ(got.app, sent.app);
  EXPECT_EQ(got.actor_id, sent.actor_id);
  EXPECT_EQ(got.object_id, sent.object_id);
  EXPECT_EQ(got.kind, sent.kind);
  EXPECT_EQ(got.active, sent.active);
  EXPECT_EQ(got.version, sent.version);
  EXPECT_EQ(got.recipient, sent.recipient);
  EXPECT_EQ(got.type, sent.type);
  EXPECT_EQ(got.data_json, sent.data_json);
  EXPECT_EQ(got.accept_time, sent.accept_time);
  EXPECT_EQ(got.group, sent.group);
  EXPECT_EQ(contents.reactions[1].group, std::nullopt);
}

TEST(Envelope, ReadsBackDeliveriesAndWhatTheySay) {
  const Delivery to_device{.id = NewUuid7(absl::FromUnixSeconds(1'800'000'001)),
                           .channel = Channel::kApns,
                           .device_id = "device-1",
                           .item = Sample()};
  const Delivery by_mail{.id = NewUuid7(absl::FromUnixSeconds(1'800'000'002)),
                         .channel = Channel::kEmail,
                         .device_id = "",
                         .item = Sample()};
  ASSERT_OK_AND_ASSIGN(const EnvelopeContents contents,
                       DecodeContents(EncodeEnvelope(to_device) + EncodeEnvelope(by_mail)));
  EXPECT_TRUE(contents.items.empty());
  ASSERT_EQ(contents.deliveries.size(), 2);
  const Delivery& got = contents.deliveries[0];
  EXPECT_EQ(got.id, to_device.id);
  EXPECT_EQ(got.channel, Channel::kApns);
  EXPECT_EQ(got.device_id, "device-1");
  EXPECT_EQ(got.item.id, to_device.item.id);
  EXPECT_EQ(got.item.app, to_device.item.app);
  EXPECT_EQ(got.item.type, to_device.item.type);
  EXPECT_EQ(got.item.recipient, to_device.item.recipient);
  EXPECT_EQ(got.item.actor_id, to_device.item.actor_id);
  EXPECT_EQ(got.item.object_id, to_device.item.object_id);
  EXPECT_EQ(got.item.data_json, to_device.item.data_json);
  EXPECT_EQ(got.item.traceparent, to_device.item.traceparent);
  EXPECT_EQ(got.item.channels, to_device.item.channels);
  EXPECT_EQ(got.item.retention_days, to_device.item.retention_days);
  EXPECT_EQ(got.item.create_time, to_device.item.create_time);
  EXPECT_EQ(got.item.expire_time, to_device.item.expire_time);
  EXPECT_EQ(contents.deliveries[1].id, by_mail.id);
  EXPECT_EQ(contents.deliveries[1].channel, Channel::kEmail);
  EXPECT_EQ(contents.deliveries[1].device_id, "");
}

TEST(Envelope, RefusesDeliveriesWithoutIdChannelOrItem) {
  const Delivery sound{.id = NewUuid7(absl::FromUnixSeconds(1'800'000'001)),
                       .channel = Channel::kSms,
                       .device_id = "",
                       .item = Sample()};
  const auto changed = [&](auto change) {
    internal::v1::Envelope envelope;
    EXPECT_TRUE(envelope.ParseFromString(EncodeEnvelope(sound)));
    change(*envelope.mutable_deliveries(0));
    return envelope.SerializeAsString();
  };
  ASSERT_OK(DecodeContents(changed([](internal::v1::Delivery&) {})));
  for (const std::string& body : {changed([](internal::v1::Delivery& one) { one.set_delivery_id("short"); }),
                                  changed([](internal::v1::Delivery& one) { one.set_channel(0); }),
                                  changed([](internal::v1::Delivery& one) { one.set_channel(1); }),
                                  changed([](internal::v1::Delivery& one) { one.set_channel(99); }),
                                  changed([](internal::v1::Delivery& one) { one.clear_item(); }),
                                  changed([](auto& one) { one.mutable_item()->set_recipient_id(""); })}) {
    EXPECT_THAT(DecodeContents(body), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(Envelope, RefusesWhatNoColumnHolds) {
  Notification kept_for_long = Sample();
  kept_for_long.retention_days = 40'000;
  EXPECT_THAT(DecodeContents(EncodeEnvelope(kept_for_long)), StatusIs(absl::StatusCode::kInvalidArgument));
  const auto page = [](int shard) {
    return EncodeEnvelope(FanoutPage{.app = AppId(7), .event_id = Sample().id, .type = "like", .shard = shard});
  };
  EXPECT_OK(DecodeContents(page(63)));
  for (const int shard : {-1, 40'000}) {
    EXPECT_THAT(DecodeContents(page(shard)), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(Envelope, RefusesWhatCouldNotHaveBeenAccepted) {
  Notification no_app = Sample();
  no_app.app = AppId(0);
  Notification no_recipient = Sample();
  no_recipient.recipient = RecipientId("");
  Notification no_class = Sample();
  no_class.retention_days = 0;
  for (const std::string& body : {std::string(), std::string("garbage"), EncodeEnvelope(no_app),
                                  EncodeEnvelope(no_recipient), EncodeEnvelope(no_class)}) {
    EXPECT_THAT(DecodeEnvelope(body), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

}  // namespace
}  // namespace carillon
