#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/ask_all.h"
#include "client/bench/events.h"
#include "client/bench/fanout.h"
#include "client/bench/raw_sender.h"
#include "client/bench/star_graph.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr int64_t kAudiences[] = {1'000, 10'000, 100'000};
// Enough for /proc's ticks of 10 ms to say something.
constexpr int64_t kItems = 100'000;
constexpr int64_t kMaxEvents = 50;
constexpr int64_t kTouched = 2'000;
constexpr int kRounds = 3;
constexpr int kInFlight = 32;
constexpr absl::Duration kEndTimeout = absl::Minutes(10);
constexpr const char* kGetSummary = "/carillon.v1.FeedService/GetFeedSummary";

double Microseconds(double seconds, int64_t count) {
  return std::round(10 * 1e6 * seconds / static_cast<double>(std::max<int64_t>(count, 1))) / 10;
}

class CrossoverRun {
 public:
  explicit CrossoverRun(const FanoutOptions& options)
      : bench_(options.bench),
        run_name_(FanoutRunName(bench_)),
        client_(bench_.client),
        sender_(bench_.client),
        graphs_(bench_),
        threshold_(client_, bench_.client.app_key),
        meter_(bench_.stack_directory) {}

  absl::StatusOr<Json> Run(Guards& guards) {
    RETURN_IF_ERROR(ApplyEventType(client_));
    Json document = {
        {"scenario", "fanout"}, {"path", "crossover"}, {"passed", false}, {"seed", bench_.seed}, {"audiences", {}}};
    const CpuMeter::Reading before = meter_.Read();
    for (const int64_t followers : kAudiences) {
      ASSIGN_OR_RETURN(Json figures, Compare(StarOf(followers)));
      document["audiences"].push_back(std::move(figures));
    }
    RETURN_IF_ERROR(threshold_.Restore());
    RETURN_IF_ERROR(guards.CheckRun(events_));
    document["passed"] = passed_;
    document["usage"] = JsonOf(CpuMeter::Between(before, meter_.Read()), items_);
    return document;
  }

 private:
  absl::StatusOr<Json> Compare(const Star& star) {
    RETURN_IF_ERROR(graphs_.Make(star).status());
    RETURN_IF_ERROR(graphs_.SkipShared(star));
    ASSIGN_OR_RETURN(const double item, ExpandAll(star));
    RETURN_IF_ERROR(threshold_.Set(0));
    std::vector<std::string> requests;
    for (const std::string& user_id : SomeFollowers(star, kTouched)) {
      v1::GetFeedSummaryRequest request;
      request.set_user_id(user_id);
      requests.push_back(request.SerializeAsString());
    }
    Shared shared;
    for (int round = 0; round < kRounds; ++round) RETURN_IF_ERROR(ShareOne(star, requests, shared));
    const auto touched = static_cast<int64_t>(requests.size()) * kRounds;
    const double read = Microseconds(shared.reads, touched);
    const double touch = Microseconds(shared.touches, touched) - read;
    return Json{{"followers", star.followers},
                {"per_recipient_us_per_item", item},
                {"shared_us_per_event", Microseconds(shared.events, kRounds)},
                {"shared_us_per_touch", touch},
                {"us_per_read", read},
                // Of the followers who read before the event passes its retention: with
                // fewer of them than this, storing it once is cheaper.
                {"shared_is_cheaper_below_percent", touch > 0 ? std::round(1'000 * item / touch) / 10 : 100}};
  }

  // CPU of the whole system for an item, in microseconds.
  absl::StatusOr<double> ExpandAll(const Star& star) {
    RETURN_IF_ERROR(threshold_.Set(star.followers + 1));
    const int64_t events = std::min(std::max<int64_t>(kItems / star.followers, 1), kMaxEvents);
    const CpuMeter::Reading before = meter_.Read();
    std::vector<EventTrack> tracks;
    for (int64_t i = 0; i < events; ++i) {
      ASSIGN_OR_RETURN(EventTrack track, PublishTo(star));
      tracks.push_back(std::move(track));
    }
    for (EventTrack& track : tracks) {
      RETURN_IF_ERROR(WaitForEnd(client_, track, kEndTimeout));
      passed_ = passed_ && !track.last.shared() && track.last.expanded() == star.followers;
    }
    items_ += events * star.followers;
    return Microseconds(CpuMeter::Between(before, meter_.Read()).system_seconds(), events * star.followers);
  }

  // In seconds of CPU.
  struct Shared {
    double events = 0;
    double touches = 0;
    double reads = 0;
  };

  // The first read of each appends the event, the second only reads.
  absl::Status ShareOne(const Star& star, const std::vector<std::string>& requests, Shared& shared) {
    const CpuMeter::Reading begun = meter_.Read();
    ASSIGN_OR_RETURN(EventTrack track, PublishTo(star));
    RETURN_IF_ERROR(WaitForEnd(client_, track, kEndTimeout));
    passed_ = passed_ && track.last.shared();
    const CpuMeter::Reading published = meter_.Read();
    RETURN_IF_ERROR(ReadAll(requests));
    const CpuMeter::Reading touched = meter_.Read();
    RETURN_IF_ERROR(ReadAll(requests));
    const CpuMeter::Reading read = meter_.Read();
    shared.events += CpuMeter::Between(begun, published).system_seconds();
    shared.touches += CpuMeter::Between(published, touched).system_seconds();
    shared.reads += CpuMeter::Between(touched, read).system_seconds();
    return absl::OkStatus();
  }

  absl::Status ReadAll(const std::vector<std::string>& requests) {
    const std::map<std::string, int64_t> errors = AskAll(sender_, kGetSummary, requests, kInFlight);
    if (errors.empty()) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(errors.begin()->second, " reads failed with ", errors.begin()->first));
  }

  absl::StatusOr<EventTrack> PublishTo(const Star& star) {
    v1::PublishEventRequest request = EventAbout(absl::StrCat(run_name_, "-", ++events_));
    request.mutable_audience()->set_followers_of(star.id);
    return Publish(client_, request);
  }

  const BenchOptions& bench_;
  const std::string run_name_;
  Client client_;
  RawSender sender_;
  StarGraphs graphs_;
  SharedThreshold threshold_;
  const CpuMeter meter_;
  int64_t events_ = 0;
  int64_t items_ = 0;
  bool passed_ = true;
};

}  // namespace

absl::StatusOr<Json> RunCrossover(const FanoutOptions& options, Guards& guards) {
  return CrossoverRun(options).Run(guards);
}

}  // namespace carillon::bench
