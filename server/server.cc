#include "server/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "carillon/channels/link_tokens.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/dead_letter_store.h"
#include "carillon/postgres/delivery_store.h"
#include "carillon/postgres/event_store.h"
#include "carillon/postgres/explain_store.h"
#include "carillon/postgres/feed_store.h"
#include "carillon/postgres/interaction_store.h"
#include "carillon/postgres/membership_store.h"
#include "carillon/postgres/notification_store.h"
#include "carillon/postgres/outbox_waker.h"
#include "carillon/postgres/person_store.h"
#include "carillon/postgres/pressure_store.h"
#include "carillon/postgres/provider_store.h"
#include "carillon/postgres/reaction_store.h"
#include "carillon/postgres/recipient_store.h"
#include "carillon/postgres/recurrence_store.h"
#include "carillon/postgres/replay_store.h"
#include "carillon/postgres/settings_store.h"
#include "carillon/postgres/stats_store.h"
#include "carillon/postgres/suppression_store.h"
#include "carillon/postgres/template_store.h"
#include "carillon/postgres/trip_store.h"
#include "carillon/postgres/upkeep_store.h"
#include "carillon/postgres/watch_store.h"
#include "carillon/redis/live_listener.h"
#include "carillon/redis/presence.h"
#include "carillon/redis/redis_caps.h"
#include "carillon/redis/redis_rates.h"
#include "carillon/runtime/cap_windows.h"
#include "carillon/runtime/catalogue.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/executor.h"
#include "carillon/runtime/logging.h"
#include "carillon/runtime/settings_cache.h"
#include "server/api/admin_service.h"
#include "server/api/authenticator.h"
#include "server/api/catalog_service.h"
#include "server/api/feed_service.h"
#include "server/api/grpc_limits.h"
#include "server/api/notification_service.h"
#include "server/api/recipient_service.h"
#include "server/api/recurrence_requests.h"
#include "server/callbacks/link_routes.h"
#include "server/callbacks/receipt_routes.h"
#include "server/connect/connect_routes.h"
#include "server/connect/feed_event_routes.h"
#include "server/feed/live_hub.h"
#include "server/http/http_server.h"
#include "server/http/router.h"
#include "server/ingest/door_limits.h"
#include "server/ingest/ingest_writer.h"
#include "server/ingest/outbox_guard.h"
#include "server/ingest/reaction_writer.h"
#include "server/ingest/recurrence_ticker.h"
#include "server/pages/page_routes.h"
#include "server/pressure/queue_monitor.h"

