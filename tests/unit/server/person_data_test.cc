#include "server/api/person_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

constexpr int kSteps = 5;

// Erases in so many steps of two rows each, and has a page of one row per position.
class SteppingStore final : public PersonStore {
 public:
  absl::StatusOr<ExportPage> Export(const FeedKey&, const std::string& position, int) override {
    return ExportPage{.rows = {{.table = "devices", .json = R"({"token": "t", "n": 1, "none": null})"}},
                      .next = position.empty() ? "1/aa" : ""};
  }
  absl::StatusOr<EraseStep> Erase(const FeedKey&, const std::string& position) override {
    if (fails) return error::BackendUnavailable("postgresql", "away");
    positions.push_back(position);
    const bool last = positions.size() == kSteps;
    return EraseStep{.rows = 2, .next = last ? "" : absl::StrCat(positions.size(), "/")};
  }

  bool fails = false;
  std::vector<std::string> positions;
};

class PersonDataTest : public ::testing::Test {
 protected:
  PersonDataTest() { erase_.set_user_id("ann"); }

  v1::EraseRecipientRequest erase_;
  v1::EraseRecipientResponse erased_;
  const std::shared_ptr<SteppingStore> store_ = std::make_shared<SteppingStore>();
  PersonData persons_{store_};
};

TEST_F(PersonDataTest, ErasesStepByStepToTheEnd) {
  ASSERT_OK(persons_.Erase(
      AppId(1), erase_, [] { return true; }, &erased_));
  EXPECT_EQ(erased_.rows(), 2 * kSteps);
  EXPECT_THAT(store_->positions, ::testing::ElementsAre("", "1/", "2/", "3/", "4/"));
}

TEST_F(PersonDataTest, StopsBetweenStepsWhenItMayNotGoOn) {
  int asked = 0;
  EXPECT_THAT(persons_.Erase(
                  AppId(1), erase_, [&] { return ++asked <= 2; }, &erased_),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("the same call again goes on")));
  EXPECT_EQ(store_->positions.size(), 2);
}

TEST_F(PersonDataTest, PassesAFailureOn) {
  store_->fails = true;
  EXPECT_THAT(persons_.Erase(
                  AppId(1), erase_, [] { return true; }, &erased_),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(PersonDataTest, ExportsPagesOfStructs) {
  v1::ExportRecipientRequest request;
  request.set_user_id("ann");
  v1::ExportRecipientResponse first, second;
  ASSERT_OK(persons_.Export(AppId(1), request, &first));
  ASSERT_EQ(first.rows_size(), 1);
  EXPECT_EQ(first.rows(0).table(), "devices");
  EXPECT_EQ(first.rows(0).row().fields().at("token").string_value(), "t");
  request.set_page_token(first.next_page_token());
  ASSERT_OK(persons_.Export(AppId(1), request, &second));
  EXPECT_EQ(second.next_page_token(), "");
}

TEST_F(PersonDataTest, RefusesTheTokenOfAnotherPersonsExport) {
  v1::ExportRecipientRequest request;
  request.set_user_id("ann");
  v1::ExportRecipientResponse response;
  ASSERT_OK(persons_.Export(AppId(1), request, &response));
  request.set_page_token(response.next_page_token());
  request.set_user_id("bob");
  EXPECT_THAT(persons_.Export(AppId(1), request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token:")));
}

TEST_F(PersonDataTest, WantsToKnowWhom) {
  erase_.clear_user_id();
  EXPECT_THAT(persons_.Erase(
                  AppId(1), erase_, [] { return true; }, &erased_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("user_id:")));
  v1::ExportRecipientResponse response;
  EXPECT_THAT(persons_.Export(AppId(1), v1::ExportRecipientRequest(), &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("user_id:")));
}

}  // namespace
}  // namespace carillon
