#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/events.h"
#include "client/bench/extra_server.h"
#include "client/bench/freshness.h"
#include "client/bench/guards.h"
#include "client/bench/metrics_page.h"
#include "client/bench/raw_sender.h"
#include "client/bench/scenarios.h"
#include "client/bench/schedule.h"
#include "client/bench/send_requests.h"
#include "client/bench/stream_fleet.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kListTopicFeed = "/carillon.v1.FeedService/ListTopicFeed";
constexpr absl::Duration kMaxStaleness = absl::Seconds(1);
constexpr absl::Duration kFirstItemTimeout = absl::Seconds(30);
// Of the feed, before anybody reads it.
constexpr int kFirstItems = 50;
constexpr int64_t kMaxErrors = 1'000;

// So many reads at a time of one server; with each answer the next begins.
class ReadLoop {
 public:
  ReadLoop(const ClientOptions& client, std::string request, Freshness& freshness)
      : request_(std::move(request)), freshness_(freshness), sender_(client, /*connections=*/2) {}

  void Start(int in_flight) {
    for (int i = 0; i < in_flight; ++i) ReadNext();
  }

  // Begins no more reads and waits for the last answer.
  void Stop() {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    const auto answered = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return running_ == 0; };
    mutex_.Await(absl::Condition(&answered));
  }

  struct Result {
    std::vector<absl::Duration> times;
    absl::Duration staleness;  // The longest.
    std::map<std::string, int64_t> errors;
  };
  // What was answered since the last look.
  Result Take() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(result_, {});
  }

 private:
  void ReadNext() {
    {
      absl::MutexLock lock(&mutex_);
      if (stopped_ || failed_ >= kMaxErrors) return;
      ++running_;
    }
    sender_.Ask(kListTopicFeed, request_,
                [this, begun = MonotonicNow()](const absl::Status& status, absl::string_view answer) {
                  OnAnswer(begun, status, answer);
                });
  }

  void OnAnswer(absl::Duration begun, const absl::Status& status, absl::string_view answer) {
    const absl::Duration now = MonotonicNow();
    const std::optional<int64_t> last_seq = status.ok() ? LastSeqInTopicAnswer(answer) : std::nullopt;
    const absl::Duration staleness =
        last_seq.has_value() ? freshness_.StalenessOf(*last_seq, begun) : absl::ZeroDuration();
    ReadNext();
    absl::MutexLock lock(&mutex_);
    --running_;
    if (last_seq.has_value()) {
      result_.times.push_back(now - begun);
      result_.staleness = std::max(result_.staleness, staleness);
    } else {
      ++failed_;
      ++result_.errors[absl::StatusCodeToString(status.ok() ? absl::StatusCode::kDataLoss : status.code())];
    }
  }

  const std::string request_;
  Freshness& freshness_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  Result result_ ABSL_GUARDED_BY(mutex_);
  // Last, so that its thread ends first.
  RawSender sender_;
};

class ReadersRun {
 public:
  explicit ReadersRun(const ReadersOptions& options)
      : options_(options),
        bench_(options.bench),
        topic_(absl::StrCat("readers-", absl::ToUnixSeconds(absl::Now()), "-", bench_.seed)),
        client_(bench_.client),
        meter_(bench_.stack_directory),
        stream_(bench_.client) {}

  // Whoever calls back must end before what it calls.
  ~ReadersRun() { stream_.EndStreams(); }

  absl::StatusOr<Json> Run(Guards& guards) {
    RETURN_IF_ERROR(ApplyEventType(client_));
    RETURN_IF_ERROR(FindServers());
    RETURN_IF_ERROR(FillTopic());
    Json document = {{"scenario", "readers"},        {"passed", false},
                     {"seed", bench_.seed},          {"readers", options_.readers},
                     {"servers", addresses_.size()}, {"page_size", options_.page_size}};
    std::atomic<bool> over = false;
    absl::Status written;
    std::thread writer([&] { written = Write(over); });
    Measure(document);
    over = true;
    writer.join();
    RETURN_IF_ERROR(written);
    RETURN_IF_ERROR(guards.CheckRun(/*confirms=*/1));
    return document;
  }

 private:
  absl::Status FindServers() {
    addresses_ = {bench_.client.address};
    metrics_urls_ = {MetricsUrlOf("server")};
    addresses_.insert(addresses_.end(), options_.servers.begin(), options_.servers.end());
    if (!options_.second_server) return absl::OkStatus();
    ASSIGN_OR_RETURN(second_, ExtraServer::Start(bench_));
    meter_.Follow(kExtraServer, second_->pid());
    addresses_.push_back(second_->address());
    metrics_urls_.push_back(second_->metrics_url());
    return absl::OkStatus();
  }

  // Its stream tells from when on an item could be read.
  absl::Status FillTopic() {
    stream_.Subscribe({"", topic_, 0}, {.on_event = [this](absl::string_view bytes) { OnEvent(bytes); },
                                        .on_end = [this](const absl::Status&) { stream_ended_ = true; }});
    for (int i = 0; i < kFirstItems; ++i) RETURN_IF_ERROR(PublishOne());
    const absl::Duration deadline = MonotonicNow() + kFirstItemTimeout;
    while (freshness_.last_seq() < kFirstItems) {
      if (MonotonicNow() > deadline) return absl::DeadlineExceededError("the topic's stream did not show its items");
      absl::SleepFor(absl::Milliseconds(10));
    }
    return absl::OkStatus();
  }

