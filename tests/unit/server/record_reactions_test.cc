#include "server/api/record_reactions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class TwoTypes final : public CatalogStore {
 public:
  absl::StatusOr<int64_t> Version() override { return 1; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override {
    NotificationType like;
    like.name = "like";
    NotificationType receipt;
    receipt.name = "payment.receipt";
    receipt.lane = Lane::kPayment;
    return std::vector<NotificationType>{like, receipt};
  }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }
};

class RecordReactionsTest : public ::testing::Test {
 protected:
  RecordReactionsTest() { EXPECT_OK(catalogue_.Refresh()); }

  v1::Reaction& Add() {
    v1::Reaction& reaction = *request_.add_reactions();
    reaction.set_actor_id("bob");
    reaction.set_object_id("post-1");
    reaction.set_kind("like");
    return reaction;
  }
  std::vector<Reaction> Prepare() {
    violations_ = std::make_unique<Violations>();
    return PrepareReactions(request_, {.app = AppId(7), .time = absl::FromUnixSeconds(5), .traceparent = ""},
                            catalogue_, *violations_);
  }
  // The names of what is wrong.
  std::vector<std::string> Faults() {
    Prepare();
    std::vector<std::string> fields;
    for (const FieldViolation& violation : DetailsOf(violations_->ToStatus()).violations) {
      fields.push_back(violation.field);
    }
    return fields;
  }

  Catalogue catalogue_{std::make_shared<TwoTypes>()};
  v1::RecordReactionsRequest request_;
  std::unique_ptr<Violations> violations_;
};

TEST_F(RecordReactionsTest, TakesWhatOnlyCounts) {
  Add();
  Add().set_retracted(true);
  const std::vector<Reaction> reactions = Prepare();
  EXPECT_TRUE(violations_->empty());
  ASSERT_THAT(reactions, SizeIs(2));
  EXPECT_EQ(reactions[0].app, AppId(7));
  EXPECT_EQ(reactions[0].actor_id, "bob");
  EXPECT_EQ(reactions[0].accept_time, absl::FromUnixSeconds(5));
  EXPECT_TRUE(reactions[0].active);
  EXPECT_FALSE(reactions[1].active);
  EXPECT_EQ(reactions[0].recipient, "");
  EXPECT_EQ(reactions[0].type, "");
}

TEST_F(RecordReactionsTest, NamesTheItemsTypeAsTheKindUnlessToldOtherwise) {
  Add().set_user_id("ann");
  (*request_.mutable_reactions(0)->mutable_data()->mutable_fields())["name"].set_string_value("Bob");
  v1::Reaction& other = Add();
  other.set_kind("heart");
  other.set_user_id("ann");
  other.set_type("like");
  const std::vector<Reaction> reactions = Prepare();
  EXPECT_TRUE(violations_->empty());
  EXPECT_EQ(reactions[0].type, "like");
  EXPECT_EQ(reactions[0].data_json, R"({"name":"Bob"})");
  EXPECT_EQ(reactions[1].kind, "heart");
  EXPECT_EQ(reactions[1].type, "like");
}

TEST_F(RecordReactionsTest, NamesEveryFaultOfEveryReaction) {
  Add();
  v1::Reaction& empty = *request_.add_reactions();
  empty.set_user_id(std::string(limits::kMaxIdBytes + 1, 'u'));
  v1::Reaction& odd = Add();
  odd.set_object_id(std::string("a\0b", 3));
  odd.set_kind("Like");
  EXPECT_THAT(Faults(), ElementsAre("reactions[1].actor_id", "reactions[1].object_id", "reactions[1].kind",
                                    "reactions[1].user_id", "reactions[2].object_id", "reactions[2].kind"));
}

TEST_F(RecordReactionsTest, RefusesAnItemsFieldsWhereNobodyIsTold) {
  Add().set_type("like");
  Add().mutable_data();
  EXPECT_THAT(Faults(), ElementsAre("reactions[0].type", "reactions[1].data"));
}

TEST_F(RecordReactionsTest, RefusesTypesThatAreNotSocial) {
  Add().set_user_id("ann");
  v1::Reaction& receipt = Add();
  receipt.set_user_id("ann");
  receipt.set_type("payment.receipt");
  EXPECT_THAT(Faults(), ElementsAre("reactions[1].type"));
}

TEST_F(RecordReactionsTest, SaysWhichTypeItDoesNotKnow) {
  v1::Reaction& reaction = Add();
  reaction.set_user_id("ann");
  reaction.set_kind("wow");
  Prepare();
  EXPECT_EQ(DetailsOf(violations_->ToStatus()).reason, "UNKNOWN_TYPE");
  reaction.clear_user_id();
  EXPECT_THAT(Faults(), IsEmpty());
}

TEST_F(RecordReactionsTest, TakesOneToAThousand) {
  EXPECT_THAT(Faults(), ElementsAre("reactions"));
  for (int i = 0; i < limits::kMaxBatchSize; ++i) Add();
  EXPECT_THAT(Faults(), IsEmpty());
  Add();
  EXPECT_THAT(Faults(), ElementsAre("reactions"));
}

}  // namespace
}  // namespace carillon
