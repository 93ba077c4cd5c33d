#include "client/bench/e2e.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/chaos.h"
#include "client/bench/closed_loop.h"
#include "client/bench/cpu_meter.h"
#include "client/bench/error_counts.h"
#include "client/bench/guards.h"
#include "client/bench/ledger.h"
#include "client/bench/load.h"
#include "client/bench/raw_sender.h"
#include "client/bench/readback.h"
#include "client/bench/recipient_settings.h"
#include "client/bench/send_requests.h"
#include "client/bench/stack_control.h"
#include "client/bench/streams.h"
#include "client/bench/workload.h"
#include "client/carillon/client.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// How long duplicates that still wait in queues are waited for.
constexpr absl::Duration kQuietTimeout = absl::Seconds(30);
constexpr absl::Duration kStreamTimeout = absl::Seconds(30);
constexpr size_t kMaxLostShown = 20;

class E2eRun {
 public:
  E2eRun(E2eOptions options, std::unique_ptr<Ledger> ledger, std::vector<Fault> plan)
      : options_(std::move(options)),
        plan_(std::move(plan)),
        ledger_(std::move(ledger)),
        run_name_(absl::StrCat("bench-", absl::ToUnixSeconds(started_), "-", options_.bench.seed)),
        user_ids_(UserIds(run_name_, options_.bench.users)),
        reader_(options_.bench.client),
        raw_(options_.bench.client),
        streams_(reader_, user_ids_, ledger_ == nullptr ? &raw_ : nullptr) {}

  // Its streams call back into streams_.
  ~E2eRun() { raw_.EndStreams(); }

  Report Run() {
    report_.seed = options_.bench.seed;
    report_.asked = options_.bench.count;
    report_.accepted_log = options_.accepted_log;
    if (ledger_ != nullptr) {
      RunCarefulLoad();
    } else {
      RunMeasuredLoad();
    }
    Settle();
    CompareAll();
    return std::move(report_);
  }

 private:
  struct User {
    std::vector<std::string> accepted_ids;
    UserFeed feed;
  };

  // What the measured load notes of a send.
  struct Noted {
    std::string notification_id;
    SendRequests::Drawn drawn;
    absl::Duration begun;
    absl::Duration answered;
  };

  // Every send is repeated until it is accepted, and kept in the ledger; faults strike.
  void RunCarefulLoad() {
    const BenchOptions& bench = options_.bench;
    const StackControl stack(bench.stack_directory, bench.launcher);
    ErrorCounts errors;
    ClientOptions client = bench.client;
    client.on_retry = [&errors](const absl::Status& status, absl::Duration) { errors.CountRetried(status); };
    Client sender(client);
    Workload workload({bench.seed, run_name_, bench.count, user_ids_, bench.types});
    Load load(sender, workload, *ledger_, errors,
              {.in_flight = bench.in_flight, .batch = bench.batch, .give_up_after = options_.settle_timeout});
    Chaos chaos(plan_, stack, *ledger_);
    begun_ = MonotonicNow();
    NoteProblem("the load ended early", load.Run());
    report_.load_time = load.duration();
    report_.answered_as_duplicate = load.answered_as_duplicate();
    report_.errors = errors.by_code();
    report_.retried = errors.retried();
    absl::FPrintF(stderr, "%d accepted in %.1f s; waiting for what is under way\n", ledger_->size(),
                  absl::ToDoubleSeconds(load.duration()));
    report_.faults = chaos.Wait();
    sends_ = ledger_->sends();
  }

  void RunMeasuredLoad() {
    const BenchOptions& bench = options_.bench;
    if (options_.settings) NoteProblem("not all recipients have settings", GiveSettings(reader_, user_ids_));
    std::vector<Noted> noted;
    SendRequests requests({bench.seed, run_name_, user_ids_, bench.types, bench.keys});
    RawSender sender(bench.client);
    ClosedLoop loop(sender, requests, {.in_flight = bench.in_flight, .batch = bench.batch},
                    [&noted](const AnsweredCall& call) { Note(call, noted); });
    loop.Start(std::numeric_limits<int64_t>::max());
    loop.WaitFor(bench.warmup);
    loop.Stop();
    WaitForStreams(noted);
    report_.warm_up = static_cast<int64_t>(noted.size());
    const CpuMeter meter(bench.stack_directory);
    const CpuMeter::Reading before = meter.Read();
    begun_ = MonotonicNow();
    loop.Start(bench.count);
    loop.WaitFor(absl::InfiniteDuration());
    report_.load_time = MonotonicNow() - begun_;
    WaitForStreams(noted);
    report_.usage = CpuMeter::Between(before, meter.Read());
    report_.delivery_time = streams_.last_arrival() - begun_;
    report_.errors = loop.errors();
    for (Noted& one : noted) {
      sends_.push_back({std::move(one.notification_id), user_ids_[one.drawn.user], bench.types[one.drawn.type], "",
                        one.begun, one.answered});
    }
  }

