// carillon-bench: load on a running system, and the proof that nothing was lost or delivered twice.
#include <CLI/CLI.hpp>
#include <iostream>
#include <random>
#include <string>

#include "client/bench/e2e.h"

namespace {

constexpr int kFindings = 1;
constexpr int kCannotRun = 2;

struct Arguments {
  carillon::bench::E2eOptions e2e;
  double settle_seconds = absl::ToDoubleSeconds(e2e.settle_timeout);
  double postgres_seconds = absl::ToDoubleSeconds(e2e.postgres_away);
  bool json = false;
};

void DescribeE2e(CLI::App& command, Arguments& arguments) {
  carillon::bench::E2eOptions& options = arguments.e2e;
  command.add_option("--address", options.address, "host:port of the server")->envname("CARILLON_ADDRESS")->required();
  command.add_option("--in-flight,--inflight", options.in_flight, "calls at a time")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command.add_option("--count", options.count, "notifications to send")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  command.add_option("--users", options.users, "recipients, each with a live stream")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command.add_option("--types", options.types, "types to draw from")->delimiter(',')->capture_default_str();
  command.add_option("--batch", options.batch, "notifications in a call; above 1 by BatchSendNotifications")
      ->check(CLI::Range(1, 1'000))
      ->capture_default_str();
  command.add_option("--seed", options.seed, "repeats the draws of a run (default: a new one)");
  command.add_option("--accepted-log", options.accepted_log, "file for the accepted ids (default: a temporary one)");
  command.add_option("--settle-timeout", arguments.settle_seconds, "seconds to wait for deliveries, and for a call")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  command.add_flag("--json", arguments.json, "report as one JSON document");
}

void DescribeChaos(CLI::App& command, Arguments& arguments) {
  carillon::bench::E2eOptions& options = arguments.e2e;
  options.launcher = "deploy/local/stack.py";
  CLI::Option* directory = command.add_option("--stack-dir", options.stack_directory, "directory of the local system")
                               ->envname("CARILLON_STACK_DIR");
  command
      .add_option("--chaos", options.faults,
                  "faults at instants drawn from the seed: server, relay, worker, rabbitmq, redis, postgres, purge")
      ->delimiter(',')
      ->needs(directory);
  command.add_option("--launcher", options.launcher, "the program that starts and stops its parts")
      ->check(CLI::ExistingFile)
      ->capture_default_str();
  command.add_option("--postgres-seconds", arguments.postgres_seconds, "how long PostgreSQL is away")
      ->check(CLI::Range(0.1, 3'600.0))
      ->capture_default_str();
}

// Secrets come from the environment only, where other users can't see them.
bool ReadCredentials(carillon::bench::E2eOptions& options) {
  const char* key = std::getenv("CARILLON_APP_KEY");
  const char* secret = std::getenv("CARILLON_APP_SECRET");
  if (key == nullptr || secret == nullptr) return false;
  options.app_key = key;
  options.app_secret = secret;
  return true;
}

int RunE2e(Arguments arguments) {
  if (!ReadCredentials(arguments.e2e)) {
    std::cerr << "carillon-bench: set CARILLON_APP_KEY and CARILLON_APP_SECRET\n";
    return kCannotRun;
  }
  arguments.e2e.settle_timeout = absl::Seconds(arguments.settle_seconds);
  arguments.e2e.postgres_away = absl::Seconds(arguments.postgres_seconds);
  const absl::StatusOr<carillon::bench::Report> report = carillon::bench::RunE2e(arguments.e2e);
  if (!report.ok()) {
    std::cerr << "carillon-bench: " << report.status().message() << "\n";
    return kCannotRun;
  }
  std::cout << (arguments.json ? carillon::bench::ToJson(*report) : carillon::bench::ToText(*report)) << std::flush;
  return report->passed() ? 0 : kFindings;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Load on a running Carillon, and the proof that nothing was lost or delivered twice.");
  app.require_subcommand(1);
  Arguments arguments;
  CLI::App* e2e = app.add_subcommand(
      "e2e",
      "Sends, follows the live streams, and compares what was accepted with feeds, streams and dead letters. "
      "Status 1: something is lost, doubled, out of order, wrong or dead.");
  DescribeE2e(*e2e, arguments);
  DescribeChaos(*e2e, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kCannotRun;
  }
  if (e2e->count("--seed") == 0) arguments.e2e.seed = std::random_device()();
  return RunE2e(std::move(arguments));
}
