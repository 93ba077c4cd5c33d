// carillon-server: the gRPC API, the live streams, and the HTTP port.
#include <memory>
#include <string>

#include "absl/flags/flag.h"
#include "absl/strings/str_cat.h"
#include "carillon/channels/link_tokens.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/lifecycle.h"
#include "server/config.h"
#include "server/server.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:50051", "host:port of the gRPC API; put TLS in front of it");
ABSL_FLAG(
    std::string, http_listen, "",
    "address:port of the HTTP port: links of messages, receipts of providers; put TLS in front of it; empty: off");
ABSL_FLAG(bool, http_operations, true,
          "serve AdminService and the operations page on the HTTP port; false where it is reached from the internet");
ABSL_FLAG(std::string, cors_origins, "",
          "origins whose pages may use the API on the HTTP port: https://example.org,http://localhost:5173; "
          "*: all, with user tokens only; empty: none");
ABSL_FLAG(bool, reflection, false, "serve gRPC reflection; off in production");
ABSL_FLAG(int, writers, 2, "connections per lane that commit what comes in");
ABSL_FLAG(int, readers, 8, "threads, and connections, for everything that is read");
ABSL_FLAG(int64_t, outbox_bound, 2'000'000,
          "rows of a lane that may wait for the broker; past them it is refused, and by those of all lanes marketing "
          "first, at 1.5 times as many social and events, at 2 otp, at 2.5 payment");
ABSL_FLAG(std::string, objectives, "",
          "within what time lanes are to take what was accepted; a lane that is behind is told to be delayed: "
          "payment=5s,otp=5s,social=30s,marketing=10m,fanout=2m");
ABSL_FLAG(std::string, database_url, "", "PostgreSQL; empty: CARILLON_DATABASE_URL");
ABSL_FLAG(std::string, amqp_url, "", "RabbitMQ, to look at queues only; empty: CARILLON_AMQP_URL");
ABSL_FLAG(std::string, redis_url, "", "Redis; empty: CARILLON_REDIS_URL");
ABSL_FLAG(
    std::string, public_url, "",
    "where recipients and providers reach the HTTP port: https://host; empty: CARILLON_PUBLIC_URL; neither: no links");
ABSL_FLAG(std::string, live_routing, "directed",
          "directed: wake-ups go to the servers that hold streams of the feed; broadcast: to all, on notify:*");
ABSL_FLAG(std::string, token_algorithm, "HS256",
          "by which user tokens are signed: HS256, HS384 or HS512; no other is taken");
ABSL_FLAG(std::string, metrics_address, "127.0.0.1:0", "host:port of /metrics; port 0: any free one");
ABSL_FLAG(std::string, log_level, "info", "debug, info, warn or error");

namespace carillon {
namespace {

absl::StatusOr<ServerConfig> ReadConfig() {
  ASSIGN_OR_RETURN(MasterKey master_key, MasterKey::FromEnvironment());
  ServerConfig config{.listen = absl::GetFlag(FLAGS_listen),
                      .http_listen = absl::GetFlag(FLAGS_http_listen),
                      .http_operations = absl::GetFlag(FLAGS_http_operations),
                      .reflection = absl::GetFlag(FLAGS_reflection),
                      .writers = absl::GetFlag(FLAGS_writers),
                      .readers = absl::GetFlag(FLAGS_readers),
                      .outbox_bound = absl::GetFlag(FLAGS_outbox_bound),
                      .database_url = FlagOrEnv(absl::GetFlag(FLAGS_database_url), "CARILLON_DATABASE_URL"),
                      .rabbit = {.url = FlagOrEnv(absl::GetFlag(FLAGS_amqp_url), "CARILLON_AMQP_URL"),
                                 .client_name = "carillon-server"},
                      .redis = {.url = FlagOrEnv(absl::GetFlag(FLAGS_redis_url), "CARILLON_REDIS_URL")},
                      .master_key = std::move(master_key),
                      .public_url = FlagOrEnv(absl::GetFlag(FLAGS_public_url), "CARILLON_PUBLIC_URL")};
  if (config.database_url.empty() || config.rabbit.url.empty() || config.redis.url.empty()) {
    return absl::InvalidArgumentError("CARILLON_DATABASE_URL, CARILLON_AMQP_URL and CARILLON_REDIS_URL are required");
  }
  if (!LinkTokens::IsPublicUrl(config.public_url)) {
    return absl::InvalidArgumentError("--public-url must be https://HOST[:PORT][/PATH] or empty");
  }
  if (config.writers < 1 || config.writers > 32) return absl::InvalidArgumentError("--writers must be 1 to 32");
  ASSIGN_OR_RETURN(config.cors, CorsPolicy::Parse(absl::GetFlag(FLAGS_cors_origins)));
  const std::optional<LiveRouting> routing = ParseLiveRouting(absl::GetFlag(FLAGS_live_routing));
  if (!routing.has_value()) return absl::InvalidArgumentError("--live-routing must be directed or broadcast");
  config.live_routing = *routing;
  const std::optional<TokenAlgorithm> algorithm = ParseTokenAlgorithm(absl::GetFlag(FLAGS_token_algorithm));
  if (!algorithm.has_value()) return absl::InvalidArgumentError("--token-algorithm must be HS256, HS384 or HS512");
  config.token_algorithm = *algorithm;
  absl::StatusOr<LaneObjectives> objectives = ParseObjectives(absl::GetFlag(FLAGS_objectives));
  if (!objectives.ok())
    return absl::InvalidArgumentError(absl::StrCat("--objectives: ", objectives.status().message()));
  config.objectives = *std::move(objectives);
  if (config.outbox_bound < 1) return absl::InvalidArgumentError("--outbox-bound must be at least 1");
  if (config.readers < 1 || config.readers > 64) return absl::InvalidArgumentError("--readers must be 1 to 64");
  return config;
}

absl::StatusOr<std::unique_ptr<ManagedProcess>> Make(Metrics& metrics) {
  ASSIGN_OR_RETURN(const ServerConfig config, ReadConfig());
  return MakeServer(config, metrics);
}

}  // namespace
}  // namespace carillon

int main(int argc, char** argv) {
  carillon::ParseFlags(argc, argv, "serves the gRPC API: carillon-server --listen=127.0.0.1:50051");
  return carillon::RunProcess({.name = "server",
                               .log_level = absl::GetFlag(FLAGS_log_level),
                               .metrics_address = absl::GetFlag(FLAGS_metrics_address)},
                              carillon::Make);
}
