#include "server/api/settings_checks.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

using google::protobuf::RepeatedPtrField;

constexpr int kDayMinutes = 24 * 60;
constexpr int kWeekDays = 7;
constexpr int kNanosPerSecond = 1'000'000'000;

// --- Preferences.

std::optional<Choice> ChoiceOf(v1::Choice choice) {
  switch (choice) {
    case v1::CHOICE_ON:
      return Choice::kOn;
    case v1::CHOICE_OFF:
      return Choice::kOff;
    case v1::CHOICE_DIGEST:
      return Choice::kDigest;
    default:
      return std::nullopt;
  }
}

Preference CheckPreference(const v1::Preference& in, Violations& violations) {
  Preference preference;
  if (in.has_category()) {
    violations.CheckName("category", in.category(), limits::kMaxTypeNameBytes);
    preference.scope = Preference::Scope::kCategory;
    preference.name = in.category();
  } else if (in.has_type()) {
    violations.CheckName("type", in.type(), limits::kMaxTypeNameBytes);
    preference.scope = Preference::Scope::kType;
    preference.name = in.type();
  }
  if (!v1::Channel_IsValid(in.channel())) {
    violations.Add("channel", "must be a channel, or absent for all");
  } else if (in.channel() != v1::CHANNEL_UNSPECIFIED) {
    preference.channel = static_cast<Channel>(in.channel());
  }
  const std::optional<Choice> choice = ChoiceOf(in.choice());
  if (!choice.has_value()) violations.Add("choice", "must be CHOICE_ON, CHOICE_OFF or CHOICE_DIGEST");
  preference.choice = choice.value_or(Choice::kOn);
  return preference;
}

// --- Days.

bool IsDay(int day) { return day >= v1::WEEKDAY_MONDAY && day <= v1::WEEKDAY_SUNDAY; }
absl::Weekday DayOf(int day) { return static_cast<absl::Weekday>(day - v1::WEEKDAY_MONDAY); }
v1::Weekday ToProto(absl::Weekday day) { return static_cast<v1::Weekday>(static_cast<int>(day) + v1::WEEKDAY_MONDAY); }

// --- Quiet hours.

std::vector<absl::Weekday> CheckDays(const v1::QuietHours& in, Violations& violations) {
  std::set<absl::Weekday> days;
  if (in.days_size() > kWeekDays) {
    violations.Add("days", "must name each day once at most");
    return {};
  }
  for (int i = 0; i < in.days_size(); ++i) {
    const std::string field = absl::StrCat("days[", i, "]");
    if (!IsDay(in.days(i))) {
      violations.Add(field, "must be a day: WEEKDAY_MONDAY, ...");
    } else if (!days.insert(DayOf(in.days(i))).second) {
      violations.Add(field, "must name each day once");
    }
  }
  if (in.days().empty()) {
    for (int day = v1::WEEKDAY_MONDAY; day <= v1::WEEKDAY_SUNDAY; ++day) days.insert(DayOf(day));
  }
  return {days.begin(), days.end()};
}

void CheckSpan(const v1::QuietHours& in, std::vector<QuietSpan>& spans, Violations& violations) {
  if (in.start_minute() < 0 || in.start_minute() >= kDayMinutes) {
    violations.Add("start_minute", "must be 0 to 1439: a minute of the day");
  }
  if (in.end_minute() < 0 || in.end_minute() > kDayMinutes) {
    violations.Add("end_minute", "must be 0 to 1440: a minute of the day");
  }
  for (const absl::Weekday day : CheckDays(in, violations)) {
    spans.push_back({.day = day, .start_minute = in.start_minute(), .end_minute = in.end_minute()});
  }
}

