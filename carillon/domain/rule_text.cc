#include "carillon/domain/rule_text.h"

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

std::string ToWord(Choice choice) {
  switch (choice) {
    case Choice::kOn:
      return "on";
    case Choice::kOff:
      return "off";
    case Choice::kDigest:
      return "digest";
  }
  return "";
}

}  // namespace

std::string Describe(const Rule& rule, absl::TimeZone zone) {
  const auto time = [&] { return absl::FormatTime("%a %-e %b %Y %H:%M", *rule.until, zone); };
  const auto until = [&] { return rule.until.has_value() ? absl::StrCat(" until ", time()) : ""; };
  const auto policy = [&] { return rule.level.empty() ? "" : absl::StrCat(": ", rule.level); };
  switch (rule.gate) {
    case Rule::Gate::kExpiry:
      return absl::StrCat("its ", rule.level.empty() ? "ttl" : rule.level, " ended at ", time());
    case Rule::Gate::kCritical:
      return "critical: settings are not asked";
    case Rule::Gate::kRequired:
      return "required: can’t be switched off";
    case Rule::Gate::kMutedActor:
      return absl::StrCat("actor is muted", until());
    case Rule::Gate::kMutedObject:
      return absl::StrCat("object is muted", until());
    case Rule::Gate::kPreference:
      return absl::StrCat(rule.level, ": ", ToWord(rule.choice));
    case Rule::Gate::kDoNotDisturb:
      return absl::StrCat("do not disturb", until(), policy());
    case Rule::Gate::kQuietHours:
      return absl::StrCat("quiet hours", until(), policy());
    case Rule::Gate::kCap:
      return absl::StrCat(rule.count, " of ", rule.limit, " in ", absl::FormatDuration(rule.window),
                          rule.until.has_value() ? absl::StrCat(", room at ", time()) : "", policy());
  }
  return "";
}

}  // namespace carillon
