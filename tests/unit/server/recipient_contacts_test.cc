#include "server/api/recipient_contacts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/errors.h"
#include "server/api/contact_checks.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::StatusIs;

// Remembers what it was asked.
class RecordingStore final : public RecipientStore {
 public:
  absl::StatusOr<Recipient> Update(const FeedKey& key, const ContactChange&) override { return Recipient{.key = key}; }
  absl::StatusOr<Recipient> Get(const FeedKey& key) override {
    return error::NotFound("recipient", key.recipient.value());
  }
  absl::StatusOr<absl::Time> PutDevice(const FeedKey&, const Device& device) override {
    put = device;
    return absl::FromUnixSeconds(7);
  }
  absl::StatusOr<int> RemoveDevices(const FeedKey&, absl::Span<const std::string> device_ids) override {
    removed.assign(device_ids.begin(), device_ids.end());
    return 0;
  }

  Device put;
  std::vector<std::string> removed;
};

class RecipientContactsTest : public ::testing::Test {
 protected:
  RecipientContactsTest() { request_.mutable_recipient()->set_user_id("ann"); }

  ContactChange Prepared() {
    Violations violations;
    ContactChange change = PrepareContacts(request_, violations);
    EXPECT_THAT(violations.ToStatus(), IsOk());
    return change;
  }
  absl::Status Refusal() {
    Violations violations;
    PrepareContacts(request_, violations);
    return violations.ToStatus();
  }

  v1::UpdateRecipientRequest request_;
  const std::shared_ptr<RecordingStore> store_ = std::make_shared<RecordingStore>();
  RecipientContacts contacts_{store_};
};

TEST_F(RecipientContactsTest, ChangesWhatIsNotEmptyWithoutAMask) {
  request_.mutable_recipient()->set_phone("+49 151 12345678");
  request_.mutable_recipient()->set_locale("ES-mx");
  const ContactChange change = Prepared();
  EXPECT_EQ(change.email, std::nullopt);
  EXPECT_EQ(change.phone, "+4915112345678");
  EXPECT_EQ(change.locale, "es-MX");
  EXPECT_EQ(change.time_zone, std::nullopt);
}

TEST_F(RecipientContactsTest, RefusesALongMaskAtOnce) {
  for (int i = 0; i < 20; ++i) request_.mutable_update_mask()->add_paths("email");
  EXPECT_THAT(Refusal(), IsOk());
  request_.mutable_update_mask()->add_paths("nonsense");
  EXPECT_THAT(Refusal(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("update_mask: must name at most 20")));
}

TEST_F(RecipientContactsTest, ChangesWhatTheMaskNamesAndClearsWhatIsEmpty) {
  request_.mutable_recipient()->set_email("ann@example.org");
  request_.mutable_recipient()->set_phone("not looked at");
  request_.mutable_update_mask()->add_paths("email");
  request_.mutable_update_mask()->add_paths("time_zone");
  const ContactChange change = Prepared();
  EXPECT_EQ(change.email, "ann@example.org");
  EXPECT_EQ(change.phone, std::nullopt);
  EXPECT_EQ(change.time_zone, "");
}

TEST_F(RecipientContactsTest, AnEmptyMaskChangesNothing) {
  request_.mutable_recipient()->set_email("ann@example.org");
  request_.mutable_update_mask();
  EXPECT_EQ(Prepared().email, std::nullopt);
}

TEST_F(RecipientContactsTest, NamesAPathThatItDoesNotKnow) {
  request_.mutable_update_mask()->add_paths("devices");
  request_.mutable_update_mask()->add_paths("email\n");
  EXPECT_THAT(Refusal(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("update_mask: may not name devices"), HasSubstr("only email, phone"))));
}

TEST_F(RecipientContactsTest, TellsAllThatIsWrongAtOnce) {
  request_.mutable_recipient()->set_user_id("");
  request_.mutable_recipient()->set_email("ann");
  request_.mutable_recipient()->set_phone("12");
  request_.mutable_recipient()->set_locale("?");
  request_.mutable_recipient()->set_time_zone("../etc");
  EXPECT_THAT(Refusal(), StatusIs(absl::StatusCode::kInvalidArgument,
                                  AllOf(HasSubstr("recipient.user_id:"), HasSubstr("recipient.email:"),
                                        HasSubstr("recipient.phone:"), HasSubstr("recipient.locale:"),
                                        HasSubstr("recipient.time_zone:"))));
}

TEST_F(RecipientContactsTest, RegistersADeviceByWhatItsTokenStandsFor) {
  v1::RegisterDeviceRequest request;
  request.set_user_id("ann");
  request.mutable_device()->set_channel(v1::CHANNEL_APNS);
  request.mutable_device()->set_token(std::string(64, 'A'));
  v1::RegisterDeviceResponse response;
  ASSERT_OK(contacts_.Register(AppId(1), request, &response));
  EXPECT_EQ(store_->put.token, std::string(64, 'a'));
  EXPECT_EQ(response.device().device_id(), DeviceIdOf(Channel::kApns, std::string(64, 'a')));
  EXPECT_EQ(response.device().register_time().seconds(), 7);
  request.mutable_device()->set_token("zz");
  EXPECT_THAT(contacts_.Register(AppId(1), request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("device.token:")));
}

TEST_F(RecipientContactsTest, RemovesADeviceByIdOrByToken) {
  v1::RemoveDeviceRequest request;
  v1::RemoveDeviceResponse response;
  request.set_user_id("ann");
  EXPECT_THAT(contacts_.Remove(AppId(1), request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("device_id:")));
  request.set_device_id("d1");
  ASSERT_OK(contacts_.Remove(AppId(1), request, &response));
  EXPECT_THAT(store_->removed, ElementsAre("d1"));
  request.set_token("AB");
  EXPECT_THAT(contacts_.Remove(AppId(1), request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("device_id:")));
  request.clear_device_id();
  ASSERT_OK(contacts_.Remove(AppId(1), request, &response));
  EXPECT_THAT(store_->removed, ElementsAre(DeviceIdOf(Channel::kApns, "ab"), DeviceIdOf(Channel::kFcm, "AB")));
}

TEST_F(RecipientContactsTest, KnowsNobodyWithoutAnId) {
  v1::GetRecipientResponse response;
  EXPECT_THAT(contacts_.Get(AppId(1), v1::GetRecipientRequest(), &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("user_id:")));
}

}  // namespace
}  // namespace carillon
