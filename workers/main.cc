// carillon-worker: consumes the queues of one lane.
#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/channels/directory.h"
#include "carillon/channels/link_tokens.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/delivery_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_waker.h"
#include "carillon/postgres/pressure_store.h"
#include "carillon/postgres/provider_store.h"
#include "carillon/postgres/template_store.h"
#include "carillon/postgres/token_store.h"
#include "carillon/rabbitmq/consumer.h"
#include "carillon/rabbitmq/publisher.h"
#include "carillon/redis/live_publisher.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/executor.h"
#include "carillon/runtime/lifecycle.h"
#include "carillon/runtime/logging.h"
#include "carillon/runtime/metrics.h"
#include "carillon/runtime/queue_meters.h"
#include "carillon/runtime/queue_reporter.h"
#include "workers/channels/provider_factory.h"
#include "workers/delivery/delivery_consumer.h"
#include "workers/lane/failure_router.h"
#include "workers/lane/lane_consumer.h"
#include "workers/message_handlers.h"

ABSL_FLAG(std::string, lane, "", "payment, otp, social, marketing or fanout");
ABSL_FLAG(std::string, queues, "", "comma-separated queues of the lane; empty: all that it serves");
ABSL_FLAG(int, consumers, 0, "consumers per queue; 0: 64 for payment, 4 for fanout, else 1");
ABSL_FLAG(int, threads, 0, "threads per queue, which share its consumers; 0: 2 for payment, else 1");
ABSL_FLAG(int, prefetch, 0, "messages a consumer holds; 0: 1 for payment, 10 for otp and social, 50 for marketing");
ABSL_FLAG(double, rest, -1,
          "seconds of rest after each second of work, for the lanes that can't wait; -1: 2 for marketing, 1 for "
          "fanout.social, 4 for fanout.marketing, else 0");
ABSL_FLAG(int, delivery_consumers, 0,
          "consumers of each queue of an external channel; 0: 64 for payment, 16 for otp and social, 4 for marketing");
ABSL_FLAG(bool, allow_private_webhooks, false,
          "let webhooks and providers' own endpoints be on private networks, and webhooks in plain http");
ABSL_FLAG(std::string, public_url, "",
          "where the server's HTTP port is reached from outside; empty: CARILLON_PUBLIC_URL");
ABSL_FLAG(int, page, carillon::limits::kFanoutPage, "of fanout: recipients told in one transaction");
ABSL_FLAG(std::string, database_url, "", "PostgreSQL; empty: CARILLON_DATABASE_URL");
ABSL_FLAG(std::string, amqp_url, "", "RabbitMQ; empty: CARILLON_AMQP_URL");
ABSL_FLAG(std::string, redis_url, "", "Redis; empty: CARILLON_REDIS_URL");
ABSL_FLAG(std::string, live_routing, "directed",
          "directed: wake-ups go to the servers that hold streams of the feed; broadcast: to all, on notify:*");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:0", "host:port of /metrics; port 0: any free one");
ABSL_FLAG(std::string, log_level, "info", "debug, info, warn or error");