namespace carillon {
namespace {

constexpr absl::Duration kDrainTime = absl::Seconds(10);
// Of those, for calls over HTTP; the rest is left for gRPC's.
constexpr absl::Duration kHttpDrainTime = absl::Seconds(8);
constexpr absl::Duration kHealthInterval = absl::Seconds(1);
// What the door waits for Redis before the limits of this process stand in.
constexpr absl::Duration kRatesTimeout = absl::Milliseconds(50);
constexpr int kControlThreads = 2;
// And connections, for what comes back over HTTP: a wave of opened mails takes nothing from reads.
constexpr int kCallbackThreads = 2;
// And connections, for exports and erasures, which take seconds: so many at once.
constexpr int kPersonThreads = 2;
// For admins who look at all dead letters or delete them, which may take as long; with
// as many connections again for what is found by its key.
constexpr int kLetterThreads = 2;
// For large JSON.
constexpr int kConnectThreads = 2;
constexpr size_t kSlowQueue = 64;
constexpr absl::Duration kSlowStatementTimeout = absl::Seconds(30);

PgOptions Postgres(const ServerConfig& config, absl::string_view part) {
  return {.url = config.database_url, .application_name = absl::StrCat("carillon-server-", part)};
}

RedisOptions RatesRedis(RedisOptions redis) {
  redis.connect_timeout = redis.command_timeout = kRatesTimeout;
  return redis;
}

std::shared_ptr<PgPool> SlowPool(const ServerConfig& config, absl::string_view part, int size) {
  PgOptions options = Postgres(config, part);
  options.statement_timeout = kSlowStatementTimeout;
  return std::make_shared<PgPool>(options, size);
}

std::function<void(LiveRouting, size_t)> CountByRouting(Metrics& metrics, const std::string& name,
                                                        const std::string& help) {
  prometheus::Counter& directed = metrics.Counter(name, help, {{"routing", "directed"}});
  prometheus::Counter& broadcast = metrics.Counter(name, help, {{"routing", "broadcast"}});
  return [&directed, &broadcast](LiveRouting routing, size_t updates) {
    (routing == LiveRouting::kDirected ? directed : broadcast).Increment(static_cast<double>(updates));
  };
}

// Everything the process owns, in the order in which it is made.
class Server final : public ManagedProcess {
 public:
  Server(const ServerConfig& config, Metrics& metrics)
      : config_(config),
        executor_(config.readers, limits::kExecutorQueue),
        control_executor_(kControlThreads, limits::kExecutorQueue),
        callback_executor_(kCallbackThreads, limits::kExecutorQueue),
        person_executor_(kPersonThreads, kSlowQueue),
        letter_executor_(kLetterThreads, kSlowQueue),
        control_(std::make_shared<PgPool>(Postgres(config, "control"), kControlThreads + 1)),
        readers_(std::make_shared<PgPool>(Postgres(config, "read"), config.readers)),
        streams_(std::make_shared<PgPool>(Postgres(config, "streams"), 3)),
        catalogue_(std::make_shared<PostgresCatalogStore>(control_)),
        stream_store_(streams_),
        user_tokens_(config.master_key, config.token_algorithm),
        authenticator_(std::make_shared<PostgresAppStore>(control_), control_executor_, clock_, user_tokens_),
        rpc_metrics_(metrics),
        calls_{authenticator_, executor_, rpc_metrics_, clock_},
        person_calls_{authenticator_, person_executor_, rpc_metrics_, clock_},
        letter_calls_{authenticator_, letter_executor_, rpc_metrics_, clock_},
        waker_(Postgres(config, "wake")),
        server_id_(NewUuid7(clock_.Now()).ToString()),
        presence_(config.redis, clock_, {.server = server_id_}),
        live_publisher_(
            config.redis, clock_,
            {.routing = config.live_routing,
             .own_server = server_id_,
             .on_published = CountByRouting(metrics, "carillon_live_published_total", "Live updates sent.")}),
        live_listener_(config.redis, {.server = server_id_,
                                      .on_received = CountByRouting(metrics, "carillon_live_messages_received_total",
                                                                    "Live updates that came over Redis.")}),
        hub_(stream_store_, metrics, {.presence = &presence_}),
        rates_(RatesRedis(config.redis)),
        door_limits_({}, {.shared = rates_,
                          .trips = std::make_shared<PostgresTripStore>(control_),
                          .catalogue = catalogue_,
                          .executor = control_executor_,
                          .clock = clock_,
                          .metrics = metrics}),
        outbox_guard_(config.outbox_bound,
                      {.store = std::make_shared<PostgresUpkeepStore>(control_), .clock = clock_, .metrics = metrics}),
        pressure_(std::make_shared<PgPool>(Postgres(config, "pressure"), /*size=*/2)),
        queues_({.objectives = config.objectives}, {.broker = std::make_unique<RabbitTopologyAdmin>(config.rabbit),
                                                    .store = std::make_shared<PostgresPressureStore>(pressure_),
                                                    .clock = clock_,
                                                    .metrics = metrics}),
        watches_(std::make_shared<PostgresWatchStore>(pressure_),
                 NotificationReader(std::make_shared<PostgresNotificationStore>(pressure_),
                                    std::make_shared<PostgresDeliveryStore>(pressure_), NewestLook(), clock_),
                 metrics),
        reaction_writer_(limits::kWriterQueueItems,
                         std::make_shared<PostgresReactionStore>(
                             std::make_shared<PgPool>(Postgres(config, "reactions"), /*size=*/1)),
                         waker_, clock_, metrics),
        settings_store_(readers_),
        settings_(settings_store_, limits::kSettingsCacheEntries),
        shared_caps_(config.redis, clock_),
        caps_(shared_caps_, clock_, {.max_local_windows = limits::kLocalCapWindows, .on_local = nullptr}),
        decisions_({.catalogue = catalogue_, .settings = settings_, .caps = caps_, .clock = clock_}),
        notifications_(calls_, {.writers = writers_,
                                .outbox = outbox_guard_,
                                .waker = waker_,
                                .reactions = reaction_writer_,
                                .store = std::make_shared<PostgresNotificationStore>(readers_),
                                .deliveries = std::make_shared<PostgresDeliveryStore>(readers_),
                                .events = std::make_shared<PostgresEventStore>(readers_),
                                .interactions = std::make_shared<PostgresInteractionStore>(readers_),
                                .recurrences = std::make_shared<RecurrenceRequests>(
                                    std::make_shared<PostgresRecurrenceStore>(readers_), catalogue_),
                                .catalogue = catalogue_,
                                .explanations = std::make_shared<PostgresExplainStore>(readers_),
                                .decisions = decisions_,
                                .limits = door_limits_,
                                .watches = watches_,
                                .pressure = NewestLook()}),
        ticker_(TickerDeps(config, metrics)),
        feeds_(calls_,
               {.store = std::make_shared<PostgresFeedStore>(readers_),
                .reactions = std::make_shared<PostgresReactionStore>(readers_),
                .hub = hub_,
                .publisher = live_publisher_,
                .interactions = std::make_shared<PostgresInteractionStore>(readers_)},
               metrics),
        recipients_(calls_,
                    {.memberships = std::make_shared<PostgresMembershipStore>(readers_),
                     .recipients = std::make_shared<PostgresRecipientStore>(readers_),
                     .suppressions = std::make_shared<PostgresSuppressionStore>(readers_),
                     .persons = std::make_shared<PostgresPersonStore>(SlowPool(config, "persons", kPersonThreads)),
                     .settings = std::make_shared<PostgresSettingsStore>(readers_),
                     .catalogue = catalogue_,
                     .tokens = user_tokens_,
                     .slow_calls = person_calls_}),
        catalog_(calls_, std::make_shared<PostgresCatalogStore>(readers_),
                 std::make_shared<PostgresTemplateStore>(readers_), std::make_shared<PostgresSettingsStore>(readers_),
                 catalogue_),
        // Connections of their own: what they put back takes nothing from reads.
        replays_({.store = std::make_shared<PostgresReplayStore>(
                      SlowPool(config, "replays", static_cast<int>(limits::kMaxRunningReplays))),
                  .waker = waker_,
                  .stop = stop_}),
        letters_(SlowPool(config, "letters", 2 * kLetterThreads)),
        admin_(calls_, {.apps = std::make_shared<PostgresAppStore>(readers_),
                        .dead_letters = std::make_shared<DeadLetterRequests>(
                            DeadLetterRequests::Deps{.letters = std::make_shared<PostgresDeadLetterStore>(letters_),
                                                     .replays = std::make_shared<PostgresReplayStore>(letters_),
                                                     .apps = std::make_shared<PostgresAppStore>(readers_),
                                                     .clock = clock_}),
                        .letter_calls = letter_calls_,
                        .replays = replays_,
                        .queues = std::make_shared<QueueRequests>(queues_, outbox_guard_),
                        .providers = std::make_shared<ProviderRequests>(
                            ProviderRequests::Deps{.store = std::make_shared<PostgresProviderStore>(readers_),
                                                   .deliveries = std::make_shared<PostgresDeliveryStore>(readers_),
                                                   .key = config.master_key}),
                        .stats = std::make_shared<PostgresStatsStore>(readers_),
                        .trips = std::make_shared<PostgresTripStore>(readers_),
                        .catalogue = catalogue_,
                        .waker = waker_,
                        .stop = stop_}),
        ready_(metrics.Gauge("carillon_ready", "1 while this process does its work")),
        callbacks_(std::make_shared<PgPool>(Postgres(config, "callbacks"), kCallbackThreads)),
        callback_authenticator_(std::make_shared<PostgresAppStore>(callbacks_), callback_executor_, clock_),
        interactions_(std::make_shared<PostgresInteractionStore>(callbacks_)),
        link_routes_(LinkTokens(config.master_key, config.public_url), interactions_, callback_executor_),
        receipt_writer_(std::make_shared<PostgresInteractionStore>(
                            std::make_shared<PgPool>(Postgres(config, "receipts"), /*size=*/1)),
                        metrics),
        receipt_routes_({.tokens = LinkTokens(config.master_key, config.public_url),
                         .store = interactions_,
                         .writer = receipt_writer_,
                         .executor = callback_executor_,
                         .authenticator = callback_authenticator_,
                         .clock = clock_,
                         .metrics = metrics}),
        http_metrics_(metrics),
        router_(http_metrics_),
        connect_executor_(kConnectThreads, limits::kExecutorQueue),
        feed_event_routes_(authenticator_, hub_, message_json_),
        cors_(config.cors, router_, http_metrics_),
        http_({.listen = config.http_listen}, cors_, http_metrics_, clock_) {
    for (const Lane lane : kNotificationLanes) {
      // Connections of its own: no other lane's commits can hold them.
      auto pool = std::make_shared<PgPool>(Postgres(config, ToString(lane)), config.writers);
      writers_[lane] = std::make_unique<IngestWriter>(IngestWriter::Options{.lane = lane, .threads = config.writers},
                                                      std::make_shared<PostgresNotificationStore>(pool), waker_, clock_,
                                                      metrics, std::make_shared<PostgresReactionStore>(pool));
    }
  }