  void OnEvent(absl::string_view bytes) {
    const absl::StatusOr<StreamEvent> event = ParseStreamEvent(bytes);
    if (event.ok() && !event->notification_id.empty()) freshness_.Seen(event->seq, MonotonicNow());
  }

  absl::Status PublishOne() {
    v1::PublishEventRequest event = EventAbout(absl::StrCat(topic_, "-", ++published_));
    event.mutable_audience()->set_topic(topic_);
    return client_.PublishEvent(event).status();
  }

  absl::Status Write(const std::atomic<bool>& over) {
    absl::Duration due = MonotonicNow();
    while (!over) {
      SleepUntil(due += options_.write_interval);
      RETURN_IF_ERROR(PublishOne());
    }
    return absl::OkStatus();
  }

  void Measure(Json& document) {
    std::vector<std::unique_ptr<ReadLoop>> loops;
    for (const std::string& address : addresses_) {
      ClientOptions client = bench_.client;
      client.address = address;
      loops.push_back(std::make_unique<ReadLoop>(client, Request(), freshness_));
    }
    for (size_t i = 0; i < loops.size(); ++i) loops[i]->Start(ShareOf(i));
    absl::SleepFor(bench_.warmup);
    for (const auto& loop : loops) loop->Take();
    const Counts counted = ReadCounts();
    const int64_t written = freshness_.last_seq();
    const CpuMeter::Reading before = meter_.Read();
    absl::SleepFor(bench_.time);
    const CpuMeter::Reading after = meter_.Read();
    const Counts counts = ReadCounts();
    document["items_written"] = freshness_.last_seq() - written;
    AddReads(loops, CpuMeter::Between(before, after), document);
    AddCounts(counted, counts, document);
    for (const auto& loop : loops) loop->Stop();
  }

  void AddReads(const std::vector<std::unique_ptr<ReadLoop>>& loops, const Usage& usage, Json& document) {
    ReadLoop::Result all;
    for (const auto& loop : loops) {
      const ReadLoop::Result one = loop->Take();
      all.times.insert(all.times.end(), one.times.begin(), one.times.end());
      all.staleness = std::max(all.staleness, one.staleness);
      for (const auto& [code, count] : one.errors) all.errors[code] += count;
    }
    const auto reads = static_cast<int64_t>(all.times.size());
    document["reads"] = reads;
    document["reads_per_second"] = RatePerSecond(reads, usage.time);
    document["read_ms"] = JsonOf(PercentilesOf(std::move(all.times)));
    document["max_staleness_ms"] = Milliseconds(all.staleness);
    document["errors"] = all.errors;
    document["stream_ended"] = stream_ended_.load();
    document["usage"] = JsonOf(usage, reads);
    document["passed"] = reads > 0 && all.errors.empty() && all.staleness < kMaxStaleness && !stream_ended_;
  }

  // Of all servers whose pages are known.
  struct Counts {
    double queries = 0;
    double query = 0;
    double joined = 0;
    double cache = 0;
  };
  Counts ReadCounts() const {
    Counts counts;
    for (const std::string& url : metrics_urls_) {
      const absl::StatusOr<std::string> page = FetchMetrics(url);
      if (!page.ok()) continue;
      const auto reads = [&](const char* source) {
        return SumOf(*page, "carillon_feed_reads_total", absl::StrCat("feed=\"topic\",source=\"", source, "\""));
      };
      counts.queries += SumOf(*page, "carillon_feed_queries_total", "feed=\"topic\"");
      counts.query += reads("query");
      counts.joined += reads("joined");
      counts.cache += reads("cache");
    }
    return counts;
  }

  static void AddCounts(const Counts& before, const Counts& after, Json& document) {
    const auto since = [](double first, double last) { return static_cast<int64_t>(last - first); };
    document["queries"] = since(before.queries, after.queries);
    document["answered_by"] = {{"query", since(before.query, after.query)},
                               {"joined", since(before.joined, after.joined)},
                               {"cache", since(before.cache, after.cache)}};
  }

  std::string Request() const {
    v1::ListTopicFeedRequest request;
    request.set_topic_id(topic_);
    request.set_page_size(options_.page_size);
    return request.SerializeAsString();
  }

  // The first servers take what can't be divided.
  int ShareOf(size_t server) const {
    const int servers = static_cast<int>(addresses_.size());
    return options_.readers / servers + (static_cast<int>(server) < options_.readers % servers ? 1 : 0);
  }

  const ReadersOptions& options_;
  const BenchOptions& bench_;
  const std::string topic_;
  Client client_;
  CpuMeter meter_;
  std::unique_ptr<ExtraServer> second_;
  std::vector<std::string> addresses_;
  std::vector<std::string> metrics_urls_;
  Freshness freshness_;
  std::atomic<bool> stream_ended_ = false;
  int64_t published_ = 0;
  RawSender stream_;
};

}  // namespace

absl::StatusOr<Json> RunReaders(const ReadersOptions& options) {
  Guards guards(options.bench);
  RETURN_IF_ERROR(guards.Check());
  return ReadersRun(options).Run(guards);
}

}  // namespace carillon::bench
