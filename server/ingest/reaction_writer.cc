#include "server/ingest/reaction_writer.h"

#include <map>
#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

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
    : store_(std::move(store)),
      waker_(waker),
      clock_(clock),
      commit_seconds_(metrics.Latency("carillon_reactions_commit_seconds", "Time of one group commit", {})),
      accepted_(metrics.Counter("carillon_reactions_accepted_total", "Reactions accepted durably", {})),
      queue_({.name = "the queue of reactions",
              .most_queued = queue_reactions,
              .most_grouped = static_cast<size_t>(ReactionStore::kVersionBlock)},
             metrics.Gauge("carillon_reactions_queue_items", "Reactions that wait for a commit", {})),
      thread_([this] { Run(); }) {}

void ReactionWriter::Submit(ReactionRequest request) {
  const absl::Status taken = queue_.Push(request, request.reactions.size());
  if (!taken.ok()) request.done(taken);
}

void ReactionWriter::Stop() {
  queue_.Stop();
  if (thread_.joinable()) thread_.join();
}

void ReactionWriter::Run() {
  for (Group group = queue_.Take(); !group.empty(); group = queue_.Take()) Commit(std::move(group));
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