namespace carillon {
namespace {

constexpr absl::Duration kHeartbeatInterval = absl::Seconds(5);
// A prefetch-1 consumer waits a round trip per message: many share the queue, and
// what has come to all of a thread's is handled in one transaction.
constexpr int kPaymentConsumers = 64;
constexpr int kPaymentThreads = 2;
// The next page is at hand while one is written.
constexpr int kFanoutConsumers = 4;
constexpr double kFanoutRest = 1;
constexpr double kMarketingFanoutRest = 4;
constexpr int kMaxPage = 2000;
constexpr int kMaxThreads = 16;
constexpr int kMaxConsumers = kMaxThreads * RabbitConsumer::kMaxChannels;
constexpr int kMaxPrefetch = 1000;
// What deliverers write is small beside the calls that they wait for.
constexpr size_t kDeliveryConnections = 3;
// Tokens are made rarely; one that waits for PostgreSQL holds no other up.
constexpr int kTokenThreads = 2;

struct Config {
  Lane lane = Lane::kSocial;
  std::vector<std::string> queues;           // Of the first hop.
  std::vector<std::string> delivery_queues;  // Of the second.
  int delivery_consumers = 1;
  bool allow_private_webhooks = false;
  std::string public_url;
  std::string master_key;
  int consumers = 1;
  int threads = 1;
  std::optional<double> rest;
  int page = limits::kFanoutPage;
  int prefetch = 1;
  std::string database_url;
  RabbitOptions rabbit;
  RedisOptions redis;
  LiveRouting live_routing = LiveRouting::kDirected;
};

int DefaultConsumers(Lane lane) {
  if (lane == Lane::kPayment) return kPaymentConsumers;
  return lane == Lane::kFanout ? kFanoutConsumers : 1;
}

// Twice as many messages as calls that one provider may have under way.
int DefaultDeliveryConsumers(Lane lane) {
  switch (lane) {
    case Lane::kPayment:
      return 64;
    case Lane::kOtp:
    case Lane::kSocial:
      return 16;
    case Lane::kMarketing:
    case Lane::kFanout:
      return 4;
  }
  return 1;
}

// Audiences are told at leisure: what is sent to one recipient passes.
double RestOf(const Config& config, const std::string& queue) {
  if (config.rest.has_value()) return *config.rest;
  if (config.lane != Lane::kFanout) return DefaultRest(config.lane);
  return queue == FanoutQueue(Lane::kMarketing) ? kMarketingFanoutRest : kFanoutRest;
}

absl::Status CheckCounts(const Config& config) {
  if (config.consumers < 1 || config.consumers > kMaxConsumers) {
    return absl::InvalidArgumentError(absl::StrCat("--consumers must be 0 to ", kMaxConsumers));
  }
  if (config.threads < 1 || config.threads > std::min(kMaxThreads, config.consumers) ||
      config.consumers > config.threads * RabbitConsumer::kMaxChannels) {
    return absl::InvalidArgumentError(absl::StrCat("--threads must be 0 to ", kMaxThreads, ", each with 1 to ",
                                                   RabbitConsumer::kMaxChannels, " of the --consumers"));
  }
  if (config.prefetch < 1 || config.prefetch > kMaxPrefetch) {
    return absl::InvalidArgumentError(absl::StrCat("--prefetch must be 0 to ", kMaxPrefetch));
  }
  if (config.database_url.empty() || config.rabbit.url.empty() || config.redis.url.empty()) {
    return absl::InvalidArgumentError("CARILLON_DATABASE_URL, CARILLON_AMQP_URL and CARILLON_REDIS_URL are required");
  }
  return absl::OkStatus();
}

// The queues that were named, or all of the lane, by hop.
void SplitHops(Config& config) {
  if (config.queues.empty()) {
    config.queues = LaneQueues(config.lane);
    config.delivery_queues = DeliveryQueues(config.lane);
    return;
  }
  const auto second = std::stable_partition(config.queues.begin(), config.queues.end(), [](const std::string& queue) {
    return !ChannelOfQueue(queue).has_value();
  });
  config.delivery_queues.assign(second, config.queues.end());
  config.queues.erase(second, config.queues.end());
}

absl::Status ReadChannelConfig(Config& config) {
  config.delivery_consumers = absl::GetFlag(FLAGS_delivery_consumers);
  if (config.delivery_consumers == 0) config.delivery_consumers = DefaultDeliveryConsumers(config.lane);
  if (config.delivery_consumers < 1 || config.delivery_consumers > RabbitConsumer::kMaxChannels) {
    return absl::InvalidArgumentError(absl::StrCat("--delivery-consumers must be 0 to ", RabbitConsumer::kMaxChannels));
  }
  config.allow_private_webhooks = absl::GetFlag(FLAGS_allow_private_webhooks);
  config.public_url = FlagOrEnv(absl::GetFlag(FLAGS_public_url), "CARILLON_PUBLIC_URL");
  config.master_key = FlagOrEnv("", "CARILLON_MASTER_KEY");
  return MasterKey::FromHex(config.master_key).status();
}

absl::StatusOr<Config> ReadConfig() {
  const std::optional<Lane> lane = ParseLane(absl::GetFlag(FLAGS_lane));
  if (!lane.has_value()) {
    return absl::InvalidArgumentError("--lane must be payment, otp, social, marketing or fanout");
  }
  Config config{.lane = *lane};
  config.queues = absl::StrSplit(absl::GetFlag(FLAGS_queues), ',', absl::SkipEmpty());
  for (const std::string& queue : config.queues) {
    if (LaneOfQueue(queue) != *lane)
      return absl::InvalidArgumentError(absl::StrCat("--queues: ", queue, " is not of this lane"));
  }
  SplitHops(config);
  config.consumers = absl::GetFlag(FLAGS_consumers);
  if (config.consumers == 0) config.consumers = DefaultConsumers(*lane);
  config.threads = absl::GetFlag(FLAGS_threads);
  if (config.threads == 0) config.threads = std::min(*lane == Lane::kPayment ? kPaymentThreads : 1, config.consumers);
  config.prefetch = absl::GetFlag(FLAGS_prefetch);
  if (config.prefetch == 0) config.prefetch = DefaultPrefetch(*lane);
  if (const double rest = absl::GetFlag(FLAGS_rest); rest >= 0) config.rest = rest;
  config.page = absl::GetFlag(FLAGS_page);
  if (config.page < 1 || config.page > kMaxPage) {
    return absl::InvalidArgumentError(absl::StrCat("--page must be 1 to ", kMaxPage));
  }
  config.database_url = FlagOrEnv(absl::GetFlag(FLAGS_database_url), "CARILLON_DATABASE_URL");
  config.rabbit.url = FlagOrEnv(absl::GetFlag(FLAGS_amqp_url), "CARILLON_AMQP_URL");
  config.rabbit.client_name = absl::StrCat("carillon-worker-", ToString(*lane));
  config.redis.url = FlagOrEnv(absl::GetFlag(FLAGS_redis_url), "CARILLON_REDIS_URL");
  const std::optional<LiveRouting> routing = ParseLiveRouting(absl::GetFlag(FLAGS_live_routing));
  if (!routing.has_value()) return absl::InvalidArgumentError("--live-routing must be directed or broadcast");
  config.live_routing = *routing;
  RETURN_IF_ERROR(CheckCounts(config));
  RETURN_IF_ERROR(ReadChannelConfig(config));
  return config;
}

std::function<void(LiveRouting, size_t)> CountByRouting(Metrics& metrics, const std::string& name,
                                                        const std::string& help) {
  prometheus::Counter& directed = metrics.Counter(name, help, {{"routing", "directed"}});
  prometheus::Counter& broadcast = metrics.Counter(name, help, {{"routing", "broadcast"}});
  return [&directed, &broadcast](LiveRouting routing, size_t updates) {
    (routing == LiveRouting::kDirected ? directed : broadcast).Increment(static_cast<double>(updates));
  };
}

// The second hop: a thread for each external channel, the threads that call
// providers, and connections of their own, so that nothing of a provider stands in the
// way of the feed. In the order in which it is made.
class Deliveries {
 public:
  struct Deps {
    Catalogue& catalogue;
    FailureRouter& failures;
    const Clock& clock;
    Metrics& metrics;
    const StopSignal& stop;
    QueueMeters& meters;
    std::function<void()> on_opened;  // Called once for each queue.
  };

