#include "client/bench/fanout.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/events.h"
#include "client/bench/live_latency.h"
#include "client/bench/stack_control.h"
#include "client/bench/star_graph.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kWorker = "worker-fanout";
constexpr absl::Duration kLook = absl::Milliseconds(250);
// An event that does not move for so long never will.
constexpr absl::Duration kPatience = absl::Minutes(2);
// Feeds whose heads are compared with their items.
constexpr int64_t kHeadsChecked = 1'000;
constexpr double kLeastShare = 0.25;
constexpr int kTenths = 10;
// The kernel's own threads take some.
constexpr double kMaxOthersPercent = 15;

double Hundredths(double value) { return std::round(100 * value) / 100; }

class ExpansionRun {
 public:
  explicit ExpansionRun(const FanoutOptions& options)
      : options_(options),
        bench_(options.bench),
        run_name_(FanoutRunName(bench_)),
        client_(bench_.client),
        graphs_(bench_),
        threshold_(client_, bench_.client.app_key),
        stack_(bench_.stack_directory, bench_.launcher),
        meter_(bench_.stack_directory) {
    for (int i = 0; i < options.events; ++i) stars_.push_back(StarOf(options.followers, i));
  }

  absl::StatusOr<Json> Run(Guards& guards) {
    RETURN_IF_ERROR(Prepare());
    Json document = {{"scenario", "fanout"}, {"path", "per_recipient"},         {"passed", false},
                     {"seed", bench_.seed},  {"followers", options_.followers}, {"events", options_.events}};
    const bool likes = options_.like_rate > 0;
    if (likes) RETURN_IF_ERROR(MeasureLikes("idle", bench_.warmup, document));
    RETURN_IF_ERROR(PublishAll());
    absl::Status watched;
    std::thread watch([&] { watched = WatchAll(); });
    const absl::Status liked = likes ? MeasureLikes("fanout", absl::ZeroDuration(), document) : absl::OkStatus();
    const absl::Duration likes_ended = MonotonicNow();
    watch.join();
    RETURN_IF_ERROR(watched);
    RETURN_IF_ERROR(liked);
    if (likes) AddLikes(likes_ended, document);
    AddFigures(document);
    RETURN_IF_ERROR(Verify(document));
    RETURN_IF_ERROR(guards.CheckRun(options_.events));
    RETURN_IF_ERROR(threshold_.Restore());
    document["passed"] = passed_;
    return document;
  }

 private:
  absl::Status Prepare() {
    RETURN_IF_ERROR(ApplyEventType(client_));
    for (const Star& star : stars_) {
      RETURN_IF_ERROR(graphs_.Make(star).status());
      RETURN_IF_ERROR(graphs_.SkipShared(star));
    }
    if (options_.like_rate > 0) {
      latency_ = std::make_unique<LiveLatency>(bench_, run_name_, std::vector<std::string>{"like"});
    }
    return threshold_.Set(options_.followers + 1);
  }

  absl::Status MeasureLikes(const char* phase, absl::Duration warmup, Json& document) {
    // A draw of its own for each, or both phases would meet the same instants.
    const uint64_t seed = bench_.seed + (warmup > absl::ZeroDuration() ? 0 : 1);
    RETURN_IF_ERROR(latency_->Measure(seed, options_.like_rate, warmup, bench_.time, meter_));
    const LiveLatency::Times times = latency_->AllTimes();
    passed_ = passed_ && latency_->errors().empty() && times.missing == 0;
    document["likes"][phase] = {{"sent", latency_->counted()},
                                {"to_the_stream_ms", JsonOf(PercentilesOf(times.arrival))},
                                {"generator_late_ms", JsonOf(PercentilesOf(times.lateness))},
                                {"missing", times.missing},
                                {"errors", latency_->errors()},
                                {"idle_percent", Hundredths(latency_->usage().idle_percent)},
                                {"others_percent", Hundredths(latency_->usage().others_percent)}};
    return absl::OkStatus();
  }

