#include "carillon/runtime/cap_windows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/kit/cap_cases.h"
#include "tests/kit/simulated_clock.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Answers whom it is told to, and lets all of them in.
class HalfAway final : public SharedCapStore {
 public:
  std::vector<std::optional<CapUse>> Use(absl::Span<const CapStore::Request> requests, CapStore::Mode) override {
    std::vector<std::optional<CapUse>> answers;
    for (const CapStore::Request& request : requests) {
      answers.emplace_back();
      if (answers_.contains(request.key.recipient.value())) {
        answers.back() = CapUse{.cap = request.caps[0], .count = 1, .has_room = true, .next_room = {}};
      }
    }
    return answers;
  }

  std::set<std::string> answers_;
};

class CapWindowsTest : public ::testing::Test {
 protected:
  std::vector<bool> Use(const std::vector<std::string>& recipients, uint8_t member,
                        CapStore::Mode mode = CapStore::Mode::kTake) {
    std::vector<CapStore::Request> requests;
    for (const std::string& recipient : recipients) {
      requests.push_back(RequestOf(recipient, member, {CapOf(1, absl::Hours(1))}));
    }
    std::vector<bool> let_in;
    for (const CapUse& use : caps_.Use(requests, mode)) let_in.push_back(use.has_room);
    return let_in;
  }

  HalfAway store_;
  SimulatedClock clock_;
  std::vector<size_t> local_;
  CapWindows caps_{
      store_, clock_, {.max_local_windows = 10, .on_local = [this](size_t count) { local_.push_back(count); }}};
};

TEST_F(CapWindowsTest, AnswerForThoseToWhichTheStoreHasNoAnswer) {
  store_.answers_ = {"ann"};
  EXPECT_THAT(Use({"ann", "bob", "cleo"}, 1), ElementsAre(true, true, true));
  EXPECT_THAT(Use({"cleo", "ann", "bob"}, 2), ElementsAre(false, true, false));
  EXPECT_THAT(local_, ElementsAre(2, 2));
}

TEST_F(CapWindowsTest, KnowWhatTheStoreHasLetInWhenItGoesAway) {
  store_.answers_ = {"ann"};
  EXPECT_THAT(Use({"ann"}, 1), ElementsAre(true));
  EXPECT_THAT(local_, IsEmpty());
  store_.answers_ = {};
  EXPECT_THAT(Use({"ann"}, 1), ElementsAre(true)) << "the same one again";
  EXPECT_THAT(Use({"ann"}, 2), ElementsAre(false));
  clock_.Advance(absl::Hours(1));
  EXPECT_THAT(Use({"ann"}, 2), ElementsAre(true));
}

TEST_F(CapWindowsTest, DoNotCountWhatWasOnlyLookedAt) {
  store_.answers_ = {"ann"};
  EXPECT_THAT(Use({"ann"}, 1, CapStore::Mode::kPeek), ElementsAre(true));
  store_.answers_ = {};
  EXPECT_THAT(Use({"ann"}, 2, CapStore::Mode::kPeek), ElementsAre(true));
  EXPECT_THAT(Use({"ann"}, 3), ElementsAre(true));
}

TEST_F(CapWindowsTest, AskNobodyAboutNothing) {
  EXPECT_THAT(Use({}, 1), IsEmpty());
  EXPECT_THAT(local_, IsEmpty());
}

}  // namespace
}  // namespace carillon::testing
