#include "client/bench/chaos.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/bench/error_counts.h"
#include "client/bench/random.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// Not before the load has begun, and early enough that it still runs.
constexpr double kEarliestShare = 0.05;
constexpr double kLatestShare = 0.8;
constexpr double kLatestShareOfAStop = 0.5;  // It takes a second.
constexpr double kShortestSeconds = 0.2;
constexpr double kLongestSeconds = 2;
// Long enough for messages to pile up.
constexpr absl::Duration kPurgeAway = absl::Seconds(5);
constexpr absl::Duration kPurgeTimeout = absl::Seconds(60);
constexpr absl::Duration kPurgeInterval = absl::Seconds(1);
constexpr const char* kLanes[] = {"payment", "otp", "marketing", "social"};
constexpr const char* kSocialWorker = "worker-social";
constexpr const char* kSocialQueues[] = {"social", "social.follow", "social.like", "social.chat"};

absl::StatusOr<Fault> FaultOf(const std::string& name, const std::string& worker, absl::Duration postgres_away) {
  if (name == "server" || name == "relay" || name == "rabbitmq") return Fault{FaultKind::kKill, name};
  if (name == "worker") return Fault{FaultKind::kKill, worker};
  if (name == "redis") return Fault{FaultKind::kFlushRedis, name};
  if (name == "postgres") return Fault{FaultKind::kStop, name, 0, postgres_away};
  if (name == "purge") return Fault{FaultKind::kPurge, kSocialWorker, 0, kPurgeAway};
  return absl::InvalidArgumentError(
      absl::StrCat("no fault '", name, "'; there are server, relay, worker, rabbitmq, redis, postgres and purge"));
}

void Tell(absl::Duration moment, const std::string& what, const absl::Status& status) {
  absl::FPrintF(stderr, "[%6.1f s] %s%s\n", absl::ToDoubleSeconds(moment), what,
                status.ok() ? "" : absl::StrCat(": ", Brief(status)));
}

}  // namespace

std::string Describe(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::kKill:
      return absl::StrCat("kill -9 ", fault.part);
    case FaultKind::kStop:
      return absl::StrCat("stop ", fault.part);
    case FaultKind::kFlushRedis:
      return "flush and kill -9 redis";
    case FaultKind::kPurge:
      return "kill -9 worker-social and purge its queues";
  }
  return "";
}

absl::StatusOr<std::vector<Fault>> PlanFaults(const std::vector<std::string>& names, uint64_t seed, int64_t count,
                                              absl::Duration postgres_away) {
  Random random(seed);
  // A purge takes the last lane's worker; two faults of one part would trip over each other.
  const bool purge = std::find(names.begin(), names.end(), "purge") != names.end();
  const std::string worker = absl::StrCat("worker-", kLanes[random.Below(std::size(kLanes) - (purge ? 1 : 0))]);
  std::vector<Fault> plan;
  for (const std::string& name : names) {
    absl::StatusOr<Fault> fault = FaultOf(name, worker, postgres_away);
    if (!fault.ok()) return fault.status();
    const double share =
        random.Between(kEarliestShare, fault->kind == FaultKind::kStop ? kLatestShareOfAStop : kLatestShare);
    const absl::Duration away = absl::Seconds(random.Between(kShortestSeconds, kLongestSeconds));
    fault->at_accepted = std::max<int64_t>(1, static_cast<int64_t>(share * static_cast<double>(count)));
    if (fault->away == absl::ZeroDuration()) fault->away = away;
    plan.push_back(*std::move(fault));
  }
  std::sort(plan.begin(), plan.end(), [](const Fault& a, const Fault& b) { return a.at_accepted < b.at_accepted; });
  return plan;
}

Chaos::Chaos(const std::vector<Fault>& plan, const StackControl& stack, Ledger& ledger)
    : stack_(stack), ledger_(ledger), begun_(MonotonicNow()) {
  for (const Fault& fault : plan) struck_.push_back({.fault = fault});
  for (StruckFault& struck : struck_) threads_.emplace_back([this, &struck] { Strike(struck); });
}

Chaos::~Chaos() {
  for (std::thread& thread : threads_) thread.join();
}

std::vector<StruckFault> Chaos::Wait() {
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  return struck_;
}

void Chaos::Strike(StruckFault& struck) {
  if (!ledger_.WaitForSize(struck.fault.at_accepted)) {
    struck.status = absl::FailedPreconditionError("the load was over before");
    return;
  }
  const absl::Status broken = Break(struck.fault);
  struck.under_load = !ledger_.is_closed();
  struck.accepted = ledger_.size();
  struck.moment = MonotonicNow() - begun_;
  Tell(struck.moment, absl::StrCat(Describe(struck.fault), ", at ", struck.accepted, " accepted"), broken);
  absl::SleepFor(struck.fault.away);
  struck.status = Mend(struck.fault);
  struck.outage = MonotonicNow() - begun_ - struck.moment;
  Tell(struck.moment + struck.outage, absl::StrCat(struck.fault.part, " is back"), struck.status);
  struck.status.Update(broken);
}

absl::Status Chaos::Break(const Fault& fault) const {
  if (fault.kind == FaultKind::kStop) return stack_.Stop(fault.part);
  absl::Status status;
  if (fault.kind == FaultKind::kFlushRedis) status = stack_.FlushRedis();
  status.Update(stack_.Kill(fault.part));
  return status;
}

// The broker may be away just now, by another fault.
absl::Status Chaos::Purge(const std::string& queue) const {
  const absl::Duration deadline = MonotonicNow() + kPurgeTimeout;
  absl::Status status = stack_.PurgeQueue(queue);
  while (!status.ok() && MonotonicNow() < deadline) {
    absl::SleepFor(kPurgeInterval);
    status = stack_.PurgeQueue(queue);
  }
  return status;
}

absl::Status Chaos::Mend(const Fault& fault) const {
  absl::Status status;
  if (fault.kind == FaultKind::kPurge) {
    for (const char* queue : kSocialQueues) status.Update(Purge(queue));
  }
  status.Update(stack_.Start(fault.part));
  return status;
}

}  // namespace carillon::bench
