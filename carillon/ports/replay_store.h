// Runs that do something with dead letters, and the record of them. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/domain/dead_letter.h"
#include "carillon/domain/lane.h"

namespace carillon {

// Who runs a run may be gone for so long before another may go on with it.
inline constexpr absl::Duration kReplayLease = absl::Seconds(5);

// A run under way, as whoever runs it holds it.
struct ReplayRun {
  Replay replay;
  // Nothing is written, neither of it nor of the letters.
  bool is_rehearsal = false;
  int64_t up_to = 0;     // The newest letter that there was when it began.
  int64_t position = 0;  // Where it looks next.
  // It was at the end, and looks from the start for what others held: not at what it left.
  bool looks_again = false;
  int epoch = 0;  // Names this runner.
};

class ReplayStore {
 public:
  virtual ~ReplayStore() = default;

  // Counts what matches now, and writes down that it begins.
  virtual absl::StatusOr<ReplayRun> Begin(const ReplayOrder& order) = 0;
  // The same without a record.
  virtual absl::StatusOr<ReplayRun> Rehearse(const ReplayOrder& order) = 0;
  // Goes on with a replay that did not come to its end; who does is recorded too. NOT_FOUND;
  // FAILED_PRECONDITION if somebody runs it, or it is done.
  virtual absl::StatusOr<ReplayRun> Resume(const Uuid& id, const std::string& operator_name) = 0;

  // Looks at up to `limit` further letters that nobody else holds: in one transaction each
  // is put back, as a row of the outbox, or left, and the run's counts move. Every letter is
  // put back by one run only. Returns the lanes of what was put back. FAILED_PRECONDITION:
  // somebody else runs it now.
  // `looked_at` of the run tells whether there was any.
  virtual absl::StatusOr<std::vector<Lane>> Step(ReplayRun& run, int limit) = 0;
  // Deletes up to `limit` letters that match, in the same way. Returns how many.
  virtual absl::StatusOr<int> PurgeStep(ReplayRun& run, int limit) = 0;
  // Whether there are letters that it has not looked at: others hold them.
  virtual absl::StatusOr<bool> HasMore(const ReplayRun& run) = 0;

  // Says that somebody runs it, counts what died again, and tells whether the newest
  // `streak` outcomes of what was put back are all deaths. FAILED_PRECONDITION as for Step.
  virtual absl::StatusOr<bool> Attend(ReplayRun& run, int streak) = 0;
  // FAILED_PRECONDITION as for Step.
  virtual absl::Status Finish(ReplayRun& run, ReplayState state, const std::string& detail) = 0;

  // A record of letters that were shown; or, with an id, of further ones.
  virtual absl::StatusOr<Uuid> NoteShown(const ReplayOrder& order, std::optional<Uuid> id, int letters) = 0;

  // Newest first. One whose runner is gone is told as interrupted.
  virtual absl::StatusOr<std::vector<Replay>> List(std::optional<Uuid> older_than, int limit) = 0;
};

}  // namespace carillon