  // From when on the system works for it.
  absl::Status PublishAll() {
    started_ = absl::Now();
    last_reading_ = meter_.Read();
    begun_ = MonotonicNow();
    for (size_t i = 0; i < stars_.size(); ++i) {
      v1::PublishEventRequest request = EventAbout(absl::StrCat(run_name_, "-", i));
      request.mutable_audience()->set_followers_of(stars_[i].id);
      ASSIGN_OR_RETURN(EventTrack track, Publish(client_, request));
      tracks_.push_back(std::move(track));
    }
    answered_ = MonotonicNow() - begun_;
    return absl::OkStatus();
  }

  absl::Status WatchAll() {
    absl::Duration moved = MonotonicNow();
    int64_t seen = -1;
    while (!std::all_of(tracks_.begin(), tracks_.end(), [](const EventTrack& track) { return track.has_ended(); })) {
      for (EventTrack& track : tracks_) {
        if (!track.has_ended()) RETURN_IF_ERROR(Look(client_, track));
      }
      if (Expanded() != seen) moved = MonotonicNow();
      seen = Expanded();
      if (MonotonicNow() - moved > kPatience) {
        return absl::DeadlineExceededError(absl::StrCat("the events stand still at ", seen, " of ", Recipients()));
      }
      NoteMemory();
      RETURN_IF_ERROR(KillIfDue());
      absl::SleepFor(kLook);
    }
    CountUsage();
    return absl::OkStatus();
  }

  // Of each tenth of the way, the last that was seen in it.
  void NoteMemory() {
    const int64_t tenth = Expanded() * kTenths / std::max<int64_t>(Recipients(), 1);
    if (const std::optional<int64_t> memory = meter_.ResidentMemory(kWorker); memory.has_value()) {
      memory_[tenth] = *memory;
    }
  }

  absl::Status KillIfDue() {
    const int64_t due = Recipients() * (kills_ + 1) / (options_.kills + 1);
    if (kills_ >= options_.kills || Expanded() < due || Expanded() >= Recipients()) return absl::OkStatus();
    // With the process goes what /proc tells of it.
    CountUsage();
    RETURN_IF_ERROR(stack_.Kill(kWorker));
    ++kills_;
    absl::FPrintF(stderr, "killed %s at %d of %d\n", kWorker, Expanded(), Recipients());
    return stack_.Start(kWorker);
  }

  // What was used since it was last counted.
  void CountUsage() {
    const CpuMeter::Reading reading = meter_.Read();
    usage_.Add(CpuMeter::Between(last_reading_, reading));
    last_reading_ = reading;
  }

  void AddLikes(absl::Duration likes_ended, Json& document) const {
    Json& likes = document["likes"];
    likes["rate"] = options_.like_rate;
    // Otherwise the end of the second phase was idle as well.
    likes["outlasted_by_the_events"] = std::any_of(tracks_.begin(), tracks_.end(),
                                                   [&](const EventTrack& track) { return track.ended >= likes_ended; });
    const bool alone = IsAlone(likes["idle"]) && IsAlone(likes["fanout"]);
    likes["comparable"] = alone;
    if (!alone) {
      absl::FPrintF(stderr, "other programs used the machine: the phases can't be compared\n");
      return;
    }
    likes["p50_times_idle"] = TimesIdle(likes, "p50");
    likes["p99_times_idle"] = TimesIdle(likes, "p99");
  }

  // With a busy machine the first phase was not idle, and a ratio would flatter the system.
  static bool IsAlone(const Json& phase) { return phase["others_percent"].get<double>() <= kMaxOthersPercent; }

  static double TimesIdle(const Json& likes, const char* rank) {
    const double idle = likes["idle"]["to_the_stream_ms"][rank].get<double>();
    return idle > 0 ? Hundredths(likes["fanout"]["to_the_stream_ms"][rank].get<double>() / idle) : 0;
  }

