#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/backlog.h"
#include "client/bench/guards.h"
#include "client/bench/live_latency.h"
#include "client/bench/metrics_page.h"
#include "client/bench/readback.h"
#include "client/bench/scenarios.h"
#include "client/bench/stack_control.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kWorker = "worker-marketing";
constexpr const char* kQueue = "marketing";
// Recipients of the flood that nothing else is sent to.
constexpr int kOthers = 10'000;
constexpr absl::Duration kDrainTimeout = absl::Minutes(30);

// The types that are measured: those of other lanes, and the flood's own if that must
// not starve.
std::vector<std::string> TypesOf(const IsolationOptions& options) {
  std::vector<std::string> types = {"payment.receipt", "otp.login"};
  if (options.due) types.push_back("marketing.discount");
  return types;
}

class IsolationRun {
 public:
  explicit IsolationRun(const IsolationOptions& options)
      : options_(options),
        bench_(options.bench),
        stack_(bench_.stack_directory, bench_.launcher),
        meter_(bench_.stack_directory),
        backlog_(bench_),
        run_name_(absl::StrCat("isolation-", absl::ToUnixSeconds(absl::Now()), "-", bench_.seed)),
        types_(TypesOf(options)),
        latency_(bench_, run_name_, types_) {}

  absl::StatusOr<Json> Run(Guards& guards) {
    Json document = {{"scenario", options_.due ? "isolation --due" : "isolation"},
                     {"passed", false},
                     {"seed", bench_.seed},
                     {"rate", options_.rate},
                     {"users", bench_.users},
                     {"flood_size", options_.flood}};
    absl::Status status = latency_.Measure(bench_.seed, options_.rate, bench_.warmup, bench_.time, meter_);
    if (!status.ok()) return status;
    AddTimes("idle", 0, document);
    const bool idle_passed = phase_passed_;
    if (status = BeginFlood(guards); status.ok()) status = MeasureFlood(guards, document);
    document["passed"] = idle_passed && phase_passed_;
    status.Update(EndFlood());
    if (!status.ok()) return status;
    return document;
  }

 private:
  // Nothing of it moves before all of it is there.
  absl::Status BeginFlood(Guards& guards) {
    absl::Status status = stack_.Stop("relay");
    status.Update(stack_.Stop(kWorker));
    if (!status.ok()) return status;
    absl::FPrintF(stderr, "preparing %d notifications\n", options_.flood);
    // Half of those who are measured, and others, all equally often.
    std::vector<std::string> recipients = UserIds(run_name_, SharedUsers());
    for (std::string& other : UserIds(absl::StrCat(run_name_, "-else"), kOthers)) {
      other.erase(run_name_.size() + std::strlen("-else"), std::strlen("-user"));
      recipients.push_back(std::move(other));
    }
    status = options_.due ? backlog_.AddScheduled(options_.flood, recipients)
                          : backlog_.Add(options_.flood, recipients, /*notifications=*/true);
    if (!status.ok()) return status;
    status.Update(stack_.Start(kWorker));
    status.Update(stack_.Start("relay"));
    guards.RelayStarted(MetricsUrlOf("relay"));
    return status;
  }

  absl::Status MeasureFlood(Guards& guards, Json& document) {
    // The warm-up lets the relay and the worker come to speed.
    absl::SleepFor(bench_.warmup);
    const absl::Duration begun = MonotonicNow();
    const double delivered = Delivered();
    // Its own draw, or both phases would meet the same instants.
    absl::Status status = latency_.Measure(bench_.seed + 1, options_.rate, absl::ZeroDuration(), bench_.time, meter_);
    if (!status.ok()) return status;
    const auto moved = static_cast<int64_t>(Delivered() - delivered);
    document["flood_delivered_per_second"] = RatePerSecond(moved, MonotonicNow() - begun);
    AddTimes("flood", moved, document);
    // A flood that was over before its end was measured in part only.
    const absl::StatusOr<bool> over = options_.due ? backlog_.IsNothingDue() : backlog_.IsOutboxEmpty("marketing");
    document["flood_lasted"] = moved < options_.flood;
    document["outbox_drained"] = over.ok() && *over;
    // Now: the relay is stopped to take the rest away.
    return guards.CheckRun(latency_.counted());
  }

  absl::Status EndFlood() {
    if (options_.drain) {
      Client client(bench_.client);
      const bool drained = WaitForQuiet(client, absl::Now() + kDrainTimeout);
      return drained ? absl::OkStatus() : absl::DeadlineExceededError("the flood is not delivered in time");
    }
    absl::Status status = stack_.Stop("relay");
    status.Update(stack_.Stop(kWorker));
    status.Update(backlog_.Remove());
    status.Update(stack_.PurgeQueue(kQueue));
    status.Update(stack_.Start("relay"));
    status.Update(stack_.Start(kWorker));
    return status;
  }

  // `others`: delivered meanwhile; the CPU went to them as well.
  void AddTimes(const char* phase, int64_t others, Json& document) {
    const size_t end = latency_.user_ids().size();
    const auto shared = static_cast<size_t>(SharedUsers());
    const LiveLatency::Times all = latency_.AllTimes();
    phase_passed_ = latency_.errors().empty() && all.missing == 0;
    Json& figures = document[phase];
    for (const std::string& type : types_) {
      const std::string lane = type.substr(0, type.find('.'));
      figures[lane] = JsonOf(PercentilesOf(latency_.TimesOf(type, 0, end).arrival));
      // Those whom the flood reaches too, and those whom it does not.
      figures[absl::StrCat(lane, "_same_recipients")] =
          JsonOf(PercentilesOf(latency_.TimesOf(type, 0, shared).arrival));
      figures[absl::StrCat(lane, "_other_recipients")] =
          JsonOf(PercentilesOf(latency_.TimesOf(type, shared, end).arrival));
    }
    figures["generator_late"] = JsonOf(PercentilesOf(all.lateness));
    figures["missing"] = all.missing;
    figures["errors"] = latency_.errors();
    figures["usage"] = JsonOf(latency_.usage(), latency_.counted() + others);
  }

  int SharedUsers() const { return bench_.users / 2; }

  static double Delivered() {
    const absl::StatusOr<std::string> page = FetchMetrics(MetricsUrlOf(kWorker));
    return page.ok() ? SumOf(*page, "carillon_delivered_total") : 0;
  }

  const IsolationOptions& options_;
  const BenchOptions& bench_;
  const StackControl stack_;
  const CpuMeter meter_;
  Backlog backlog_;
  const std::string run_name_;
  const std::vector<std::string> types_;
  LiveLatency latency_;
  bool phase_passed_ = false;
};

}  // namespace

absl::StatusOr<Json> RunIsolation(const IsolationOptions& options) {
  Guards guards(options.bench);
  if (absl::Status status = guards.Check(); !status.ok()) return status;
  return IsolationRun(options).Run(guards);
}

}  // namespace carillon::bench