// Spans that differ in nothing but the day, in the order of the first of each.
void AddDays(const QuietHours& quiet_hours, v1::RecipientSettings* out) {
  for (const QuietSpan& span : quiet_hours.spans()) {
    auto& all = *out->mutable_quiet_hours();
    auto like = std::find_if(all.begin(), all.end(), [&](const v1::QuietHours& one) {
      return one.start_minute() == span.start_minute && one.end_minute() == span.end_minute;
    });
    if (like == all.end()) {
      v1::QuietHours& added = *all.Add();
      added.set_start_minute(span.start_minute);
      added.set_end_minute(span.end_minute);
      like = std::prev(all.end());
    }
    const v1::Weekday day = ToProto(span.day);
    if (std::count(like->days().begin(), like->days().end(), day) == 0) like->add_days(day);
  }
  for (v1::QuietHours& one : *out->mutable_quiet_hours()) {
    std::sort(one.mutable_days()->begin(), one.mutable_days()->end());
    if (one.days_size() == kWeekDays) one.clear_days();
  }
}

v1::DigestTime ToProto(const DigestTime& time) {
  v1::DigestTime out;
  switch (time.every) {
    case DigestTime::Every::kHour:
      out.set_every(v1::DigestTime::EVERY_HOUR);
      return out;
    case DigestTime::Every::kDay:
      out.set_every(v1::DigestTime::EVERY_DAY);
      break;
    case DigestTime::Every::kWeek:
      out.set_every(v1::DigestTime::EVERY_WEEK);
      out.set_day(ToProto(time.day));
      break;
  }
  out.set_minute(time.minute);
  return out;
}

// --- Mutes.

Mute CheckMute(const v1::Mute& in, Violations& violations) {
  Mute mute;
  if (in.actor_id().empty() == in.object_id().empty()) {
    violations.Add("actor_id", "must be given, or object_id instead of it");
  } else if (!in.actor_id().empty()) {
    violations.CheckId("actor_id", in.actor_id(), /*required=*/true);
    mute.id = in.actor_id();
  } else {
    violations.CheckId("object_id", in.object_id(), /*required=*/true);
    mute.kind = MuteKind::kObject;
    mute.id = in.object_id();
  }
  if (in.has_until()) mute.until = CheckTimestamp("until", in.until(), violations);
  return mute;
}

// --- The update mask.

struct SettingsField {
  const char* path;
  bool (*is_set)(const v1::RecipientSettings& settings);
  void (*take)(const v1::RecipientSettings& settings, absl::Time now, SettingsChange& change, Violations& violations);
};

void TakePreferences(const v1::RecipientSettings& settings, absl::Time, SettingsChange& change,
                     Violations& violations) {
  change.preferences = CheckPreferences("settings.preferences", settings.preferences(), violations);
}

void TakeDoNotDisturb(const v1::RecipientSettings& settings, absl::Time now, SettingsChange& change,
                      Violations& violations) {
  constexpr absl::string_view kField = "settings.do_not_disturb_until";
  change.do_not_disturb_until.emplace();
  if (!settings.has_do_not_disturb_until()) return;
  const absl::Time until = CheckTimestamp(kField, settings.do_not_disturb_until(), violations);
  if (until > now + limits::kMaxDoNotDisturb) violations.Add(kField, "must be at most 366 days ahead");
  *change.do_not_disturb_until = until;
}

void TakeQuietHours(const v1::RecipientSettings& settings, absl::Time, SettingsChange& change, Violations& violations) {
  change.quiet_hours = CheckQuietHours("settings.quiet_hours", settings.quiet_hours(), violations);
}

void TakeDigestTime(const v1::RecipientSettings& settings, absl::Time, SettingsChange& change, Violations& violations) {
  change.digest_time.emplace();
  if (!settings.has_digest_time()) return;
  change.digest_time = CheckDigestTime("settings.digest_time", settings.digest_time(), violations);
}

constexpr SettingsField kFields[] = {
    {"preferences", [](const v1::RecipientSettings& in) { return in.preferences_size() > 0; }, TakePreferences},
    {"do_not_disturb_until", [](const v1::RecipientSettings& in) { return in.has_do_not_disturb_until(); },
     TakeDoNotDisturb},
    {"quiet_hours", [](const v1::RecipientSettings& in) { return in.quiet_hours_size() > 0; }, TakeQuietHours},
    {"digest_time", [](const v1::RecipientSettings& in) { return in.has_digest_time(); }, TakeDigestTime},
};

}  // namespace

