// carillon-relay: outbox -> broker, the topology, dead letters, housekeeping.
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/dead_letter_store.h"
#include "carillon/postgres/delivery_store.h"
#include "carillon/postgres/event_store.h"
#include "carillon/postgres/outbox_listener.h"
#include "carillon/postgres/outbox_reader.h"
#include "carillon/postgres/reaction_store.h"
#include "carillon/postgres/storage_monitor.h"
#include "carillon/postgres/upkeep_store.h"
#include "carillon/rabbitmq/consumer.h"
#include "carillon/rabbitmq/publisher.h"
#include "carillon/rabbitmq/topology_admin.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/lifecycle.h"
#include "carillon/runtime/logging.h"
#include "carillon/runtime/metrics.h"
#include "workers/relay/dead_letter_recorder.h"
#include "workers/relay/housekeeper.h"
#include "workers/relay/lane_relay.h"
#include "workers/relay/storage_meter.h"
#include "workers/relay/topology_owner.h"

ABSL_FLAG(int, batch, 500, "outbox rows that a lane's loop takes at a time");
ABSL_FLAG(
    int, pack, 0,
    "notifications of one kind that may share a message when they wait together; 0: 100 for social and marketing, "
    "else 1");
ABSL_FLAG(absl::Duration, idle_bound, absl::ZeroDuration(),
          "requeue notifications that nothing has touched for so long; 0: 30 s for payment and otp, 45 s for social, "
          "60 s for marketing");
ABSL_FLAG(std::string, database_url, "", "PostgreSQL; empty: CARILLON_DATABASE_URL");
ABSL_FLAG(std::string, amqp_url, "", "RabbitMQ; empty: CARILLON_AMQP_URL");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:0", "host:port of /metrics; port 0: any free one");
ABSL_FLAG(std::string, log_level, "info", "debug, info, warn or error");