  absl::Status Start() override {
    catalogue_.Start();
    presence_.Start();
    hub_.Start();
    queues_.Start();
    watches_.Start();
    ticker_.Start();
    live_listener_.Start({.on_message = [this](LiveMessage message) { hub_.OnLiveMessage(message); },
                          .on_shared_event = [this](AppId app) { hub_.OnSharedEvent(app); },
                          .on_connected = [this] { hub_.SweepNow(); }});
    grpc::EnableDefaultHealthCheckService(true);
    if (config_.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    Configure(builder);
    grpc_ = builder.BuildAndStart();
    if (grpc_ == nullptr) return absl::UnavailableError(absl::StrCat("can't listen on ", config_.listen));
    health_thread_ = std::thread([this] { WatchHealth(); });
    return StartHttp();
  }

  // Health first, so that balancers turn away; then streams and calls; then what
  // they stand on.
  void Stop() override {
    stop_.Set();
    // At once, and for good: the thread that watches may be waiting for PostgreSQL.
    grpc_->GetHealthCheckService()->Shutdown();
    live_listener_.Stop();
    hub_.Stop();
    watches_.Stop();
    queues_.Stop();
    door_limits_.Stop();
    ticker_.Stop();
    for (auto& [lane, writer] : writers_) writer->Stop();
    reaction_writer_.Stop();
    const absl::Time drained = clock_.Now() + kDrainTime;
    if (connect_.has_value()) connect_->Drain(kHttpDrainTime);
    grpc_->Shutdown(absl::ToChronoTime(drained));
    if (connect_.has_value()) connect_->Stop();
    http_.Stop();
    // Streams whose clients did not read have ended only now.
    if (connect_.has_value()) connect_->Stop();
    connect_executor_.Stop();
    receipt_writer_.Stop();
    callback_executor_.Stop();
    person_executor_.Stop();
    letter_executor_.Stop();
    replays_.Stop();
    presence_.Stop();
    executor_.Stop();
    control_executor_.Stop();
    catalogue_.Stop();
    health_thread_.join();
  }

 private:
  // On connections of its own: one holds what is due while another accepts it.
  RecurrenceTicker::Deps TickerDeps(const ServerConfig& config, Metrics& metrics) {
    const auto pool = std::make_shared<PgPool>(Postgres(config, "recurrences"), /*size=*/2);
    return {.recurrences = std::make_shared<PostgresRecurrenceStore>(pool),
            .notifications = std::make_shared<PostgresNotificationStore>(pool),
            .events = std::make_shared<PostgresEventStore>(pool),
            .prepare = [this](const DueRecurrence& due) { return PrepareOccurrence(due, catalogue_); },
            .is_open = [this](Lane lane) { return outbox_guard_.is_open(lane); },
            .waker = waker_,
            .clock = clock_,
            .metrics = metrics};
  }

  // Of delays; without it none are told.
  NotificationReader::Pressure NewestLook() {
    return [this] { return queues_.newest(); };
  }

  absl::Status StartHttp() {
    if (config_.http_listen.empty()) return absl::OkStatus();
    if (config_.http_operations) AddPageRoutes(router_);
    link_routes_.AddTo(router_);
    receipt_routes_.AddTo(router_);
    connect_.emplace(grpc_->InProcessChannel(InProcessArguments()), message_json_, connect_executor_, clock_);
    connect_->AddTo(router_, PublicServices(config_.http_operations));
    feed_event_routes_.AddTo(router_);
    ASSIGN_OR_RETURN(const int port, http_.Start());
    log::Info("http.listening", {{"listen", config_.http_listen}, {"port", port}});
    return absl::OkStatus();
  }

  void Configure(grpc::ServerBuilder& builder) {
    builder.AddListeningPort(config_.listen, grpc::InsecureServerCredentials(), &port_);
    SetGrpcLimits(builder);
    builder.RegisterService(&notifications_);
    builder.RegisterService(&feeds_);
    builder.RegisterService(&recipients_);
    builder.RegisterService(&catalog_);
    builder.RegisterService(&admin_);
  }

  // Serving means that PostgreSQL answers: without it nothing can be accepted.
  void WatchHealth() {
    bool serving = true;
    do {
      const bool answers = catalogue_.Refresh().ok() && outbox_guard_.Check().ok();
      if (answers != serving) log::Warn("health.changed", {{"serving", answers}});
      serving = answers;
      ready_.Set(answers ? 1 : 0);
      grpc_->GetHealthCheckService()->SetServingStatus(serving);
      door_limits_.Attend();
    } while (!stop_.WaitFor(kHealthInterval));
  }

  const ServerConfig config_;
  const SystemClock clock_;
  StopSignal stop_;
  Executor executor_;
  // What sends depend on (credentials, the catalogue, health) waits for no read.
  Executor control_executor_;
  Executor callback_executor_;
  Executor person_executor_;
  Executor letter_executor_;
  const std::shared_ptr<PgPool> control_;
  const std::shared_ptr<PgPool> readers_;
  const std::shared_ptr<PgPool> streams_;
  Catalogue catalogue_;
  PostgresFeedStore stream_store_;
  const UserTokens user_tokens_;
  Authenticator authenticator_;
  RpcMetrics rpc_metrics_;
  ServerCalls calls_;
  ServerCalls person_calls_;
  ServerCalls letter_calls_;
  PostgresOutboxWaker waker_;
  // Of this process: a server that is started again is another one.
  const std::string server_id_;
  RedisPresence presence_;
  RedisLivePublisher live_publisher_;
  RedisLiveListener live_listener_;
  LiveHub hub_;
  IngestWriters writers_;
  RedisRates rates_;
  DoorLimits door_limits_;
  OutboxGuard outbox_guard_;
  // For the looks at queues and at what is watched.
  const std::shared_ptr<PgPool> pressure_;
  QueueMonitor queues_;
  NotificationWatches watches_;
  ReactionWriter reaction_writer_;
  // Of dry runs: nothing is counted, and settings, whose cache stays closed, are read each time.
  PostgresSettingsStore settings_store_;
  SettingsCache settings_;
  RedisCaps shared_caps_;
  CapWindows caps_;
  DecisionMaker decisions_;
  NotificationServiceImpl notifications_;
  RecurrenceTicker ticker_;
  FeedServiceImpl feeds_;
  RecipientServiceImpl recipients_;
  CatalogServiceImpl catalog_;
  ReplayRunner replays_;
  const std::shared_ptr<PgPool> letters_;
  AdminServiceImpl admin_;
  prometheus::Gauge& ready_;
  const std::shared_ptr<PgPool> callbacks_;
  // Of the HTTP port alone: made-up keys that come there cost no RPC its cache or threads.
  Authenticator callback_authenticator_;
  const std::shared_ptr<InteractionStore> interactions_;
  LinkRoutes link_routes_;
  ReceiptWriter receipt_writer_;
  ReceiptRoutes receipt_routes_;
  HttpMetrics http_metrics_;
  Router router_;
  const MessageJson message_json_;
  Executor connect_executor_;
  std::optional<ConnectRoutes> connect_;
  FeedEventRoutes feed_event_routes_;
  Cors cors_;
  HttpServer http_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> grpc_;
  std::thread health_thread_;
};

}  // namespace

std::unique_ptr<ManagedProcess> MakeServer(const ServerConfig& config, Metrics& metrics) {
  return std::make_unique<Server>(config, metrics);
}

}  // namespace carillon
