#include "carillon/domain/decider.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

using Gate = Rule::Gate;
using Scope = Preference::Scope;

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

// --- Preferences.

bool Applies(const Preference& preference, const DecisionInput& input, Channel channel) {
  if (preference.channel.has_value() && *preference.channel != channel) return false;
  switch (preference.scope) {
    case Scope::kAll:
      return true;
    case Scope::kCategory:
      return !input.policy.category.empty() && preference.name == input.policy.category;
    case Scope::kType:
      return preference.name == input.type;
  }
  return false;
}

// The narrower one holds: a type before a category before all, and of each a word
// about the channel before one about all channels.
bool IsNarrower(const Preference& a, const Preference& b) {
  if (a.scope != b.scope) return a.scope > b.scope;
  return a.channel.has_value() && !b.channel.has_value();
}

const Preference* Narrowest(absl::Span<const Preference> preferences, const DecisionInput& input, Channel channel) {
  const Preference* narrowest = nullptr;
  for (const Preference& preference : preferences) {
    if (!Applies(preference, input, channel)) continue;
    if (narrowest == nullptr || IsNarrower(preference, *narrowest)) narrowest = &preference;
  }
  return narrowest;
}

std::string DescribeLevel(absl::string_view whose, const Preference& preference) {
  std::string level(whose);
  switch (preference.scope) {
    case Scope::kAll:
      absl::StrAppend(&level, ", all types");
      break;
    case Scope::kCategory:
      absl::StrAppend(&level, ", category ", preference.name);
      break;
    case Scope::kType:
      absl::StrAppend(&level, ", type ", preference.name);
      break;
  }
  if (preference.channel.has_value()) absl::StrAppend(&level, ", ", ToString(*preference.channel));
  return level;
}

// Whatever a recipient says comes before whatever the app says.
std::optional<Rule> FindPreference(const DecisionInput& input, Channel channel) {
  absl::string_view whose = "recipient";
  const Preference* preference = Narrowest(input.settings.preferences, input, channel);
  if (preference == nullptr) {
    whose = "app";
    preference = Narrowest(input.app_preferences, input, channel);
  }
  if (preference == nullptr) return std::nullopt;
  return Rule{.gate = Gate::kPreference, .level = DescribeLevel(whose, *preference), .choice = preference->choice};
}

// --- Gates. Each adds what it met; true: nothing is asked after it.

std::optional<absl::Time> Finite(absl::Time until) {
  return until == absl::InfiniteFuture() ? std::nullopt : std::optional<absl::Time>(until);
}

bool IsExpired(const DecisionInput& input, ChannelDecision& decision) {
  if (!input.expire_time.has_value() || *input.expire_time > input.now) return false;
  decision.outcome = Outcome::kExpire;
  decision.rules.push_back({.gate = Gate::kExpiry, .until = input.expire_time});
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
  std::optional<Rule> rule = FindPreference(input, decision.channel);
  if (!rule.has_value()) return false;
  const Choice choice = rule->choice;
  decision.rules.push_back(*std::move(rule));
  if (choice == Choice::kOn) return false;
  if (choice == Choice::kOff) {
    if (PassesAsRequired(input, decision)) return false;
    decision.outcome = Outcome::kSuppress;
    return true;
  }
  // The feed gathers by itself.
  if (decision.channel == Channel::kInApp) return false;
  decision.outcome = Outcome::kDigest;
  return true;
}

// No longer than it lives: then it says that it has expired.
absl::Time WhileItLives(const DecisionInput& input, absl::Time until) {
  return std::min(until, input.expire_time.value_or(absl::InfiniteFuture()));
}

// What is required may be late, but is never left out.
Overflow Allowed(const DecisionInput& input, Overflow overflow) {
  const bool leaves_out = overflow == Overflow::kDrop || overflow == Overflow::kInAppOnly;
  return input.policy.required && leaves_out ? Overflow::kHold : overflow;
}

void Stop(const DecisionInput& input, Overflow said, absl::Time until, ChannelDecision& decision) {
  const Overflow overflow = Allowed(input, said);
  decision.rules.back().level = std::string(ToWord(overflow));
  if (overflow != said) decision.rules.push_back({.gate = Gate::kRequired});
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