std::vector<Preference> CheckPreferences(absl::string_view field, const RepeatedPtrField<v1::Preference>& preferences,
                                         Violations& violations) {
  if (preferences.size() > limits::kMaxPreferences) {
    violations.Add(field, absl::StrCat("must be at most ", limits::kMaxPreferences));
    return {};
  }
  std::vector<Preference> checked;
  std::set<std::tuple<Preference::Scope, std::string, std::optional<Channel>>> seen;
  for (int i = 0; i < preferences.size(); ++i) {
    const std::string name = absl::StrCat(field, "[", i, "]");
    Violations own(absl::StrCat(name, "."));
    checked.push_back(CheckPreference(preferences[i], own));
    const Preference& last = checked.back();
    const bool is_new = seen.emplace(last.scope, last.name, last.channel).second;
    if (own.empty() && !is_new) violations.Add(name, "must differ from those before it in scope or channel");
    violations.Append(own);
  }
  return checked;
}

QuietHours CheckQuietHours(absl::string_view field, const RepeatedPtrField<v1::QuietHours>& quiet_hours,
                           Violations& violations) {
  const std::string too_many = absl::StrCat("must be at most ", limits::kMaxQuietSpans, " spans of a day in all");
  if (static_cast<size_t>(quiet_hours.size()) > limits::kMaxQuietSpans) {
    violations.Add(field, too_many);
    return {};
  }
  std::vector<QuietSpan> spans;
  Violations all;
  for (int i = 0; i < quiet_hours.size(); ++i) {
    Violations own(absl::StrCat(field, "[", i, "]."));
    CheckSpan(quiet_hours[i], spans, own);
    all.Append(own);
  }
  if (all.empty() && spans.size() > limits::kMaxQuietSpans) all.Add(field, too_many);
  if (!all.empty()) {
    violations.Append(all);
    return {};
  }
  absl::StatusOr<QuietHours> made = QuietHours::Make(std::move(spans));
  if (made.ok()) return *std::move(made);
  for (const FieldViolation& violation : DetailsOf(made.status()).violations) {
    violations.Add(field, violation.description);
  }
  return {};
}

DigestTime CheckDigestTime(absl::string_view field, const v1::DigestTime& in, Violations& violations) {
  Violations own(absl::StrCat(field, "."));
  DigestTime time{.every = DigestTime::Every::kDay, .minute = in.minute()};
  const bool is_weekly = in.every() == v1::DigestTime::EVERY_WEEK;
  if (in.every() == v1::DigestTime::EVERY_HOUR) {
    time = {.every = DigestTime::Every::kHour};
    if (in.minute() != 0) own.Add("minute", "must be absent with EVERY_HOUR, which is the full hour");
  } else if (in.every() != v1::DigestTime::EVERY_DAY && !is_weekly) {
    own.Add("every", "must be EVERY_HOUR, EVERY_DAY or EVERY_WEEK");
  }
  if (in.minute() < 0 || in.minute() >= kDayMinutes) own.Add("minute", "must be 0 to 1439: a minute of the day");
  if (is_weekly) {
    time.every = DigestTime::Every::kWeek;
    if (!IsDay(in.day())) own.Add("day", "must be a day with EVERY_WEEK: WEEKDAY_MONDAY, ...");
    if (IsDay(in.day())) time.day = DayOf(in.day());
  } else if (in.day() != v1::WEEKDAY_UNSPECIFIED) {
    own.Add("day", "may be given with EVERY_WEEK only");
  }
  violations.Append(own);
  return time;
}

