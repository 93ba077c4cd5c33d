#include "server/ingest/ingest_writer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {
// A full queue of this writer empties in about this time.
constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
// A commit costs PostgreSQL as much as a dozen notifications in it: a busy lane
// waits this long for so many, an idle one not at all.
constexpr size_t kBusyItems = 4;
constexpr size_t kGatherItems = 48;
constexpr absl::Duration kGatherTime = absl::Milliseconds(1);
// One thread makes the largest groups; the others help when so many wait, or when
// nothing was taken for so long: its commit waits for a lock.
constexpr size_t kBacklogItems = 96;
constexpr absl::Duration kHangTime = absl::Milliseconds(100);
}  // namespace

IngestWriter::IngestWriter(const Options& options, std::shared_ptr<NotificationStore> store, OutboxWaker& waker,
                           const Clock& clock, Metrics& metrics, std::shared_ptr<ReactionStore> versions)
    : options_(options),
      store_(std::move(store)),
      versions_(std::move(versions)),
      waker_(waker),
      clock_(clock),
      commit_seconds_(metrics.Latency("carillon_ingest_commit_seconds", "Time of one group commit",
                                      {{"lane", std::string(ToString(options.lane))}})),
      committed_(metrics.Counter("carillon_ingest_accepted_total", "Notifications accepted durably",
                                 {{"lane", std::string(ToString(options.lane))}})),
      queued_(metrics.Gauge("carillon_ingest_queue_items", "Notifications that wait for a commit",
                            {{"lane", std::string(ToString(options.lane))}})) {
  for (int i = 0; i < options_.threads; ++i) {
    threads_.emplace_back([this, least = i == 0 ? size_t{1} : kBacklogItems] { Run(least); });
  }
}

void IngestWriter::Submit(IngestRequest request) {
  absl::Status refusal;
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) {
      refusal = error::Draining();
    } else if (queued_items_ + request.items.size() > options_.queue_items) {
      refusal = error::Overloaded(absl::StrCat("the queue of lane ", ToString(options_.lane)), kRetryDelay);
    } else {
      queued_items_ += request.items.size();
      queued_.Set(static_cast<double>(queued_items_));
      queue_.push_back(std::move(request));
      return;
    }
  }
  request.done(refusal, request.items);
}

void IngestWriter::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void IngestWriter::Run(size_t least) {
  bool busy = false;
  while (true) {
    Group group = TakeGroup(least, busy);
    if (group.empty()) return;
    busy = group.size() >= kBusyItems;
    Commit(std::move(group));
  }
}

// Single requests up to the batch bound, or one batch request. Empty: stopped.
IngestWriter::Group IngestWriter::TakeGroup(size_t least, bool busy) {
  absl::MutexLock lock(&mutex_);
  // Another thread may have taken all while this one waited.
  while (!AwaitItems(least, busy) || (queue_.empty() && !stopped_)) {
  }
  ++groups_taken_;
  Group group;
  while (!queue_.empty() && group.size() < options_.batch_items) {
    const bool alone = queue_.front().all_or_nothing;
    if (alone && !group.empty()) break;
    queued_items_ -= queue_.front().items.size();
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
    if (alone) break;
  }
  queued_.Set(static_cast<double>(queued_items_));
  return group;
}

bool IngestWriter::AwaitItems(size_t least, bool busy) {
  const auto ready = [this, least]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || queued_items_ >= least; };
  if (least > 1) {
    const int64_t groups = groups_taken_;
    return mutex_.AwaitWithTimeout(absl::Condition(&ready), kHangTime) || groups_taken_ == groups;
  }
  mutex_.Await(absl::Condition(&ready));
  const auto enough = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || queued_items_ >= kGatherItems; };
  if (busy) mutex_.AwaitWithTimeout(absl::Condition(&enough), kGatherTime);
  return true;
}

void IngestWriter::Commit(Group group) {
  const absl::Time now = clock_.Now();
  Group in_time;
  for (IngestRequest& request : group) {
    if (request.deadline < now) {
      request.done(error::DeadlineExceeded(), request.items);
    } else {
      in_time.push_back(std::move(request));
    }
  }
  if (in_time.empty()) return;
  if (const absl::Status numbered = TakeVersions(in_time); !numbered.ok()) {
    Note(numbered);
    for (IngestRequest& request : in_time) request.done(numbered, request.items);
    return;
  }
  if (in_time.size() == 1) {
    CommitAlone(in_time.front(), in_time.front().items);
  } else {
    CommitTogether(in_time);
  }
  commit_seconds_.Observe(absl::ToDoubleSeconds(clock_.Now() - now));
}

absl::Status IngestWriter::TakeVersions(Group& group) {
  int64_t version = 0, left = 0;
  for (IngestRequest& request : group) {
    for (NewNotification& item : request.items) {
      if (!item.takes_version) continue;
      if (versions_ != nullptr && left == 0) {
        ASSIGN_OR_RETURN(version, versions_->TakeVersions());
        left = ReactionStore::kVersionBlock;
      }
      if (versions_ != nullptr) item.notification.version = version++;
      --left;
      item.envelope = EncodeEnvelope(item.notification);
    }
  }
  return absl::OkStatus();
}

void IngestWriter::CommitTogether(Group& group) {
  std::vector<NewNotification> items;
  items.reserve(group.size());
  for (IngestRequest& request : group) items.push_back(std::move(request.items.front()));
  const absl::StatusOr<std::vector<AcceptOutcome>> outcomes = store_->Accept(items, /*all_or_nothing=*/false);
  Note(outcomes.status());
  const auto item_of = [&items](size_t i) { return absl::MakeConstSpan(items).subspan(i, 1); };
  if (!outcomes.ok() && !IsInfrastructureFailure(outcomes.status())) {
    // Something in one of them: each runs by itself, so that it fails alone.
    log::Error("ingest.group_failed", {{"error", outcomes.status()}, {"requests", group.size()}});
    for (size_t i = 0; i < group.size(); ++i) CommitAlone(group[i], item_of(i));
    return;
  }
  if (outcomes.ok()) Announce(items, *outcomes);
  for (size_t i = 0; i < group.size(); ++i) {
    if (outcomes.ok()) {
      group[i].done(absl::MakeConstSpan(*outcomes).subspan(i, 1), item_of(i));
    } else {
      group[i].done(outcomes.status(), item_of(i));
    }
  }
}

void IngestWriter::CommitAlone(IngestRequest& request, absl::Span<const NewNotification> items) {
  const absl::StatusOr<std::vector<AcceptOutcome>> outcomes = store_->Accept(items, request.all_or_nothing);
  Note(outcomes.status());
  if (!outcomes.ok()) return request.done(outcomes.status(), items);
  Announce(items, *outcomes);
  request.done(absl::MakeConstSpan(*outcomes), items);
}

void IngestWriter::Note(const absl::Status& outcome) {
  const bool fails = IsInfrastructureFailure(outcome);
  if (failing_.exchange(fails) == fails) return;
  if (fails) {
    log::Warn("ingest.failing", {{"lane", ToString(options_.lane)}, {"error", outcome}});
  } else {
    log::Info("ingest.works", {{"lane", ToString(options_.lane)}});
  }
}

void IngestWriter::Announce(absl::Span<const NewNotification> items, absl::Span<const AcceptOutcome> outcomes) {
  std::set<Lane> lanes;
  int accepted = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    if (outcomes[i].duplicate || !outcomes[i].status.ok()) continue;
    lanes.insert(items[i].notification.lane);
    ++accepted;
  }
  committed_.Increment(accepted);
  for (const Lane lane : lanes) waker_.Wake(lane);
}

}  // namespace carillon
