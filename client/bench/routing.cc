#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/child_process.h"
#include "client/bench/extra_server.h"
#include "client/bench/guards.h"
#include "client/bench/metrics_page.h"
#include "client/bench/scenarios.h"
#include "client/bench/send_requests.h"
#include "client/bench/stack_control.h"
#include "client/bench/stream_fleet.h"
#include "client/bench/windowed_load.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kWorker = "worker-social";
constexpr int kServers = 2;
constexpr int kConnections = 2;  // To each server.
constexpr int kBatch = 100;
constexpr absl::Duration kTimeout = absl::Minutes(1);

class RoutingRun {
 public:
  explicit RoutingRun(const RoutingOptions& options)
      : options_(options),
        bench_(options.bench),
        run_name_(absl::StrCat("routing-", absl::ToUnixSeconds(absl::Now()), "-", bench_.seed)),
        user_ids_(UserIds(run_name_, options.streams)),
        requests_(
            {.seed = bench_.seed, .run_name = run_name_, .user_ids = user_ids_, .types = {"like"}, .stamped = true}),
        sender_(bench_.client),
        stack_(bench_.stack_directory, bench_.launcher),
        meter_(bench_.stack_directory) {}

  absl::StatusOr<Json> Run(Guards& guards) {
    Json document = {{"scenario", "routing"}, {"passed", false}, {"seed", bench_.seed}, {"streams", options_.streams}};
    RETURN_IF_ERROR(StartServers());
    RETURN_IF_ERROR(stack_.Stop(kWorker));
    // Each half before and half after the other, so that a change of the machine meets both.
    Mode directed, broadcast;
    absl::Status status = MeasureHalf("directed", directed);
    if (status.ok()) status = MeasureHalf("broadcast", broadcast);
    if (status.ok()) status = MeasureHalf("broadcast", broadcast);
    if (status.ok()) status = MeasureHalf("directed", directed);
    status.Update(stack_.Start(kWorker));
    RETURN_IF_ERROR(status);
    RETURN_IF_ERROR(guards.CheckRun(/*confirms=*/1));
    document["directed"] = FiguresOf(directed);
    document["broadcast"] = FiguresOf(broadcast);
    document["passed"] = Passed(directed) && Passed(broadcast) && NothingBroke();
    return document;
  }

 private:
  // Every second user is connected to the second one.
  absl::Status StartServers() {
    ASSIGN_OR_RETURN(second_, ExtraServer::Start(bench_));
    meter_.Follow(kExtraServer, second_->pid());
    metrics_urls_ = {MetricsUrlOf("server"), second_->metrics_url()};
    const std::string addresses[] = {bench_.client.address, second_->address()};
    for (size_t server = 0; server < kServers; ++server) {
      std::vector<RawSender::Feed> feeds;
      for (size_t i = server; i < user_ids_.size(); i += kServers) feeds.push_back({.user_id = user_ids_[i]});
      const auto streams = static_cast<double>(feeds.size());
      ClientOptions client = bench_.client;
      client.address = addresses[server];
      fleets_.push_back(std::make_unique<StreamFleet>(client, kConnections, std::move(feeds)));
      fleets_.back()->Open();
      RETURN_IF_ERROR(WaitForMetric(metrics_urls_[server], "carillon_live_streams", "", streams, kTimeout).status());
    }
    return absl::OkStatus();
  }

  // What a server was sent on Redis: updates, each of what one transaction changed in
  // one feed, and those of them that it had a stream for.
  struct Received {
    double updates = 0;
    double wanted = 0;
    // Items that no update told of.
    double found_by_sweep = 0;
  };

  // What was seen with one routing.
  struct Mode {
    int64_t delivered = 0;
    int64_t missing = 0;
    Usage usage;
    std::vector<absl::Duration> times;
    std::map<std::string, int64_t> errors;
    std::vector<Received> received = std::vector<Received>(kServers);
  };

  // A worker of our own, as the flag is its.
  absl::Status MeasureHalf(const std::string& name, Mode& mode) {
    ASSIGN_OR_RETURN(const int port, FreePort());
    ASSIGN_OR_RETURN(
        const std::unique_ptr<ChildProcess> worker,
        ChildProcess::Start({ProgramBeside("carillon-worker"), "--lane=social", absl::StrCat("--live-routing=", name),
                             absl::StrCat("--metrics-address=127.0.0.1:", port)},
                            absl::StrCat(bench_.stack_directory, "/logs/worker-social-bench.log")));
    meter_.Follow(kWorker, worker->pid());
    const std::string url = absl::StrCat("http://127.0.0.1:", port, "/metrics");
    RETURN_IF_ERROR(WaitForMetric(url, "carillon_ready", "", 1, kTimeout).status());
    MeasureLoad(mode);
    return worker->Stop();
  }

