// Dead letters: what the relay records, and what admins look at. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/domain/dead_letter.h"

namespace carillon {

class DeadLetterStore {
 public:
  virtual ~DeadLetterStore() = default;
  // Records each letter, ends its notification or delivery as dead if it has not ended,
  // and its groups of reactions, in one transaction. Repeating it changes nothing, also
  // if the letter was put back meanwhile.
  virtual absl::Status Record(absl::Span<const DeadLetter> letters) = 0;

  struct ListQuery {
    DeadLetterFilter filter;
    std::optional<int64_t> older_than;
    int limit = 50;
    bool with_payload = false;
  };
  // Newest first: those that are dead.
  virtual absl::StatusOr<std::vector<DeadLetter>> List(const ListQuery& query) = 0;
  // With its payload, whatever became of it. NOT_FOUND.
  virtual absl::StatusOr<DeadLetter> Get(int64_t id) = 0;

  struct Summary {
    std::vector<DeadLetterGroup> groups;  // The largest first, at most `limit`.
    int64_t total = 0;
  };
  virtual absl::StatusOr<Summary> Summarize(const DeadLetterFilter& filter, int limit) = 0;

  // How many there are of each queue, of all apps; more than `most` are told as so many.
  virtual absl::StatusOr<std::vector<int64_t>> Count(absl::Span<const std::string> queues, int64_t most) = 0;
  // Deletes up to `limit` that are not dead any more, and died and were put back before
  // this. Returns how many.
  virtual absl::StatusOr<int> Forget(absl::Time over_before, int limit) = 0;
};

}  // namespace carillon
