#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/baseline.h"
#include "client/bench/closed_loop.h"
#include "client/bench/guards.h"
#include "client/bench/metrics_page.h"
#include "client/bench/raw_sender.h"
#include "client/bench/readback.h"
#include "client/bench/scenarios.h"
#include "client/bench/send_requests.h"
#include "client/bench/stack_control.h"
#include "client/carillon/client.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr absl::Duration kQuietTimeout = absl::Minutes(5);
constexpr absl::Duration kLook = absl::Milliseconds(5);

class SendRun {
 public:
  SendRun(const SendOptions& options, std::vector<std::string> types)
      : options_(options),
        bench_(options.bench),
        requests_({bench_.seed, absl::StrCat("send-", absl::ToUnixSeconds(absl::Now()), "-", bench_.seed),
                   UserIds("bench", bench_.users), std::move(types), bench_.keys}),
        sender_(bench_.client),
        client_(bench_.client),
        stack_(bench_.stack_directory, bench_.launcher),
        meter_(bench_.stack_directory) {}

  absl::StatusOr<Json> Run(Guards& guards) {
    Json document = {{"scenario", "send"},    {"passed", false},
                     {"seed", bench_.seed},   {"in_flight", bench_.in_flight},
                     {"batch", bench_.batch}, {"users", bench_.users}};
    if (!options_.baseline) {
      Measure(document);
      return document;
    }
    // The naive way delivers nothing either: what it is compared with is the door alone.
    absl::Status status = stack_.Stop("relay");
    if (status.ok()) status = CompareWithBaseline(document);
    status.Update(stack_.Start("relay"));
    guards.RelayStarted(MetricsUrlOf("relay"));
    if (status.ok() && !WaitForQuiet(client_, absl::Now() + kQuietTimeout)) {
      status = absl::DeadlineExceededError("what was sent was not delivered in time");
    }
    if (!status.ok()) return status;
    return document;
  }

 private:
  // One half before and one after, so that a change of the machine meets both.
  absl::Status CompareWithBaseline(Json& document) {
    absl::StatusOr<std::unique_ptr<Baseline>> baseline = Baseline::Create(bench_);
    if (!baseline.ok()) return baseline.status();
    const Baseline::Result first = (*baseline)->Run(bench_.warmup / 2, bench_.time / 2, meter_);
    Measure(document);
    const Baseline::Result second = (*baseline)->Run(bench_.warmup / 2, bench_.time / 2, meter_);
    return AddBaseline(first, second, document);
  }

  void Measure(Json& document) {
    struct Answered {
      absl::Duration begun, ended;
      int64_t notifications;
    };
    std::vector<Answered> answers;
    ClosedLoop loop(sender_, requests_, {.in_flight = bench_.in_flight, .batch = bench_.batch},
                    [&answers](const AnsweredCall& call) {
                      answers.push_back({call.begun, call.answered, static_cast<int64_t>(call.drawn.size())});
                    });
    loop.Start(std::numeric_limits<int64_t>::max());
    loop.WaitFor(bench_.warmup);
    const CpuMeter::Reading before = meter_.Read();
    WaitForEnd(loop);
    const CpuMeter::Reading after = meter_.Read();
    loop.Stop();
    int64_t notifications = 0;
    std::vector<absl::Duration> times;
    for (const Answered& answer : answers) {
      if (answer.ended < before.moment || answer.ended >= after.moment) continue;
      notifications += answer.notifications;
      times.push_back(answer.ended - answer.begun);
    }
    per_second_ = RatePerSecond(notifications, after.moment - before.moment);
    document["passed"] = loop.errors().empty() && notifications > 0;
    document["notifications"] = notifications;
    document["per_second"] = per_second_;
    document["call_ms"] = JsonOf(PercentilesOf(std::move(times)));
    document["errors"] = loop.errors();
    document["usage"] = JsonOf(CpuMeter::Between(before, after), notifications);
  }

  void WaitForEnd(ClosedLoop& loop) const {
    if (bench_.count == 0) {
      loop.WaitFor(bench_.time);
      return;
    }
    const int64_t last = loop.accepted() + bench_.count;
    while (loop.accepted() < last && !loop.WaitFor(kLook)) {
    }
  }

  absl::Status AddBaseline(const Baseline::Result& first, const Baseline::Result& second, Json& document) const {
    if (!first.status.ok()) return first.status;
    if (!second.status.ok()) return second.status;
    std::vector<absl::Duration> times = first.latencies;
    times.insert(times.end(), second.latencies.begin(), second.latencies.end());
    const int64_t written = first.written + second.written;
    const double per_second = RatePerSecond(written, first.usage.time + second.usage.time);
    document["baseline"] = {{"connections", 8},
                            {"per_second", per_second},
                            {"call_ms", JsonOf(PercentilesOf(std::move(times)))},
                            {"before", JsonOf(first.usage, first.written)},
                            {"after", JsonOf(second.usage, second.written)}};
    document["times_baseline"] = per_second > 0 ? std::round(100 * per_second_ / per_second) / 100 : 0;
    return absl::OkStatus();
  }

  const SendOptions& options_;
  const BenchOptions& bench_;
  SendRequests requests_;
  RawSender sender_;
  Client client_;
  const StackControl stack_;
  const CpuMeter meter_;
  double per_second_ = 0;
};

}  // namespace

bool Passed(const Json& document) { return document.value("passed", false); }

absl::StatusOr<Json> RunSend(const SendOptions& options) {
  absl::StatusOr<std::vector<std::string>> types = WeightedTypes(options.bench.types);
  if (!types.ok()) return types.status();
  Guards guards(options.bench);
  if (absl::Status status = guards.Check(); !status.ok()) return status;
  absl::StatusOr<Json> document = SendRun(options, *std::move(types)).Run(guards);
  if (!document.ok()) return document;
  if (absl::Status status = guards.CheckRun(/*confirms=*/1); !status.ok()) return status;
  return document;
}

}  // namespace carillon::bench
