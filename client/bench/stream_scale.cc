#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/events.h"
#include "client/bench/guards.h"
#include "client/bench/herd.h"
#include "client/bench/metrics_page.h"
#include "client/bench/scenarios.h"
#include "client/bench/send_requests.h"
#include "client/bench/stack_control.h"
#include "client/bench/stream_fleet.h"
#include "client/bench/windowed_load.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kServer = "server";
constexpr const char* kPublish = "/carillon.v1.NotificationService/PublishEvent";
constexpr int kBatch = 100;
constexpr int64_t kWindow = 2'000;
constexpr int64_t kEventsInWindow = 4;
constexpr absl::Duration kOpenTimeout = absl::Minutes(2);
constexpr absl::Duration kArrivalTimeout = absl::Minutes(2);
// So that what was allocated on the way is given back.
constexpr absl::Duration kSettle = absl::Seconds(3);

class StreamsRun {
 public:
  explicit StreamsRun(const StreamsOptions& options)
      : options_(options),
        bench_(options.bench),
        run_name_(absl::StrCat("streams-", absl::ToUnixSeconds(absl::Now()), "-", bench_.seed)),
        user_ids_(UserIds(run_name_, options.streams)),
        requests_(
            {.seed = bench_.seed, .run_name = run_name_, .user_ids = user_ids_, .types = {"like"}, .stamped = true}),
        client_(bench_.client),
        sender_(bench_.client),
        stack_(bench_.stack_directory, bench_.launcher),
        meter_(bench_.stack_directory),
        fleet_(bench_.client, options.connections, Feeds()) {}

  absl::StatusOr<Json> Run(Guards& guards) {
    Json document = {{"scenario", "streams"},
                     {"source", options_.herd    ? "herd"
                                : options_.topic ? "topic"
                                                 : "send"},
                     {"passed", false},
                     {"seed", bench_.seed},
                     {"streams", options_.streams},
                     {"connections", options_.connections}};
    RETURN_IF_ERROR(RestartServer());
    if (options_.topic) RETURN_IF_ERROR(ApplyEventType(client_));
    RETURN_IF_ERROR(OpenAll(document));
    if (options_.herd) {
      Herd herd({bench_, options_.restart, run_name_, user_ids_}, sender_, fleet_, meter_);
      RETURN_IF_ERROR(herd.Run(document));
    } else {
      RETURN_IF_ERROR(Measure(document));
    }
    const StreamTally total = fleet_.Total();
    document["gaps"] = total.gaps;
    document["disorder"] = total.disorder;
    document["ends"] = fleet_.ends();
    const bool broke = !fleet_.ends().empty() && !options_.restart;
    document["passed"] = Passed(document) && total.gaps + total.disorder == 0 && !broke;
    RETURN_IF_ERROR(guards.CheckRun(/*confirms=*/1));
    return document;
  }

 private:
  std::vector<RawSender::Feed> Feeds() const {
    std::vector<RawSender::Feed> feeds;
    for (const std::string& user_id : user_ids_) {
      feeds.push_back(options_.topic ? RawSender::Feed{.topic_id = run_name_} : RawSender::Feed{.user_id = user_id});
    }
    return feeds;
  }

  // What a server has given back to its allocator would be taken again by these
  // streams, and they would seem to need next to nothing.
  absl::Status RestartServer() {
    RETURN_IF_ERROR(stack_.Stop(kServer));
    RETURN_IF_ERROR(stack_.Start(kServer));
    RETURN_IF_ERROR(client_.ListTypes({}).status());
    absl::SleepFor(kSettle);
    return absl::OkStatus();
  }

  absl::Status OpenAll(Json& document) {
    const std::string url = MetricsUrlOf(kServer);
    const int64_t before = meter_.ResidentMemory(kServer).value_or(0);
    const absl::Duration begun = MonotonicNow();
    fleet_.Open();
    const double streams = options_.streams;
    RETURN_IF_ERROR(WaitForMetric(url, "carillon_live_streams", "", streams, kOpenTimeout).status());
    document["opened_in_ms"] = Milliseconds(MonotonicNow() - begun);
    absl::SleepFor(kSettle);
    const int64_t after = meter_.ResidentMemory(kServer).value_or(0);
    document["server_memory_mib"] = {{"before", Mebibytes(before)}, {"with_streams", Mebibytes(after)}};
    document["kib_per_stream"] = std::round(10 * static_cast<double>(after - before) / 1024 / streams) / 10;
    return absl::OkStatus();
  }

  absl::Status Measure(Json& document) {
    const int64_t per_call = options_.topic ? options_.streams : kBatch;
    const int64_t window = options_.window > 0 ? options_.window
                           : options_.topic    ? kEventsInWindow * per_call
                                               : kWindow;
    WindowedLoad load(
        {.window = window, .per_call = per_call}, [this](RawSender::Done done) { Submit(std::move(done)); },
        [this] { return fleet_.items(); });
    absl::SleepFor(bench_.warmup);
    fleet_.BeginRound();
    const CpuMeter::Reading before = meter_.Read();
    const int64_t arrived_before = fleet_.items();
    absl::SleepFor(bench_.time);
    const int64_t arrived = fleet_.items() - arrived_before;
    const CpuMeter::Reading after = meter_.Read();
    std::vector<absl::Duration> times = fleet_.Times();
    load.Stop();
    fleet_.WaitForItems(load.accepted(), kArrivalTimeout);
    document["server_memory_mib"]["under_load"] = Mebibytes(meter_.ResidentMemory(kServer).value_or(0));
    document["window"] = window;
    document["messages"] = arrived;
    document["messages_per_second"] = RatePerSecond(arrived, after.moment - before.moment);
    document["send_to_stream_ms"] = JsonOf(PercentilesOf(std::move(times)));
    document["errors"] = load.errors();
    document["missing"] = load.accepted() - fleet_.items();
    document["usage"] = JsonOf(CpuMeter::Between(before, after), arrived);
    document["passed"] = arrived > 0 && load.errors().empty() && load.accepted() == fleet_.items();
    return absl::OkStatus();
  }

  void Submit(RawSender::Done done) {
    if (!options_.topic) {
      requests_.NextBatch(kBatch, request_);
      return sender_.SendBatch(request_, std::move(done));
    }
    v1::PublishEventRequest event = EventAbout(StampedObject(run_name_, MonotonicNow()));
    event.mutable_audience()->set_topic(run_name_);
    sender_.Ask(kPublish, event.SerializeAsString(), std::move(done));
  }

  static double Mebibytes(int64_t bytes) { return std::round(static_cast<double>(bytes) / (1024 * 102.4)) / 10; }

  const StreamsOptions& options_;
  const BenchOptions& bench_;
  const std::string run_name_;
  const std::vector<std::string> user_ids_;
  // The load's own thread's, while it runs.
  SendRequests requests_;
  std::string request_;
  Client client_;
  RawSender sender_;
  const StackControl stack_;
  const CpuMeter meter_;
  StreamFleet fleet_;
};

}  // namespace

absl::StatusOr<Json> RunStreams(const StreamsOptions& options) {
  Guards guards(options.bench);
  RETURN_IF_ERROR(guards.Check());
  return StreamsRun(options).Run(guards);
}

}  // namespace carillon::bench
