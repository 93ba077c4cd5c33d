#include "server/api/explain_steps.h"

#include "carillon/domain/rule_text.h"
#include "server/api/send_request.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using Gate = Rule::Gate;

absl::string_view ToWord(Gate gate) {
  switch (gate) {
    case Gate::kExpiry:
      return "expiry";
    case Gate::kCritical:
      return "critical";
    case Gate::kRequired:
      return "required";
    case Gate::kMutedActor:
      return "muted_actor";
    case Gate::kMutedObject:
      return "muted_object";
    case Gate::kPreference:
      return "preference";
    case Gate::kDoNotDisturb:
      return "do_not_disturb";
    case Gate::kQuietHours:
      return "quiet_hours";
    case Gate::kCap:
      return "cap";
  }
  return "";
}

absl::string_view ToWord(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSend:
      return "passed";
    case Outcome::kHold:
      return "held";
    case Outcome::kDigest:
      return "digest";
    case Outcome::kInAppOnly:
      return "in_app_only";
    case Outcome::kSuppress:
      return "suppressed";
    case Outcome::kExpire:
      return "expired";
  }
  return "";
}

// What lets a message pass, whatever comes of it.
bool OnlyLetsPass(const Rule& rule) { return rule.gate == Gate::kRequired || rule.gate == Gate::kCritical; }

// Quiet hours and do-not-disturb are named only where they stop; of other rules the last.
bool Stops(const Rule& rule, const Rule* last) {
  return rule.gate == Gate::kQuietHours || rule.gate == Gate::kDoNotDisturb || &rule == last;
}

void AddRule(const Rule& rule, absl::string_view outcome, absl::Time time, absl::TimeZone zone, ExplainedSteps* steps) {
  v1::ExplainedStep& step = AddStep(time, ToWord(rule.gate), outcome, Describe(rule, zone), steps);
  if (rule.until.has_value()) *step.mutable_until() = ToTimestamp(*rule.until);
  if (rule.gate != Gate::kCap) return;
  step.set_count(rule.count);
  step.set_limit(rule.limit);
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(rule.window);
  step.mutable_window()->set_seconds(nanoseconds / 1'000'000'000);
  step.mutable_window()->set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
}

void AddDecision(const TrailEntry& entry, absl::TimeZone zone, ExplainedSteps* steps) {
  const Rule* last = nullptr;
  for (const Rule& rule : entry.decision.rules) {
    if (!OnlyLetsPass(rule)) last = &rule;
  }
  for (const Rule& rule : entry.decision.rules) {
    const bool stops = entry.decision.outcome != Outcome::kSend && Stops(rule, last);
    AddRule(rule, ToWord(stops ? entry.decision.outcome : Outcome::kSend), entry.time, zone, steps);
  }
  if (entry.decision.rules.empty()) {
    AddStep(entry.time, "decision", ToWord(entry.decision.outcome), "decided again: no rule stands against it any more",
            steps);
  }
}

}  // namespace

v1::ExplainedStep& AddStep(std::optional<absl::Time> time, absl::string_view gate, absl::string_view outcome,
                           absl::string_view detail, ExplainedSteps* steps) {
  v1::ExplainedStep& step = *steps->Add();
  if (time.has_value()) *step.mutable_time() = ToTimestamp(*time);
  step.set_gate(std::string(gate));
  step.set_outcome(std::string(outcome));
  step.set_detail(std::string(detail));
  return step;
}

void AddDecisions(absl::Span<const TrailEntry> trail, bool critical, std::optional<absl::Time> decide_time,
                  absl::TimeZone zone, ExplainedSteps* steps) {
  for (const TrailEntry& entry : trail) AddDecision(entry, zone, steps);
  if (!trail.empty()) return;
  if (critical) {
    AddStep(decide_time, ToWord(Gate::kCritical), "passed", Describe({.gate = Gate::kCritical}, zone), steps);
  } else {
    AddStep(decide_time, "decision", "passed", "no rule stood against it", steps);
  }
}

Outcome LastOutcome(absl::Span<const TrailEntry> trail) {
  return trail.empty() ? Outcome::kSend : trail.back().decision.outcome;
}

std::string LocalTimeText(absl::Time time, absl::TimeZone zone) {
  return absl::FormatTime("%a %-e %b %Y %H:%M %Ez", time, zone);
}

}  // namespace carillon
