#include "carillon/postgres/settings_json.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

absl::Status Unknown(absl::string_view what, absl::string_view json) {
  return absl::DataLossError(absl::StrCat("the stored ", what, " are not understood: ", json));
}

std::optional<Choice> ParseChoice(absl::string_view text) {
  for (const Choice choice : {Choice::kOn, Choice::kOff, Choice::kDigest}) {
    if (text == ToString(choice)) return choice;
  }
  return std::nullopt;
}

std::optional<Preference::Scope> ParseScope(absl::string_view text) {
  for (const auto scope : {Preference::Scope::kAll, Preference::Scope::kCategory, Preference::Scope::kType}) {
    if (text == ToString(scope)) return scope;
  }
  return std::nullopt;
}

std::optional<Preference> PreferenceOf(const Json& json) {
  const std::optional<Choice> choice = ParseChoice(json.value("choice", ""));
  const std::optional<Preference::Scope> scope = ParseScope(json.value("scope", ""));
  const std::string channel = json.value("channel", "");
  if (!choice.has_value() || !scope.has_value()) return std::nullopt;
  Preference preference{.scope = *scope, .name = json.value("name", ""), .channel = {}, .choice = *choice};
  if (!channel.empty()) {
    preference.channel = ParseChannel(channel);
    if (!preference.channel.has_value()) return std::nullopt;
  }
  return preference;
}

constexpr const char* kOverflows[] = {"drop", "hold", "digest", "in_app_only"};  // In the order of Overflow.

Overflow OverflowOf(const Json& json, const char* name, Overflow otherwise) {
  const std::string word = json.value(name, "");
  for (size_t i = 0; i < std::size(kOverflows); ++i) {
    if (word == kOverflows[i]) return static_cast<Overflow>(i);
  }
  return otherwise;
}

constexpr const char* kEvery[] = {"hour", "day", "week"};

}  // namespace

absl::string_view ToString(Choice choice) {
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

absl::string_view ToString(Preference::Scope scope) {
  switch (scope) {
    case Preference::Scope::kAll:
      return "all";
    case Preference::Scope::kCategory:
      return "category";
    case Preference::Scope::kType:
      return "type";
  }
  return "";
}

std::string EncodePolicy(const DeliveryPolicy& policy) {
  Json json = {{"cap_overflow", kOverflows[static_cast<int>(policy.cap_overflow)]},
               {"quiet_overflow", kOverflows[static_cast<int>(policy.quiet_overflow)]}};
  for (const Cap& cap : policy.caps) {
    json["caps"].push_back({{"channel", std::string(ToString(cap.channel))},
                            {"limit", cap.limit},
                            {"window_seconds", absl::ToInt64Seconds(cap.window)}});
  }
  if (policy.aggregation.has_value()) {
    json["aggregation"] = {{"window_seconds", absl::ToInt64Seconds(policy.aggregation->window)},
                           {"sliding", policy.aggregation->sliding},
                           {"max_window_seconds", absl::ToInt64Seconds(policy.aggregation->max_window)}};
  }
  return json.dump();
}

absl::StatusOr<DeliveryPolicy> DecodePolicy(absl::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Unknown("policies of a type", text);
  DeliveryPolicy policy;
  policy.cap_overflow = OverflowOf(json, "cap_overflow", policy.cap_overflow);
  policy.quiet_overflow = OverflowOf(json, "quiet_overflow", policy.quiet_overflow);
  for (const Json& one : json.value("caps", Json::array())) {
    const std::optional<Channel> channel = ParseChannel(one.value("channel", ""));
    if (!channel.has_value()) return Unknown("policies of a type", text);
    policy.caps.push_back({.channel = *channel,
                           .limit = one.value("limit", 1),
                           .window = absl::Seconds(one.value("window_seconds", int64_t{1}))});
  }
  if (const auto found = json.find("aggregation"); found != json.end()) {
    policy.aggregation = Aggregation{.window = absl::Seconds(found->value("window_seconds", int64_t{1})),
                                     .sliding = found->value("sliding", false),
                                     .max_window = absl::Seconds(found->value("max_window_seconds", int64_t{0}))};
  }
  return policy;
}

std::string EncodePreferences(absl::Span<const Preference> preferences) {
  Json json = Json::array();
  for (const Preference& preference : preferences) {
    Json one = {{"scope", std::string(ToString(preference.scope))},
                {"choice", std::string(ToString(preference.choice))}};
    if (!preference.name.empty()) one["name"] = preference.name;
    if (preference.channel.has_value()) one["channel"] = std::string(ToString(*preference.channel));
    json.push_back(std::move(one));
  }
  return json.dump();
}

std::string EncodeQuietHours(const QuietHours& quiet_hours) {
  Json json = Json::array();
  for (const QuietSpan& span : quiet_hours.spans()) {
    json.push_back({{"day", static_cast<int>(span.day)}, {"start", span.start_minute}, {"end", span.end_minute}});
  }
  return json.dump();
}

std::string EncodeDigestTime(const DigestTime& time) {
  return Json{
      {"every", kEvery[static_cast<int>(time.every)]}, {"minute", time.minute}, {"day", static_cast<int>(time.day)}}
      .dump();
}

absl::StatusOr<std::vector<Preference>> DecodePreferences(absl::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return Unknown("preferences", text);
  std::vector<Preference> preferences;
  for (const Json& one : json) {
    std::optional<Preference> preference = one.is_object() ? PreferenceOf(one) : std::nullopt;
    if (!preference.has_value()) return Unknown("preferences", text);
    preferences.push_back(*std::move(preference));
  }
  return preferences;
}

absl::StatusOr<QuietHours> DecodeQuietHours(absl::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return Unknown("quiet hours", text);
  std::vector<QuietSpan> spans;
  for (const Json& one : json) {
    if (!one.is_object()) return Unknown("quiet hours", text);
    spans.push_back({.day = static_cast<absl::Weekday>(one.value("day", 0)),
                     .start_minute = one.value("start", -1),
                     .end_minute = one.value("end", -1)});
  }
  absl::StatusOr<QuietHours> quiet_hours = QuietHours::Make(std::move(spans));
  return quiet_hours.ok() ? std::move(quiet_hours) : Unknown("quiet hours", text);
}

absl::StatusOr<DigestTime> DecodeDigestTime(absl::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Unknown("digest times", text);
  for (size_t i = 0; i < std::size(kEvery); ++i) {
    if (json.value("every", "") != kEvery[i]) continue;
    return DigestTime{.every = static_cast<DigestTime::Every>(i),
                      .minute = json.value("minute", 0),
                      .day = static_cast<absl::Weekday>(json.value("day", 0))};
  }
  return Unknown("digest times", text);
}

}  // namespace carillon