namespace carillon {
namespace {

// Detaching a partition waits for transactions that use its table.
constexpr absl::Duration kUpkeepStatementTimeout = absl::Seconds(30);

// Messages in the marketing queue, each of up to --pack notifications: some seconds of its worker's work.
constexpr int64_t kMarketingWindow = 100;

struct Config {
  std::string database_url;
  RabbitOptions rabbit;
  int batch = 500;
  int pack = 0;
  std::map<Lane, absl::Duration> idle_bounds;
};

absl::StatusOr<Config> ReadConfig() {
  Config config{
      .database_url = FlagOrEnv(absl::GetFlag(FLAGS_database_url), "CARILLON_DATABASE_URL"),
      .rabbit = {.url = FlagOrEnv(absl::GetFlag(FLAGS_amqp_url), "CARILLON_AMQP_URL"), .client_name = "carillon-relay"},
      .batch = absl::GetFlag(FLAGS_batch),
      .pack = absl::GetFlag(FLAGS_pack),
      .idle_bounds = {}};
  if (config.database_url.empty() || config.rabbit.url.empty()) {
    return absl::InvalidArgumentError("CARILLON_DATABASE_URL and CARILLON_AMQP_URL are required");
  }
  if (config.batch < 1 || config.batch > 10'000) return absl::InvalidArgumentError("--batch must be 1 to 10000");
  if (config.pack < 0 || config.pack > 1000) return absl::InvalidArgumentError("--pack must be 0 to 1000");
  if (const absl::Duration bound = absl::GetFlag(FLAGS_idle_bound); bound > absl::ZeroDuration()) {
    for (const Lane lane : kAllLanes) config.idle_bounds[lane] = bound;
  }
  return config;
}

// Everything the process owns, in the order in which it is made. Each part runs
// on a thread and connections of its own.
class Relay final : public ManagedProcess {
 public:
  Relay(const Config& config, Metrics& metrics)
      : database_url_(config.database_url),
        pool_(std::make_shared<PgPool>(PgOptions{.url = config.database_url,
                                                 .application_name = "carillon-relay",
                                                 .statement_timeout = kUpkeepStatementTimeout},
                                       3)),
        catalogue_(std::make_shared<PostgresCatalogStore>(pool_)),
        topology_owner_({.broker = std::make_unique<RabbitTopologyAdmin>(config.rabbit),
                         .metrics = metrics,
                         .stop = stop_,
                         .declared = declared_}),
        recorder_({.broker = std::make_unique<RabbitConsumer>(config.rabbit),
                   .store = std::make_shared<PostgresDeadLetterStore>(pool_),
                   .metrics = metrics,
                   .stop = stop_}),
        housekeeper_({.idle_bounds = config.idle_bounds},
                     {.store = std::make_shared<PostgresUpkeepStore>(pool_),
                      .events = std::make_shared<PostgresEventStore>(pool_),
                      .reactions = std::make_shared<PostgresReactionStore>(pool_),
                      .deliveries = std::make_shared<PostgresDeliveryStore>(pool_),
                      .dead_letters = std::make_shared<PostgresDeadLetterStore>(pool_),
                      .broker = std::make_unique<RabbitTopologyAdmin>(config.rabbit),
                      .catalogue = catalogue_,
                      .clock = clock_,
                      .metrics = metrics,
                      .stop = stop_}),
        storage_meter_({.monitor = std::make_unique<PostgresStorageMonitor>(pool_),
                        .clock = clock_,
                        .metrics = metrics,
                        .stop = stop_}) {
    for (const Lane lane : kAllLanes) {
      lanes_.push_back(MakeLane(lane, config, metrics, wakes_[lane], &helps_[lane]));
      // Takes its share of a backlog while the other waits for confirms; else it sleeps,
      // so that what comes in small numbers shares its messages.
      lanes_.push_back(MakeLane(lane, config, metrics, helps_[lane], nullptr));
    }
  }

  absl::Status Start() override {
    catalogue_.Start();
    listener_ = std::make_unique<PostgresOutboxListener>(
        PgOptions{.url = database_url_, .application_name = "carillon-relay-wake"},
        [this](Lane lane) { wakes_.at(lane).Set(); },
        [](const absl::Status& status) {
          log::Warn("relay.deaf", {{"error", status}});
        });
    threads_.emplace_back([this] { topology_owner_.Run(); });
    for (const auto& lane : lanes_) threads_.emplace_back([&lane] { lane->Run(); });
    threads_.emplace_back([this] { recorder_.Run(); });
    threads_.emplace_back([this] { housekeeper_.Run(); });
    threads_.emplace_back([this] { storage_meter_.Run(); });
    return absl::OkStatus();
  }

  // Each part finishes what it holds: rows that were taken are settled.
  void Stop() override {
    stop_.Set();
    for (std::thread& thread : threads_) thread.join();
    listener_.reset();
    catalogue_.Stop();
  }

 private:
  std::unique_ptr<LaneRelay> MakeLane(Lane lane, const Config& config, Metrics& metrics, WakeSignal& wake,
                                      WakeSignal* help) {
    const PgOptions options{.url = config.database_url,
                            .application_name = absl::StrCat("carillon-relay-", ToString(lane))};
    return std::make_unique<LaneRelay>(LaneRelay::Options{.lane = lane,
                                                          .batch = config.batch,
                                                          .pack = config.pack > 0 ? config.pack : DefaultPack(lane),
                                                          .window = lane == Lane::kMarketing ? kMarketingWindow : 0},
                                       LaneRelay::Deps{.outbox = std::make_unique<PostgresOutboxReader>(options, lane),
                                                       .publisher = std::make_unique<RabbitPublisher>(config.rabbit),
                                                       .queues = std::make_unique<RabbitTopologyAdmin>(config.rabbit),
                                                       .wake = wake,
                                                       .help = help,
                                                       .metrics = metrics,
                                                       .stop = stop_,
                                                       .declared = declared_});
  }

  const SystemClock clock_;
  const std::string database_url_;
  StopSignal stop_;
  absl::Notification declared_;
  const std::shared_ptr<PgPool> pool_;
  Catalogue catalogue_;
  TopologyOwner topology_owner_;
  DeadLetterRecorder recorder_;
  Housekeeper housekeeper_;
  StorageMeter storage_meter_;
  std::map<Lane, WakeSignal> wakes_, helps_;
  std::unique_ptr<PostgresOutboxListener> listener_;
  std::vector<std::unique_ptr<LaneRelay>> lanes_;
  std::vector<std::thread> threads_;
};

absl::StatusOr<std::unique_ptr<ManagedProcess>> MakeRelay(Metrics& metrics) {
  ASSIGN_OR_RETURN(const Config config, ReadConfig());
  return std::make_unique<Relay>(config, metrics);
}

}  // namespace
}  // namespace carillon

int main(int argc, char** argv) {
  carillon::ParseFlags(argc, argv, "publishes the outbox to the broker and keeps house: carillon-relay");
  return carillon::RunProcess({.name = "relay",
                               .log_level = absl::GetFlag(FLAGS_log_level),
                               .metrics_address = absl::GetFlag(FLAGS_metrics_address)},
                              carillon::MakeRelay);
}
