#include "client/bench/e2e.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/chaos.h"
#include "client/bench/error_counts.h"
#include "client/bench/ledger.h"
#include "client/bench/load.h"
#include "client/bench/readback.h"
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
        workload_({options_.seed, absl::StrCat("bench-", absl::ToUnixSeconds(started_), "-", options_.seed),
                   options_.count, options_.users, options_.types}),
        sender_(ClientOptionsFor(&errors_)),
        reader_(ClientOptionsFor(nullptr)),
        streams_(reader_, workload_.user_ids()) {}

  Report Run() {
    report_.seed = options_.seed;
    report_.asked = options_.count;
    report_.accepted_log = options_.accepted_log;
    RunLoad();
    Settle();
    CompareAll();
    return std::move(report_);
  }

 private:
  struct User {
    std::vector<std::string> accepted_ids;
    UserFeed feed;
  };

  ClientOptions ClientOptionsFor(ErrorCounts* errors) const {
    ClientOptions options{.address = options_.address, .app_key = options_.app_key, .app_secret = options_.app_secret};
    if (errors != nullptr) {
      options.on_retry = [errors](const absl::Status& status, absl::Duration) { errors->CountRetried(status); };
    }
    return options;
  }

  void RunLoad() {
    const StackControl stack(options_.stack_directory, options_.launcher);
    Load load(sender_, workload_, *ledger_, errors_,
              {.in_flight = options_.in_flight, .batch = options_.batch, .give_up_after = options_.settle_timeout});
    Chaos chaos(plan_, stack, *ledger_);
    begun_ = MonotonicNow();
    NoteProblem("the load ended early", load.Run());
    report_.load_time = load.duration();
    report_.answered_as_duplicate = load.answered_as_duplicate();
    report_.errors = errors_.by_code();
    report_.retried = errors_.retried();
    absl::FPrintF(stderr, "%d accepted in %.1f s; waiting for what is under way\n", ledger_->size(),
                  absl::ToDoubleSeconds(load.duration()));
    report_.faults = chaos.Wait();
  }

  // Waits until nothing more is to come.
  void Settle() {
    sends_ = ledger_->sends();
    report_.accepted = static_cast<int64_t>(sends_.size());
    for (const std::string& user_id : workload_.user_ids()) users_[user_id];
    for (const AcceptedSend& send : sends_) users_[send.user_id].accepted_ids.push_back(send.notification_id);

    absl::flat_hash_map<std::string, int64_t> wanted;
    for (const auto& [user_id, user] : users_) {
      if (!user.accepted_ids.empty()) wanted[user_id] = static_cast<int64_t>(user.accepted_ids.size());
    }
    NoteProblem("waiting for the feeds", WaitForFeeds(reader_, wanted, absl::Now() + options_.settle_timeout));
    report_.delivery_time = MonotonicNow() - begun_;
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
  ErrorCounts errors_;
  Workload workload_;
  Client sender_;
  Client reader_;
  LiveStreams streams_;
  absl::Duration begun_;
  std::vector<AcceptedSend> sends_;
  absl::flat_hash_map<std::string, User> users_;
  Report report_;
};

void Announce(const E2eOptions& options, const std::vector<Fault>& plan) {
  absl::FPrintF(stderr, "%d sends to %d users, %d in flight, seed %d, accepted ids in %s\n", options.count,
                options.users, options.in_flight, options.seed, options.accepted_log);
  for (const Fault& fault : plan) {
    absl::FPrintF(stderr, "planned: %s at %d accepted, for %.1f s\n", Describe(fault), fault.at_accepted,
                  absl::ToDoubleSeconds(fault.away));
  }
}

}  // namespace

absl::StatusOr<Report> RunE2e(E2eOptions options) {
  const bool keep_log = !options.accepted_log.empty();
  if (!keep_log) {
    options.accepted_log = std::filesystem::temp_directory_path() /
                           absl::StrCat("carillon-bench-", options.seed, "-", getpid(), ".accepted");
  }
  absl::StatusOr<std::vector<Fault>> plan =
      PlanFaults(options.faults, options.seed, options.count, options.postgres_away);
  if (!plan.ok()) return plan.status();
  absl::StatusOr<std::unique_ptr<Ledger>> ledger = Ledger::Open(options.accepted_log);
  if (!ledger.ok()) return ledger.status();
  Announce(options, *plan);
  E2eRun run(std::move(options), *std::move(ledger), *std::move(plan));
  Report report = run.Run();
  if (!keep_log && report.passed()) {
    std::filesystem::remove(report.accepted_log);
    report.accepted_log.clear();
  }
  return report;
}

}  // namespace carillon::bench