  Deliveries(const Config& config, const Deps& deps)
      : pool_(std::make_shared<PgPool>(
            PgOptions{.url = config.database_url, .application_name = absl::StrCat(config.rabbit.client_name, "-out")},
            static_cast<int>(std::min(config.delivery_queues.size(), kDeliveryConnections)) + 1)),
        key_(*MasterKey::FromHex(config.master_key)),
        links_(key_, config.public_url),
        directory_({.catalogue = std::make_shared<PostgresCatalogStore>(pool_),
                    .providers = std::make_shared<PostgresProviderStore>(pool_),
                    .templates = std::make_shared<PostgresTemplateStore>(pool_),
                    .key = key_}),
        builder_({.catalogue = deps.catalogue, .directory = directory_, .links = links_}),
        tokens_(pool_, {.seal = [this](auto plain, auto context) { return key_.Seal(plain, context); },
                        .open = [this](auto sealed, auto context) { return key_.Open(sealed, context); }}),
        token_executor_(kTokenThreads, limits::kExecutorQueue) {
    for (const std::string& queue : config.delivery_queues) AddConsumer(config, deps, queue);
  }

  void Start() {
    directory_.Start();
    for (const auto& consumer : consumers_) threads_.emplace_back([&consumer] { consumer->Run(); });
  }

