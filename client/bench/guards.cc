#include "client/bench/guards.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "carillon/domain/topology.h"
#include "carillon/postgres/session.h"
#include "carillon/rabbitmq/topology_admin.h"
#include "client/bench/error_counts.h"
#include "client/bench/metrics_page.h"

namespace carillon::bench {
namespace {

// PostgreSQL's sessions tell their counts with a delay.
constexpr absl::Duration kLateCounts = absl::Seconds(10);
constexpr absl::Duration kPollInterval = absl::Milliseconds(200);
constexpr const char* kGuarded[] = {"fsync=", "full_page_writes=", "synchronous_commit="};

bool WaitsForDisk(absl::string_view synchronous_commit) {
  return synchronous_commit == "on" || absl::StartsWith(synchronous_commit, "remote_");
}

bool IsGuarded(absl::string_view setting) {
  return std::any_of(std::begin(kGuarded), std::end(kGuarded),
                     [&](const char* name) { return absl::StartsWith(setting, name); });
}

bool IsLowered(absl::string_view setting) {
  if (!IsGuarded(setting)) return false;
  const absl::string_view value = setting.substr(setting.find('=') + 1);
  return value != "on" && !WaitsForDisk(value);
}

absl::Status Refusal(const std::vector<std::string>& faults) {
  if (faults.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("nothing is reported: ", absl::StrJoin(faults, "; ")));
}

// The queues alone, as they must be: a broker that has one otherwise refuses.
absl::Status CheckQueues(const std::string& amqp_url) {
  RabbitTopologyAdmin admin({.url = amqp_url, .client_name = "carillon-bench"});
  Topology queues;
  queues.queues = CarillonTopology().queues;
  return admin.Declare(queues);
}

}  // namespace

std::vector<std::string> FaultsOf(const SafetySettings& settings) {
  std::vector<std::string> faults;
  if (settings.fsync != "on") faults.push_back(absl::StrCat("fsync is ", settings.fsync));
  if (settings.full_page_writes != "on") {
    faults.push_back(absl::StrCat("full_page_writes is ", settings.full_page_writes));
  }
  if (!WaitsForDisk(settings.synchronous_commit)) {
    faults.push_back(absl::StrCat("synchronous_commit is ", settings.synchronous_commit));
  }
  for (const std::string& setting : settings.role_settings) {
    if (IsLowered(setting)) faults.push_back(absl::StrCat(setting, " is set for a role or database"));
  }
  if (!settings.queues.ok()) faults.push_back(absl::StrCat("queues: ", Brief(settings.queues)));
  return faults;
}

std::vector<std::string> FaultsOf(const SafetySettings& settings, const SafetyCounts& before, const SafetyCounts& after,
                                  int64_t confirms) {
  std::vector<std::string> faults = FaultsOf(settings);
  // With open_sync the kernel syncs within each write, which is not counted.
  const bool counted = !absl::StartsWith(settings.wal_sync_method, "open_");
  if (counted && after.wal_syncs <= before.wal_syncs) faults.push_back("PostgreSQL has not synced its log once");
  if (const int64_t seen = after.confirms - before.confirms; seen < confirms) {
    faults.push_back(absl::StrCat("the broker confirmed ", seen, " notifications, and not at least ", confirms));
  }
  return faults;
}

Guards::Guards(const BenchOptions& options)
    : database_url_(options.database_url), amqp_url_(options.amqp_url), relay_metrics_url_(MetricsUrlOf("relay")) {}

absl::Status Guards::Check() {
  const absl::StatusOr<SafetySettings> settings = Settings();
  if (!settings.ok()) return settings.status();
  if (absl::Status status = Refusal(FaultsOf(*settings)); !status.ok()) return status;
  const absl::StatusOr<SafetyCounts> counts = Counts();
  if (!counts.ok()) return counts.status();
  before_ = *counts;
  return absl::OkStatus();
}

void Guards::RelayStarted(const std::string& metrics_url) {
  relay_metrics_url_ = metrics_url;
  before_.confirms = 0;
}

absl::Status Guards::CheckRun(int64_t confirms) {
  const absl::StatusOr<SafetySettings> settings = Settings();
  if (!settings.ok()) return settings.status();
  const absl::Time deadline = absl::Now() + kLateCounts;
  while (true) {
    const absl::StatusOr<SafetyCounts> counts = Counts();
    if (!counts.ok()) return counts.status();
    const std::vector<std::string> faults = FaultsOf(*settings, before_, *counts, confirms);
    if (faults.empty() || absl::Now() > deadline) return Refusal(faults);
    absl::SleepFor(kPollInterval);
  }
}

// By a session as the system's own are made, so that what rides in the connection
// string is seen as well.
absl::StatusOr<SafetySettings> Guards::Settings() const {
  if (database_url_.empty() || amqp_url_.empty() || relay_metrics_url_.empty()) {
    return absl::FailedPreconditionError(
        "nothing is reported: whether the backends are safe can't be seen without CARILLON_DATABASE_URL, "
        "CARILLON_AMQP_URL and CARILLON_METRICS_RELAY");
  }
  PgSession session({.url = database_url_, .application_name = "carillon-bench"});
  SafetySettings settings;
  const absl::Status status = session.Run([&](pqxx::transaction_base& transaction) {
    const pqxx::row row = transaction.exec1(
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'), "
        "current_setting('wal_sync_method')");
    settings.fsync = row[0].c_str();
    settings.full_page_writes = row[1].c_str();
    settings.synchronous_commit = row[2].c_str();
    settings.wal_sync_method = row[3].c_str();
    for (const auto& set : transaction.exec("SELECT unnest(setconfig) FROM pg_catalog.pg_db_role_setting")) {
      settings.role_settings.emplace_back(set[0].c_str());
    }
  });
  if (!status.ok()) return status;
  settings.queues = CheckQueues(amqp_url_);
  return settings;
}

absl::StatusOr<SafetyCounts> Guards::Counts() const {
  const absl::StatusOr<std::string> page = FetchMetrics(relay_metrics_url_);
  if (!page.ok()) return page.status();
  SafetyCounts counts;
  counts.confirms = static_cast<int64_t>(SumOf(*page, "carillon_published_total", "outcome=\"confirmed\""));
  PgSession session({.url = database_url_, .application_name = "carillon-bench"});
  const absl::Status status = session.Run([&](pqxx::transaction_base& transaction) {
    counts.wal_syncs = transaction.exec1("SELECT wal_sync FROM pg_catalog.pg_stat_wal")[0].as<int64_t>();
  });
  if (!status.ok()) return status;
  return counts;
}

}  // namespace carillon::bench