absl::Time CheckTimestamp(absl::string_view field, const google::protobuf::Timestamp& time, Violations& violations) {
  if (time.seconds() < 0 || time.seconds() > limits::kLastTimestampSecond || time.nanos() < 0 ||
      time.nanos() >= kNanosPerSecond) {
    violations.Add(field, "must be a time from 1970 to 9999");
    return absl::UnixEpoch();
  }
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::vector<Mute> CheckMutes(absl::string_view field, const RepeatedPtrField<v1::Mute>& mutes, Violations& violations) {
  if (mutes.empty() || mutes.size() > limits::kMaxMutesInCall) {
    violations.Add(field, absl::StrCat("must be 1 to ", limits::kMaxMutesInCall));
    return {};
  }
  std::vector<Mute> checked;
  std::set<std::pair<MuteKind, std::string>> seen;
  for (int i = 0; i < mutes.size(); ++i) {
    const std::string name = absl::StrCat(field, "[", i, "]");
    Violations own(absl::StrCat(name, "."));
    checked.push_back(CheckMute(mutes[i], own));
    const bool is_new = seen.emplace(checked.back().kind, checked.back().id).second;
    if (own.empty() && !is_new) violations.Add(name, "must differ from those before it");
    violations.Append(own);
  }
  return checked;
}

void SettingsChange::ApplyTo(RecipientSettings& settings) const {
  if (preferences.has_value()) settings.preferences = *preferences;
  if (do_not_disturb_until.has_value()) settings.do_not_disturb_until = *do_not_disturb_until;
  if (quiet_hours.has_value()) settings.quiet_hours = *quiet_hours;
  if (digest_time.has_value()) settings.digest_time = *digest_time;
}

SettingsChange PrepareSettings(const v1::UpdateSettingsRequest& request, absl::Time now, Violations& violations) {
  SettingsChange change;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  if (!request.has_update_mask()) {
    for (const SettingsField& field : kFields) {
      if (field.is_set(request.settings())) field.take(request.settings(), now, change, violations);
    }
    return change;
  }
  if (request.update_mask().paths_size() > limits::kMaxMaskPaths) {
    violations.Add("update_mask", absl::StrCat("must name at most ", limits::kMaxMaskPaths, " fields"));
    return change;
  }
  const std::set<std::string> paths(request.update_mask().paths().begin(), request.update_mask().paths().end());
  for (const std::string& path : paths) {
    const auto* const field = std::find_if(std::begin(kFields), std::end(kFields),
                                           [&](const SettingsField& one) { return path == one.path; });
    if (field == std::end(kFields)) {
      violations.AddUnknownPath(path, "preferences, do_not_disturb_until, quiet_hours and digest_time");
    } else {
      field->take(request.settings(), now, change, violations);
    }
  }
  return change;
}

v1::Choice ToProto(Choice choice) {
  switch (choice) {
    case Choice::kOn:
      return v1::CHOICE_ON;
    case Choice::kOff:
      return v1::CHOICE_OFF;
    case Choice::kDigest:
      return v1::CHOICE_DIGEST;
  }
  return v1::CHOICE_UNSPECIFIED;
}

void ToProto(const Preference& preference, v1::Preference* out) {
  if (preference.scope == Preference::Scope::kCategory) out->set_category(preference.name);
  if (preference.scope == Preference::Scope::kType) out->set_type(preference.name);
  if (preference.channel.has_value()) out->set_channel(static_cast<v1::Channel>(*preference.channel));
  out->set_choice(ToProto(preference.choice));
}

void ToProto(const RecipientSettings& settings, v1::RecipientSettings* out) {
  for (const Preference& preference : settings.preferences) ToProto(preference, out->add_preferences());
  if (settings.do_not_disturb_until.has_value()) {
    *out->mutable_do_not_disturb_until() = ToTimestamp(*settings.do_not_disturb_until);
  }
  AddDays(settings.quiet_hours, out);
  if (settings.digest_time != DigestTime()) *out->mutable_digest_time() = ToProto(settings.digest_time);
}

void ToProto(const Mute& mute, v1::Mute* out) {
  (mute.kind == MuteKind::kActor ? out->mutable_actor_id() : out->mutable_object_id())->assign(mute.id);
  if (mute.until != absl::InfiniteFuture()) *out->mutable_until() = ToTimestamp(mute.until);
}

}  // namespace carillon