  // After the stop signal.
  void Stop() {
    for (std::thread& thread : threads_) thread.join();
    transport_.Stop();
    token_executor_.Stop();
    directory_.Stop();
  }

 private:
  void AddConsumer(const Config& config, const Deps& deps, const std::string& queue) {
    const ProviderDeps provider_deps{.app = {},
                                     .clock = &deps.clock,
                                     .transport = &transport_,
                                     .tokens = &tokens_,
                                     .executor = &token_executor_,
                                     .allow_private_webhooks = config.allow_private_webhooks};
    const auto make_provider = [provider_deps](const ConfiguredProvider& provider) {
      ProviderDeps own = provider_deps;
      own.app = provider.app;
      return MakeProvider(provider.settings, provider.channel, own);
    };
    consumers_.push_back(std::make_unique<DeliveryConsumer>(
        DeliveryConsumer::Options{.queue = queue,
                                  .lane = config.lane,
                                  .channel = *ChannelOfQueue(queue),
                                  .window = {config.prefetch, config.delivery_consumers}},
        DeliveryConsumer::Deps{.broker = std::make_unique<RabbitConsumer>(config.rabbit),
                               .store = std::make_shared<PostgresDeliveryStore>(pool_),
                               .providers = std::make_shared<PostgresProviderStore>(pool_),
                               .builder = builder_,
                               .links = links_,
                               .directory = directory_,
                               .make_provider = make_provider,
                               .failures = deps.failures,
                               .clock = deps.clock,
                               .metrics = deps.metrics,
                               .stop = deps.stop,
                               .meter = &deps.meters.Of(queue),
                               .on_opened = deps.on_opened}));
  }

  const std::shared_ptr<PgPool> pool_;
  const MasterKey key_;
  const LinkTokens links_;
  ChannelDirectory directory_;
  MessageBuilder builder_;
  PostgresTokenStore tokens_;
  Executor token_executor_;
  CurlTransport transport_;
  std::vector<std::unique_ptr<DeliveryConsumer>> consumers_;
  std::vector<std::thread> threads_;
};

// Everything the process owns, in the order in which it is made.
class Worker final : public ManagedProcess {
 public:
  Worker(const Config& config, Metrics& metrics)
      : pool_(std::make_shared<PgPool>(
            PgOptions{.url = config.database_url, .application_name = config.rabbit.client_name},
            static_cast<int>(config.queues.size()) * config.threads + 1)),
        catalogue_(std::make_shared<PostgresCatalogStore>(pool_)),
        live_(config.redis, clock_,
              {.routing = config.live_routing,
               .own_server = "",
               .on_published = CountByRouting(metrics, "carillon_live_published_total", "Live updates sent.")}),
        waker_({.url = config.database_url, .application_name = absl::StrCat(config.rabbit.client_name, "-wake")}),
        message_handlers_({.lane = config.lane,
                           .page = config.page,
                           .listener = {.url = config.database_url,
                                        .application_name = absl::StrCat(config.rabbit.client_name, "-settings")},
                           .redis = config.redis},
                          {.pool = pool_,
                           .catalogue = catalogue_,
                           .live = live_,
                           .waker = waker_,
                           .clock = clock_,
                           .metrics = metrics}),
        ready_(metrics.Gauge("carillon_ready", "1 once this process does its work")),
        unopened_(config.queues.size() + config.delivery_queues.size()),
        failures_(std::make_unique<RabbitPublisher>(config.rabbit), std::make_shared<PostgresNotificationStore>(pool_),
                  clock_, metrics, &meters_),
        reporter_(std::make_shared<PostgresPressureStore>(std::make_shared<PgPool>(
                      PgOptions{.url = config.database_url,
                                .application_name = absl::StrCat(config.rabbit.client_name, "-report")},
                      /*size=*/1)),
                  meters_, NewUuid7(clock_.Now()).ToString()) {
    for (const std::string& queue : config.queues) {
      for (int i = 0; i < config.threads; ++i) {
        // The first ones take what does not divide.
        const int channels = config.consumers / config.threads + (i < config.consumers % config.threads ? 1 : 0);
        AddConsumer(config, metrics,
                    {.queue = queue, .window = {config.prefetch, channels}, .rest = RestOf(config, queue)},
                    /*is_first_of_queue=*/i == 0);
      }
    }
    first_of_queue_step_ = static_cast<size_t>(config.threads);
    if (config.delivery_queues.empty()) return;
    deliveries_ = std::make_unique<Deliveries>(config, Deliveries::Deps{.catalogue = catalogue_,
                                                                        .failures = failures_,
                                                                        .clock = clock_,
                                                                        .metrics = metrics,
                                                                        .stop = stop_,
                                                                        .meters = meters_,
                                                                        .on_opened = [this] { NoteOpened(); }});
  }