  void MeasureLoad(Mode& mode) {
    const int64_t before_all = Arrived();
    WindowedLoad load(
        {.window = options_.window, .per_call = kBatch},
        [this](RawSender::Done done) {
          requests_.NextBatch(kBatch, request_);
          sender_.SendBatch(request_, std::move(done));
        },
        [this] { return Arrived(); });
    absl::SleepFor(bench_.warmup);
    for (const auto& fleet : fleets_) fleet->BeginRound();
    const std::vector<Received> received = ReceivedByServer();
    const CpuMeter::Reading before = meter_.Read();
    const int64_t arrived = Arrived();
    absl::SleepFor(bench_.time / 2);
    mode.delivered += Arrived() - arrived;
    mode.usage.Add(CpuMeter::Between(before, meter_.Read()));
    AddReceived(received, ReceivedByServer(), mode);
    for (const auto& fleet : fleets_) {
      const std::vector<absl::Duration> some = fleet->Times();
      mode.times.insert(mode.times.end(), some.begin(), some.end());
    }
    load.Stop();
    WaitUntilArrived(before_all + load.accepted());
    mode.missing += before_all + load.accepted() - Arrived();
    for (const auto& [code, count] : load.errors()) mode.errors[code] += count;
  }

  static void AddReceived(const std::vector<Received>& before, const std::vector<Received>& after, Mode& mode) {
    for (size_t i = 0; i < kServers; ++i) {
      mode.received[i].updates += after[i].updates - before[i].updates;
      mode.received[i].wanted += after[i].wanted - before[i].wanted;
      mode.received[i].found_by_sweep += after[i].found_by_sweep - before[i].found_by_sweep;
    }
  }

  static Json FiguresOf(const Mode& mode) {
    Json figures = {{"delivered", mode.delivered},
                    {"per_second", RatePerSecond(mode.delivered, mode.usage.time)},
                    {"send_to_stream_ms", JsonOf(PercentilesOf(mode.times))},
                    {"missing", mode.missing},
                    {"errors", mode.errors}};
    const char* names[] = {"server", kExtraServer};
    for (size_t i = 0; i < kServers; ++i) {
      figures["received"][names[i]] = {{"updates", static_cast<int64_t>(mode.received[i].updates)},
                                       {"wanted", static_cast<int64_t>(mode.received[i].wanted)},
                                       {"found_by_sweep", static_cast<int64_t>(mode.received[i].found_by_sweep)}};
    }
    figures["usage"] = JsonOf(mode.usage, mode.delivered);
    return figures;
  }

  static bool Passed(const Mode& mode) { return mode.delivered > 0 && mode.missing == 0 && mode.errors.empty(); }

  std::vector<Received> ReceivedByServer() const {
    std::vector<Received> received;
    for (const std::string& url : metrics_urls_) {
      const absl::StatusOr<std::string> page = FetchMetrics(url);
      received.push_back(page.ok() ? Received{SumOf(*page, "carillon_live_messages_received_total"),
                                              SumOf(*page, "carillon_live_messages_wanted_total"),
                                              SumOf(*page, "carillon_live_found_by_sweep_total")}
                                   : Received{});
    }
    return received;
  }

  void WaitUntilArrived(int64_t items) const {
    const absl::Duration deadline = MonotonicNow() + kTimeout;
    while (Arrived() < items && MonotonicNow() < deadline) absl::SleepFor(absl::Milliseconds(5));
  }

  int64_t Arrived() const {
    int64_t items = 0;
    for (const auto& fleet : fleets_) items += fleet->items();
    return items;
  }

  bool NothingBroke() const {
    for (const auto& fleet : fleets_) {
      const StreamTally total = fleet->Total();
      if (total.gaps + total.disorder > 0 || !fleet->ends().empty()) return false;
    }
    return true;
  }

  const RoutingOptions& options_;
  const BenchOptions& bench_;
  const std::string run_name_;
  const std::vector<std::string> user_ids_;
  // The load's own thread's, while it runs.
  SendRequests requests_;
  std::string request_;
  RawSender sender_;
  const StackControl stack_;
  CpuMeter meter_;
  std::unique_ptr<ExtraServer> second_;
  std::vector<std::string> metrics_urls_;
  std::vector<std::unique_ptr<StreamFleet>> fleets_;
};

}  // namespace

absl::StatusOr<Json> RunRouting(const RoutingOptions& options) {
  Guards guards(options.bench);
  RETURN_IF_ERROR(guards.Check());
  return RoutingRun(options).Run(guards);
}

}  // namespace carillon::bench
