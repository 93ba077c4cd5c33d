#include "server/api/suppressions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::StatusIs;

// Remembers what it was asked, and has so many suppressions.
class RecordingStore final : public SuppressionStore {
 public:
  absl::StatusOr<bool> Add(const Suppression& suppression) override {
    last = suppression;
    return true;
  }
  absl::StatusOr<bool> Remove(const Suppression& suppression) override {
    last = suppression;
    return false;
  }
  absl::StatusOr<SuppressionPage> List(const SuppressionQuery& asked) override {
    query = asked;
    SuppressionPage page{.suppressions = {}, .last = "place"};
    for (int i = 0; i < asked.limit && i < 2; ++i) page.suppressions.push_back({.app = asked.app, .address = "a@b.cd"});
    return page;
  }

  Suppression last;
  SuppressionQuery query;
};

class SuppressionsTest : public ::testing::Test {
 protected:
  v1::Suppression& Wanted() { return *request_.mutable_suppression(); }
  absl::Status Add() { return suppressions_.Add(AppId(1), request_, &response_); }

  v1::AddSuppressionRequest request_;
  v1::AddSuppressionResponse response_;
  const std::shared_ptr<RecordingStore> store_ = std::make_shared<RecordingStore>();
  Suppressions suppressions_{store_};
};

TEST_F(SuppressionsTest, ComparesAddressesInLowerCaseAndNumbersInE164) {
  Wanted().set_channel(v1::CHANNEL_EMAIL);
  Wanted().set_address("Ann@Example.org");
  ASSERT_OK(Add());
  EXPECT_EQ(store_->last.address, "ann@example.org");
  EXPECT_TRUE(response_.added());
  Wanted().set_channel(v1::CHANNEL_SMS);
  Wanted().set_address("+49 151 12345678");
  ASSERT_OK(Add());
  EXPECT_EQ(store_->last.address, "+4915112345678");
  EXPECT_EQ(store_->last.channel, Channel::kSms);
}

TEST_F(SuppressionsTest, TellsAllThatIsWrongAtOnce) {
  Wanted().set_channel(v1::CHANNEL_EMAIL);
  Wanted().set_address("ann");
  Wanted().set_type("No Type");
  Wanted().set_reason(std::string(256, 'x'));
  EXPECT_THAT(Add(), StatusIs(absl::StatusCode::kInvalidArgument,
                              AllOf(HasSubstr("suppression.address:"), HasSubstr("suppression.type:"),
                                    HasSubstr("suppression.reason:"))));
  Wanted().set_channel(v1::CHANNEL_FCM);
  EXPECT_THAT(Add(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("suppression.channel:")));
}

TEST_F(SuppressionsTest, ListsInPagesThatBelongToTheirRequest) {
  v1::ListSuppressionsRequest request;
  request.set_page_size(2);
  v1::ListSuppressionsResponse first, second;
  ASSERT_OK(suppressions_.List(AppId(1), request, &first));
  EXPECT_EQ(first.suppressions_size(), 2);
  request.set_page_token(first.next_page_token());
  ASSERT_OK(suppressions_.List(AppId(1), request, &second));
  EXPECT_EQ(store_->query.after, "place");
  request.set_channel(v1::CHANNEL_SMS);
  EXPECT_THAT(suppressions_.List(AppId(1), request, &second),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token:")));
}

TEST_F(SuppressionsTest, EndsWithAPageThatIsNotFull) {
  v1::ListSuppressionsResponse response;
  ASSERT_OK(suppressions_.List(AppId(1), v1::ListSuppressionsRequest(), &response));
  EXPECT_THAT(response.next_page_token(), IsEmpty());
}

TEST_F(SuppressionsTest, LooksForAnAddressOnTheChannelThatItIsOf) {
  v1::ListSuppressionsRequest request;
  v1::ListSuppressionsResponse response;
  request.set_address("+4915112345678");
  ASSERT_OK(suppressions_.List(AppId(1), request, &response));
  EXPECT_EQ(store_->query.channel, Channel::kSms);
  request.set_address("Ann@example.org");
  ASSERT_OK(suppressions_.List(AppId(1), request, &response));
  EXPECT_EQ(store_->query.channel, Channel::kEmail);
  EXPECT_EQ(store_->query.address, "ann@example.org");
  request.set_channel(v1::CHANNEL_IN_APP);
  EXPECT_THAT(suppressions_.List(AppId(1), request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("channel:")));
}

}  // namespace
}  // namespace carillon
