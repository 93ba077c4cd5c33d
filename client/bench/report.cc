#include "client/bench/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/bench/error_counts.h"

namespace carillon::bench {
namespace {

constexpr size_t kMaxDetails = 20;

bool Struck(const StruckFault& fault) { return fault.under_load && fault.status.ok(); }

std::string Line(absl::string_view name, absl::string_view text) { return absl::StrFormat("%-16s %s\n", name, text); }

std::string Text(const Percentiles& times) {
  return absl::StrFormat("p50 %.1f ms, p95 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, max %.1f ms", Milliseconds(times.p50),
                         Milliseconds(times.p95), Milliseconds(times.p99), Milliseconds(times.p999),
                         Milliseconds(times.max));
}

std::string Text(const Usage& usage, int64_t notifications) {
  const Json figures = JsonOf(usage, notifications);
  std::string text = absl::StrFormat("%s us a notification (", figures["cpu_us_per_notification"]["all"].dump());
  for (const auto& [process, value] : figures["cpu_us_per_notification"].items()) {
    if (process != "all") absl::StrAppend(&text, process, " ", value.dump(), ", ");
  }
  return absl::StrFormat("%ssteal %.1f %%, idle %.1f %%)", text, usage.steal_percent, usage.idle_percent);
}

std::string Text(const Findings& findings) {
  return absl::StrFormat("%d lost, %d duplicate, %d unexpected, %d gaps, %d out of order", findings.lost,
                         findings.duplicates, findings.unexpected, findings.gaps, findings.disorder);
}

std::string Text(const StruckFault& fault) {
  if (!fault.under_load && fault.accepted == 0) return absl::StrCat(Describe(fault.fault), ": DID NOT STRIKE");
  return absl::StrFormat("%s after %.1f s at %d accepted%s, back after %.1f s%s", Describe(fault.fault),
                         absl::ToDoubleSeconds(fault.moment), fault.accepted,
                         fault.under_load ? "" : ", NOT UNDER LOAD", absl::ToDoubleSeconds(fault.outage),
                         fault.status.ok() ? "" : absl::StrCat(": ", Brief(fault.status)));
}

std::string Text(const std::map<std::string, int64_t>& errors) {
  if (errors.empty()) return "none";
  return absl::StrJoin(errors, ", ", absl::PairFormatter(" "));
}

void AddDetails(absl::string_view name, const std::vector<std::string>& found, std::vector<std::string>& details) {
  for (size_t i = 0; i < std::min(found.size(), kMaxDetails); ++i) {
    details.push_back(absl::StrFormat("%-16s %s", name, found[i]));
  }
}

// What is wrong, in words; the first few of each kind.
std::vector<std::string> DetailsOf(const Report& report) {
  std::vector<std::string> details;
  AddDetails("wrong", report.feeds.examples, details);
  AddDetails("wrong", report.streams.examples, details);
  AddDetails("wrong counters", report.wrong_counters, details);
  AddDetails("dead", report.dead_letters, details);
  AddDetails("lost", report.lost_notifications, details);
  AddDetails("problem", report.problems, details);
  return details;
}

Json JsonOf(const Findings& findings) {
  return {{"lost", findings.lost},
          {"duplicates", findings.duplicates},
          {"unexpected", findings.unexpected},
          {"gaps", findings.gaps},
          {"disorder", findings.disorder}};
}

Json JsonOf(const std::vector<StruckFault>& faults) {
  Json list = Json::array();
  for (const StruckFault& fault : faults) {
    list.push_back({{"fault", Describe(fault.fault)},
                    {"planned_at_accepted", fault.fault.at_accepted},
                    {"at_accepted", fault.accepted},
                    {"after_seconds", absl::ToDoubleSeconds(fault.moment)},
                    {"outage_seconds", absl::ToDoubleSeconds(fault.outage)},
                    {"under_load", fault.under_load},
                    {"status", Brief(fault.status)}});
  }
  return list;
}

}  // namespace

bool Report::passed() const {
  return accepted == asked && feeds.clean() && streams.clean() && wrong_counters.empty() && dead_letters.empty() &&
         problems.empty() && std::all_of(faults.begin(), faults.end(), Struck);
}

std::string ToText(const Report& report) {
  std::string text;
  for (const StruckFault& fault : report.faults) absl::StrAppend(&text, Line("fault", Text(fault)));
  absl::StrAppend(
      &text,
      Line("accepted", absl::StrFormat("%d of %d in %.1f s, %.0f/s; %d answered as duplicates of an earlier attempt",
                                       report.accepted, report.asked, absl::ToDoubleSeconds(report.load_time),
                                       RatePerSecond(report.accepted, report.load_time), report.answered_as_duplicate)),
      Line("errors", absl::StrFormat("%s; %d attempts repeated", Text(report.errors), report.retried)),
      Line("delivered",
           absl::StrFormat("%d in %.1f s, %.0f/s", report.delivered, absl::ToDoubleSeconds(report.delivery_time),
                           RatePerSecond(report.delivered, report.delivery_time))),
      Line("feeds", Text(report.feeds)),
      Line("live streams", absl::StrFormat("%s; broken %d times, %d told to resume", Text(report.streams),
                                           report.stream_disconnects, report.resumes_required)),
      Line("counters", absl::StrCat(report.wrong_counters.size(), " wrong")),
      Line("dead letters", absl::StrCat(report.dead_letters.size())), Line("send", Text(report.send)),
      Line("send to stream", Text(report.send_to_stream)));
  if (report.usage.has_value()) absl::StrAppend(&text, Line("cpu", Text(*report.usage, report.accepted)));
  for (const std::string& detail : DetailsOf(report)) absl::StrAppend(&text, detail, "\n");
  if (!report.passed() && !report.accepted_log.empty())
    absl::StrAppend(&text, Line("accepted ids", report.accepted_log));
  absl::StrAppend(&text, Line("seed", absl::StrCat(report.seed)),
                  Line("result", report.passed() ? "PASSED" : "FAILED"));
  return text;
}

std::string ToJson(const Report& report) {
  Json document = {{"scenario", "e2e"},
                   {"passed", report.passed()},
                   {"seed", report.seed},
                   {"asked", report.asked},
                   {"accepted", report.accepted},
                   {"warm_up", report.warm_up},
                   {"answered_as_duplicate", report.answered_as_duplicate},
                   {"errors", report.errors},
                   {"retried", report.retried},
                   {"delivered", report.delivered},
                   {"lost", report.feeds.lost},
                   {"duplicates", report.feeds.duplicates + report.feeds.unexpected},
                   {"gaps", report.feeds.gaps},
                   {"wrong_counters", report.wrong_counters.size()},
                   {"dead_letters", report.dead_letters.size()},
                   {"feeds", JsonOf(report.feeds)},
                   {"streams", JsonOf(report.streams)},
                   {"stream_disconnects", report.stream_disconnects},
                   {"resumes_required", report.resumes_required},
                   {"accepted_per_second", RatePerSecond(report.accepted, report.load_time)},
                   {"delivered_per_second", RatePerSecond(report.delivered, report.delivery_time)},
                   {"send_milliseconds", JsonOf(report.send)},
                   {"send_to_stream_milliseconds", JsonOf(report.send_to_stream)},
                   {"faults", JsonOf(report.faults)},
                   {"details", DetailsOf(report)},
                   {"accepted_log", report.accepted_log}};
  if (report.usage.has_value()) document["usage"] = JsonOf(*report.usage, report.accepted);
  return document.dump(2) + "\n";
}

}  // namespace carillon::bench
