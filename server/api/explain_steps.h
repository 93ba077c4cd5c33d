// One line of an explanation after the other.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/domain/decider.h"
#include "carillon/v1/notification_service.pb.h"

namespace carillon {

using ExplainedSteps = google::protobuf::RepeatedPtrField<v1::ExplainedStep>;

// `time`: absent where it was not written down.
v1::ExplainedStep& AddStep(std::optional<absl::Time> time, absl::string_view gate, absl::string_view outcome,
                           absl::string_view detail, ExplainedSteps* steps);

// Every rule of every decision; or, without any, why there is none. `decide_time`: when
// that was, where it is known. Times in words are those of the zone.
void AddDecisions(absl::Span<const TrailEntry> trail, bool critical, std::optional<absl::Time> decide_time,
                  absl::TimeZone zone, ExplainedSteps* steps);

// What the last decision came to; without one, that it was sent.
Outcome LastOutcome(absl::Span<const TrailEntry> trail);

// "Thu 26 Nov 2026 07:00 +01:00".
std::string LocalTimeText(absl::Time time, absl::TimeZone zone);

}  // namespace carillon
