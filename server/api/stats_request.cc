#include "server/api/stats_request.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

bool CheckDay(absl::string_view field, absl::string_view text, absl::CivilDay& day, Violations& violations) {
  // Other spellings of a day that it would take are refused.
  if (absl::ParseCivilTime(text, &day) && absl::FormatCivilTime(day) == text) return true;
  violations.Add(field, "must be a day like 2026-11-26");
  return false;
}

StatsStore::Query CheckQuery(AppId app, const v1::GetStatsRequest& request, Violations& violations) {
  StatsStore::Query query{.app = app, .from = {}, .to = {}, .type = request.type(), .channel = {}};
  const bool has_from = CheckDay("from_day", request.from_day(), query.from, violations);
  const bool has_to = CheckDay("to_day", request.to_day(), query.to, violations);
  if (has_from && has_to && (query.to < query.from || query.to - query.from >= limits::kMaxStatsDays)) {
    violations.Add("to_day", absl::StrCat("must be 0 to ", limits::kMaxStatsDays - 1, " days after from_day"));
  }
  if (!request.type().empty()) violations.CheckName("type", request.type(), limits::kMaxTypeNameBytes);
  if (!v1::Channel_IsValid(request.channel())) violations.Add("channel", "must be one of Channel");
  if (request.channel() != v1::CHANNEL_UNSPECIFIED) query.channel = static_cast<Channel>(request.channel());
  return query;
}

void ToProto(const DailyStats& stats, v1::StatsRow* out) {
  out->set_day(absl::FormatCivilTime(stats.day));
  out->set_type(stats.type);
  out->set_channel(static_cast<v1::Channel>(stats.channel));
  out->set_sent(stats.sent);
  out->set_delivered(stats.delivered);
  out->set_undelivered(stats.undelivered);
  out->set_opened(stats.opened);
  out->set_clicked(stats.clicked);
  out->set_suppressed(stats.suppressed);
  out->set_expired(stats.expired);
  out->set_dead(stats.dead);
}

}  // namespace

absl::Status GetStats(StatsStore& store, AppId app, const v1::GetStatsRequest& request,
                      v1::GetStatsResponse* response) {
  Violations violations;
  const StatsStore::Query query = CheckQuery(app, request, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const std::vector<DailyStats> rows, store.Read(query, limits::kMaxStatsRows + 1));
  if (rows.size() > static_cast<size_t>(limits::kMaxStatsRows)) {
    return error::InvalidField("to_day", absl::StrCat("there are more than ", limits::kMaxStatsRows,
                                                      " rows: ask for fewer days, or one type or channel"));
  }
  for (const DailyStats& row : rows) ToProto(row, response->add_rows());
  return absl::OkStatus();
}

}  // namespace carillon