  void AddFigures(Json& document) {
    absl::Duration ended;
    for (const EventTrack& track : tracks_) ended = std::max(ended, track.ended);
    document["items"] = Recipients();
    document["seconds"] = Hundredths(absl::ToDoubleSeconds(ended - begun_));
    document["items_per_second"] = RatePerSecond(Recipients(), ended - begun_);
    document["publish_ms"] = Milliseconds(answered_);
    document["kills"] = {{"asked", options_.kills}, {"struck", kills_}};
    passed_ = passed_ && kills_ == options_.kills;
    AddMemory(document);
    if (tracks_.size() > 1) AddFairness(document);
    document["usage"] = JsonOf(usage_, Recipients());
  }

  void AddMemory(Json& document) const {
    Json& memory = document["worker_memory_mib"] = Json::object();
    for (const auto& [tenth, bytes] : memory_) {
      memory[absl::StrCat(10 * tenth, "%")] = Hundredths(static_cast<double>(bytes) / (1024 * 1024));
    }
  }

  void AddFairness(Json& document) {
    const double share = LeastShareAtFirstEnd(tracks_);
    absl::Duration pause;
    for (const EventTrack& track : tracks_) pause = std::max(pause, LongestPause(track));
    document["side_by_side"] = {{"least_share_when_the_first_ended", Hundredths(share)},
                                {"longest_pause_ms", Milliseconds(pause)}};
    passed_ = passed_ && share >= kLeastShare;
  }

  absl::Status Verify(Json& document) {
    Told all;
    int64_t wrong_heads = 0;
    for (size_t i = 0; i < stars_.size(); ++i) {
      ASSIGN_OR_RETURN(const Told told, graphs_.CountTold(stars_[i], tracks_[i].object_id, started_));
      all.once += told.once;
      all.missing += told.missing;
      all.twice += told.twice;
      all.strangers += told.strangers;
      ASSIGN_OR_RETURN(const int64_t wrong, graphs_.CountWrongHeads(SomeFollowers(stars_[i], kHeadsChecked)));
      wrong_heads += wrong;
      passed_ = passed_ && tracks_[i].last.state() == v1::EVENT_STATE_DONE && !tracks_[i].last.shared();
    }
    document["told"] = {
        {"once", all.once}, {"missing", all.missing}, {"twice", all.twice}, {"strangers", all.strangers}};
    document["wrong_heads"] = wrong_heads;
    passed_ = passed_ && all.complete() && wrong_heads == 0;
    return absl::OkStatus();
  }

  int64_t Recipients() const { return options_.followers * options_.events; }

  int64_t Expanded() const {
    int64_t expanded = 0;
    for (const EventTrack& track : tracks_) expanded += track.last.expanded();
    return expanded;
  }

  const FanoutOptions& options_;
  const BenchOptions& bench_;
  const std::string run_name_;
  Client client_;
  StarGraphs graphs_;
  SharedThreshold threshold_;
  const StackControl stack_;
  const CpuMeter meter_;
  std::vector<Star> stars_;
  std::unique_ptr<LiveLatency> latency_;
  absl::Time started_;
  absl::Duration begun_;
  absl::Duration answered_;
  bool passed_ = true;
  // The watching thread's while it runs.
  std::vector<EventTrack> tracks_;
  CpuMeter::Reading last_reading_;
  Usage usage_;
  std::map<int64_t, int64_t> memory_;
  int kills_ = 0;
};

}  // namespace

std::string FanoutRunName(const BenchOptions& bench) {
  return absl::StrCat("fanout-", absl::ToUnixSeconds(absl::Now()), "-", bench.seed);
}

absl::StatusOr<Json> RunExpansion(const FanoutOptions& options, Guards& guards) {
  return ExpansionRun(options).Run(guards);
}

absl::StatusOr<Json> RunFanout(const FanoutOptions& options) {
  Guards guards(options.bench);
  RETURN_IF_ERROR(guards.Check());
  if (options.crossover) return RunCrossover(options, guards);
  return options.shared ? RunSharedEvent(options, guards) : RunExpansion(options, guards);
}

}  // namespace carillon::bench
