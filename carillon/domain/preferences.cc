#include "carillon/domain/preferences.h"

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

using Scope = Preference::Scope;

bool Applies(const Preference& preference, const PreferenceSubject& subject) {
  if (preference.channel.has_value() && *preference.channel != subject.channel) return false;
  switch (preference.scope) {
    case Scope::kAll:
      return true;
    case Scope::kCategory:
      return !subject.category.empty() && preference.name == subject.category;
    case Scope::kType:
      return preference.name == subject.type;
  }
  return false;
}

bool IsNarrower(const Preference& a, const Preference& b) {
  if (a.scope != b.scope) return a.scope > b.scope;
  return a.channel.has_value() && !b.channel.has_value();
}

const Preference* Narrowest(absl::Span<const Preference> preferences, const PreferenceSubject& subject) {
  const Preference* narrowest = nullptr;
  for (const Preference& preference : preferences) {
    if (!Applies(preference, subject)) continue;
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

Choice WhatHolds(Choice said, const PreferenceSubject& subject) {
  if (said == Choice::kOff && subject.required) return Choice::kOn;
  if (said == Choice::kDigest && subject.channel == Channel::kInApp) return Choice::kOn;
  return said;
}

}  // namespace

std::optional<EffectivePreference> FindPreference(const PreferenceSubject& subject,
                                                  absl::Span<const Preference> of_recipient,
                                                  absl::Span<const Preference> of_app) {
  absl::string_view whose = "recipient";
  const Preference* preference = Narrowest(of_recipient, subject);
  if (preference == nullptr) {
    whose = "app";
    preference = Narrowest(of_app, subject);
  }
  if (preference == nullptr) return std::nullopt;
  return EffectivePreference{.level = DescribeLevel(whose, *preference),
                             .said = preference->choice,
                             .holds = WhatHolds(preference->choice, subject)};
}

}  // namespace carillon
