#include "client/bench/deliveries.h"

#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/closed_loop.h"
#include "client/bench/raw_sender.h"
#include "client/bench/reachable.h"
#include "client/bench/send_requests.h"

namespace carillon::bench {
namespace {

// The newest of each provider, whose connections are counted.
constexpr int kMessagesLookedAt = 1'000;
constexpr const char* kAll[] = {"email", "sms", "apns", "fcm", "webhook"};

absl::StatusOr<v1::Channel> ParseExternal(const std::string& name) {
  v1::Channel channel = v1::CHANNEL_UNSPECIFIED;
  const std::string full = absl::StrCat("CHANNEL_", absl::AsciiStrToUpper(name));
  if (v1::Channel_Parse(full, &channel) && channel > v1::CHANNEL_IN_APP) return channel;
  return absl::InvalidArgumentError("--channel must be email, sms, apns, fcm, webhook or all");
}

class ChannelRun {
 public:
  ChannelRun(const BenchOptions& bench, const Sandbox& sandbox, v1::Channel channel)
      : bench_(bench),
        sandbox_(sandbox),
        channel_(channel),
        requests_({.seed = bench.seed,
                   .run_name = "deliveries",
                   .user_ids = UserIds(kGroup, bench.users),
                   .types = bench.types,
                   .keys = bench.keys,
                   .channels = {{bench.types.front(), {channel}}}}),
        sender_(bench.client),
        loop_(sender_, requests_, {.in_flight = bench.in_flight, .batch = bench.batch}, [](const AnsweredCall&) {}),
        people_(bench),
        meter_(bench.stack_directory) {}

  absl::StatusOr<Json> Run() {
    RETURN_IF_ERROR(people_.Make(kGroup, bench_.users));
    RETURN_IF_ERROR(WarmUp());
    ASSIGN_OR_RETURN(const SandboxCounts received, sandbox_.Counts(channel_));
    const int64_t accepted = loop_.accepted();
    const absl::Time began = absl::Now();
    const CpuMeter::Reading before = meter_.Read();
    loop_.Start(bench_.count);
    loop_.WaitFor(absl::InfiniteDuration());
    const int64_t sent = loop_.accepted() - accepted;
    ASSIGN_OR_RETURN(const Outcomes outcomes, people_.WaitForEnd(kGroup, bench_.types.front(), channel_, began, sent));
    const Usage usage = CpuMeter::Between(before, meter_.Read());
    return Document(sent, received, outcomes, usage);
  }

 private:
  // Connections, tokens, templates: what the first deliveries pay for all.
  absl::Status WarmUp() {
    const absl::Time began = absl::Now();
    loop_.Start(std::numeric_limits<int64_t>::max());
    loop_.WaitFor(bench_.warmup);
    loop_.Stop();
    return people_.WaitForEnd(kGroup, bench_.types.front(), channel_, began, loop_.accepted()).status();
  }

  absl::StatusOr<Json> Document(int64_t sent, const SandboxCounts& received_before, const Outcomes& outcomes,
                                const Usage& usage) const {
    ASSIGN_OR_RETURN(const SandboxCounts received, sandbox_.Counts(channel_));
    const Arrived arrived = ArrivedOf(sent, received_before, received);
    ASSIGN_OR_RETURN(const int64_t connections, sandbox_.Connections(channel_, kMessagesLookedAt));
    const int64_t done = outcomes.of("sent") + outcomes.of("delivered") + outcomes.of("undelivered");
    return Json{{"passed", loop_.errors().empty() && done == sent && arrived.missing + arrived.doubled == 0},
                {"deliveries", sent},
                {"per_second", RatePerSecond(sent, outcomes.span)},
                {"bound", BoundOf(usage)},
                {"accepted_to_sent_ms", JsonOf(PercentilesOf(outcomes.accepted_to_end))},
                {"states", outcomes.states},
                {"missing", arrived.missing},
                {"doubled", arrived.doubled},
                {"connections", connections},
                {"errors", loop_.errors()},
                {"usage", JsonOf(usage, sent)}};
  }

  const BenchOptions& bench_;
  const Sandbox& sandbox_;
  const v1::Channel channel_;
  SendRequests requests_;
  RawSender sender_;
  ClosedLoop loop_;
  ReachablePeople people_;
  const CpuMeter meter_;
};

}  // namespace

absl::StatusOr<Json> RunThroughput(const DeliveriesOptions& options, Guards& guards, const Sandbox& sandbox) {
  std::vector<std::string> names(std::begin(kAll), std::end(kAll));
  if (options.channel != "all") names = {options.channel};
  Json document = {{"scenario", "deliveries"},
                   {"passed", true},
                   {"seed", options.bench.seed},
                   {"type", options.bench.types.front()},
                   {"in_flight", options.bench.in_flight},
                   {"batch", options.bench.batch}};
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const v1::Channel channel, ParseExternal(name));
    absl::FPrintF(stderr, "%d by %s\n", options.bench.count, name);
    ASSIGN_OR_RETURN(document[name], ChannelRun(options.bench, sandbox, channel).Run());
    document["passed"] = Passed(document) && Passed(document[name]);
  }
  // A notification, and a delivery behind it.
  RETURN_IF_ERROR(guards.CheckRun(2 * options.bench.count * static_cast<int64_t>(names.size())));
  return document;
}

absl::StatusOr<Json> RunDeliveries(const DeliveriesOptions& options) {
  if (options.bench.types.size() != 1) return absl::InvalidArgumentError("--types must be one type");
  if (SandboxUrl().empty()) return absl::FailedPreconditionError("CARILLON_SANDBOX_URL is not set: no sandbox runs");
  const Sandbox sandbox(SandboxUrl());
  Guards guards(options.bench);
  RETURN_IF_ERROR(guards.Check());
  return options.hang_provider ? RunHangingProvider(options, guards, sandbox) : RunThroughput(options, guards, sandbox);
}

}  // namespace carillon::bench
