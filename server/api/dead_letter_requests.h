// What admins do with dead letters: the requests about them, validated and carried out.
#pragma once

#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/ports/catalog_store.h"
#include "carillon/ports/clock.h"
#include "carillon/ports/dead_letter_store.h"
#include "carillon/ports/replay_store.h"
#include "carillon/v1/admin_service.pb.h"
#include "server/api/validation.h"

namespace carillon {

// A ReplayDeadLettersRequest that is fine.
struct ReplayPlan {
  ReplayOrder order;
  bool is_rehearsal = false;
  std::optional<Uuid> resumed;  // Goes on with this one; of `order` nothing counts.
  int rate = 0;                 // Letters per second.
  int stop_after_failures = 0;
};

// Thread-safe. Every method blocks for some round trips.
class DeadLetterRequests {
 public:
  struct Deps {
    std::shared_ptr<DeadLetterStore> letters;
    std::shared_ptr<ReplayStore> replays;
    std::shared_ptr<AppStore> apps;
    const Clock& clock;
  };
  explicit DeadLetterRequests(Deps deps) : deps_(std::move(deps)) {}

  // `app`: the caller's.
  absl::Status List(AppId app, const v1::ListDeadLettersRequest& request, v1::ListDeadLettersResponse* response);
  absl::Status Summarize(AppId app, const v1::SummarizeDeadLettersRequest& request,
                         v1::SummarizeDeadLettersResponse* response);
  absl::Status Get(AppId app, const v1::GetDeadLetterRequest& request, v1::GetDeadLetterResponse* response);
  // DEADLINE_EXCEEDED if some of it is left at `deadline`: the next call goes on.
  absl::Status Purge(AppId app, const v1::PurgeDeadLettersRequest& request, absl::Time deadline,
                     v1::PurgeDeadLettersResponse* response);
  absl::Status ListReplays(const v1::ListReplaysRequest& request, v1::ListReplaysResponse* response);

  absl::StatusOr<ReplayPlan> PlanReplay(AppId app, const v1::ReplayDeadLettersRequest& request);

 private:
  // What the filter says; its faults go into `violations`, or are an error.
  absl::StatusOr<DeadLetterFilter> Filter(AppId app, const v1::DeadLetterFilter& filter, Violations& violations);
  absl::StatusOr<DeadLetterStore::ListQuery> PrepareList(AppId app, const v1::ListDeadLettersRequest& request);

  const Deps deps_;
};

}  // namespace carillon