  static void Note(const AnsweredCall& call, std::vector<Noted>& noted) {
    for (size_t i = 0; i < call.drawn.size(); ++i) {
      noted.push_back({std::string(call.notification_ids[i]), call.drawn[i], call.begun, call.answered});
    }
  }

  void WaitForStreams(const std::vector<Noted>& noted) {
    absl::flat_hash_map<std::string, int64_t> wanted;
    for (const Noted& one : noted) ++wanted[user_ids_[one.drawn.user]];
    if (!streams_.WaitUntilPassed(std::move(wanted), options_.settle_timeout)) {
      NoteProblem("waiting for the streams", absl::DeadlineExceededError("not everything came in time"));
    }
  }

  // Waits until nothing more is to come.
  void Settle() {
    report_.accepted = static_cast<int64_t>(sends_.size()) - report_.warm_up;
    for (const std::string& user_id : user_ids_) users_[user_id];
    for (const AcceptedSend& send : sends_) users_[send.user_id].accepted_ids.push_back(send.notification_id);

    absl::flat_hash_map<std::string, int64_t> wanted;
    for (const auto& [user_id, user] : users_) {
      if (!user.accepted_ids.empty()) wanted[user_id] = static_cast<int64_t>(user.accepted_ids.size());
    }
    NoteProblem("waiting for the feeds", WaitForFeeds(reader_, wanted, absl::Now() + options_.settle_timeout));
    if (!report_.usage.has_value()) report_.delivery_time = MonotonicNow() - begun_;
    if (!WaitForQuiet(reader_, absl::Now() + kQuietTimeout)) {
      absl::FPrintF(stderr, "the queues and the outbox were not seen empty; going on\n");
    }
    streams_.WaitUntilPassed(wanted, kStreamTimeout);
  }

  void CompareAll() {
    report_.stream_disconnects = streams_.disconnects();
    NoteProblem("a live stream ended", streams_.ended());
    const absl::flat_hash_map<std::string, StreamRecord> records = streams_.records();
    MeasureLatencies(records);
    for (auto& [user_id, user] : users_) {
      absl::StatusOr<UserFeed> feed = ReadFeed(reader_, user_id);
      // Each would take as long to fail.
      if (!feed.ok()) return NoteProblem(absl::StrCat("reading the feed of ", user_id), feed.status());
      user.feed = *std::move(feed);
      CompareFeed(user_id, user);
      CompareStream(user_id, user, records.at(user_id));
    }
    report_.delivered -= report_.warm_up;
    FindDeadLetters();
    for (const std::string& id : report_.feeds.lost_ids) {
      if (report_.lost_notifications.size() < kMaxLostShown)
        report_.lost_notifications.push_back(Describe(reader_, id));
    }
  }

  void CompareFeed(const std::string& user_id, const User& user) {
    CompareItems(absl::StrCat("feed of ", user_id), user.accepted_ids, user.feed.items, {}, report_.feeds);
    const auto items = static_cast<int64_t>(user.feed.items.size());
    report_.delivered += items;
    const Counters& counters = user.feed.counters;
    if (CountersMatch(counters, items)) return;
    report_.wrong_counters.push_back(
        absl::StrCat(user_id, ": ", items, " items, unread ", counters.unread, ", last_seq ", counters.last_seq));
  }

  void CompareStream(const std::string& user_id, const User& user, const StreamRecord& record) {
    std::vector<SeenItem> items;
    for (const StreamRecord::Arrival& arrival : record.arrivals)
      items.push_back({arrival.notification_id, arrival.seq});
    const std::vector<std::string> expected = OutsideOf(record.skipped, user.accepted_ids, user.feed.items);
    CompareItems(absl::StrCat("stream of ", user_id), expected, items, record.skipped, report_.streams);
    report_.resumes_required += static_cast<int64_t>(record.skipped.size());
  }

