#include "client/bench/herd.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/session.h"
#include "client/bench/ask_all.h"
#include "client/bench/metrics_page.h"
#include "client/bench/readback.h"
#include "client/bench/send_requests.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kServer = "server";
constexpr const char* kWorker = "worker-social";
constexpr const char* kBatchSend = "/carillon.v1.NotificationService/BatchSendNotifications";
constexpr size_t kBatch = 100;
constexpr int kInFlight = 4;
constexpr absl::Duration kTimeout = absl::Minutes(2);
// PostgreSQL's sessions tell their counts with a delay.
constexpr absl::Duration kLateCounts = absl::Seconds(2);

}  // namespace

Herd::Herd(const Options& options, RawSender& sender, StreamFleet& fleet, const CpuMeter& meter)
    : options_(options),
      sender_(sender),
      fleet_(fleet),
      meter_(meter),
      client_(options.bench.client),
      stack_(options.bench.stack_directory, options.bench.launcher) {}

absl::Status Herd::Run(Json& document) {
  RETURN_IF_ERROR(SendToAll());
  if (!fleet_.WaitForEach(1, kTimeout)) return absl::DeadlineExceededError("not all streams have their first item");
  RETURN_IF_ERROR(options_.restart ? KillAndStart() : CutAndReopen());
  const bool all_back = fleet_.WaitForEach(1, kTimeout);
  usage_ = CpuMeter::Between(before_, meter_.Read());
  AddFigures(all_back, usage_, document);
  if (options_.restart) return absl::OkStatus();
  absl::SleepFor(kLateCounts);
  ASSIGN_OR_RETURN(const int64_t transactions, Transactions());
  document["postgres_transactions"] = transactions - transactions_before_;
  return absl::OkStatus();
}

absl::Status Herd::SendToAll() {
  std::vector<std::string> batches;
  const absl::Span<const std::string> user_ids = options_.user_ids;
  for (size_t first = 0; first < user_ids.size(); first += kBatch) {
    batches.push_back(OneForEach(user_ids.subspan(first, kBatch), options_.run_name));
  }
  const std::map<std::string, int64_t> errors = AskAll(sender_, kBatchSend, batches, kInFlight);
  if (errors.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(errors.begin()->second, " sends failed with ", errors.begin()->first));
}

absl::Status Herd::WaitForFeedsOf(int64_t items) {
  absl::flat_hash_map<std::string, int64_t> wanted;
  for (const std::string& user_id : options_.user_ids) wanted[user_id] = items;
  return WaitForFeeds(client_, std::move(wanted), absl::Now() + kTimeout);
}

absl::Status Herd::CutAndReopen() {
  fleet_.Close();
  RETURN_IF_ERROR(SendToAll());
  RETURN_IF_ERROR(WaitForFeedsOf(2));
  absl::SleepFor(kLateCounts);
  ASSIGN_OR_RETURN(transactions_before_, Transactions());
  fleet_.BeginRound();
  before_ = meter_.Read();
  begun_ = MonotonicNow();
  fleet_.Open();
  return absl::OkStatus();
}

// What waits for them is delivered while the server is away.
absl::Status Herd::KillAndStart() {
  RETURN_IF_ERROR(stack_.Stop(kWorker));
  RETURN_IF_ERROR(SendToAll());
  fleet_.BeginRound();
  RETURN_IF_ERROR(stack_.Kill(kServer));
  RETURN_IF_ERROR(stack_.Start(kWorker));
  const auto all = static_cast<double>(options_.user_ids.size());
  RETURN_IF_ERROR(WaitForMetric(MetricsUrlOf(kWorker), "carillon_delivered_total", "", all, kTimeout).status());
  before_ = meter_.Read();
  begun_ = MonotonicNow();
  return stack_.Start(kServer);
}

void Herd::AddFigures(bool all_back, const Usage& usage, Json& document) const {
  std::vector<absl::Duration> arrivals = fleet_.Arrivals();
  const absl::Duration first = arrivals.empty() ? begun_ : *std::min_element(arrivals.begin(), arrivals.end());
  std::vector<absl::Duration> since_begun, since_first;
  for (const absl::Duration arrival : arrivals) {
    since_begun.push_back(arrival - begun_);
    since_first.push_back(arrival - first);
  }
  document["restart"] = options_.restart;
  document["back"] = arrivals.size();
  // With a restart from when the server's start was asked for.
  document["begin_to_backlog_ms"] = JsonOf(PercentilesOf(std::move(since_begun)));
  document["first_to_backlog_ms"] = JsonOf(PercentilesOf(std::move(since_first)));
  document["usage"] = JsonOf(usage, static_cast<int64_t>(arrivals.size()));
  const auto streams = static_cast<int64_t>(options_.user_ids.size());
  document["passed"] = all_back && fleet_.CountWith(1) == streams;
}

absl::StatusOr<int64_t> Herd::Transactions() const {
  PgSession session({.url = options_.bench.database_url, .application_name = "carillon-bench"});
  int64_t transactions = 0;
  RETURN_IF_ERROR(session.Run([&](pqxx::transaction_base& transaction) {
    transactions = transaction
                       .exec1(
                           "SELECT xact_commit FROM pg_catalog.pg_stat_database "
                           "WHERE datname = current_database()")[0]
                       .as<int64_t>();
  }));
  return transactions;
}

}  // namespace carillon::bench
