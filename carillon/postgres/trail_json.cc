#include "carillon/postgres/trail_json.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "carillon/postgres/settings_json.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

// In the order of the enums.
constexpr const char* kOutcomes[] = {"send", "hold", "digest", "in_app_only", "suppress", "expire"};
constexpr const char* kGates[] = {"expiry",     "critical",       "required",    "muted_actor", "muted_object",
                                  "preference", "do_not_disturb", "quiet_hours", "cap"};
constexpr const char* kChoices[] = {"on", "off", "digest"};

template <typename Enum, size_t n>
std::optional<Enum> Parse(const char* const (&words)[n], const std::string& word) {
  for (size_t i = 0; i < n; ++i) {
    if (word == words[i]) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

template <typename Enum, size_t n>
const char* Word(const char* const (&words)[n], Enum value) {
  return words[static_cast<size_t>(value)];
}

Json ToJson(const Rule& rule) {
  Json json = {{"gate", Word(kGates, rule.gate)}};
  if (!rule.level.empty()) json["level"] = rule.level;
  if (rule.gate == Rule::Gate::kPreference) json["choice"] = Word(kChoices, rule.choice);
  if (rule.until.has_value()) json["until_us"] = absl::ToUnixMicros(*rule.until);
  if (rule.gate == Rule::Gate::kCap) {
    json["count"] = rule.count;
    json["limit"] = rule.limit;
    json["window_us"] = absl::ToInt64Microseconds(rule.window);
  }
  return json;
}

std::optional<Rule> RuleOf(const Json& json) {
  const auto gate = Parse<Rule::Gate>(kGates, json.value("gate", ""));
  if (!gate.has_value()) return std::nullopt;
  Rule rule{.gate = *gate,
            .level = json.value("level", ""),
            .choice = Parse<Choice>(kChoices, json.value("choice", "")).value_or(Choice::kOn),
            .until = {},
            .count = json.value("count", int64_t{0}),
            .limit = json.value("limit", int64_t{0}),
            .window = absl::Microseconds(json.value("window_us", int64_t{0}))};
  if (json.contains("until_us")) rule.until = absl::FromUnixMicros(json.value("until_us", int64_t{0}));
  return rule;
}

}  // namespace

std::string EncodeTrail(const TrailEntry& entry) {
  Json json = {{"at_us", absl::ToUnixMicros(entry.time)}, {"outcome", Word(kOutcomes, entry.decision.outcome)}};
  if (entry.decision.outcome == Outcome::kHold) json["until_us"] = absl::ToUnixMicros(entry.decision.until);
  json["rules"] = Json::array();
  for (const Rule& rule : entry.decision.rules) json["rules"].push_back(ToJson(rule));
  // Ids of categories and the like were checked at the door; nothing else is thrown over.
  return Json::array({std::move(json)}).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<TrailEntry> DecodeTrail(absl::string_view text, Channel channel) {
  std::vector<TrailEntry> trail;
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_array()) return trail;
  for (const Json& one : json) {
    const auto outcome = one.is_object() ? Parse<Outcome>(kOutcomes, one.value("outcome", "")) : std::nullopt;
    if (!outcome.has_value()) continue;
    TrailEntry& entry = trail.emplace_back();
    entry.time = absl::FromUnixMicros(one.value("at_us", int64_t{0}));
    entry.decision = {.channel = channel,
                      .outcome = *outcome,
                      .until = absl::FromUnixMicros(one.value("until_us", int64_t{0})),
                      .rules = {}};
    for (const Json& rule : one.value("rules", Json::array())) {
      if (std::optional<Rule> known = RuleOf(rule)) entry.decision.rules.push_back(*std::move(known));
    }
  }
  return trail;
}

}  // namespace carillon
