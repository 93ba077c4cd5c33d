// The measurements of carillon-bench but for e2e. Each blocks until it is done,
// tells what it does on standard error and returns its figures as one document.
// An error says why there are none: FAILED_PRECONDITION if something that makes
// the system safe was off.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/figures.h"
#include "client/bench/options.h"

namespace carillon::bench {

// True if the document is of a run without errors.
bool Passed(const Json& document);

struct SendOptions {
  BenchOptions bench;
  bool baseline = false;
};
// A closed loop on the door. The CPU of the relay and the workers, who do their
// part at the same time, is in it as far as they came.
absl::StatusOr<Json> RunSend(const SendOptions& options);

struct LatencyOptions {
  BenchOptions bench;
  double rate = 200;
};
// An open loop: times from the instant at which a send was due to its answer and
// to its arrival on the recipient's live stream.
absl::StatusOr<Json> RunLatency(const LatencyOptions& options);

struct IsolationOptions {
  BenchOptions bench;
  double rate = 200;  // Of payment and otp together.
  int64_t flood = 1'000'000;
  // Wait until the flood is delivered, instead of taking the rest away.
  bool drain = false;
  // All of the flood becomes due at one instant, instead of standing in the outbox; and
  // sends of marketing are measured too, which share its lane.
  bool due = false;
};
// Latency of payment and otp, idle and while a flood of marketing is published
// and delivered, to half of the same recipients too.
absl::StatusOr<Json> RunIsolation(const IsolationOptions& options);

struct RelayOptions {
  BenchOptions bench;
  int64_t rows = 1'000'000;
  // Flag of the relay; 0: as the system runs it.
  int pack = 0;
  // Of otp, meanwhile.
  double rate = 50;
};
// The relay alone drains a prepared backlog of marketing.
absl::StatusOr<Json> RunRelay(const RelayOptions& options);

struct LaneOptions {
  BenchOptions bench;
  std::string lane = "payment";
};
// One lane's worker alone empties its queues.
absl::StatusOr<Json> RunLane(const LaneOptions& options);

struct PrefillOptions {
  BenchOptions bench;
  int64_t rows = 1'000'000;
};
// Makes the tables as large as if so many notifications had been delivered before.
absl::StatusOr<Json> RunPrefill(const PrefillOptions& options);

struct FanoutOptions {
  BenchOptions bench;
  int64_t followers = 1'000'000;
  // Of as many stars, at once.
  int events = 1;
  // How often the fan-out worker is killed on the way.
  int kills = 0;
  // Of likes, idle and meanwhile; 0: none.
  double like_rate = 0;
  // Stored once for all, and not a row for each follower.
  bool shared = false;
  // With shared: followers who have a live stream.
  int64_t online = 1'000;
  bool crossover = false;
};
// Events to the followers of somebody: all of them have it, once.
absl::StatusOr<Json> RunFanout(const FanoutOptions& options);

struct StreamsOptions {
  BenchOptions bench;
  int streams = 10'000;
  int connections = 10;
  // Each stream is of a recipient of its own; or all are of one topic.
  bool topic = false;
  // Messages on their way; 0: 2000, and of a topic four events to all.
  int64_t window = 0;
  // All streams are cut and come back at once.
  bool herd = false;
  // With herd: the server is killed, instead of the streams.
  bool restart = false;
};
// Many live streams on one server: memory, rate, CPU, latency.
absl::StatusOr<Json> RunStreams(const StreamsOptions& options);

struct ReadersOptions {
  BenchOptions bench;
  int readers = 1'000;
  int page_size = 20;
  absl::Duration write_interval = absl::Milliseconds(100);
  bool second_server = false;
  // Of further servers that run already.
  std::vector<std::string> servers;
};
// Many at a time read one topic's feed while it grows: queries, CPU, staleness.
absl::StatusOr<Json> RunReaders(const ReadersOptions& options);

struct RoutingOptions {
  BenchOptions bench;
  int streams = 1'000;  // On two servers in equal parts.
  int64_t window = 1'000;
};
// What two servers receive, and what it costs, with directed routing and with broadcast.
absl::StatusOr<Json> RunRouting(const RoutingOptions& options);

struct DeliveriesOptions {
  BenchOptions bench;  // types: one.
  // email, sms, apns, fcm, webhook, or all, one after the other.
  std::string channel = "all";
  // Instead: latencies of otp by SMS, payment by e-mail and likes in the app, alone and
  // while the provider of social e-mail hangs.
  bool hang_provider = false;
  double rate = 90;  // With hang_provider: of those three together.
};
// What providers are given: rate, CPU, latency, and that all arrived once.
absl::StatusOr<Json> RunDeliveries(const DeliveriesOptions& options);

}  // namespace carillon::bench
