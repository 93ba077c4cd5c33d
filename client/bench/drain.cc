#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/backlog.h"
#include "client/bench/child_process.h"
#include "client/bench/closed_loop.h"
#include "client/bench/guards.h"
#include "client/bench/live_latency.h"
#include "client/bench/metrics_page.h"
#include "client/bench/scenarios.h"
#include "client/bench/stack_control.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kMarketing = "worker-marketing";
constexpr absl::string_view kPublished = "carillon_published_total";
constexpr absl::string_view kMessages = "carillon_published_messages_total";
constexpr absl::string_view kMarketingLane = "lane=\"marketing\"";
constexpr const char* kRelayMetrics = "127.0.0.1:19617";
constexpr absl::Duration kDrainTimeout = absl::Minutes(30);
constexpr absl::Duration kReadyTimeout = absl::Seconds(30);
constexpr int kRecipients = 10'000;

std::string RunName(const char* scenario, const BenchOptions& bench) {
  return absl::StrCat(scenario, "-", absl::ToUnixSeconds(absl::Now()), "-", bench.seed);
}

class RelayRun {
 public:
  explicit RelayRun(const RelayOptions& options)
      : options_(options),
        bench_(options.bench),
        stack_(bench_.stack_directory, bench_.launcher),
        meter_(bench_.stack_directory),
        backlog_(bench_),
        latency_(bench_, RunName("relay", bench_), {"otp.login"}) {}

  absl::StatusOr<Json> Run(Guards& guards) {
    absl::Status status = stack_.Stop("relay");
    status.Update(stack_.Stop(kMarketing));
    if (!status.ok()) return status;
    absl::FPrintF(stderr, "preparing %d rows\n", options_.rows);
    status = backlog_.Add(options_.rows, UserIds(RunName("backlog", bench_), kRecipients), /*notifications=*/false);
    Json document = {{"scenario", "relay"},   {"passed", false},       {"seed", bench_.seed},
                     {"rows", options_.rows}, {"pack", options_.pack}, {"rate", options_.rate}};
    if (status.ok()) status = Drain(guards, document);
    status.Update(CleanUp());
    if (!status.ok()) return status;
    return document;
  }

 private:
  absl::Status Drain(Guards& guards, Json& document) {
    // As long as it drains, and no longer: the others' latency is of that time.
    absl::Status drained;
    Usage usage;
    std::thread drain([&] { drained = DrainAll(guards, usage); });
    absl::Status status;
    Json phases = Json::array();
    while (status.ok() && !over_) {
      status =
          latency_.Measure(bench_.seed + phases.size(), options_.rate, absl::ZeroDuration(), absl::Seconds(2), meter_);
      phases.push_back(nullptr);
      const LiveLatency::Times times = latency_.AllTimes();
      arrivals_.insert(arrivals_.end(), times.arrival.begin(), times.arrival.end());
      missing_ += times.missing;
    }
    drain.join();
    if (!drained.ok()) return drained;
    if (!status.ok()) return status;
    document["passed"] = missing_ == 0;
    document["rows_per_second"] = RatePerSecond(counted_, usage.time);
    document["messages"] = messages_;
    document["otp_meanwhile_ms"] = JsonOf(PercentilesOf(arrivals_));
    document["missing"] = missing_;
    document["usage"] = JsonOf(usage, counted_);
    return absl::OkStatus();
  }

  // Until the rows are deleted, which is the last of it.
  absl::Status DrainAll(Guards& guards, Usage& usage) {
    CpuMeter meter(bench_.stack_directory);
    absl::Status status = StartRelay(meter);
    const CpuMeter::Reading before = meter.Read();
    const absl::StatusOr<double> first = PublishedRows();
    status.Update(first.status());
    if (first.ok()) counted_ = options_.rows - static_cast<int64_t>(*first);
    if (status.ok()) status = backlog_.WaitForEmptyOutbox("marketing", kDrainTimeout);
    usage = CpuMeter::Between(before, meter.Read());
    over_ = true;
    if (!status.ok()) return status;
    guards.RelayStarted(RelayUrl());
    const absl::StatusOr<double> messages = MetricOf(RelayUrl(), kMessages, kMarketingLane);
    if (messages.ok()) messages_ = static_cast<int64_t>(*messages);
    return guards.CheckRun(options_.rows);
  }

  // Returns when it is about to take its first rows: it declares the topology first.
  absl::Status StartRelay(CpuMeter& meter) {
    if (options_.pack == 0) {
      if (absl::Status status = stack_.Start("relay"); !status.ok()) return status;
    } else {
      absl::StatusOr<std::unique_ptr<ChildProcess>> relay =
          ChildProcess::Start({ProgramBeside("carillon-relay"), absl::StrCat("--pack=", options_.pack),
                               absl::StrCat("--metrics-address=", kRelayMetrics)},
                              absl::StrCat(bench_.stack_directory, "/logs/relay-bench.log"));
      if (!relay.ok()) return relay.status();
      relay_ = *std::move(relay);
      meter.Follow("relay", relay_->pid());
    }
    return WaitForMetric(RelayUrl(), kPublished, kMarketingLane, 1, kReadyTimeout).status();
  }

  absl::StatusOr<double> PublishedRows() const { return MetricOf(RelayUrl(), kPublished, kMarketingLane); }