  void MeasureLatencies(const absl::flat_hash_map<std::string, StreamRecord>& records) {
    absl::flat_hash_map<absl::string_view, absl::Duration> begun;
    std::vector<absl::Duration> answers;
    for (const AcceptedSend& send : sends_) {
      if (send.begun < begun_) continue;  // The warm-up's.
      begun[send.notification_id] = send.begun;
      answers.push_back(send.answered - send.begun);
    }
    std::vector<absl::Duration> arrivals;
    for (const auto& [user_id, record] : records) {
      for (const StreamRecord::Arrival& arrival : record.arrivals) {
        const auto found = begun.find(arrival.notification_id);
        if (found != begun.end()) arrivals.push_back(arrival.arrived - found->second);
      }
    }
    report_.send = PercentilesOf(std::move(answers));
    report_.send_to_stream = PercentilesOf(std::move(arrivals));
  }

  void FindDeadLetters() {
    absl::flat_hash_set<std::string> ids;
    for (const AcceptedSend& send : sends_) ids.insert(send.notification_id);
    absl::StatusOr<std::vector<std::string>> dead = ReadDeadLetters(reader_, ids, started_);
    if (!dead.ok()) return NoteProblem("reading the dead letters", dead.status());
    report_.dead_letters = *std::move(dead);
  }

  void NoteProblem(absl::string_view what, const absl::Status& status) {
    if (!status.ok()) report_.problems.push_back(absl::StrCat(what, ": ", Brief(status)));
  }

  const E2eOptions options_;
  const std::vector<Fault> plan_;
  const absl::Time started_ = absl::Now();
  const std::unique_ptr<Ledger> ledger_;
  const std::string run_name_;
  const std::vector<std::string> user_ids_;
  Client reader_;
  // Reads the streams of a measured run; sends go over another connection, as
  // those who send and those who read are not one client either.
  RawSender raw_;
  LiveStreams streams_;
  absl::Duration begun_;
  std::vector<AcceptedSend> sends_;
  absl::flat_hash_map<std::string, User> users_;
  Report report_;
};

void Announce(const E2eOptions& options, const std::vector<Fault>& plan) {
  const BenchOptions& bench = options.bench;
  absl::FPrintF(stderr, "%d sends to %d users, %d in flight, seed %d%s%s\n", bench.count, bench.users, bench.in_flight,
                bench.seed, options.accepted_log.empty() ? "" : ", accepted ids in ", options.accepted_log);
  for (const Fault& fault : plan) {
    absl::FPrintF(stderr, "planned: %s at %d accepted, for %.1f s\n", Describe(fault), fault.at_accepted,
                  absl::ToDoubleSeconds(fault.away));
  }
}

// Under faults the backends' counts begin anew, and nothing is measured.
absl::StatusOr<Report> RunGuarded(E2eRun& run, const BenchOptions& bench) {
  Guards guards(bench);
  if (absl::Status status = guards.Check(); !status.ok()) return status;
  Report report = run.Run();
  if (absl::Status status = guards.CheckRun(report.accepted); !status.ok()) return status;
  return report;
}

}  // namespace

absl::StatusOr<Report> RunE2e(E2eOptions options) {
  const bool keep_log = !options.accepted_log.empty();
  if (!keep_log && !options.faults.empty()) {
    options.accepted_log = std::filesystem::temp_directory_path() /
                           absl::StrCat("carillon-bench-", options.bench.seed, "-", getpid(), ".accepted");
  }
  absl::StatusOr<std::vector<Fault>> plan =
      PlanFaults(options.faults, options.bench.seed, options.bench.count, options.postgres_away);
  if (!plan.ok()) return plan.status();
  absl::StatusOr<std::vector<std::string>> types = WeightedTypes(options.bench.types);
  if (!types.ok()) return types.status();
  options.bench.types = *std::move(types);
  std::unique_ptr<Ledger> ledger;
  if (!options.accepted_log.empty()) {
    absl::StatusOr<std::unique_ptr<Ledger>> opened = Ledger::Open(options.accepted_log);
    if (!opened.ok()) return opened.status();
    ledger = *std::move(opened);
  }
  Announce(options, *plan);
  const BenchOptions bench = options.bench;
  const bool measures = ledger == nullptr;
  E2eRun run(std::move(options), std::move(ledger), *std::move(plan));
  absl::StatusOr<Report> report = measures ? RunGuarded(run, bench) : run.Run();
  if (report.ok() && !keep_log && report->passed() && !report->accepted_log.empty()) {
    std::filesystem::remove(report->accepted_log);
    report->accepted_log.clear();
  }
  return report;
}

}  // namespace carillon::bench
