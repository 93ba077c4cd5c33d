// What caps answer, whoever keeps their windows: the shared store and the windows of a
// process are tried with the same cases.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "carillon/ports/cap_store.h"

namespace carillon::testing {

// Takes, or looks at, a place at a minute of the app's clock, which begins at any time.
struct CapStep {
  int minute = 0;
  uint8_t member = 0;
  CapStore::Mode mode = CapStore::Mode::kTake;
  // What is answered.
  int64_t count = 0;
  int limit = 0;  // Of the cap that it is about.
  // At which minute there is room again; not 0 only where there is none.
  int next_room = 0;
};

struct CapCase {
  std::string name;
  std::vector<Cap> caps;
  std::vector<CapStep> steps;
};

inline Cap CapOf(int limit, absl::Duration window) {
  return {.channel = Channel::kEmail, .limit = limit, .window = window};
}

inline Uuid MemberOf(uint8_t number) {
  std::array<uint8_t, 16> bytes{};
  bytes[15] = number;
  return Uuid(bytes);
}

inline CapStore::Request RequestOf(const std::string& recipient, uint8_t member, std::vector<Cap> caps,
                                   absl::Duration clock_offset = absl::ZeroDuration()) {
  return {.key = {AppId(7), RecipientId(recipient)},
          .channel = Channel::kEmail,
          .type = "like",
          .member = MemberOf(member),
          .caps = std::move(caps),
          .clock_offset = clock_offset};
}

// Moments are minutes apart where the order of two matters: the store's clock goes on.
inline const std::vector<CapCase>& CapCases() {
  constexpr auto kTake = CapStore::Mode::kTake, kPeek = CapStore::Mode::kPeek;
  static const auto* const cases = new std::vector<CapCase>{
      {"a limit of one",
       {CapOf(1, absl::Hours(1))},
       {{0, 1, kTake, 1, 1, 0},
        {10, 2, kTake, 1, 1, 60},
        {50, 2, kTake, 1, 1, 60},
        {61, 2, kTake, 1, 1, 0},
        {70, 3, kTake, 1, 1, 121}}},
      {"each place is free when it is a window old",
       {CapOf(3, absl::Hours(1))},
       {{0, 1, kTake, 1, 3, 0},
        {10, 2, kTake, 2, 3, 0},
        {20, 3, kTake, 3, 3, 0},
        {30, 4, kTake, 3, 3, 60},
        {61, 4, kTake, 3, 3, 0},
        {65, 5, kTake, 3, 3, 70},
        {71, 5, kTake, 3, 3, 0},
        {300, 6, kTake, 1, 3, 0}}},
      {"who comes five times counts once",
       {CapOf(2, absl::Hours(1))},
       {{0, 1, kTake, 1, 2, 0},
        {1, 1, kTake, 1, 2, 0},
        {2, 1, kTake, 1, 2, 0},
        {3, 1, kTake, 1, 2, 0},
        {4, 1, kTake, 1, 2, 0},
        {5, 2, kTake, 2, 2, 0},
        {6, 1, kTake, 2, 2, 0},
        {7, 3, kTake, 2, 2, 60}}},
      {"who was refused takes nothing, however often",
       {CapOf(1, absl::Hours(1))},
       {{0, 1, kTake, 1, 1, 0}, {40, 2, kTake, 1, 1, 60}, {50, 2, kTake, 1, 1, 60}, {61, 3, kTake, 1, 1, 0}}},
      {"who looks takes nothing",
       {CapOf(1, absl::Hours(1))},
       {{0, 1, kPeek, 1, 1, 0},
        {1, 2, kPeek, 1, 1, 0},
        {2, 3, kTake, 1, 1, 0},
        {3, 4, kPeek, 1, 1, 62},
        {4, 3, kPeek, 1, 1, 0}}},
      {"of two windows the one that is full longest",
       {CapOf(2, absl::Minutes(30)), CapOf(3, absl::Hours(4))},
       {{0, 1, kTake, 1, 2, 0},
        {10, 2, kTake, 2, 2, 0},
        {20, 3, kTake, 2, 2, 30},
        {31, 3, kTake, 2, 2, 0},
        {35, 4, kTake, 3, 3, 240},
        {200, 4, kTake, 3, 3, 240},
        {241, 4, kTake, 3, 3, 0}}},
      {"refused by one window, none is taken",
       {CapOf(1, absl::Minutes(30)), CapOf(2, absl::Hours(4))},
       {{0, 1, kTake, 1, 1, 0},
        {10, 2, kTake, 1, 1, 30},
        {20, 3, kTake, 1, 1, 30},
        {31, 4, kTake, 1, 1, 0},
        {100, 5, kTake, 2, 2, 240}}},
  };
  return *cases;
}

// `use` answers a request whose clock_offset is its minute. A moment may be told up to
// `early` too early: so long a case may take.
template <typename Use>
void ExpectCapCases(absl::Time begin, absl::Duration early, Use use) {
  for (const CapCase& one : CapCases()) {
    for (size_t i = 0; i < one.steps.size(); ++i) {
      const CapStep& step = one.steps[i];
      SCOPED_TRACE(one.name + ", step " + std::to_string(i));
      const CapUse answer =
          use(RequestOf("ann:" + one.name, step.member, one.caps, absl::Minutes(step.minute)), step.mode);
      EXPECT_EQ(answer.count, step.count);
      EXPECT_EQ(answer.cap.limit, step.limit);
      EXPECT_EQ(answer.has_room, step.next_room == 0);
      if (step.next_room == 0) continue;
      EXPECT_LE(answer.next_room, begin + absl::Minutes(step.next_room));
      EXPECT_GE(answer.next_room, begin + absl::Minutes(step.next_room) - early);
    }
  }
}

}  // namespace carillon::testing
