#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/events.h"
#include "client/bench/fanout.h"
#include "client/bench/metrics_page.h"
#include "client/bench/star_graph.h"
#include "client/bench/stream_fleet.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr int kConnections = 2;
constexpr int64_t kOffline = 200;
constexpr int kPageSize = 500;
constexpr absl::Duration kOpenTimeout = absl::Seconds(60);
constexpr absl::Duration kArrivalTimeout = absl::Seconds(60);
constexpr absl::Duration kEndTimeout = absl::Minutes(5);
// Longer than the sweep's interval: what comes a second time comes until then.
constexpr absl::Duration kDoubles = absl::Seconds(4);

std::vector<RawSender::Feed> FeedsOf(const std::vector<std::string>& user_ids) {
  std::vector<RawSender::Feed> feeds;
  for (const std::string& user_id : user_ids) feeds.push_back({.user_id = user_id});
  return feeds;
}

// What the offline ones see when they come.
struct OfflineView {
  int64_t once = 0;
  int64_t missing = 0;
  int64_t twice = 0;
  int64_t wrong_unread = 0;
};

class SharedRun {
 public:
  explicit SharedRun(const FanoutOptions& options)
      : options_(options),
        bench_(options.bench),
        star_(StarOf(options.followers)),
        online_(SomeFollowers(star_, options.online)),
        object_id_(FanoutRunName(bench_)),
        client_(bench_.client),
        graphs_(bench_),
        threshold_(client_, bench_.client.app_key),
        meter_(bench_.stack_directory),
        fleet_(bench_.client, kConnections, FeedsOf(online_)) {}

  absl::StatusOr<Json> Run(Guards& guards) {
    RETURN_IF_ERROR(ApplyEventType(client_));
    RETURN_IF_ERROR(graphs_.Make(star_).status());
    RETURN_IF_ERROR(threshold_.Set(options_.followers / 2));
    RETURN_IF_ERROR(OpenStreams());
    Json document = {
        {"scenario", "fanout"},         {"path", "shared"},        {"passed", false}, {"seed", bench_.seed},
        {"followers", star_.followers}, {"online", online_.size()}};
    RETURN_IF_ERROR(TellAll(document));
    RETURN_IF_ERROR(ReadOffline(document));
    RETURN_IF_ERROR(threshold_.Restore());
    RETURN_IF_ERROR(guards.CheckRun(/*confirms=*/1));
    document["passed"] = passed_;
    return document;
  }

 private:
  // What earlier events left for them comes before the measurement.
  absl::Status OpenStreams() {
    fleet_.Open();
    const auto streams = static_cast<double>(online_.size());
    RETURN_IF_ERROR(WaitForMetric(MetricsUrlOf("server"), "carillon_live_streams", "", streams, kOpenTimeout).status());
    absl::SleepFor(bench_.warmup);
    return absl::OkStatus();
  }

  absl::Status TellAll(Json& document) {
    fleet_.BeginRound(object_id_);
    v1::PublishEventRequest request = EventAbout(object_id_);
    request.mutable_audience()->set_followers_of(star_.id);
    const CpuMeter::Reading before = meter_.Read();
    const absl::Duration begun = MonotonicNow();
    ASSIGN_OR_RETURN(EventTrack track, Publish(client_, request));
    const bool all = fleet_.WaitForEach(1, kArrivalTimeout);
    const Usage usage = CpuMeter::Between(before, meter_.Read());
    RETURN_IF_ERROR(WaitForEnd(client_, track, kEndTimeout));
    absl::SleepFor(kDoubles);
    std::vector<absl::Duration> times;
    for (const absl::Duration arrival : fleet_.Arrivals()) times.push_back(arrival - track.published);
    document["publish_ms"] = Milliseconds(track.published - begun);
    document["answer_to_online_ms"] = JsonOf(PercentilesOf(std::move(times)));
    AddOnline(all && track.last.shared() && track.last.state() == v1::EVENT_STATE_DONE, document);
    document["shared"] = track.last.shared();
    document["usage"] = JsonOf(usage, static_cast<int64_t>(online_.size()));
    return absl::OkStatus();
  }

  void AddOnline(bool done, Json& document) {
    const StreamTally total = fleet_.Total();
    const auto streams = static_cast<int64_t>(online_.size());
    const int64_t once = fleet_.CountWith(1);
    document["streams"] = {{"once", once},       {"missing", fleet_.CountWith(0)}, {"twice", fleet_.CountWithMore(1)},
                           {"gaps", total.gaps}, {"disorder", total.disorder},     {"ends", fleet_.ends()}};
    passed_ = done && once == streams && total.gaps + total.disorder == 0 && fleet_.ends().empty();
  }

  absl::Status ReadOffline(Json& document) {
    const std::vector<std::string> offline = SomeFollowers(star_, kOffline, /*share=*/0.5);
    OfflineView view;
    for (const std::string& user_id : offline) RETURN_IF_ERROR(ReadOne(user_id, view));
    std::vector<std::string> touched = online_;
    touched.insert(touched.end(), offline.begin(), offline.end());
    ASSIGN_OR_RETURN(const int64_t wrong_heads, graphs_.CountWrongHeads(touched));
    document["offline"] = {
        {"once", view.once}, {"missing", view.missing}, {"twice", view.twice}, {"unread_disagrees", view.wrong_unread}};
    document["wrong_heads"] = wrong_heads;
    passed_ = passed_ && view.missing + view.twice + view.wrong_unread + wrong_heads == 0;
    return absl::OkStatus();
  }

  absl::Status ReadOne(const std::string& user_id, OfflineView& view) {
    int64_t told = 0;
    int64_t unread = 0;
    v1::ListFeedRequest request;
    request.set_user_id(user_id);
    request.set_page_size(kPageSize);
    do {
      ASSIGN_OR_RETURN(const v1::ListFeedResponse page, client_.ListFeed(request));
      for (const v1::FeedItem& item : page.items()) {
        if (item.object_id() == object_id_) ++told;
        if (!item.read()) ++unread;
      }
      request.set_page_token(page.next_page_token());
    } while (!request.page_token().empty());
    v1::GetFeedSummaryRequest summary_request;
    summary_request.set_user_id(user_id);
    ASSIGN_OR_RETURN(const v1::GetFeedSummaryResponse summary, client_.GetFeedSummary(summary_request));
    ++(told == 0 ? view.missing : told == 1 ? view.once : view.twice);
    if (summary.unread() != unread) ++view.wrong_unread;
    return absl::OkStatus();
  }

  const FanoutOptions& options_;
  const BenchOptions& bench_;
  const Star star_;
  const std::vector<std::string> online_;
  const std::string object_id_;
  Client client_;
  StarGraphs graphs_;
  SharedThreshold threshold_;
  const CpuMeter meter_;
  StreamFleet fleet_;
  bool passed_ = false;
};

}  // namespace

absl::StatusOr<Json> RunSharedEvent(const FanoutOptions& options, Guards& guards) {
  return SharedRun(options).Run(guards);
}

}  // namespace carillon::bench
