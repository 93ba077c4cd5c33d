#include "server/pressure/objectives.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace carillon {
namespace {

constexpr absl::Duration kMinObjective = absl::Milliseconds(100);
constexpr absl::Duration kMaxObjective = absl::Hours(24);

// Somebody waits for a payment or a code; a follower notices half a minute; who is told of
// a stream that began does not want to hear of its end; a discount lasts for days.
LaneObjectives DefaultObjectives() {
  return {{Lane::kPayment, absl::Seconds(5)},
          {Lane::kOtp, absl::Seconds(5)},
          {Lane::kSocial, absl::Seconds(30)},
          {Lane::kMarketing, absl::Minutes(10)},
          {Lane::kFanout, absl::Minutes(2)}};
}

}  // namespace

absl::StatusOr<LaneObjectives> ParseObjectives(absl::string_view text) {
  LaneObjectives objectives = DefaultObjectives();
  for (const absl::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> words = absl::StrSplit(part, absl::MaxSplits('=', 1));
    const std::optional<Lane> lane = ParseLane(words.first);
    absl::Duration time;
    if (!lane.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", words.first, "' is no lane: payment, otp, social, marketing or fanout"));
    }
    if (!absl::ParseDuration(words.second, &time) || time < kMinObjective || time > kMaxObjective) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", part, "' must name a time of 100ms to 24h: ", words.first, "=5s"));
    }
    objectives[*lane] = time;
  }
  return objectives;
}

}  // namespace carillon