  absl::Status Start() override {
    catalogue_.Start();
    reporter_.Start();
    if (deliveries_ != nullptr) deliveries_->Start();
    threads_.emplace_back([this] {
      while (!stop_.WaitFor(kHeartbeatInterval)) failures_.Service();
    });
    threads_.emplace_back([this] { StartConsumers(); });
    return absl::OkStatus();
  }

  // Settles what the broker has delivered and gives nothing back.
  void Stop() override {
    stop_.Set();
    for (std::thread& thread : threads_) thread.join();
    for (std::thread& thread : consumer_threads_) thread.join();
    if (deliveries_ != nullptr) deliveries_->Stop();
    reporter_.Stop();
    catalogue_.Stop();
  }

 private:
  void AddConsumer(const Config& config, Metrics& metrics, const LaneConsumer::Options& options,
                   bool is_first_of_queue) {
    const auto on_opened = [this] { NoteOpened(); };
    consumers_.push_back(std::make_unique<LaneConsumer>(
        options, LaneConsumer::Deps{.broker = std::make_unique<RabbitConsumer>(config.rabbit),
                                    .handler = message_handlers_.handler(),
                                    .failures = failures_,
                                    .careful = careful_,
                                    .metrics = metrics,
                                    .stop = stop_,
                                    .meter = &meters_.Of(options.queue),
                                    .on_opened = is_first_of_queue ? std::function<void()>(on_opened) : nullptr}));
  }

  // Ready is who consumes each of its queues, or has: a broker that goes away later is no
  // affair of this process.
  void NoteOpened() {
    if (--unopened_ == 0) ready_.Set(1);
  }

  // Before anything is consumed in batches, each queue's left-overs are settled
  // one at a time: one of them may be what killed the process before this one. A
  // queue that can't be consumed holds up no other.
  void StartConsumers() {
    for (size_t i = 0; i < consumers_.size(); i += first_of_queue_step_) consumers_[i]->Probe();
    for (const auto& consumer : consumers_) consumer_threads_.emplace_back([&consumer] { consumer->Run(); });
    log::Info("worker.consuming", {{"threads", consumers_.size()}});
  }

  const SystemClock clock_;
  StopSignal stop_;
  QueueMeters meters_{clock_};
  OneAtATime careful_;
  const std::shared_ptr<PgPool> pool_;
  Catalogue catalogue_;
  RedisLivePublisher live_;
  PostgresOutboxWaker waker_;
  MessageHandlers message_handlers_;
  prometheus::Gauge& ready_;
  std::atomic<size_t> unopened_;  // Queues.
  FailureRouter failures_;
  QueueReporter reporter_;
  std::vector<std::unique_ptr<LaneConsumer>> consumers_;
  std::unique_ptr<Deliveries> deliveries_;  // Null if it serves no external channel.
  size_t first_of_queue_step_ = 1;
  std::vector<std::thread> threads_;
  // Made by a thread of threads_, which is joined first.
  std::vector<std::thread> consumer_threads_;
};

absl::StatusOr<std::unique_ptr<ManagedProcess>> MakeWorker(Metrics& metrics) {
  ASSIGN_OR_RETURN(const Config config, ReadConfig());
  return std::make_unique<Worker>(config, metrics);
}

}  // namespace
}  // namespace carillon

int main(int argc, char** argv) {
  carillon::ParseFlags(argc, argv,
                       "consumes one lane's queues: carillon-worker --lane=payment|otp|social|marketing|fanout");
  return carillon::RunProcess({.name = absl::StrCat("worker-", absl::GetFlag(FLAGS_lane)),
                               .log_level = absl::GetFlag(FLAGS_log_level),
                               .metrics_address = absl::GetFlag(FLAGS_metrics_address)},
                              carillon::MakeWorker);
}