  std::string RelayUrl() const {
    return options_.pack == 0 ? MetricsUrlOf("relay") : absl::StrCat("http://", kRelayMetrics, "/metrics");
  }

  absl::Status CleanUp() {
    absl::Status status;
    if (relay_ != nullptr) {
      status = relay_->Stop();
    } else {
      status = stack_.Stop("relay");
    }
    status.Update(backlog_.Remove());
    status.Update(stack_.PurgeQueue("marketing"));
    status.Update(stack_.Start("relay"));
    status.Update(stack_.Start(kMarketing));
    return status;
  }

  const RelayOptions& options_;
  const BenchOptions& bench_;
  const StackControl stack_;
  const CpuMeter meter_;
  // The draining thread's while it runs.
  Backlog backlog_;
  int64_t messages_ = 0;
  // Rows that left after the first look.
  int64_t counted_ = 0;
  LiveLatency latency_;
  std::unique_ptr<ChildProcess> relay_;
  std::atomic<bool> over_ = false;
  std::vector<absl::Duration> arrivals_;
  int64_t missing_ = 0;
};

class LaneRun {
 public:
  LaneRun(const LaneOptions& options, std::vector<std::string> types)
      : options_(options),
        bench_(options.bench),
        worker_(absl::StrCat("worker-", options.lane)),
        stack_(bench_.stack_directory, bench_.launcher),
        meter_(bench_.stack_directory),
        sender_(bench_.client),
        requests_({bench_.seed, RunName("lane", bench_), UserIds(RunName("lane", bench_), bench_.users),
                   std::move(types), bench_.keys}) {}

  absl::StatusOr<Json> Run() {
    if (absl::Status status = stack_.Stop(worker_); !status.ok()) return status;
    Json document = {{"scenario", "lane"},
                     {"passed", false},
                     {"seed", bench_.seed},
                     {"lane", options_.lane},
                     {"notifications", bench_.count},
                     {"users", bench_.users}};
    absl::Status status = Fill();
    status.Update(stack_.Start(worker_));
    if (status.ok()) status = Measure(document);
    if (!status.ok()) return status;
    document["passed"] = true;
    return document;
  }

 private:
  absl::Status Fill() {
    ClosedLoop loop(sender_, requests_, {.in_flight = bench_.in_flight, .batch = bench_.batch},
                    [](const AnsweredCall&) {});
    loop.Start(bench_.count);
    loop.WaitFor(absl::InfiniteDuration());
    if (loop.accepted() != bench_.count) return absl::InternalError("not everything was accepted");
    return Backlog(bench_).WaitForEmptyOutbox(options_.lane, kDrainTimeout);
  }

  // From one look at its counter to another, so that starting is not in it.
  absl::Status Measure(Json& document) {
    constexpr absl::string_view kMetric = "carillon_delivered_total";
    const std::string url = MetricsUrlOf(worker_);
    const absl::StatusOr<double> first = WaitForMetric(url, kMetric, "", 1, kReadyTimeout);
    const CpuMeter::Reading before = meter_.Read();
    if (!first.ok()) return first.status();
    const absl::StatusOr<double> last =
        WaitForMetric(url, kMetric, "", static_cast<double>(bench_.count), kDrainTimeout);
    if (!last.ok()) return last.status();
    const Usage usage = CpuMeter::Between(before, meter_.Read());
    const auto delivered = static_cast<int64_t>(*last - *first);
    document["counted"] = delivered;
    document["per_second"] = RatePerSecond(delivered, usage.time);
    document["usage"] = JsonOf(usage, delivered);
    return absl::OkStatus();
  }

  const LaneOptions& options_;
  const BenchOptions& bench_;
  const std::string worker_;
  const StackControl stack_;
  const CpuMeter meter_;
  RawSender sender_;
  SendRequests requests_;
};

}  // namespace

absl::StatusOr<Json> RunRelay(const RelayOptions& options) {
  Guards guards(options.bench);
  if (absl::Status status = guards.Check(); !status.ok()) return status;
  return RelayRun(options).Run(guards);
}

absl::StatusOr<Json> RunLane(const LaneOptions& options) {
  static const std::map<std::string, std::vector<std::string>> kTypesOfLane = {
      {"payment", {"payment.receipt"}},
      {"otp", {"otp.login"}},
      {"social", {"like", "follow", "comment", "chat.message"}},
      {"marketing", {"marketing.discount"}}};
  const auto types = kTypesOfLane.find(options.lane);
  if (types == kTypesOfLane.end()) return absl::InvalidArgumentError(absl::StrCat("no lane '", options.lane, "'"));
  Guards guards(options.bench);
  if (absl::Status status = guards.Check(); !status.ok()) return status;
  absl::StatusOr<Json> document = LaneRun(options, types->second).Run();
  if (!document.ok()) return document;
  if (absl::Status status = guards.CheckRun(options.bench.count); !status.ok()) return status;
  return document;
}

absl::StatusOr<Json> RunPrefill(const PrefillOptions& options) {
  Backlog backlog(options.bench);
  const absl::Duration begun = MonotonicNow();
  const absl::Status status =
      backlog.AddDelivered(options.rows, UserIds(RunName("prefill", options.bench), options.bench.users));
  if (!status.ok()) return status;
  return Json{{"scenario", "prefill"},
              {"passed", true},
              {"rows", options.rows},
              {"seconds", absl::ToDoubleSeconds(MonotonicNow() - begun)}};
}

}  // namespace carillon::bench
