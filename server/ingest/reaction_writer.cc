#include "server/ingest/reaction_writer.h"

#include <map>
#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

// A full queue empties in about this time.
constexpr absl::Duration kRetryDelay = absl::Milliseconds(500);
// As in IngestWriter: while busy a group waits a moment to grow, when idle not at all.
constexpr size_t kBusyRequests = 4;
constexpr size_t kGatherReactions = 48;
constexpr absl::Duration kGatherTime = absl::Milliseconds(1);
// What a worker applies in one transaction when nothing else waits.
constexpr size_t kMaxRowReactions = 200;
// Of reactions that no item tells of.
constexpr absl::string_view kPlainType = "reaction";

// Rows of the outbox, filled one after another.
class Rows {
 public:
  explicit Rows(absl::Time now) : now_(now) {}

  void Add(Reaction& reaction) {
    if (reaction.type.empty()) reaction.type = std::string(kPlainType);
    const auto [place, is_new] = open_.try_emplace({reaction.app, reaction.type});
    if (is_new || place->second.reactions == kMaxRowReactions ||
        rows_[place->second.row].envelope.size() > limits::kMaxPackBytes) {
      place->second = {.row = rows_.size(), .reactions = 0};
      rows_.push_back({.message_id = NewUuid7(now_), .app = reaction.app, .type = reaction.type, .envelope = ""});
    }
    reaction.group = rows_[place->second.row].message_id;
    // The concatenation of two envelopes of one app and type is an envelope.
    rows_[place->second.row].envelope += EncodeEnvelope(reaction);
    ++place->second.reactions;
  }

  const std::vector<ReactionRow>& rows() const { return rows_; }

 private:
  struct Open {
    size_t row = 0;
    size_t reactions = 0;
  };

  const absl::Time now_;
  std::vector<ReactionRow> rows_;
  std::map<std::pair<AppId, std::string>, Open> open_;
};

}  // namespace

ReactionWriter::ReactionWriter(size_t queue_reactions, std::shared_ptr<ReactionStore> store, OutboxWaker& waker,
                               const Clock& clock, Metrics& metrics)
    : queue_reactions_(queue_reactions),
      store_(std::move(store)),
      waker_(waker),
      clock_(clock),
      commit_seconds_(metrics.Latency("carillon_reactions_commit_seconds", "Time of one group commit", {})),
      accepted_(metrics.Counter("carillon_reactions_accepted_total", "Reactions accepted durably", {})),
      queued_(metrics.Gauge("carillon_reactions_queue_items", "Reactions that wait for a commit", {})),
      thread_([this] { Run(); }) {}

void ReactionWriter::Submit(ReactionRequest request) {
  absl::Status refusal;
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) {
      refusal = error::Draining();
    } else if (queued_reactions_ + request.reactions.size() > queue_reactions_) {
      refusal = error::Overloaded("the queue of reactions", kRetryDelay);
    } else {
      queued_reactions_ += request.reactions.size();
      queued_.Set(static_cast<double>(queued_reactions_));
      queue_.push_back(std::move(request));
      return;
    }
  }
  request.done(refusal);
}

void ReactionWriter::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void ReactionWriter::Run() {
  bool busy = false;
  while (true) {
    Group group = TakeGroup(busy);
    if (group.empty()) return;
    busy = group.size() >= kBusyRequests;
    Commit(std::move(group));
  }
}

ReactionWriter::Group ReactionWriter::TakeGroup(bool busy) {
  const auto ready = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopped_ || !queue_.empty(); };
  const auto enough = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stopped_ || queued_reactions_ >= kGatherReactions;
  };
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&ready));
  if (busy) mutex_.AwaitWithTimeout(absl::Condition(&enough), kGatherTime);
  Group group;
  size_t reactions = 0;
  while (!queue_.empty()) {
    reactions += queue_.front().reactions.size();
    if (reactions > static_cast<size_t>(ReactionStore::kVersionBlock) && !group.empty()) break;
    queued_reactions_ -= queue_.front().reactions.size();
    group.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_.Set(static_cast<double>(queued_reactions_));
  return group;
}

void ReactionWriter::Commit(Group group) {
  const absl::Time now = clock_.Now();
  Group in_time;
  for (ReactionRequest& request : group) {
    if (request.deadline < now) {
      request.done(error::DeadlineExceeded());
    } else {
      in_time.push_back(std::move(request));
    }
  }
  if (in_time.empty()) return;
  const absl::Status status = Write(absl::MakeSpan(in_time));
  commit_seconds_.Observe(absl::ToDoubleSeconds(clock_.Now() - now));
  const bool apart = !status.ok() && !IsInfrastructureFailure(status) && in_time.size() > 1;
  if (apart) log::Error("reactions.group_failed", {{"error", status}, {"requests", in_time.size()}});
  for (ReactionRequest& request : in_time) {
    // Something in one of them: each is written by itself, so that it fails alone.
    request.done(apart ? Write(absl::MakeSpan(&request, 1)) : status);
  }
}

absl::Status ReactionWriter::Write(absl::Span<ReactionRequest> group) {
  // After all of the group have come: who was answered before has a lower version.
  ASSIGN_OR_RETURN(int64_t version, store_->TakeVersions());
  Rows rows(clock_.Now());
  int count = 0;
  for (ReactionRequest& request : group) {
    for (Reaction& reaction : request.reactions) {
      reaction.version = version++;
      rows.Add(reaction);
      ++count;
    }
  }
  RETURN_IF_ERROR(store_->Enqueue(rows.rows()));
  accepted_.Increment(count);
  waker_.Wake(Lane::kSocial);
  return absl::OkStatus();
}

}  // namespace carillon
