#include "carillon/postgres/dead_letter_filter.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace carillon {
namespace {

using Json = nlohmann::json;

void AddEqual(std::string& sql, const pqxx::transaction_base& transaction, const char* column,
              const std::string& value) {
  if (!value.empty()) absl::StrAppend(&sql, " AND ", column, " = ", transaction.quote(value));
}

void AddBound(std::string& sql, const char* comparison, const std::optional<absl::Time>& time) {
  if (!time.has_value()) return;
  absl::StrAppend(&sql, " AND d.dead_at ", comparison, " to_timestamp(", absl::ToUnixMicros(*time), " / 1e6::float8)");
}

void AddText(Json& json, const char* name, const std::string& text) {
  if (!text.empty()) json[name] = text;
}

void AddTime(Json& json, const char* name, const std::optional<absl::Time>& time) {
  if (time.has_value()) json[name] = absl::ToUnixMicros(*time);
}

void AddAge(Json& json, const char* name, const std::optional<absl::Duration>& age) {
  if (age.has_value()) json[name] = absl::ToInt64Microseconds(*age);
}

std::optional<absl::Time> TimeIn(const Json& json, const char* name) {
  if (!json.contains(name)) return std::nullopt;
  return absl::FromUnixMicros(json[name].get<int64_t>());
}

std::optional<absl::Duration> AgeIn(const Json& json, const char* name) {
  if (!json.contains(name)) return std::nullopt;
  return absl::Microseconds(json[name].get<int64_t>());
}

}  // namespace

std::string FilterCondition(const pqxx::transaction_base& transaction, const DeadLetterFilter& filter) {
  std::string sql = "d.state = 'dead'";
  if (filter.app.has_value()) {
    absl::StrAppend(&sql, " AND (d.app_id = ", filter.app->value(),
                    filter.or_of_no_app ? " OR d.app_id IS NULL)" : ")");
  }
  AddEqual(sql, transaction, "d.queue", filter.queue);
  AddEqual(sql, transaction, "d.lane", filter.lane);
  AddEqual(sql, transaction, "d.type", filter.type);
  AddEqual(sql, transaction, "d.error_kind", filter.error_kind);
  AddEqual(sql, transaction, "d.provider", filter.provider);
  if (filter.without_provider) absl::StrAppend(&sql, " AND d.provider IS NULL");
  if (!filter.error.empty()) {
    absl::StrAppend(&sql, " AND strpos(lower(concat_ws(' ', d.reason, d.error, d.error_kind)), lower(",
                    transaction.quote(filter.error), ")) > 0");
  }
  if (!filter.ids.empty()) absl::StrAppend(&sql, " AND d.dead_letter_id IN (", absl::StrJoin(filter.ids, ","), ")");
  AddBound(sql, "<=", filter.died_before);
  AddBound(sql, ">=", filter.died_after);
  return sql;
}

std::string EncodeFilter(const DeadLetterFilter& filter) {
  Json json = Json::object();
  if (filter.app.has_value()) json["app_id"] = filter.app->value();
  if (filter.or_of_no_app) json["or_of_no_app"] = true;
  AddText(json, "app_key", filter.app_key);
  AddText(json, "queue", filter.queue);
  AddText(json, "lane", filter.lane);
  AddText(json, "type", filter.type);
  AddText(json, "error", filter.error);
  AddText(json, "error_kind", filter.error_kind);
  AddText(json, "provider", filter.provider);
  if (filter.without_provider) json["without_provider"] = true;
  if (!filter.ids.empty()) json["dead_letter_ids"] = filter.ids;
  AddAge(json, "older_than_us", filter.older_than);
  AddAge(json, "newer_than_us", filter.newer_than);
  AddTime(json, "died_before_us", filter.died_before);
  AddTime(json, "died_after_us", filter.died_after);
  return json.dump();
}

DeadLetterFilter DecodeFilter(absl::string_view text) {
  DeadLetterFilter filter;
  const Json json = Json::parse(text);
  if (json.contains("app_id")) filter.app = AppId(json["app_id"].get<int64_t>());
  filter.or_of_no_app = json.value("or_of_no_app", false);
  filter.app_key = json.value("app_key", std::string());
  filter.queue = json.value("queue", std::string());
  filter.lane = json.value("lane", std::string());
  filter.type = json.value("type", std::string());
  filter.error = json.value("error", std::string());
  filter.error_kind = json.value("error_kind", std::string());
  filter.provider = json.value("provider", std::string());
  filter.without_provider = json.value("without_provider", false);
  filter.ids = json.value("dead_letter_ids", std::vector<int64_t>());
  filter.older_than = AgeIn(json, "older_than_us");
  filter.newer_than = AgeIn(json, "newer_than_us");
  filter.died_before = TimeIn(json, "died_before_us");
  filter.died_after = TimeIn(json, "died_after_us");
  return filter;
}

}  // namespace carillon
