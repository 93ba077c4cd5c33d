#include "client/bench/baseline.h"

#include <atomic>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/notification.h"
#include "carillon/postgres/session.h"
#include "carillon/wire/envelope.h"
#include "client/bench/random.h"
#include "client/bench/send_requests.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr int kConnections = 8;
constexpr const char* kDrop = "DROP SCHEMA IF EXISTS bench_baseline CASCADE";
constexpr const char* kCreate =
    "CREATE SCHEMA bench_baseline;"
    "CREATE TABLE bench_baseline.notifications (LIKE carillon.notifications INCLUDING ALL);"
    "CREATE TABLE bench_baseline.outbox (LIKE carillon.outbox INCLUDING ALL)";
constexpr PgStatement kNotification = {
    "baseline_notification",
    "INSERT INTO bench_baseline.notifications (notification_id, app_id, created_at, retention_days, lane, type, "
    "recipient_id, actor_id, object_id, channels, data) "
    "VALUES ($1, 1, now(), 7, 'social', 'like', $2, $3, $4, '{in_app}', $5)"};
constexpr PgStatement kOutbox = {
    "baseline_outbox",
    "INSERT INTO bench_baseline.outbox (message_id, app_id, lane, exchange, routing_key, type, payload) "
    "VALUES ($1, 1, 'social', 'carillon.direct', 'social.like', 'like', $2)"};
constexpr const char* kData = R"({"actor_name":"Ada Lovelace","excerpt":"A walk by the sea"})";
constexpr uint64_t kActors = 1'000;

PgOptions SessionOptions(const BenchOptions& options) {
  return {.url = options.database_url, .application_name = "carillon-bench"};
}

absl::Status Execute(const BenchOptions& options, const char* sql) {
  PgSession session(SessionOptions(options));
  return session.RunTransaction([&](pqxx::work& transaction) {
    transaction.exec(sql);
    return absl::OkStatus();
  });
}

}  // namespace

// One connection on a thread of its own.
class Baseline::Writer {
 public:
  Writer(const BenchOptions& options, const std::vector<std::string>& user_ids, uint64_t seed)
      : session_(SessionOptions(options)), user_ids_(user_ids), random_(seed), thread_([this] { Run(); }) {}

  // Once only.
  void Stop() {
    stopped_ = true;
    thread_.join();
  }

  struct Written {
    absl::Duration begun;
    absl::Duration ended;
  };
  // After Stop.
  const std::vector<Written>& written() const { return written_; }
  const absl::Status& status() const { return status_; }

 private:
  void Run() {
    while (!stopped_ && status_.ok()) {
      const absl::Duration begun = MonotonicNow();
      status_ = WriteOne();
      if (status_.ok()) written_.push_back({begun, MonotonicNow()});
    }
  }

  absl::Status WriteOne() {
    Notification n;
    n.id = NewUuid7(absl::Now());
    n.app = AppId(1);
    n.type = "like";
    n.recipient = RecipientId(user_ids_[random_.Below(user_ids_.size())]);
    n.actor_id = absl::StrCat("actor-", random_.Below(kActors));
    n.object_id = absl::StrCat("object-", written_.size());
    n.data_json = kData;
    n.channels = {Channel::kInApp};
    n.create_time = absl::Now();
    const std::string envelope = EncodeEnvelope(n);
    return session_.RunTransaction([&](pqxx::work& transaction) {
      session_.Execute(transaction, kNotification, n.id.ToString(), n.recipient.value(), n.actor_id, n.object_id,
                       kData);
      session_.Execute(transaction, kOutbox, n.id.ToString(), pqxx::binarystring(envelope));
      return absl::OkStatus();
    });
  }

  PgSession session_;
  const std::vector<std::string>& user_ids_;
  Random random_;
  std::atomic<bool> stopped_ = false;
  absl::Status status_;
  std::vector<Written> written_;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<Baseline>> Baseline::Create(const BenchOptions& options) {
  if (absl::Status status = Execute(options, kDrop); !status.ok()) return status;
  if (absl::Status status = Execute(options, kCreate); !status.ok()) return status;
  return std::unique_ptr<Baseline>(new Baseline(options));
}

Baseline::~Baseline() { (void)Execute(options_, kDrop); }

Baseline::Result Baseline::Run(absl::Duration warmup, absl::Duration time, const CpuMeter& meter) {
  const std::vector<std::string> user_ids = UserIds("baseline", options_.users);
  std::vector<std::unique_ptr<Writer>> writers;
  for (int i = 0; i < kConnections; ++i) {
    writers.push_back(std::make_unique<Writer>(options_, user_ids, options_.seed + ++runs_));
  }
  absl::SleepFor(warmup);
  const CpuMeter::Reading before = meter.Read();
  absl::SleepFor(time);
  const CpuMeter::Reading after = meter.Read();
  Result result;
  for (const auto& writer : writers) writer->Stop();
  for (const auto& writer : writers) {
    result.status.Update(writer->status());
    for (const Writer::Written& one : writer->written()) {
      if (one.ended < before.moment || one.ended >= after.moment) continue;
      result.latencies.push_back(one.ended - one.begun);
    }
  }
  result.written = static_cast<int64_t>(result.latencies.size());
  result.usage = CpuMeter::Between(before, after);
  return result;
}

}  // namespace carillon::bench
