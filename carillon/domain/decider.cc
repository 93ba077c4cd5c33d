#include "carillon/domain/decider.h"

#include <algorithm>
#include <utility>

#include "carillon/domain/preferences.h"

namespace carillon {
namespace {

using Gate = Rule::Gate;

absl::string_view ToWord(Overflow overflow) {
  switch (overflow) {
    case Overflow::kDrop:
      return "drop";
    case Overflow::kHold:
      return "hold";
    case Overflow::kDigest:
      return "digest";
    case Overflow::kInAppOnly:
      return "in_app_only";
  }
  return "";
}

// --- Gates. Each adds what it met; true: nothing is asked after it.

std::optional<absl::Time> Finite(absl::Time until) {
  return until == absl::InfiniteFuture() ? std::nullopt : std::optional<absl::Time>(until);
}

absl::Time EndOf(const DecisionInput& input) {
  return std::min(input.kept_until, input.expire_time.value_or(absl::InfiniteFuture()));
}

bool IsExpired(const DecisionInput& input, ChannelDecision& decision) {
  const absl::Time end = EndOf(input);
  if (end > input.now) return false;
  decision.outcome = Outcome::kExpire;
  decision.rules.push_back({.gate = Gate::kExpiry, .level = end == input.expire_time ? "" : "retention", .until = end});
  return true;
}

// What nothing but the recipient could have stopped, and did not.
bool PassesAsRequired(const DecisionInput& input, ChannelDecision& decision) {
  if (!input.policy.required) return false;
  decision.rules.push_back({.gate = Gate::kRequired});
  return true;
}

bool IsMuted(const DecisionInput& input, ChannelDecision& decision) {
  for (const auto& [gate, until] : {std::pair(Gate::kMutedActor, input.actor_muted_until),
                                    std::pair(Gate::kMutedObject, input.object_muted_until)}) {
    if (!until.has_value() || *until <= input.now) continue;
    decision.rules.push_back({.gate = gate, .until = Finite(*until)});
    if (PassesAsRequired(input, decision)) return false;
    decision.outcome = Outcome::kSuppress;
    return true;
  }
  return false;
}

bool IsNotWanted(const DecisionInput& input, ChannelDecision& decision) {
  const PreferenceSubject subject = {.type = input.type,
                                     .category = input.policy.category,
                                     .required = input.policy.required,
                                     .channel = decision.channel};
  std::optional<EffectivePreference> found = FindPreference(subject, input.settings.preferences, input.app_preferences);
  if (!found.has_value()) return false;
  decision.rules.push_back({.gate = Gate::kPreference, .level = std::move(found->level), .choice = found->said});
  if (found->said == Choice::kOff) PassesAsRequired(input, decision);
  if (found->holds == Choice::kOn || (found->holds == Choice::kDigest && input.is_digest)) return false;
  decision.outcome = found->holds == Choice::kOff ? Outcome::kSuppress : Outcome::kDigest;
  return true;
}

// No longer than it lives: then it says that it has expired.
absl::Time WhileItLives(const DecisionInput& input, absl::Time until) { return std::min(until, EndOf(input)); }

// What is required may be late, but is never left out.
Overflow Allowed(const DecisionInput& input, Overflow overflow) {
  const bool leaves_out = overflow == Overflow::kDrop || overflow == Overflow::kInAppOnly;
  if (input.policy.required && leaves_out) return Overflow::kHold;
  // A digest goes into no other.
  return input.is_digest && overflow == Overflow::kDigest ? Overflow::kHold : overflow;
}

void Stop(const DecisionInput& input, Overflow said, absl::Time until, ChannelDecision& decision) {
  const Overflow overflow = Allowed(input, said);
  decision.rules.back().level = std::string(ToWord(overflow));
  if (overflow != said && input.policy.required) decision.rules.push_back({.gate = Gate::kRequired});
  switch (overflow) {
    case Overflow::kDrop:
      decision.outcome = Outcome::kSuppress;
      break;
    case Overflow::kHold:
      decision.outcome = Outcome::kHold;
      decision.until = WhileItLives(input, until);
      break;
    case Overflow::kDigest:
      decision.outcome = Outcome::kDigest;
      break;
    case Overflow::kInAppOnly:
      decision.outcome = Outcome::kInAppOnly;
      break;
  }
}

// One may end within the other: it is quiet until neither holds. Quiet hours leave time
// every week, so this comes to an end.
bool IsQuiet(const DecisionInput& input, ChannelDecision& decision) {
  absl::Time until = input.now;
  const auto extend = [&](Gate gate, std::optional<absl::Time> end) {
    if (!end.has_value() || *end <= until) return;
    until = *end;
    decision.rules.push_back({.gate = gate, .until = end});
  };
  extend(Gate::kDoNotDisturb, input.settings.do_not_disturb_until);
  extend(Gate::kQuietHours, input.settings.quiet_hours.QuietUntil(until, input.zone));
  if (until == input.now) return false;
  Stop(input, input.policy.quiet_overflow, until, decision);
  return true;
}

ChannelDecision DecideOn(const DecisionInput& input, Channel channel) {
  ChannelDecision decision{.channel = channel, .outcome = Outcome::kSend, .until = {}, .rules = {}};
  if (IsExpired(input, decision)) return decision;
  if (input.critical) {
    decision.rules.push_back({.gate = Gate::kCritical});
    return decision;
  }
  if (IsMuted(input, decision) || IsNotWanted(input, decision)) return decision;
  // A feed disturbs nobody.
  if (channel != Channel::kInApp) IsQuiet(input, decision);
  return decision;
}

}  // namespace

std::vector<ChannelDecision> Decide(const DecisionInput& input) {
  std::vector<ChannelDecision> decisions;
  decisions.reserve(input.channels.size());
  for (const Channel channel : input.channels) decisions.push_back(DecideOn(input, channel));
  return decisions;
}

const CapUse& Tightest(absl::Span<const CapUse> uses) {
  const auto leaves_less = [](const CapUse& a, const CapUse& b) {
    if (a.has_room != b.has_room) return b.has_room;
    if (!a.has_room) return a.next_room > b.next_room;
    return a.cap.limit - a.count < b.cap.limit - b.count;
  };
  return *std::min_element(uses.begin(), uses.end(), leaves_less);
}

void ApplyCap(const DecisionInput& input, const CapUse& use, ChannelDecision& decision) {
  Rule rule{.gate = Gate::kCap, .count = use.count, .limit = use.cap.limit, .window = use.cap.window};
  if (!use.has_room) rule.until = use.next_room;
  decision.rules.push_back(std::move(rule));
  if (!use.has_room) Stop(input, input.policy.cap_overflow, use.next_room, decision);
}

absl::Time NextDigest(const DigestTime& time, absl::Time now, absl::TimeZone zone) {
  switch (time.every) {
    case DigestTime::Every::kHour:
      return NextLocalHour(now, zone);
    case DigestTime::Every::kDay:
      return NextLocalTime(now, time.minute, std::nullopt, zone);
    case DigestTime::Every::kWeek:
      return NextLocalTime(now, time.minute, time.day, zone);
  }
  return now;
}

}  // namespace carillon
