// carillon-bench: load on a running system, what it costs and how long it takes, and the proof that nothing was lost
// or delivered twice.
#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <random>
#include <string>

#include "absl/synchronization/mutex.h"
#include "client/bench/e2e.h"
#include "client/bench/error_counts.h"
#include "client/bench/readback.h"
#include "client/bench/scenarios.h"

namespace {

using carillon::bench::BenchOptions;

constexpr int kFindings = 1;
constexpr int kCannotRun = 2;
constexpr absl::Duration kQuietTimeout = absl::Minutes(2);

// What absl::Duration is on the command line.
struct Times {
  double warmup = 2;
  double seconds = 10;
  double settle = 180;
  double postgres = 60;
};

struct Arguments {
  BenchOptions common;
  Times times;
  bool json = false;
  carillon::bench::E2eOptions e2e;
  carillon::bench::SendOptions send;
  carillon::bench::LatencyOptions latency;
  carillon::bench::IsolationOptions isolation;
  carillon::bench::RelayOptions relay;
  carillon::bench::LaneOptions lane;
  carillon::bench::PrefillOptions prefill;
  carillon::bench::FanoutOptions fanout;
  carillon::bench::StreamsOptions streams;
  carillon::bench::ReadersOptions readers;
  carillon::bench::RoutingOptions routing;
  carillon::bench::DeliveriesOptions deliveries;
  int write_milliseconds = 100;
};

// Defaults are those of the scenario: `common` holds them when this is called.
void AddCommon(CLI::App& command, Arguments& arguments) {
  BenchOptions& common = arguments.common;
  command.add_option("--address", common.client.address, "host:port of the server")
      ->envname("CARILLON_ADDRESS")
      ->required();
  command.add_option("--in-flight,--inflight", common.in_flight, "calls at a time (default: 64)")
      ->check(CLI::Range(1, 10'000));
  command.add_option("--count", common.count, "notifications to send")->check(CLI::Range(1, 100'000'000));
  command.add_option("--seconds", arguments.times.seconds, "how long to measure")->check(CLI::Range(0.1, 86'400.0));
  command.add_option("--warmup", arguments.times.warmup, "seconds of load before that, not counted (default: 2)")
      ->check(CLI::Range(0.0, 3'600.0));
  command.add_option("--users", common.users, "recipients")->check(CLI::Range(1, 1'000'000));
  command.add_option("--types", common.types, "types to draw from, with weights if they differ: like=8,otp.login")
      ->delimiter(',');
  command.add_option("--batch", common.batch, "notifications in a call; above 1 by BatchSendNotifications")
      ->check(CLI::Range(1, 1'000));
  command.add_flag("--keys", common.keys, "an idempotency key with each send");
  command.add_option("--seed", common.seed, "repeats the draws of a run (default: a new one)");
  command.add_flag("--json", arguments.json, "report as one JSON document");
  command.add_option("--stack-dir", common.stack_directory, "directory of the local system")
      ->envname("CARILLON_STACK_DIR");
  command.add_option("--launcher", common.launcher, "the program that starts and stops its parts")
      ->check(CLI::ExistingFile);
}

// From the environment only: other users can't see it, unlike a command line.
std::string Secret(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

BenchOptions Finished(const Arguments& arguments) {
  BenchOptions options = arguments.common;
  options.client.app_key = Secret("CARILLON_APP_KEY");
  options.client.app_secret = Secret("CARILLON_APP_SECRET");
  options.database_url = Secret("CARILLON_DATABASE_URL");
  options.amqp_url = Secret("CARILLON_AMQP_URL");
  options.warmup = absl::Seconds(arguments.times.warmup);
  options.time = absl::Seconds(arguments.times.seconds);
  return options;
}

// What an earlier run left under way would be measured too.
void WaitUntilQuiet(const BenchOptions& options) {
  carillon::Client client(options.client);
  if (!carillon::bench::WaitForQuiet(client, absl::Now() + kQuietTimeout)) {
    std::cerr << "carillon-bench: the system is not idle; the figures will be of other load as well\n";
  }
}

int CannotRun(const absl::Status& status) {
  std::cerr << "carillon-bench: " << carillon::bench::Brief(status) << "\n";
  return kCannotRun;
}

int Tell(const absl::StatusOr<carillon::bench::Json>& document, bool json) {
  if (!document.ok()) return CannotRun(document.status());
  std::cout << (json ? document->dump(2) + "\n" : carillon::bench::TextOf(*document)) << std::flush;
  return carillon::bench::Passed(*document) ? 0 : kFindings;
}

// A type of each lane's, and one more of social.
std::vector<std::string> Mixed() {
  return {"payment.receipt", "otp.login", "like", "chat.message", "marketing.discount"};
}

using Run = std::function<int(Arguments&)>;

Run DescribeE2e(CLI::App& command, Arguments& arguments) {
  CLI::Option* const log = command.add_option("--accepted-log", arguments.e2e.accepted_log,
                                              "file for the accepted ids; nothing is measured then");
  command.add_flag("--settings", arguments.e2e.settings, "each recipient has settings and mutes")->excludes(log);
  command.add_option("--settle-timeout", arguments.times.settle, "seconds to wait for deliveries, and for a call")
      ->check(CLI::Range(1, 86'400));
  command
      .add_option("--chaos", arguments.e2e.faults,
                  "faults at instants drawn from the seed: server, relay, worker, rabbitmq, redis, postgres, purge")
      ->delimiter(',')
      ->needs(command.get_option("--stack-dir"));
  command.add_option("--postgres-seconds", arguments.times.postgres, "how long PostgreSQL is away")
      ->check(CLI::Range(0.1, 3'600.0));
  return [](Arguments& given) {
    // One lane is measured; faults strike them all.
    const bool measured = given.e2e.faults.empty() && given.e2e.accepted_log.empty();
    if (given.common.types.empty()) given.common.types = measured ? std::vector<std::string>{"like"} : Mixed();
    given.e2e.bench = Finished(given);
    given.e2e.settle_timeout = absl::Seconds(given.times.settle);
    given.e2e.postgres_away = absl::Seconds(given.times.postgres);
    const absl::StatusOr<carillon::bench::Report> report = carillon::bench::RunE2e(given.e2e);
    if (!report.ok()) return CannotRun(report.status());
    std::cout << (given.json ? ToJson(*report) : ToText(*report)) << std::flush;
    return report->passed() ? 0 : kFindings;
  };
}

Run DescribeSend(CLI::App& command, Arguments& arguments) {
  command
      .add_flag("--baseline", arguments.send.baseline,
                "beside it the naive way: the same two rows in a transaction each over 8 connections, without gRPC; "
                "the relay rests meanwhile")
      ->needs(command.get_option("--stack-dir"));
  return [](Arguments& given) {
    given.send.bench = Finished(given);
    return Tell(carillon::bench::RunSend(given.send), given.json);
  };
}

Run DescribeLatency(CLI::App& command, Arguments& arguments) {
  command.add_option("--rate", arguments.latency.rate, "sends a second, on average (default: 200)")
      ->check(CLI::Range(0.1, 1e6));
  return [](Arguments& given) {
    given.latency.bench = Finished(given);
    return Tell(carillon::bench::RunLatency(given.latency), given.json);
  };
}

Run DescribeIsolation(CLI::App& command, Arguments& arguments) {
  command.add_option("--rate", arguments.isolation.rate, "sends of payment and otp a second (default: 200)")
      ->check(CLI::Range(0.1, 1e6));
  command.add_option("--flood", arguments.isolation.flood, "notifications of marketing (default: 1000000)")
      ->check(CLI::Range(1, 100'000'000));
  command.add_flag("--due", arguments.isolation.due,
                   "the flood becomes due at one instant; sends of its own lane are measured too");
  command.add_flag("--drain", arguments.isolation.drain, "let the flood be delivered to its end");
  return [](Arguments& given) {
    given.isolation.bench = Finished(given);
    return Tell(carillon::bench::RunIsolation(given.isolation), given.json);
  };
}

Run DescribeRelay(CLI::App& command, Arguments& arguments) {
  command.add_option("--rows", arguments.relay.rows, "outbox rows (default: 1000000)")
      ->check(CLI::Range(1, 100'000'000));
  command.add_option("--pack", arguments.relay.pack, "run a relay with this --pack; 0: the system's own (default: 0)")
      ->check(CLI::Range(0, 10'000));
  command.add_option("--rate", arguments.relay.rate, "sends of otp a second meanwhile (default: 50)")
      ->check(CLI::Range(0.1, 1e6));
  return [](Arguments& given) {
    given.relay.bench = Finished(given);
    return Tell(carillon::bench::RunRelay(given.relay), given.json);
  };
}

Run DescribeLane(CLI::App& command, Arguments& arguments) {
  command.add_option("--lane", arguments.lane.lane, "payment, otp, social or marketing (default: payment)");
  return [](Arguments& given) {
    given.lane.bench = Finished(given);
    return Tell(carillon::bench::RunLane(given.lane), given.json);
  };
}

Run DescribePrefill(CLI::App& command, Arguments& arguments) {
  command.add_option("--rows", arguments.prefill.rows, "notifications (default: 1000000)")
      ->check(CLI::Range(1, 100'000'000));
  return [](Arguments& given) {
    given.prefill.bench = Finished(given);
    return Tell(carillon::bench::RunPrefill(given.prefill), given.json);
  };
}

Run DescribeFanout(CLI::App& command, Arguments& arguments) {
  carillon::bench::FanoutOptions& fanout = arguments.fanout;
  command.add_option("--followers", fanout.followers, "of each star; made straight in PostgreSQL (default: 1000000)")
      ->check(CLI::Range(1, 100'000'000));
  command.add_option("--events", fanout.events, "events at once, each of another star (default: 1)")
      ->check(CLI::Range(1, 26));
  command.add_option("--kills", fanout.kills, "kill -9 the fan-out worker so often on the way (default: 0)")
      ->check(CLI::Range(0, 100));
  command.add_option("--like-rate", fanout.like_rate, "likes a second, idle and meanwhile (default: 0)")
      ->check(CLI::Range(0.0, 1e6));
  command.add_flag("--shared", fanout.shared, "store the event once for all, whatever the app's threshold is");
  command.add_option("--online", fanout.online, "with --shared: followers with a live stream (default: 1000)")
      ->check(CLI::Range(1, 10'000));
  command.add_flag("--crossover", fanout.crossover, "what both ways cost, for 1 000, 10 000 and 100 000 followers");
  return [](Arguments& given) {
    given.fanout.bench = Finished(given);
    return Tell(carillon::bench::RunFanout(given.fanout), given.json);
  };
}

Run DescribeStreams(CLI::App& command, Arguments& arguments) {
  carillon::bench::StreamsOptions& streams = arguments.streams;
  command.add_option("--streams", streams.streams, "live streams (default: 10000)")->check(CLI::Range(1, 1'000'000));
  command.add_option("--connections", streams.connections, "that they share (default: 10)")
      ->check(CLI::Range(1, 10'000));
  command
      .add_option_function<std::string>(
          "--source", [&streams](const std::string& source) { streams.topic = source == "topic"; },
          "send: notifications to the users of the streams; topic: events on one topic that all follow (default: send)")
      ->check(CLI::IsMember({"send", "topic"}));
  command.add_option("--window", streams.window, "messages on their way (default: 2000; topic: four events)")
      ->check(CLI::Range(0, 100'000'000));
  command.add_flag("--herd", streams.herd, "cut all streams and let them come back at once");
  command.add_flag("--restart", streams.restart, "with --herd: kill the server instead, and start it")->needs("--herd");
  return [](Arguments& given) {
    given.streams.bench = Finished(given);
    return Tell(carillon::bench::RunStreams(given.streams), given.json);
  };
}

Run DescribeReaders(CLI::App& command, Arguments& arguments) {
  carillon::bench::ReadersOptions& readers = arguments.readers;
  command.add_option("--readers", readers.readers, "reads at a time (default: 1000)")->check(CLI::Range(1, 100'000));
  command.add_option("--page-size", readers.page_size, "items in an answer (default: 20)")->check(CLI::Range(1, 500));
  command.add_option("--write-ms", arguments.write_milliseconds, "time between two events (default: 100)")
      ->check(CLI::Range(1, 60'000));
  command.add_flag("--second-server", readers.second_server, "start another server, and read from both");
  command.add_option("--servers", readers.servers, "addresses of further servers to read from")->delimiter(',');
  return [](Arguments& given) {
    given.readers.bench = Finished(given);
    given.readers.write_interval = absl::Milliseconds(given.write_milliseconds);
    return Tell(carillon::bench::RunReaders(given.readers), given.json);
  };
}

Run DescribeRouting(CLI::App& command, Arguments& arguments) {
  command.add_option("--streams", arguments.routing.streams, "live streams on both servers (default: 1000)")
      ->check(CLI::Range(2, 100'000));
  command.add_option("--window", arguments.routing.window, "messages on their way (default: 1000)")
      ->check(CLI::Range(100, 1'000'000));
  return [](Arguments& given) {
    given.routing.bench = Finished(given);
    return Tell(carillon::bench::RunRouting(given.routing), given.json);
  };
}

Run DescribeDeliveries(CLI::App& command, Arguments& arguments) {
  carillon::bench::DeliveriesOptions& deliveries = arguments.deliveries;
  command.add_option("--channel", deliveries.channel, "email, sms, apns, fcm, webhook, or all in turn (default: all)");
  command.add_flag("--hang-provider", deliveries.hang_provider,
                   "instead: otp by SMS, payment by e-mail and likes in the app, alone and while the providers of "
                   "social e-mail hang for 60 s");
  command.add_option("--rate", deliveries.rate, "with --hang-provider: sends of these a second (default: 90)")
      ->check(CLI::Range(0.1, 1e6));
  return [](Arguments& given) {
    given.deliveries.bench = Finished(given);
    return Tell(carillon::bench::RunDeliveries(given.deliveries), given.json);
  };
}

// Where a scenario differs from BenchOptions' own defaults.
struct Defaults {
  int users = 10'000;
  std::vector<std::string> types = {"like"};
  int batch = 1;
  int64_t count = 0;
  bool needs_stack = false;
};

struct Scenario {
  const char* name;
  const char* text;
  Run (*describe)(CLI::App&, Arguments&);
  Defaults defaults;
};

const std::vector<Scenario>& Scenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      {"e2e",
       "Sends, follows the live streams, and compares what was accepted with feeds, streams and dead letters. "
       "Status 1: something is lost, doubled, out of order, wrong or dead.",
       DescribeE2e,
       {.users = 200, .types = {}, .count = 20'000}},
      {"send", "Closed loop on the door: how many notifications are accepted a second.", DescribeSend, {}},
      {"latency",
       "Open loop: times from when a send was due to its answer and to the live stream.",
       DescribeLatency,
       {.users = 200, .types = Mixed()}},
      {"isolation",
       "Latency of payment and otp, idle and during a flood of marketing.",
       DescribeIsolation,
       {.users = 200, .needs_stack = true}},
      {"relay", "How fast the relay drains a backlog.", DescribeRelay, {.users = 50, .needs_stack = true}},
      {"lane",
       "How fast one lane's worker empties its queues.",
       DescribeLane,
       {.batch = 100, .count = 30'000, .needs_stack = true}},
      {"prefill", "Makes the tables large.", DescribePrefill, {}},
      {"fanout",
       "Events to the followers of a star: rate, CPU and memory, and that all have it once.",
       DescribeFanout,
       {.users = 200, .needs_stack = true}},
      {"streams",
       "Many live streams on one server: memory, rate, CPU and latency.",
       DescribeStreams,
       {.needs_stack = true}},
      {"readers",
       "Many readers of a topic's feed while it grows: queries, CPU and staleness.",
       DescribeReaders,
       {.needs_stack = true}},
      {"routing",
       "Two servers, directed routing and broadcast: what each receives and costs.",
       DescribeRouting,
       {.needs_stack = true}},
      {"deliveries",
       "What the sandbox's providers are given: rate, CPU and latency by channel, and that all arrived once.",
       DescribeDeliveries,
       {.users = 1'000, .types = {"payment.receipt"}, .count = 10'000, .needs_stack = true}},
  };
  return *scenarios;
}

}  // namespace

int main(int argc, char** argv) {
  // Debian's Abseil looks for lock cycles at every lock, which would be measured too.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  CLI::App app("Load on a running Carillon: what it costs, how long it takes, and that nothing was lost or doubled.");
  app.require_subcommand(1);
  std::vector<std::pair<CLI::App*, Run>> commands;
  // One for each, as each has defaults of its own.
  std::vector<Arguments> arguments(Scenarios().size());
  for (size_t i = 0; i < Scenarios().size(); ++i) {
    const Scenario& scenario = Scenarios()[i];
    BenchOptions& common = arguments[i].common;
    common.users = scenario.defaults.users;
    common.types = scenario.defaults.types;
    common.batch = scenario.defaults.batch;
    common.count = scenario.defaults.count;
    CLI::App* command = app.add_subcommand(scenario.name, scenario.text);
    AddCommon(*command, arguments[i]);
    if (scenario.defaults.needs_stack) command->get_option("--stack-dir")->required();
    commands.emplace_back(command, scenario.describe(*command, arguments[i]));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kCannotRun;
  }
  if (Secret("CARILLON_APP_KEY").empty() || Secret("CARILLON_APP_SECRET").empty()) {
    std::cerr << "carillon-bench: set CARILLON_APP_KEY and CARILLON_APP_SECRET\n";
    return kCannotRun;
  }
  for (size_t i = 0; i < commands.size(); ++i) {
    if (!commands[i].first->parsed()) continue;
    if (commands[i].first->count("--seed") == 0) arguments[i].common.seed = std::random_device()();
    if (arguments[i].e2e.faults.empty()) WaitUntilQuiet(Finished(arguments[i]));
    return commands[i].second(arguments[i]);
  }
  return kCannotRun;
}
